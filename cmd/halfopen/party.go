package main

import (
	"os"

	"github.com/spf13/cobra"

	"halfopen/lab"
	"halfopen/lab/receiver"
	"halfopen/lab/shipper"
)

// newParty makes the hidden commands that the lab runs in its namespaces. They
// take their settings from the environment, as any other party does.
func newParty(name string) *cobra.Command {
	return &cobra.Command{
		Use:    name,
		Hidden: true,
		Args:   noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			switch name {
			case "lab-proxy":
				return lab.Proxy(ctx, os.Getenv(lab.EnvListen), os.Getenv(lab.EnvReceiver), cmd.OutOrStdout())
			case "lab-shipper":
				cfg, err := shipper.FromEnv(os.Getenv)
				if err != nil {
					return err
				}
				return shipper.Run(ctx, cfg, cmd.OutOrStdout())
			}
			cfg, err := receiver.FromEnv(os.Getenv)
			if err != nil {
				return err
			}
			return receiver.Run(ctx, cfg, cmd.OutOrStdout())
		},
	}
}

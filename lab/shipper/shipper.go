package shipper

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"halfopen/logtail"
)

// maxLine is where a line is cut, as by Filebeat's max_bytes.
const maxLine = 10 << 20 // bytes

// shipper is one run.
type shipper struct {
	cfg         Config
	log         *logger
	registry    *registry
	queue       *queue
	output      *output
	host        string
	ephemeralID string
	started     time.Time
	files       atomic.Int64 // of the input, one after the other
}

// Run ships until the context is cancelled, which is no error; it then lets go of everything at once, as Filebeat
// without shutdown_timeout. Before that it ends only with an error of its own host, such as a stats address in use.
func Run(ctx context.Context, cfg Config, stdout io.Writer) error {
	log := &logger{w: stdout, shape: cfg.Shape}
	log.info(siteSetup, "Setup Beat: filebeat; Version: %s", versions[cfg.Shape])
	registry, err := openRegistry(cfg.Dir, log)
	if err != nil {
		return err
	}
	s := &shipper{cfg: cfg, log: log, registry: registry, ephemeralID: newUUID(), started: time.Now()}
	s.host, _ = os.Hostname()
	s.queue = newQueue(cfg.Queue, registry.acked)
	s.output = newOutput(cfg, log, s.queue, &outputStats{})

	api, err := net.Listen("tcp", cfg.Stats)
	if err != nil {
		return fmt.Errorf("listen for the stats endpoint: %w", err)
	}
	defer s.serve(api).Close()

	log.info(siteRunning, "filebeat start running.")
	if cfg.Ready != nil {
		cfg.Ready(api.Addr())
	}
	work, workCtx := errgroup.WithContext(ctx)
	work.Go(func() error { return s.follow(workCtx) })
	work.Go(func() error { s.output.makeBatches(workCtx); return nil })
	work.Go(func() error { s.output.run(workCtx); return nil })
	<-workCtx.Done()
	log.info(siteStopping, "Stopping filebeat")
	err = work.Wait()
	log.info(siteStopped, "filebeat stopped.")
	return err
}

// follow reads the input into the queue, from where an earlier run was acknowledged up to.
func (s *shipper) follow(ctx context.Context) error {
	cfg := logtail.Config{Path: s.cfg.Input, From: logtail.FromBeginning, MaxLine: maxLine}
	if p := s.registry.position(); p != (position{}) {
		cfg.From = logtail.Position{Inode: p.Inode, Offset: p.Offset}
	}
	var inode uint64
	err := logtail.Follow(ctx, cfg, logtail.Handler{
		Line: func(l logtail.Line) error {
			if l.Inode != inode {
				inode = l.Inode
				s.files.Add(1)
				s.log.info(siteHarvester, "Harvester started for paths: [%s]", s.cfg.Input)
			}
			return s.queue.put(ctx, s.event(l))
		},
		Gap:  func(g logtail.Gap) { s.log.error(siteHarvester, "%s: lost %d bytes: %s", g.File, g.Bytes, g.Why) },
		Note: func(what string) { s.log.info(siteHarvester, "%s", what) },
	})
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (s *shipper) event(l logtail.Line) *event {
	return &event{
		Timestamp: time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), // of reading, as in Filebeat
		Metadata:  metadata{Beat: "filebeat", Type: "_doc", Version: versions[s.cfg.Shape]},
		Message:   string(l.Bytes),
		Log:       logField{Offset: l.Offset, File: logFile{Path: s.cfg.Input}},
		Input:     input{Type: "log"},
		Host:      host{Name: s.host},
		end:       position{Inode: l.Inode, Offset: l.Offset + l.Size},
	}
}

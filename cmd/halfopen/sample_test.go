package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The recorded sample is whole, small, and gets the verdict that lies beside it.
func TestSample(t *testing.T) {
	const dir = "../../evidence/sample"
	if out, err := exec.Command(binary, "verify", dir).CombinedOutput(); err != nil {
		t.Errorf("verify: %v\n%s", err, out)
	}
	for glob, args := range map[string][]string{"*-verdict.txt": {"verdict", dir}, "*-verdict.json": {"verdict", "--json", dir}} {
		kept, err := filepath.Glob(filepath.Join(dir, glob))
		if err != nil || len(kept) != 1 {
			t.Fatalf("%s: %v, %v", glob, kept, err)
		}
		want, err := os.ReadFile(kept[0])
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(binary, args...)
		got, _ := cmd.Output()
		if code := cmd.ProcessState.ExitCode(); code != exitStalled || string(got) != string(want) {
			t.Errorf("exit code %d, verdict\n%s\nwant\n%s", code, got, want)
		}
	}
	var size int64
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	if size == 0 || size > 1_000_000 {
		t.Errorf("the sample takes %d bytes", size)
	}
}

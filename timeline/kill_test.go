package timeline

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"halfopen/clock"
)

// killEnv makes the test binary a recorder that writes without end.
const killEnv = "TIMELINE_RECORD_TO"

func init() {
	path := os.Getenv(killEnv)
	if path == "" {
		return
	}
	fmt.Fprintln(os.Stderr, "recorder:", recordForEver(path))
	os.Exit(1)
}

// recordForEver writes small segments, so that it is often about to begin or to
// compress one. It says on its output which records it has made, and when.
func recordForEver(path string) error {
	w, err := Create(path, Header{Tool: "test"}, nil)
	if err != nil {
		return err
	}
	w.Rotate(Rotation{MaxSize: 4 << 10})
	for {
		n := w.Append(0, Body{Mark: &Mark{Text: fmt.Sprintf("%x", rand.Uint64())}})
		said := binary.LittleEndian.AppendUint64(nil, n)
		if _, err := os.Stdout.Write(binary.LittleEndian.AppendUint64(said, uint64(clock.Mono()))); err != nil {
			return err
		}
		time.Sleep(time.Duration(rand.IntN(int(2 * time.Millisecond))))
	}
}

// kill -9 at any moment, while it writes, begins a segment or compresses one, costs
// the last second at most; the rest is whole. A host may hold up a few of the recorders
// just as they flush.
func TestKill(t *testing.T) {
	t.Parallel()
	kills := 200
	if os.Getenv("HALFOPEN_SOAK") != "" {
		kills = 5000
	}
	const atOnce = 10
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var worst time.Duration
	var all, late, torn, atWork, rotated int
	places := make(chan struct{}, atOnce)
	var running sync.WaitGroup
	for i := range kills {
		places <- struct{}{}
		running.Go(func() {
			defer func() { <-places }()
			path := filepath.Join(t.TempDir(), fmt.Sprintf("kill-20260102-030405-%d%s", i+2, Suffix))
			said, err := killRecorder(self, path, i%3 == 0)
			if err != nil {
				t.Error(err)
				return
			}
			k, err := survey(path)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			end := said[len(said)-1] // it was killed as it made this; on a host that stood still, long after
			for _, m := range said {
				if m.n > k.last { // the oldest that is missing
					lost := end.mono - m.mono
					worst = max(worst, lost)
					if lost > time.Second {
						t.Logf("record %d of %d is the last: the last %s before the kill are missing", k.last, end.n, lost)
						late++
					}
					break
				}
			}
			all++
			torn, atWork, rotated = torn+k.torn, atWork+k.atWork, rotated+k.rotated
		})
	}
	running.Wait()
	if t.Failed() {
		return
	}
	t.Logf("%d kills: at most the last %s missing; %d times a line was torn, %d times a segment was half compressed, %d segments were whole",
		all, worst.Round(time.Millisecond), torn, atWork, rotated)
	// A recorder that did not get to run has made nothing since, and few do not.
	if late > kills/20 || worst > 10*time.Second {
		t.Errorf("%d times more than a second is missing, %s at most", late, worst)
	}
	if all != kills || rotated < kills || atWork < kills/20 {
		t.Errorf("that is not what was meant to be met")
	}
}

// made is a record that the recorder said it had made.
type made struct {
	n    uint64
	mono time.Duration
}

// killRecorder starts a recorder, kills it after a random time, and returns what it
// had made. Where it is to be met at work, it is killed when it next compresses a
// segment.
func killRecorder(self, path string, atWork bool) (said []made, err error) {
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), killEnv+"="+path)
	var message strings.Builder
	cmd.Stderr = &message
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for b := make([]byte, 16); ; {
			if _, err := io.ReadFull(out, b); err != nil {
				return
			}
			if said == nil {
				time.AfterFunc(time.Duration(rand.IntN(int(1500*time.Millisecond))), func() {
					for limit := time.Now().Add(1500 * time.Millisecond); atWork && len(halfway(path)) == 0 && time.Now().Before(limit); {
						time.Sleep(50 * time.Microsecond)
					}
					_ = cmd.Process.Kill()
				})
			}
			said = append(said, made{binary.LittleEndian.Uint64(b), time.Duration(binary.LittleEndian.Uint64(b[8:]))})
		}
	}()
	<-ended
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		return nil, fmt.Errorf("the recorder ended by itself: %v: %s", err, message.String())
	}
	return said, nil
}

type surveyed struct {
	last                  uint64
	mono                  time.Duration
	torn, atWork, rotated int
}

// survey reads what a killed recorder left: only its last line may be torn.
func survey(path string) (k surveyed, err error) {
	list, err := segments(path)
	if err != nil {
		return k, err
	}
	k.rotated = len(list) - 1
	s, err := Open(path)
	if err != nil {
		return k, err
	}
	defer s.Close()
	for {
		r, err := s.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return k, err
		}
		if r.N != k.last+1 || r.Mono < k.mono {
			return k, fmt.Errorf("record %d of %s comes after %d of %s", r.N, r.Mono, k.last, k.mono)
		}
		k.last, k.mono = r.N, r.Mono
	}
	damage, _ := s.Damage()
	k.torn = len(damage)
	if k.torn > 1 || k.torn == 1 && !strings.Contains(damage[0].Why, "no end") {
		return k, fmt.Errorf("damage %v", damage)
	}
	k.atWork = len(halfway(path))
	return k, nil
}

// halfway lists what is half compressed.
func halfway(path string) []string {
	parts, _ := filepath.Glob(strings.TrimSuffix(path, Suffix) + "*" + Partial)
	return parts
}

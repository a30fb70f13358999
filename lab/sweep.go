package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/prometheus/procfs"
)

// What a lab's death does not end by itself is what its parties started in turn
// (a shell's children), and the work folder. Both carry the lab's name, which
// is its pid and start time, so the next lab can tell them from those of a lab
// that still runs.

const workPrefix = "halfopen-lab-"

// self names this process for good: a pid may come again, with its start time it
// does not, and another pid namespace counts its own.
func self() string { return name(os.Getpid()) }

func name(pid int) string {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return ""
	}
	st, err := p.Stat()
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%s.%d.%d", pidNamespace(), pid, st.Starttime)
}

func pidNamespace() string {
	link, _ := os.Readlink("/proc/self/ns/pid") // pid:[4026531836]
	return strings.Trim(link, "pid:[]")
}

// WorkDir makes the folder for the files of this lab's parties.
func WorkDir() (string, error) {
	dir, err := os.MkdirTemp("", workPrefix+self()+"-")
	if err != nil {
		return "", fmt.Errorf("make work folder: %w", err)
	}
	return dir, nil
}

// Sweep ends the processes and removes the work folders that labs killed in
// mid-run left behind, and says what it found.
func Sweep() (swept []string) {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), workPrefix+"*"))
	for _, dir := range dirs {
		owner, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), workPrefix), "-")
		if !alive(owner) && os.RemoveAll(dir) == nil {
			swept = append(swept, "folder "+dir)
		}
	}
	return append(swept, killMarked(func(lab string) bool { return !alive(lab) })...)
}

// EndChildren kills what the parties of this lab started and left running.
func EndChildren() { killMarked(func(lab string) bool { return lab == self() }) }

// killMarked kills the processes whose environment names a lab that is meant. It
// looks again until none is found, since one may have started another meanwhile,
// but not for ever: one that waits for a dead disk does not die.
func killMarked(meant func(lab string) bool) (killed []string) {
	const looks = 20
	told := map[int]bool{}
	for look, found := 0, true; found && look < looks; look++ {
		found = false
		procs, err := procfs.AllProcs()
		if err != nil {
			return killed
		}
		for _, p := range procs {
			env, _ := p.Environ() // unreadable: not ours; empty: a zombie
			for _, v := range env {
				lab, ok := strings.CutPrefix(v, envLab+"=")
				if !ok || p.PID == os.Getpid() || !meant(lab) || syscall.Kill(p.PID, syscall.SIGKILL) != nil {
					continue
				}
				found = true
				if !told[p.PID] {
					told[p.PID] = true
					killed = append(killed, fmt.Sprintf("process %d (%s)", p.PID, commandLine(p)))
				}
			}
		}
	}
	return killed
}

// alive is also true for a lab of another pid namespace: it can't be seen from
// here, so it is left alone.
func alive(lab string) bool {
	part := strings.Split(lab, ".")
	if len(part) != 3 || part[0] != pidNamespace() {
		return true
	}
	pid, err := strconv.Atoi(part[1])
	return err != nil || name(pid) == lab
}

func commandLine(p procfs.Proc) string {
	args, _ := p.CmdLine()
	return strings.Join(args, " ")
}

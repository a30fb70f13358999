package main

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"slices"
	"strconv"
	"syscall"
	"testing"

	"halfopen/discover"
)

// diagnosed runs the doctor with nothing in its environment.
func diagnosed(t *testing.T, user *syscall.Credential) diagnosis {
	t.Helper()
	cmd := exec.Command(binary, "doctor", "--json")
	cmd.Dir, cmd.Env = "/", []string{}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: user}
	out, _ := cmd.Output()
	var d diagnosis
	if err := json.Unmarshal(out, &d); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want := exitOK
	if len(d.Programs) == 0 {
		want = exitInconclusive
	}
	if code := cmd.ProcessState.ExitCode(); code != want {
		t.Errorf("exit code %d with %d programs", code, len(d.Programs))
	}
	for _, c := range d.Checks {
		if c.Adds == "" || c.OK == (c.Why != "") {
			t.Errorf("check %+v: want what it is good for, and of a failure, why", c)
		}
	}
	return d
}

// The doctor's answer depends on the host, its questions do not.
func TestDoctor(t *testing.T) {
	t.Parallel()
	d := diagnosed(t, nil)
	for _, c := range d.Checks {
		if !c.OK {
			t.Errorf("check %+v: the tests run as root, on a kernel that has all", c)
		}
	}
	if len(d.Checks) < 12 {
		t.Errorf("only %d checks", len(d.Checks))
	}
}

// Without rights the doctor names what is missing, and what is there all the same.
func TestDoctorAsOrdinaryUser(t *testing.T) {
	t.Parallel()
	d := diagnosed(t, &syscall.Credential{Uid: nobody, Gid: nobody})
	want := []string{"CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_SYSLOG", "connection tracking", "packet filter rules", "nf_tables with an owner"}
	var lacks []string
	for _, c := range d.Checks {
		if !c.OK {
			lacks = append(lacks, c.Name)
		}
	}
	if !slices.Equal(lacks, want) {
		t.Errorf("missing are %q, want %q", lacks, want)
	}
	cmd := exec.Command(binary, "doctor")
	cmd.Dir, cmd.Env = "/", []string{}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, _ := cmd.CombinedOutput()
	for _, text := range []string{"NO  CAP_SYS_ADMIN", "yes inet_diag", "setcap cap_sys_admin,cap_sys_ptrace,cap_dac_read_search,cap_net_admin,cap_net_raw,cap_syslog=ep " + binary} {
		if !bytes.Contains(out, []byte(text)) {
			t.Errorf("%q is missing in\n%s", text, out)
		}
	}
}

// A shipper that nobody named is diagnosed with all that record would watch.
func TestDoctorFinds(t *testing.T) {
	t.Parallel()
	ns := host(t)
	shipper, receiver := shipping(t, ns, ns, "127.0.0.1")
	out, err := exec.Command(binary, "doctor").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, text := range []string{"filebeat, shipper, process " + strconv.Itoa(shipper), "unknown, receiver, process " + strconv.Itoa(receiver), "counters    127.0.0.1:5066"} {
		if !bytes.Contains(out, []byte(text)) {
			t.Errorf("%q is missing in\n%s", text, out)
		}
	}
	if d := diagnosed(t, nil); !slices.ContainsFunc(d.Programs, func(p discover.Program) bool { return p.PID == shipper }) {
		t.Errorf("found %+v", d.Programs)
	}
}

package discover

import (
	"strings"
	"testing"
)

// What looks like a secret does not get out; the rest of the line does.
func TestRedactForms(t *testing.T) {
	const secret = "hunter2"
	for _, line := range []string{
		"--password " + secret, "--password=" + secret, "--pass " + secret, "--pw=" + secret, "ES_PASS=" + secret,
		"-E output.x.password=" + secret, "--key --password " + secret, "--token: " + secret,
		"https://u:" + secret + "@host/path", "https://host/?sig=" + secret,
	} {
		args := append([]string{"prog"}, strings.Split(line, " ")...)
		got := strings.Join(Redact(args), " ")
		if strings.Contains(got, secret) || !strings.HasPrefix(got, "prog") {
			t.Errorf("Redact(%q) is %q", line, got)
		}
	}
	plain := []string{"filebeat", "-e", "-c", "/etc/filebeat/filebeat.yml", "--path.home", "/usr/share/filebeat"}
	if got := strings.Join(Redact(plain), " "); got != strings.Join(plain, " ") {
		t.Errorf("Redact changed %q", got)
	}
}

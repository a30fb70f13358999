package beatstats

import (
	"strings"
	"testing"
)

func TestParseEndpoint(t *testing.T) {
	tests := []struct{ in, network, address, path, back string }{
		{"http://10.0.0.1:5066", "tcp", "10.0.0.1:5066", "", "http://10.0.0.1:5066"},
		{"http://10.0.0.1:5066/", "tcp", "10.0.0.1:5066", "", "http://10.0.0.1:5066"},
		{"http://h:9600/_node/stats?pretty", "tcp", "h:9600", "/_node/stats?pretty", "http://h:9600/_node/stats?pretty"},
		{"localhost:5066", "tcp", "localhost:5066", "", "http://localhost:5066"},
		{":5066", "tcp", "localhost:5066", "", "http://localhost:5066"},
		{"[::1]:5066/stats", "tcp", "[::1]:5066", "/stats", "http://[::1]:5066/stats"},
		{"http://elastic:secret@h:9600", "tcp", "h:9600", "", "http://h:9600"},
		{"https://elastic:s3@cret@h:9600/_node/stats", "tcp", "h:9600", "/_node/stats", "https://h:9600/_node/stats"},
		{"unix:///var/run/filebeat.sock", "unix", "/var/run/filebeat.sock", "", "unix:///var/run/filebeat.sock"},
		{"http+unix:///var/run/f.sock", "unix", "/var/run/f.sock", "", "unix:///var/run/f.sock"},
		{"http+unix://%2Fvar%2Frun%2Ff.sock/stats", "unix", "/var/run/f.sock", "/stats", "http+unix://%2Fvar%2Frun%2Ff.sock/stats"},
	}
	for _, tt := range tests {
		e, err := ParseEndpoint(tt.in)
		if err != nil {
			t.Errorf("%q: %v", tt.in, err)
			continue
		}
		if e.Network != tt.network || e.Address != tt.address || e.Path != tt.path || e.String() != tt.back {
			t.Errorf("%q: %+v, %q", tt.in, e, e)
		}
		if again, err := ParseEndpoint(e.String()); err != nil || again.String() != e.String() {
			t.Errorf("%q does not read back: %v, %v", e, again, err)
		}
	}
}

func TestParseEndpointRefuses(t *testing.T) {
	for _, in := range []string{
		"", "localhost", "http://localhost", "http://h:0", "http://h:65536", "http://h:port", "10.0.0.1", "::1:5066",
		"ftp://h:9600", "npipe:///filebeat", "unix://", "unix:///", "unix://relative.sock",
		"unix:///" + strings.Repeat("a", 107), "http://h:%zz", "http://h :5066",
	} {
		if e, err := ParseEndpoint(in); err == nil {
			t.Errorf("%q: read as %+v", in, e)
		} else if !strings.HasPrefix(err.Error(), "endpoint ") {
			t.Errorf("%q: %v", in, err)
		}
	}
}

// Whatever is wrong with an endpoint, what stands before its @ is not told.
func TestParseEndpointTellsNoPassword(t *testing.T) {
	for _, in := range []string{
		"http://elastic:secret@h", "https://elastic:secret@h:0", "elastic:secret@h:port", "elastic:secret@h:9600", "ftp://elastic:secret@h:1",
		"http://elastic:sec/secret@h:9600", "unix://elastic:secret@relative", "https://elastic:%zzsecret@h:9600",
	} {
		if e, err := ParseEndpoint(in); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v, %v", in, e, err)
		}
	}
}

func FuzzParseEndpoint(f *testing.F) {
	for _, s := range []string{"http://10.0.0.1:5066/stats?pretty", "unix:///run/f.sock", "http+unix://%2Fa/b", "https://u:p@h:1", "[::1%25eth0]:5066"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, err := ParseEndpoint(s)
		if err != nil {
			return
		}
		again, err := ParseEndpoint(e.String())
		if e.user = nil; err != nil || again != e {
			t.Errorf("%q: %+v, then %q: %+v, %v", s, e, e, again, err)
		}
		if u := e.url("stats"); u.Path != "/stats" {
			t.Errorf("%q: %v", s, u)
		}
	})
}

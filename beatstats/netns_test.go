package beatstats

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"halfopen/netns"
)

// namespace makes a network namespace with its loopback up and an address of
// its own on it.
func namespace(t *testing.T, address string) *netns.NS {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	err = ns.Do(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		addr, err := netlink.ParseAddr(address)
		if err != nil {
			return err
		}
		return errors.Join(netlink.AddrAdd(lo, addr), netlink.LinkSetUp(lo))
	})
	if err != nil {
		t.Fatal(err)
	}
	return ns
}

// answer serves body at addr, inside ns unless it is nil.
func answer(t *testing.T, ns *netns.NS, addr, body string) string {
	t.Helper()
	var l net.Listener
	listen := func() (err error) {
		l, err = net.Listen("tcp", addr)
		return err
	}
	var err error
	if ns == nil {
		err = listen()
	} else {
		err = ns.Do(listen)
	}
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, body)
	})}}
	s.Start()
	t.Cleanup(s.Close)
	return l.Addr().String()
}

// TestClientDialsInsideTheNamespace has a server outside on the same address,
// which must never answer in the other's stead.
func TestClientDialsInsideTheNamespace(t *testing.T) {
	ns := namespace(t, "192.0.2.1/32")
	addr := answer(t, nil, "127.0.0.1:0", "outside")
	answer(t, ns, addr, "inside")
	_, port, _ := net.SplitHostPort(addr)

	var wg sync.WaitGroup
	for _, host := range []string{"127.0.0.1", "localhost", "192.0.2.1"} {
		if host == "192.0.2.1" {
			answer(t, ns, net.JoinHostPort(host, port), "inside")
		}
		for range 20 {
			wg.Go(func() {
				c, err := NewClient(ns, net.JoinHostPort(host, port), time.Minute)
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				if body, _, err := c.Fetch(t.Context(), "/"); err != nil || string(body) != "inside" {
					t.Errorf("%s: %q, %v", host, body, err)
				}
			})
		}
		wg.Go(func() {
			c := client(t, addr, 0)
			if body, _, err := c.Fetch(t.Context(), "/"); err != nil || string(body) != "outside" {
				t.Errorf("outside: %q, %v", body, err)
			}
		})
	}
	wg.Wait()
}

func TestClientInsideTheNamespaceIsRefused(t *testing.T) {
	ns := namespace(t, "192.0.2.1/32")
	addr := answer(t, nil, "127.0.0.1:0", "outside")
	c, err := NewClient(ns, addr, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = c.Fetch(t.Context(), "/stats")
	wantError(t, err, Refused, "is this the right network namespace?")

	_, port, _ := net.SplitHostPort(addr)
	far, err := NewClient(ns, net.JoinHostPort("198.51.100.1", port), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = far.Fetch(t.Context(), "/stats")
	wantError(t, err, Unreachable, "network is unreachable")

	if err := ns.Close(); err != nil {
		t.Fatal(err)
	}
	_, _, err = c.Fetch(t.Context(), "/stats")
	wantError(t, err, Unreachable, "no connection")
}

func TestClientResolvesNoNameForANamespace(t *testing.T) {
	ns := namespace(t, "192.0.2.1/32")
	if _, err := NewClient(ns, "http://filebeat:5066", 0); err == nil || !strings.Contains(err.Error(), `host "filebeat" can't be resolved inside a network namespace`) {
		t.Errorf("error %v", err)
	}
}

func TestClientTakesNoProxy(t *testing.T) {
	ns := namespace(t, "192.0.2.1/32") // for a loopback address Go asks no proxy anyway
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("http_proxy", "http://127.0.0.1:1")
	addr := answer(t, ns, "192.0.2.1:0", "inside")
	c, err := NewClient(ns, addr, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if body, _, err := c.Fetch(t.Context(), "/"); err != nil || string(body) != "inside" {
		t.Errorf("%q, %v", body, err)
	}
}

// Party stands in for one party of log shipping in tests. Under whatever name
// and arguments it runs, the environment says what it does; lists are joined by
// spaces.
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// stats is the answer of a Filebeat 7.17, cut to its beginnings.
const stats = `{"beat":{"info":{"ephemeral_id":"6f1d5e2c-0a43-4b7e-9b8f-0c1d2e3f4a5b","uptime":{"ms":61000},"version":"7.17.29"}},` +
	`"libbeat":{"output":{"type":"logstash","events":{"acked":120,"active":0,"batches":60,"total":120}},` +
	`"pipeline":{"clients":1,"events":{"active":0,"published":120,"total":120},"queue":{"acked":120}}}}`

// ack is the keep-alive of a Lumberjack v2 receiver: nothing acknowledged yet.
const ack = "2A\x00\x00\x00\x00"

func main() {
	for _, addr := range list("PARTY_LISTEN") {
		go accept(must(net.Listen("tcp", addr)))
	}
	for _, path := range list("PARTY_LOG") { // as a logger opens it
		f := must(os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600))
		defer f.Close()
	}
	for _, path := range list("PARTY_READ") { // as a harvester does
		f := must(os.Open(path))
		defer f.Close()
	}
	for _, addr := range list("PARTY_CONNECT") {
		c := must(net.Dial("tcp", addr))
		defer c.Close()
		must(io.WriteString(c, "2W\x00\x00\x00\x01")) // Lumberjack v2, window of one
		must(io.ReadFull(c, make([]byte, len(ack))))  // the connection is accepted
	}
	for _, addr := range list("PARTY_AGAIN") {
		go again(addr)
	}
	for _, addr := range list("PARTY_STATS") {
		network := "tcp"
		if strings.HasPrefix(addr, "/") {
			network = "unix"
		}
		l := must(net.Listen(network, addr))
		go http.Serve(l, http.HandlerFunc(answer))
	}
	fmt.Println("ready")
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	<-end
}

func answer(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/stats" {
		http.NotFound(w, r)
		return
	}
	io.WriteString(w, stats)
}

func accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			defer c.Close()
			io.WriteString(c, ack)
			io.Copy(io.Discard, c)
		}()
	}
}

// again opens a connection every 2 ms, and closes it when there are 50 younger ones.
func again(addr string) {
	var open []net.Conn
	for range time.Tick(2 * time.Millisecond) {
		c := must(net.Dial("tcp", addr)).(*net.TCPConn)
		c.SetLinger(0)
		if open = append(open, c); len(open) > 50 {
			open[0].Close()
			open = open[1:]
		}
	}
}

func list(name string) []string { return strings.Fields(os.Getenv(name)) }

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

// Talker puts out what it reads from the FIFO /talk: lines that begin with "2 "
// go to its standard error, others to its standard output.
package main

import (
	"bufio"
	"bytes"
	"log"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	go func() {
		<-end
		os.Exit(0)
	}()
	fifo, err := os.OpenFile("/talk", os.O_RDWR, 0) // both ends: it never ends
	if err != nil {
		log.Fatal(err)
	}
	in := bufio.NewReader(fifo)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			log.Fatal(err)
		}
		out := os.Stdout
		if rest, ok := bytes.CutPrefix(line, []byte("2 ")); ok {
			out, line = os.Stderr, rest
		}
		if _, err := out.Write(line); err != nil {
			log.Fatal(err)
		}
	}
}

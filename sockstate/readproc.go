package sockstate

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"halfopen/flow"
)

// tables are the socket tables below a folder such as /proc/self.
var tables = []string{"tcp", "tcp6"}

// ReadProc reads the sockets on the watched ports from net/tcp and net/tcp6
// below root: NS.ProcRoot(), "/proc/PID", "/proc/self". The tables belong to the
// network namespace of that process. tcp6 may be missing (a host without IPv6).
// The kernel walks its hash table while it is read: a socket that comes or goes
// meanwhile may be missing or stand there twice.
func ReadProc(root string, ports flow.Ports) ([]Socket, []BadLine, error) {
	var socks []Socket
	var bad []BadLine
	err := eachTable(root, func(table string, f *os.File) error {
		var lines []BadLine
		var err error
		socks, lines, err = ParseProc(f, ports.Match, socks)
		for _, b := range lines {
			b.Table = table
			bad = append(bad, b)
		}
		return err
	})
	return socks, bad, err
}

// RawProc returns the rows of the watched ports as the kernel wrote them, each
// table with its header line; lines that can't be read are kept too. ParseProc
// reads the result.
func RawProc(root string, ports flow.Ports) ([]byte, error) {
	var raw bytes.Buffer
	err := eachTable(root, func(_ string, f *os.File) error {
		lines := lineReader{r: bufio.NewReaderSize(f, lineMax)}
		for lines.next() {
			c := cursor{line: lines.text}
			if f := c.flow(); c.why != "" || lines.why != "" || ports.Match(f) {
				raw.Write(lines.text)
				raw.WriteByte('\n')
			}
		}
		return lines.err
	})
	return raw.Bytes(), err
}

func eachTable(root string, read func(table string, f *os.File) error) error {
	for _, table := range tables {
		f, err := os.Open(filepath.Join(root, "net", table))
		if table == "tcp6" && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("open socket table: %w", err)
		}
		err = read(table, f)
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

package lab

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
)

// lineMark is before the number of a generated line, wherever it is found.
const lineMark = "lab line "

// noiseBytes is how much of a noisy line is left when it is compressed: more than a
// socket takes when its program does not read (64 KiB, the window that an unread
// socket of Linux offers at most), so that a batch of one line fills it.
const noiseBytes = 72 << 10

func noise() string {
	b := make([]byte, noiseBytes)
	rand.Read(b)
	return " " + hex.EncodeToString(b)
}

// Delivery is what came of the generated lines.
type Delivery struct {
	Written int `json:"written"`
	Once    int `json:"once"`    // arrived, whether once or more often
	Doubled int `json:"doubled"` // arrivals beyond the first, of the same line
	Lost    int `json:"lost"`    // missing, though later ones arrived
	Waiting int `json:"waiting"` // later than all that arrived
}

// Delivered reads the receiver's output and says which of the lines that were
// written stand in it.
func Delivered(output string, written int) (Delivery, error) {
	f, err := os.Open(output)
	if err != nil {
		return Delivery{}, fmt.Errorf("read the receiver's output: %w", err)
	}
	defer f.Close()
	d := Delivery{Written: written}
	arrived, last := make([]bool, written+1), 0
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		n, ok := lineNumber(lines.Bytes())
		switch {
		case !ok || n > written:
		case arrived[n]:
			d.Doubled++
		default:
			arrived[n] = true
			d.Once++
			last = max(last, n)
		}
	}
	if err := lines.Err(); err != nil {
		return d, fmt.Errorf("read the receiver's output: %w", err)
	}
	d.Lost, d.Waiting = last-d.Once, written-last
	return d, nil
}

func lineNumber(line []byte) (n int, ok bool) {
	_, rest, ok := bytes.Cut(line, []byte(lineMark))
	if !ok {
		return 0, false
	}
	digits, _, _ := bytes.Cut(rest, []byte(" "))
	n, err := strconv.Atoi(string(digits))
	return n, err == nil && n > 0
}

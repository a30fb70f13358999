package main

import (
	"fmt"
	"strconv"
	"time"
)

// limitSpan is a plugin's threshold: seconds as monitoring systems write them, or a
// duration as all other options do.
type limitSpan time.Duration

// maxSpan keeps seconds within what a time.Duration holds.
const maxSpan = 365 * 24 * time.Hour

func (l *limitSpan) Set(s string) error {
	d, err := time.ParseDuration(s)
	if n, number := strconv.ParseFloat(s, 64); number == nil && n >= 0 && n <= maxSpan.Seconds() {
		d, err = time.Duration(n*float64(time.Second)), nil
	}
	if err != nil || d < 0 || d > maxSpan {
		return fmt.Errorf("want a number of seconds, or a duration such as 2m, up to a year")
	}
	*l = limitSpan(d)
	return nil
}

func (l *limitSpan) Type() string { return "seconds" }

func (l *limitSpan) String() string { return time.Duration(*l).String() }

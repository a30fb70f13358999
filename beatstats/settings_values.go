package beatstats

import (
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// below reports whether anything under name is set.
func (s *Settings) below(name string) bool {
	for have := range s.at {
		if strings.HasPrefix(have, name+".") {
			return true
		}
	}
	return false
}

// list reads a list, or the single value Beats takes for one.
func (s *Settings) list(name string) (items []string) {
	if e, ok := s.at[name]; ok {
		return []string{withoutPassword(e.text)}
	}
	for i := 0; ; i++ {
		e, ok := s.at[name+"."+strconv.Itoa(i)]
		if !ok {
			return items
		}
		items = append(items, withoutPassword(e.text))
	}
}

// withoutPassword takes the credentials off a host given as a URL.
func withoutPassword(host string) string {
	if u, err := url.Parse(host); err == nil && u.User != nil {
		u.User = nil
		return u.String()
	}
	return host
}

// scalar gives what a setting says, unless it is only known at run time.
func (s *Settings) scalar(name string) (entry, bool) {
	e, ok := s.at[name]
	return e, ok && !strings.Contains(e.text, "${")
}

// duration reads a duration as go-ucfg does (reifyDuration): a bare number is
// seconds, a string needs a unit.
func (s *Settings) duration(name string) *time.Duration {
	e, ok := s.scalar(name)
	if !ok {
		return nil
	}
	d, err := time.ParseDuration(e.text)
	if e.number {
		var f float64
		if f, err = strconv.ParseFloat(e.text, 64); math.Abs(f) > math.MaxInt64/float64(time.Second) {
			err = strconv.ErrRange
		}
		d = time.Duration(f * float64(time.Second))
	}
	if err != nil {
		s.refused(name, e, "a duration such as 30s or 5m, or a bare number of seconds")
		return nil
	}
	return &d
}

func (s *Settings) integer(name string) *int {
	e, ok := s.scalar(name)
	if !ok {
		return nil
	}
	n, err := strconv.Atoi(e.text)
	if err != nil {
		s.refused(name, e, "a whole number")
		return nil
	}
	return &n
}

func (s *Settings) boolean(name string) *bool {
	e, ok := s.scalar(name)
	if !ok {
		return nil
	}
	var b bool
	switch strings.ToLower(e.text) {
	case "true", "yes", "on", "y":
		b = true
	case "false", "no", "off", "n":
	default:
		s.refused(name, e, "true or false")
		return nil
	}
	return &b
}

// refused keeps a value that Beats would not start with.
func (s *Settings) refused(name string, e entry, want string) {
	f := Finding{
		Rule: "bad-value", Level: LevelError, Setting: name, Value: e.text, Line: e.line,
		What: "Beats refuses this value and does not start", Why: "it wants " + want,
		Set: "a value of that kind", Source: "elastic/go-ucfg reify.go",
	}
	if !slices.Contains(s.odd, f) {
		s.odd = append(s.odd, f)
	}
}

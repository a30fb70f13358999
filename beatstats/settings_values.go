package beatstats

import (
	"math"
	"net/url"
	"regexp"
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

// variable is a value that comes from the environment whole: ${NAME}, with a
// default ${NAME:30s}, or with an error to fail with ${NAME:?set it}.
var variable = regexp.MustCompile(`^\$\{([^:{}]+)(?::([^{}]*))?\}$`)

// scalar gives what a setting says, unless it is only known at run time. The
// default of a variable is a string to go-ucfg, whatever it looks like: measured
// on Filebeat 7.17.29, which refuses "timeout: ${T:30}" and takes "${T:30s}".
func (s *Settings) scalar(name string) (entry, bool) {
	e, ok := s.at[name]
	if !ok || !strings.Contains(e.text, "${") {
		return e, ok
	}
	m := variable.FindStringSubmatch(e.text)
	if m == nil || m[2] == "" || m[2][0] == '?' {
		return e, false
	}
	e.text, e.plain = m[2], false
	return e, true
}

// duration reads a duration as go-ucfg does (reifyDuration): a bare number is
// seconds, a string needs a unit.
func (s *Settings) duration(name string) *time.Duration {
	e, ok := s.scalar(name)
	if !ok {
		return nil
	}
	d, err := time.ParseDuration(e.text)
	if seconds, ok := e.float(); ok {
		err = nil
		if d = time.Duration(seconds * float64(time.Second)); !(math.Abs(seconds) < math.MaxInt64/float64(time.Second)) {
			err = strconv.ErrRange
		}
	}
	if err != nil {
		s.refused(name, e, "a duration such as 30s or 5m, or a bare number of seconds")
		return nil
	}
	return &d
}

// float is the value of an unquoted number: integers with any of Go's prefixes,
// "030" being octal, and fractions.
func (e entry) float() (float64, bool) {
	text, ok := e.number()
	if !ok {
		return 0, false
	}
	if n, err := strconv.ParseInt(text, 0, 64); err == nil {
		return float64(n), true
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil { // .inf, .nan, or beyond a float
		f = math.Inf(1)
	}
	return f, true
}

func (s *Settings) integer(name string) *int {
	e, ok := s.scalar(name)
	if !ok {
		return nil
	}
	n, err := strconv.ParseInt(e.text, 0, strconv.IntSize)
	if f, ok := e.float(); ok {
		err = nil
		if n = int64(f); !(math.Abs(f) < math.MaxInt32) {
			err = strconv.ErrRange
		}
	}
	if err != nil {
		s.refused(name, e, "a whole number")
		return nil
	}
	i := int(n)
	return &i
}

// boolean reads what yaml.v2 takes for one unquoted, and what strconv takes for
// one in quotes.
func (s *Settings) boolean(name string) *bool {
	e, ok := s.scalar(name)
	if !ok {
		return nil
	}
	b, known := yamlBooleans[e.text]
	if !e.plain || !known {
		_, number := e.number()
		var err error
		if b, err = strconv.ParseBool(e.text); err != nil || number {
			s.refused(name, e, "true or false")
			return nil
		}
	}
	return &b
}

var yamlBooleans = func() map[string]bool {
	words := map[string]bool{}
	for word, is := range map[string]bool{"y": true, "yes": true, "on": true, "true": true, "n": false, "no": false, "off": false, "false": false} {
		words[word], words[strings.ToUpper(word)] = is, is
		words[strings.ToUpper(word[:1])+word[1:]] = is
	}
	return words
}()

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

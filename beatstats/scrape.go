package beatstats

import (
	"context"
	"errors"
	"net/http"
	"strings"
)

// identity is what a service says of itself at /, where its counters don't.
type identity struct{ id, name, version string }

// Scrape fetches and reads the counters; raw is the body as it came, also with
// an error where there was one. Which service answers is found out by asking
// for the counters of each kind in turn, once, unless the endpoint names a
// path. Where the counters don't tell the version, / is asked for it, once a
// life of the service.
func (c *Client) Scrape(ctx context.Context) (s Sample, raw []byte, err error) {
	path := c.Path()
	if path == "" {
		path, s, raw, err = c.detect(ctx)
	} else {
		s, raw, err = c.scrape(ctx, path)
	}
	switch {
	case err == nil:
		c.remember(path)
		c.identify(ctx, &s)
	case elsewhere(err):
		c.remember(c.endpoint.Path) // another service may have taken the address
	}
	return s, raw, err
}

// Path is that of the counters, "" while it is to be found out.
func (c *Client) Path() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.found
}

func (c *Client) remember(path string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.found = path
}

func (c *Client) scrape(ctx context.Context, path string) (Sample, []byte, error) {
	raw, _, err := c.Fetch(ctx, path)
	if err != nil {
		return Sample{}, raw, err
	}
	s, err := Parse(raw)
	return s, raw, err
}

// elsewhere reports whether err says that the counters of this kind are not there,
// but the counters of another may be.
func elsewhere(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && (e.Reason == BadStatus && e.Status == http.StatusNotFound || e.Reason == WrongService || e.Reason == NotJSON)
}

// detect asks for the counters of each kind until one is there.
func (c *Client) detect(ctx context.Context) (path string, s Sample, raw []byte, err error) {
	var tried []string
	var first error
	for _, k := range kinds {
		s, raw, err = c.scrape(ctx, k.path)
		if err == nil || !elsewhere(err) {
			return k.path, s, raw, err
		}
		if first == nil {
			first = err
		}
		tried = append(tried, k.path)
	}
	e, _ := errors.AsType[*Error](first)
	return "", Sample{}, raw, &Error{
		Reason: WrongService, Status: e.Status, Op: "find counters at " + c.endpoint.String(),
		Detail: "not at " + strings.Join(tried, ", "), Err: first,
	}
}

// identify fills in name and version. A failure is a note: the counters stand.
func (c *Client) identify(ctx context.Context, s *Sample) {
	if s.Version != "" || s.Kind != Beat && s.Kind != FluentBit {
		return
	}
	c.mu.Lock()
	self := c.self
	c.mu.Unlock()
	if self.version == "" || self.id != s.ID || self.id == "" {
		raw, _, err := c.Fetch(ctx, "/")
		if err != nil {
			s.Notes = append(s.Notes, "version unknown: "+err.Error())
			return
		}
		if self = parseIdentity(raw); self.version == "" {
			s.Notes = append(s.Notes, "version unknown: / does not tell it")
			return
		}
		self.id = s.ID
		c.mu.Lock()
		c.self = self
		c.mu.Unlock()
	}
	s.Version = self.version
	if s.Name == "" {
		s.Name = self.name
	}
}

// parseIdentity reads what a Beat or Fluent Bit answers at /.
func parseIdentity(body []byte) identity {
	doc, err := decode("identify", body)
	if err != nil {
		return identity{}
	}
	if fb := doc.Get("fluent-bit"); fb.IsObject() {
		return identity{name: FluentBit, version: text(fb, "version")}
	}
	return identity{name: text(doc, "beat"), version: text(doc, "version")}
}

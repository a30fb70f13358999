package logtail

import (
	"os"
	"time"
)

// lister lists directories. While a pattern is looked up, and a thousand files
// with it, one that does not change is read once.
type lister struct{ known map[string]listing }

type listing struct {
	id      fileID
	written time.Time
	names   []string
}

// remember begins, and forget ends, the keeping of listings.
func (l *lister) remember() { l.known = map[string]listing{} }
func (l *lister) forget()   { l.known = nil }

// names lists a directory in no order. The slice is not to be changed.
func (l *lister) names(dir string) ([]string, error) {
	var info fileInfo
	if l.known != nil {
		var err error
		if info, err = stat(dir); err != nil {
			return nil, err
		}
		if k, ok := l.known[dir]; ok && k.id == info.id && k.written.Equal(info.written) {
			return k.names, nil
		}
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	// A change within a tick of the stamp would leave the stamp as it is.
	if err == nil && l.known != nil && info.written.Before(stampNow().Add(-stampSlack)) {
		l.known[dir] = listing{info.id, info.written, names}
	}
	return names, err
}

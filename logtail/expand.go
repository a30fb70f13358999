package logtail

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// expand lists the paths that an absolute pattern matches, in order, and the
// directories in which more can appear. denied are those that cannot be listed.
func (l *lister) expand(pattern string) (paths, dirs []string, denied map[string]error) {
	parts := strings.Split(pattern[1:], "/")
	paths, denied = []string{""}, map[string]error{}
	for i, part := range parts {
		last := i == len(parts)-1
		var next []string
		for _, p := range paths {
			found, listed, err := l.step(p, part)
			if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
				denied[p] = err
			}
			next = append(next, found...)
			// A name without wildcards in the middle is watched from where the
			// next wildcard, or the end, is.
			if listed || last {
				dirs = append(dirs, p+"/")
			}
			if !last && len(found) == 0 && !listed {
				dirs = append(dirs, p+"/")
			}
		}
		paths = next
	}
	for i, d := range dirs {
		if d != "/" {
			dirs[i] = strings.TrimSuffix(d, "/")
		}
	}
	return paths, dirs, denied
}

// step lists what one part of a pattern matches in the directory p; listed is
// true if it has wildcards.
func (l *lister) step(p, part string) (found []string, listed bool, err error) {
	if !strings.ContainsAny(part, `*?[\`) {
		if _, err := lstat(p + "/" + part); err != nil && part != "" {
			return nil, false, err
		}
		return []string{p + "/" + part}, false, nil
	}
	names, err := l.names(p + "/")
	if err != nil {
		return nil, true, err
	}
	for _, name := range names {
		if name[0] == '.' && part[0] != '.' {
			continue
		}
		if ok, _ := path.Match(part, name); ok {
			found = append(found, p+"/"+name)
		}
	}
	slices.Sort(found)
	return found, true, nil
}

// compressed reports whether a name says that a file is compressed.
func compressed(name string) bool {
	switch path.Ext(name) {
	case ".gz", ".xz", ".zst", ".bz2", ".lz4", ".Z", ".zip":
		return true
	}
	return false
}

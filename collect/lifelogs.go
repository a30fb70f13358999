package collect

import "time"

// lifeLogs are the logs of a program over its lives, each in its place of the
// list.
type lifeLogs struct {
	began time.Time
	open  func(i int, path string) *Logs
	logs  []*lifeLog
}

// follow goes on with the logs of the present life. One that it lacks, or whose
// path is not known, is read on.
func (l *lifeLogs) follow(paths []string, start func(*Logs) (end func())) {
	for i, path := range paths {
		if i == len(l.logs) {
			l.logs = append(l.logs, &lifeLog{began: l.began, end: func() {}})
		}
		if path == "" {
			continue
		}
		l.logs[i].follow(path, func(path string) *Logs { return l.open(i, path) }, start)
	}
}

func (l *lifeLogs) end() {
	for _, log := range l.logs {
		log.end()
	}
}

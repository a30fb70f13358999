package logtail

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is how many symbolic links are followed (include/linux/namei.h, MAXSYMLINKS).
const maxLinks = 40

// links lists path and each symbolic link's target after it, as far as they
// can be read. Links among the directories are left to the kernel.
func links(path string) []string {
	chain := []string{path}
	for len(chain) < maxLinks {
		target, err := os.Readlink(path)
		if err != nil {
			break
		}
		if !strings.HasPrefix(target, "/") {
			dir, _ := cutPath(path)
			target = joinPath(dir, target)
		}
		path = target
		chain = append(chain, path)
	}
	return chain
}

// cutPath splits a path at its last slash without cleaning it: "link/.." is
// not ".".
func cutPath(path string) (dir, base string) {
	i := strings.LastIndexByte(path, '/')
	if i <= 0 {
		return "/", path[i+1:]
	}
	return path[:i], path[i+1:]
}

func joinPath(dir, base string) string { return strings.TrimSuffix(dir, "/") + "/" + base }

func isDir(path string) bool {
	info, err := stat(path)
	return err == nil && info.mode&unix.S_IFMT == unix.S_IFDIR
}

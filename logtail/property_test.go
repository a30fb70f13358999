package logtail_test

import (
	"os"
	"path/filepath"
	"testing"

	"halfopen/logtail"
)

func TestPropertyEveryLineOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	w := newWriter(t, path, path)
	w.run(*modelOps, []func(){
		w.burst, w.burst, w.burst, w.rename, w.renameLate, w.renameTorn, w.remove,
		w.compress, w.truncate, w.copyTruncate,
	})
}

func TestPropertyRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	w := newWriter(t, path, path)
	w.run(*modelOps/10, []func(){w.burst, w.rename, w.renameTorn, w.restart})
}

func positionsWriter(t *testing.T) *writer {
	dir := t.TempDir()
	path := filepath.Join(dir, "app.log")
	w := idleWriter(t, path, path)
	w.positions = filepath.Join(dir, "positions")
	w.begin(logtail.FromBeginning)
	return w
}

func TestPropertyPositionsRename(t *testing.T) {
	w := positionsWriter(t)
	w.run(*modelOps/10, []func(){w.burst, w.rename, w.renameTorn, w.truncate, w.restartSaved(w.rename)})
}

func TestPropertyPositionsCopyTruncate(t *testing.T) {
	w := positionsWriter(t)
	w.run(*modelOps/10, []func(){w.burst, w.copyTruncate, w.restartSaved(w.copyAndTruncate)})
}

// Where nothing can be lost, nothing is, and there is no gap.
func TestPropertyNoGap(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	w := newWriter(t, path, path)
	w.run(*modelOps, []func(){w.burst, w.rename, w.renameLate, w.renameTorn, w.sync})
}

func TestPropertyDirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logs", "app.log")
	must(t, os.Mkdir(filepath.Dir(path), 0o755))
	w := newWriter(t, path, path)
	w.run(*modelOps/4, []func(){w.burst, w.rename, w.renameTorn, w.replaceDir})
}

func TestPropertySymlink(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "pod", "0.log")
	must(t, os.Mkdir(filepath.Dir(target), 0o755))
	path := filepath.Join(dir, "app.log")
	must(t, os.Symlink(target, path))
	w := newWriter(t, path, target)
	w.run(*modelOps/4, []func(){w.burst, w.rename, w.renameTorn, w.retarget})
}

// A pattern that matches the rotated files too: none is read again.
func TestPropertyGlob(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	w := idleWriter(t, path, path)
	w.path, w.follow = path+"*", logtail.FollowGlob
	w.begin(logtail.FromBeginning)
	w.run(*modelOps, []func(){
		w.burst, w.burst, w.rename, w.renameLate, w.renameTorn, w.remove,
		w.compress, w.truncate, w.copyTruncate,
	})
}

func TestPropertyGlobNoGap(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	w := idleWriter(t, path, path)
	w.path, w.follow = path+"*", logtail.FollowGlob
	w.begin(logtail.FromBeginning)
	w.run(*modelOps, []func(){w.burst, w.rename, w.renameLate, w.renameTorn, w.sync})
}

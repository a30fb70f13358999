package container

import (
	"path/filepath"
	"strings"
	"testing"
)

// Bodies cut from Docker 20.10 and Podman 4.3.
const (
	dockerInspect = `{"Id":"` + idA + `","Created":"2026-11-20T10:00:00Z","State":{"Status":"running","Running":true,"Pid":4711},` +
		`"LogPath":"/var/lib/docker/containers/` + idA + `/` + idA + `-json.log","Name":"/filebeat",` +
		`"HostConfig":{"LogConfig":{"Type":"json-file","Config":{}}}}`
	podmanInspect = `{"Id":"` + idB + `","State":{"Status":"exited","Running":false,"Pid":0},"Name":"/shipper","LogPath":"",` +
		`"HostConfig":{"LogConfig":{"Type":"k8s-file","Path":"/var/lib/containers/storage/overlay-containers/` + idB + `/userdata/ctr.log"}}}`
	dockerConfig = `{"State":{"Running":true,"Pid":4711},"ID":"` + idA + `","Name":"/filebeat","LogPath":"/data/containers/` + idA + `/` + idA + `-json.log"}`
	storageList  = `[{"id":"` + idA + `","names":["k8s_filebeat_filebeat-x7k2p_logging_3f1c0a1e-2b4d_0"]},{"id":"` + idB + `","names":["shipper","../etc"]}]`
	mountinfo    = `36 35 98:0 / / rw,noatime master:1 - ext4 /dev/root rw
612 601 254:0 /srv/docker/containers/` + idA + `/resolv.conf /etc/resolv.conf rw,relatime - ext4 /dev/vda rw
613 601 254:0 /srv/docker/containers/` + idA + `/hosts /etc/hosts rw,relatime - ext4 /dev/vda rw
`
	eventLine = `{"status":"die","id":"` + idA + `","Type":"container","Action":"die","Actor":{"ID":"` + idA +
		`","Attributes":{"exitCode":"137","name":"filebeat"}},"scope":"local","time":1,"timeNano":1}`
)

func TestParseInspect(t *testing.T) {
	got, err := parseInspect([]byte(dockerInspect))
	want := Container{ID: idA, Name: "filebeat", Running: true, PID: 4711, LogDriver: "json-file",
		LogPath: "/var/lib/docker/containers/" + idA + "/" + idA + "-json.log"}
	if err != nil || got != want {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	got, err = parseInspect([]byte(podmanInspect))
	want = Container{ID: idB, Name: "shipper", LogDriver: "k8s-file",
		LogPath: "/var/lib/containers/storage/overlay-containers/" + idB + "/userdata/ctr.log"}
	if err != nil || got != want {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	for _, bad := range []string{"", "null", "[]", "<html>", `{"Id":"../../etc"}`, `{"Id":7}`, dockerInspect[:200]} {
		if c, err := parseInspect([]byte(bad)); err == nil {
			t.Errorf("%q gives %+v", bad, c)
		}
	}
	odd := strings.NewReplacer(`"/filebeat"`, `"/a/../b"`, "/var/lib/docker/", "../../").Replace(dockerInspect)
	if c, err := parseInspect([]byte(odd)); err != nil || c.Name != "" || c.LogPath != "" {
		t.Errorf("a name or path with tricks: %+v, %v", c, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{dockerInspect, podmanInspect, dockerConfig, storageList, mountinfo, eventLine} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if c, err := parseInspect(body); err == nil {
			sound(t, c, c.Name)
		}
		if r, err := parseDockerConfig(body); err == nil {
			sound(t, r.Container, r.names...)
		}
		if rs, err := parseStorage(body); err == nil {
			for _, r := range rs {
				sound(t, r.Container, r.names...)
			}
		}
		for _, name := range parseAnnotations(body) {
			if checkName(name) != nil {
				t.Errorf("name %q", name)
			}
		}
		if root, ok := parseDataRoot(body, idA); ok && absolute(root) == "" {
			t.Errorf("data root %q", root)
		}
		if ev, ok := parseEvent(body); ok && !fullID(ev.id) {
			t.Errorf("event %+v", ev)
		}
	})
}

func sound(t *testing.T, c Container, names ...string) {
	t.Helper()
	if !fullID(c.ID) || c.LogPath != "" && (!filepath.IsAbs(c.LogPath) || strings.Contains(c.LogPath, "..") && c.LogPath != filepath.Clean(c.LogPath)) {
		t.Errorf("unsound: %+v", c)
	}
	for _, n := range names {
		if n != "" && checkName(n) != nil {
			t.Errorf("unsound name %q", n)
		}
	}
}

func TestParseEvent(t *testing.T) {
	ev, ok := parseEvent([]byte(eventLine))
	if !ok || ev != (event{idA, "filebeat", "die"}) {
		t.Errorf("got %+v, %v", ev, ok)
	}
	for what, line := range map[string]string{
		"a health check": strings.Replace(eventLine, `"Action":"die"`, `"Action":"exec_create: /bin/true"`, 1),
		"a network":      strings.Replace(eventLine, `"Type":"container"`, `"Type":"network"`, 1),
		"a cut line":     eventLine[:60],
	} {
		if ev, ok := parseEvent([]byte(line)); ok {
			t.Errorf("%s gives %+v", what, ev)
		}
	}
}

func TestParseDataRoot(t *testing.T) {
	if root, ok := parseDataRoot([]byte(mountinfo), idA); !ok || root != "/srv/docker" {
		t.Errorf("got %q, %v", root, ok)
	}
	for what, id := range map[string]string{"another container": idB, "nobody": ""} {
		if root, ok := parseDataRoot([]byte(mountinfo), id); ok {
			t.Errorf("%s has %q", what, root)
		}
	}
}

func TestNamesRefused(t *testing.T) {
	for _, name := range []string{"", "a/b", "../x", ".", "..", "-x", "a\x00b", "a\nb", "a b", "é", "a?x=1", "a%2fb", strings.Repeat("a", 256)} {
		if _, err := Find(t.Context(), name); err == nil || strings.Contains(err.Error(), "engines") {
			t.Errorf("%q was looked for: %v", name, err)
		}
		if err := Follow(t.Context(), name, func(Container) {}); err == nil {
			t.Errorf("%q was followed", name)
		}
	}
	for _, name := range []string{"filebeat", "a", "compose_filebeat_1", "k8s_a.b-c", idA} {
		if err := checkName(name); err != nil {
			t.Error(err)
		}
	}
}

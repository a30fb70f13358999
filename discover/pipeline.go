package discover

import (
	"bytes"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"halfopen/beatstats"
)

// Pipeline is a file of a Logstash's configuration that has beats inputs.
type Pipeline struct {
	File   string
	Config beatstats.PipelineConfig
}

// maxPipelines bounds how many files of a configuration are read.
const maxPipelines = 64

// pipelines reads the configuration that a Logstash was given (-f: a file, a
// folder or a pattern), or that lies where the image and the packages have it.
func (k *process) pipelines() {
	places := []string{"/usr/share/logstash/pipeline", "/etc/logstash/conf.d"}
	if given := option(k.raw, "f", "path.config"); given != "" {
		places = []string{given}
	}
	for _, place := range places {
		for _, path := range k.root.parts(place) {
			body, from, err := k.root.read(path)
			switch {
			case errors.Is(err, fs.ErrNotExist):
				continue
			case err != nil:
				k.miss("its pipeline: %v", err)
				continue
			}
			p, err := beatstats.ParsePipeline(bytes.NewReader(body))
			if err != nil {
				k.miss("its pipeline %q: %v", from, err)
			} else if len(p.Beats) > 0 {
				k.Pipelines = append(k.Pipelines, Pipeline{from, p})
				k.say("its pipeline with a beats input is in %s", from)
			}
		}
	}
}

// parts are the files that make up a configuration: those of a folder, as
// Logstash joins them, or of a pattern.
func (r root) parts(path string) []string {
	folder, pattern := path, "*"
	if strings.ContainsAny(filepath.Base(path), "*?[") {
		folder, pattern = filepath.Split(path)
	}
	entries, _, err := r.entries(folder)
	if err != nil {
		return []string{path} // a file
	}
	var files []string
	for _, e := range entries {
		if match, _ := filepath.Match(pattern, e.Name()); match && !e.IsDir() && !strings.HasSuffix(e.Name(), "~") {
			files = append(files, filepath.Join(folder, e.Name()))
		}
	}
	slices.Sort(files)
	return files[:min(len(files), maxPipelines)]
}

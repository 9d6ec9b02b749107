package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"qtool/internal/printable"
	"qtool/internal/source"
	"qtool/lora"
)

// notForFolders are the flags about what a GGUF file holds.
var notForFolders = []string{
	"source", "keep", "check-data", "name", "type", "pure", "tensor-type", "imatrix", "allow-requantize", "keep-split", "split-max-size", "hashes", "dry-run",
	"target-size", "target-bpw", "calibration", "target-types",
}

// checkFolderFlags finds out whether --out-hf is possible with the other flags.
func checkFolderFlags(c *cli.Context) error {
	for _, name := range notForFolders {
		if c.IsSet(name) {
			return usagef("--%s is about a GGUF file, and --out-hf writes a folder in the types of its base: give one of them", name)
		}
	}
	if info, err := os.Stat(c.String("model")); c.String("model") == source.Embedded || err == nil && !info.IsDir() {
		return usagef("--out-hf needs a base that is a Hugging Face folder, and %s is none; a GGUF file holds less than a folder does", c.String("model"))
	}
	return lora.CheckFolder(c.String("out-hf"))
}

// writeFolder adds the adapters to the weights of the folder that the base is.
func (m *merge) writeFolder(out string) error {
	s, err := lora.AddToFolder(m.c.String("model"), m.weights)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := checkSpace(need{filepath.Join(out, "model.safetensors"), s.Size()}); err != nil {
		return err
	}
	bar := m.con.progress()
	defer bar.Done()
	bar.Start(s.Size(), "bytes", "writing")
	start := time.Now()
	if err := s.WriteFolder(m.c.Context, out, m.folderMetadata(), bar.Set); err != nil {
		return err
	}
	seconds := time.Since(start).Seconds()
	if m.con.json {
		return m.con.printJSON(struct {
			Output   string           `json:"output"`
			Changed  int              `json:"changed_weights"`
			Bytes    int64            `json:"bytes"`
			Seconds  float64          `json:"seconds"`
			Adapters []*mergedAdapter `json:"adapters"`
		}{out, s.Changed, s.Size(), seconds, m.adapters})
	}
	bar.Note("%s: %s, %d weights changed, written in %.1f s", out, printable.Bytes(s.Size()), s.Changed, seconds)
	return nil
}

// folderMetadata is what the files of weights say of where they come from.
func (m *merge) folderMetadata() map[string]string {
	texts := map[string]string{"format": "pt", "qtool.merge.base.name": m.identity.Name}
	var adapters []string
	for _, a := range m.adapters {
		adapters = append(adapters, fmt.Sprintf("%s:%g (tensors %s)", filepath.Base(a.Path), a.Scale, a.SHA256))
	}
	texts["qtool.merge.adapters"] = strings.Join(adapters, ", ")
	return texts
}

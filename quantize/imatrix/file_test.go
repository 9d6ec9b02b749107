package imatrix_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"qtool/quantize"
	"qtool/quantize/imatrix"
)

var _ quantize.Importance = (*imatrix.File)(nil)

func TestEntriesAreReadOneByOneFromBothForms(t *testing.T) {
	want := sample()
	legacy, err := want.AppendLegacy(nil)
	must(err)
	for name, b := range map[string][]byte{"GGUF": encode(t, want), "legacy": legacy} {
		path := filepath.Join(t.TempDir(), "matrix")
		must(os.WriteFile(path, b, 0o600))
		whole, err := imatrix.Read(path)
		must(err)
		f, err := imatrix.Open(path)
		must(err)
		if f.Len() != whole.Len() || f.Header.Chunks != whole.Chunks || !cmp.Equal(f.Header.Datasets, whole.Datasets) {
			t.Errorf("%s: %d entries, %d chunks, datasets %v", name, f.Len(), f.Header.Chunks, f.Header.Datasets)
		}
		for _, weight := range f.Names() {
			e, err := f.Entry(weight)
			must(err)
			again, _ := whole.Entry(weight)
			if diff := cmp.Diff(again, e); diff != "" {
				t.Errorf("%s, %s: %s", name, weight, diff)
			}
			w, err := f.Weights(weight)
			must(err)
			if diff := cmp.Diff(again.Weights(), w); diff != "" {
				t.Errorf("%s, %s: %s", name, weight, diff)
			}
		}
		if w, err := f.Weights("no such weight"); w != nil || err != nil {
			t.Errorf("%s: a weight without an entry has %v, %v", name, w, err)
		}
		must(f.Close())
	}
}

func TestDamagedFilesAreNotOpened(t *testing.T) {
	legacy, err := sample().AppendLegacy(nil)
	must(err)
	path := filepath.Join(t.TempDir(), "matrix")
	for _, whole := range [][]byte{encode(t, sample()), legacy} {
		for _, n := range []int{0, 3, 4, len(whole) / 3} {
			must(os.WriteFile(path, whole[:n], 0o600))
			if f, err := imatrix.Open(path); err == nil {
				t.Errorf("%d of %d bytes are opened: %v", n, len(whole), f.Names())
			}
		}
	}
	must(os.WriteFile(path, bytes.Repeat([]byte{1}, 64), 0o600))
	if _, err := imatrix.Open(path); !errors.Is(err, imatrix.ErrFormat) {
		t.Errorf("bytes of nothing: %v", err)
	}
	if _, err := imatrix.Open(filepath.Join(t.TempDir(), "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := imatrix.Open(t.TempDir()); err == nil {
		t.Error("a folder is opened")
	}
}

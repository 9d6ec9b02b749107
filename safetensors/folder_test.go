package safetensors

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func fiveTensors() []*Tensor {
	var out []*Tensor
	for i := range 5 {
		out = append(out, tensor(fmt.Sprint("t", i), U8, []byte{byte(i), 1, 2, 3}, 4))
	}
	return out
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range list {
		out = append(out, e.Name())
	}
	return out
}

// set is a list of tensors with the methods of a file.
type set []*Tensor

func (s set) Tensors() []*Tensor { return s }
func (s set) Tensor(name string) (*Tensor, bool) {
	i := slices.IndexFunc(s, func(t *Tensor) bool { return t.Name == name })
	return s[max(i, 0)], i >= 0
}

func TestFoldersRoundTripInOneFileAndInShards(t *testing.T) {
	for limit, want := range map[int64][]string{
		0: {"model.safetensors"},
		8: {"model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors", IndexFile},
		1: {"model-00001-of-00005.safetensors", "model-00002-of-00005.safetensors", "model-00003-of-00005.safetensors",
			"model-00004-of-00005.safetensors", "model-00005-of-00005.safetensors", IndexFile},
	} {
		dir := t.TempDir()
		if err := WriteFolder(context.Background(), dir, fiveTensors(), map[string]string{"format": "pt"}, limit); err != nil {
			t.Fatal(err)
		}
		if got := names(t, dir); !slices.Equal(got, want) {
			t.Errorf("limit %d: files %q", limit, got)
		}
		f, err := OpenFolder(dir)
		if err != nil {
			t.Fatal(err)
		}
		sameContent(t, set(fiveTensors()), f)
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestAFolderMayNotHoldTwoForms(t *testing.T) {
	dir := t.TempDir()
	ctx := context.Background()
	if err := WriteFolder(ctx, dir, fiveTensors(), nil, 8); err != nil {
		t.Fatal(err)
	}
	if err := WriteFolder(ctx, dir, fiveTensors(), nil, 0); err == nil || !strings.Contains(err.Error(), "already holds") {
		t.Error(err)
	}
	if err := WriteFile(ctx, filepath.Join(dir, SingleFile), fiveTensors(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenFolder(dir); err == nil || !strings.Contains(err.Error(), "remove one") {
		t.Error(err)
	}
}

// failing is data that cannot be read.
type failing struct{}

func (failing) ReadAt([]byte, int64) (int, error) { return 0, io.ErrClosedPipe }

func TestAFailedWriteLeavesTheFolderAsItWas(t *testing.T) {
	dir := t.TempDir()
	bad := append(fiveTensors(), &Tensor{Name: "z", DType: U8, Shape: []int{4}, Data: failing{}})
	for _, limit := range []int64{0, 8} {
		if err := WriteFolder(context.Background(), dir, bad, nil, limit); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("limit %d: %v", limit, err)
		}
		if left := names(t, dir); len(left) > 0 {
			t.Errorf("limit %d: left %q", limit, left)
		}
	}
}

func TestIndexAndShardsMustAgree(t *testing.T) {
	const shard = "model-00001-of-00001.safetensors"
	entry := func(tensor, file string) string { return fmt.Sprintf("%q:%q", tensor, file) }
	all := func(extra ...string) string {
		list := append([]string{entry("t0", shard), entry("t1", shard), entry("t2", shard), entry("t3", shard)}, extra...)
		return `{"weight_map":{` + strings.Join(list, ",") + `}}`
	}
	for name, c := range map[string]struct{ index, says string }{
		"agreeing":         {all(entry("t4", shard)), ""},
		"tensor unlisted":  {all(), "holds it, the index says"},
		"tensor missing":   {all(entry("t4", shard), entry("t5", shard)), "does not hold it"},
		"tensor twice":     {all(entry("t4", shard), entry("t4", shard)), `"t4" comes twice`},
		"escaping":         {all(entry("t4", "../"+shard)), "inside the folder"},
		"absolute":         {all(entry("t4", "/etc/passwd")), "inside the folder"},
		"no map":           {`{}`, "expected a weight_map"},
		"map of no string": {`{"weight_map":{"t0":1}}`, "expected a string"},
		"cut":              {`{"weight_map":{`, "ends too early"},
	} {
		dir := t.TempDir()
		if err := WriteFile(context.Background(), filepath.Join(dir, shard), fiveTensors(), nil); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, IndexFile), []byte(c.index), 0o666); err != nil {
			t.Fatal(err)
		}
		f, err := OpenFolder(dir)
		switch {
		case c.says == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.says == "":
			f.Close()
		case !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), c.says):
			t.Errorf("%s: the error does not say %q: %v", name, c.says, err)
		}
	}
}

func TestAMissingShardMakesAFolderInvalid(t *testing.T) {
	dir := t.TempDir()
	index := []byte(`{"weight_map": {"t0": "model-00001-of-00001.safetensors"}}`)
	if err := os.WriteFile(filepath.Join(dir, IndexFile), index, 0o666); err != nil {
		t.Fatal(err)
	}
	_, err := OpenFolder(dir)
	if !errors.Is(err, fs.ErrNotExist) || !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "model-00001-of-00001") {
		t.Error(err)
	}
}

func TestAFolderWithoutModelSaysWhatIsMissing(t *testing.T) {
	_, err := OpenFolder(t.TempDir())
	if !errors.Is(err, fs.ErrNotExist) || !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), SingleFile) {
		t.Error(err)
	}
}

func TestAnOpenFileIsAViewThatDiesWithIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.safetensors")
	if err := WriteFile(context.Background(), path, fiveTensors(), nil); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	x, _ := f.Tensor("t3")
	view, ok := x.Data.(Viewer)
	if b := view.Bytes(); !ok || runtime.GOOS == "linux" && !slices.Equal(b, []byte{3, 1, 2, 3}) {
		t.Errorf("view %v", b)
	}
	f.Close()
	if _, err := x.Bytes(); err == nil || view.Bytes() != nil {
		t.Errorf("readable after Close: %v", err)
	}
}

package gguf

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"qtool/internal/mmap"
	"qtool/internal/panics"
)

// faulty is data that reading panics of.
type faulty struct{ Memory }

func (f faulty) ReadAt(p []byte, off int64) (int, error) {
	if len(p) > 0 {
		panic("faulty data")
	}
	return f.Memory.ReadAt(p, off)
}

func TestAPanicWhileWritingIsRaisedInTheCallerAndLeavesNothing(t *testing.T) {
	m := floats(chunk, "a", "b", "c")
	for name, f := range map[string]struct {
		data io.ReaderAt
		opts []WriteOption
	}{
		"data":     {faulty{m.Tensors()[1].Data.(Memory)}, nil},
		"progress": {m.Tensors()[1].Data, []WriteOption{WithProgress(func(*Tensor, int64, int64) { panic("faulty progress") })}},
	} {
		for _, threads := range []int{1, 4} {
			tensors := append([]*Tensor(nil), m.Tensors()...)
			changed := *tensors[1]
			changed.Data = f.data
			tensors[1] = &changed
			dir := t.TempDir()
			for _, write := range []func(Model, ...WriteOption) error{
				func(m Model, opts ...WriteOption) error {
					return WriteFile(t.Context(), filepath.Join(dir, "out.gguf"), m, opts...)
				},
				func(m Model, opts ...WriteOption) error { return Write(t.Context(), io.Discard, m, opts...) },
			} {
				func() {
					defer func() {
						p, ok := recover().(*panics.Panic)
						if !ok || !strings.HasPrefix(p.Error(), "faulty") || !strings.Contains(string(p.Stack), "fault_test.go") {
							t.Errorf("%s: %v", name, p)
						}
					}()
					err := write(Assemble(m.Metadata(), tensors), append(f.opts, WithThreads(threads))...)
					t.Errorf("%s: no panic, %v", name, err)
				}()
			}
			if left, _ := os.ReadDir(dir); len(left) > 0 {
				t.Errorf("%s: left behind %v", name, left)
			}
		}
	}
}

// view is data that is touched where it lies, as a conversion does.
type view struct{ t *Tensor }

func (v view) ReadAt(p []byte, off int64) (int, error) {
	b := v.t.Data.(*mapped).m.Bytes()[v.t.Data.(*mapped).off:][:v.t.Size()]
	n := copy(p, b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func TestAFileThatIsCutWhileItIsConvertedIsAnErrorThatNamesIt(t *testing.T) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.gguf"), filepath.Join(dir, "out.gguf")
	if err := WriteFile(t.Context(), in, floats(chunk, "a", "b", "c")); err != nil {
		t.Fatal(err)
	}
	f, err := Open(in)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var tensors []*Tensor
	for _, tensor := range f.Tensors() {
		if _, ok := tensor.Data.(*mapped); !ok {
			t.Skip("files are not mapped here")
		}
		changed := *tensor
		changed.Data = view{tensor}
		tensors = append(tensors, &changed)
	}
	if err := os.Truncate(in, 5<<20); err != nil {
		t.Skip(err) // a mapped file cannot be cut on every platform
	}
	err = WriteFile(t.Context(), out, Assemble(f.Metadata(), tensors))
	if !errors.Is(err, mmap.ErrShrunk) || !strings.Contains(err.Error(), in) {
		t.Error(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left behind %v", left)
	}
}

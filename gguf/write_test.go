package gguf

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// floats is a model of tensors of n float32 each, whose data counts up.
func floats(n int, names ...string) Model {
	md := &Metadata{}
	md.Set("general.architecture", "test")
	var tensors []*Tensor
	for i, name := range names {
		b := make([]byte, 4*n)
		for k := range b {
			b[k] = byte(k + i)
		}
		tensors = append(tensors, &Tensor{Name: name, Shape: []int{n}, Data: Memory(b)})
	}
	return Assemble(md, tensors)
}

// pouring is data that writes itself.
type pouring struct {
	Memory
	pour func(w io.Writer) (int64, error)
}

func (p pouring) WriteTo(w io.Writer) (int64, error) { return p.pour(w) }

// pour replaces the data of the last tensor of m.
func pour(m Model, f func(w io.Writer) (int64, error)) Model {
	t := m.Tensors()[len(m.Tensors())-1]
	t.Data = pouring{t.Data.(Memory), f}
	return m
}

func TestDataIsStreamedThroughWriterTo(t *testing.T) {
	m := floats(1000, "a", "b")
	want, _ := rewrite(t, m)
	held := m.Tensors()[1].Data.(Memory)
	pour(m, func(w io.Writer) (int64, error) {
		for i := range held { // in the smallest steps
			if _, err := w.Write(held[i : i+1]); err != nil {
				return int64(i), err
			}
		}
		return int64(len(held)), nil
	})
	if got, _ := rewrite(t, m); !bytes.Equal(got, want) {
		t.Error("the bytes differ")
	}
}

func TestTooFewOrTooManyBytesAreAnError(t *testing.T) {
	ignoring := func(n int) Model {
		return pour(floats(8, "t"), func(w io.Writer) (int64, error) {
			w.Write(make([]byte, n)) // a source that does not look at errors
			return int64(n), nil
		})
	}
	short, long := floats(8, "t"), floats(8, "t")
	short.Tensors()[0].Data = Memory(make([]byte, 31))
	long.Tensors()[0].Data = Memory(make([]byte, 33))
	for name, c := range map[string]struct {
		m    Model
		says string
	}{
		"short":         {short, "expected 32 bytes of data, its source gave 31"},
		"long":          {long, "more bytes"},
		"short, poured": {ignoring(31), "expected 32 bytes of data, its source gave 31"},
		"long, poured":  {ignoring(33), "more bytes"},
	} {
		path := filepath.Join(t.TempDir(), "m.gguf")
		err := WriteFile(t.Context(), path, c.m)
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), `tensor "t"`) {
			t.Errorf("%s: %v", name, err)
		}
		nothingIn(t, filepath.Dir(path))
	}
}

func TestASourceThatFailsIsNamed(t *testing.T) {
	broken := errors.New("the disk is on fire")
	m := floats(8, "t")
	m.Tensors()[0].Data = unreadable{broken}
	err := Write(t.Context(), io.Discard, m)
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), `tensor "t"`) {
		t.Error(err)
	}
}

func nothingIn(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v %v", entries, err)
	}
}

func TestProgressEndsAtTheTotal(t *testing.T) {
	m := floats(chunk, "a", "b", "c") // four chunks each
	for _, opts := range [][]WriteOption{nil, {WithSplitTensors(1)}} {
		var last, calls int64
		var order []string
		opts = append(opts, WithProgress(func(x *Tensor, written, total int64) {
			if total != 3*4*chunk || written <= last {
				t.Errorf("%d of %d after %d", written, total, last)
			}
			if len(order) == 0 || order[len(order)-1] != x.Name {
				order = append(order, x.Name)
			}
			last = written
			calls++
		}))
		if err := WriteFile(t.Context(), filepath.Join(t.TempDir(), "m.gguf"), m, opts...); err != nil {
			t.Fatal(err)
		}
		if last != 3*4*chunk || calls < 12 || strings.Join(order, "") != "abc" {
			t.Errorf("ended at %d after %d calls: %v", last, calls, order)
		}
	}
}

func TestCancellingLeavesWhatWasThere(t *testing.T) {
	for name, opts := range map[string][]WriteOption{"one file": nil, "split": {WithSplitTensors(1)}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			ctx, cancel := context.WithCancelCause(t.Context())
			stop := errors.New("stopped by the user")
			opts = append(opts, WithProgress(func(_ *Tensor, written, _ int64) {
				if written > 5*chunk {
					cancel(stop)
				}
			}))
			path := filepath.Join(dir, "m.gguf")
			if err := WriteFile(ctx, path, floats(chunk, "a", "b"), opts...); !errors.Is(err, stop) {
				t.Error(err)
			}
			nothingIn(t, dir)
		})
	}
}

func TestAFailureKeepsTheOldFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.gguf")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := WriteFile(ctx, path, floats(10, "a")); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if b, _ := os.ReadFile(path); string(b) != "old" {
		t.Errorf("found %q", b)
	}
}

func TestAFileCanBeReplacedByItsOwnContent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.gguf")
	m := floats(1000, "a", "b")
	if err := WriteFile(t.Context(), path, m); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path, WithoutMapping())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := WriteFile(t.Context(), path, f); err != nil {
		t.Skip(err) // not on every platform while it is open
	}
	again, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	sameModel(t, m, again)
}

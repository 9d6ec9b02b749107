package gguf

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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

const chunk = 1 << 20

// observed is data that remembers what is done with it.
type observed struct {
	Memory
	mu              sync.Mutex
	needed, dropped int
	reads           map[int64]int // bytes by offset
}

func (o *observed) ReadAt(p []byte, off int64) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(p) > 0 && off < int64(len(o.Memory)) {
		o.reads[off] += len(p)
	}
	return o.Memory.ReadAt(p, off)
}

var _ Adviser = (*observed)(nil)

func (o *observed) WillNeed() { o.needed++ }
func (o *observed) DontNeed() { o.dropped++ }

// Sizes around those of parts, so that tensors and padding begin and end at all places of them.
func TestAFileIsTheSameHoweverItIsCutIntoPartsAndEveryByteIsReadOnce(t *testing.T) {
	rng := rand.New(rand.NewPCG(51, 52))
	for round := range 12 {
		md := &Metadata{}
		md.Set("general.name", strings.Repeat("x", rng.IntN(2*leastPart)))
		var tensors []*Tensor
		for i := range 1 + rng.IntN(40) {
			n := []int{0, 1, 8, leastPart / 4, leastPart/4 - 1, rng.IntN(leastPart), rng.IntN(4 * leastPart)}[rng.IntN(7)]
			data := &observed{Memory: make(Memory, 4*n), reads: map[int64]int{}}
			for k := range data.Memory {
				data.Memory[k] = byte(rng.Uint32())
			}
			tensors = append(tensors, &Tensor{Name: fmt.Sprint("t", i), Shape: []int{n}, Data: data})
		}
		m := Assemble(md, tensors)
		im, err := layOut(md, tensors)
		if err != nil {
			t.Fatal(err)
		}
		want := slices.Clone(im.header)
		for _, x := range tensors {
			want = append(want, x.Data.(*observed).Memory...)
			want = append(want, make([]byte, padTo(int64(len(want)), 32)-int64(len(want)))...)
		}
		var got bytes.Buffer
		if err := Write(t.Context(), &got, m, WithThreads(1+round%5)); err != nil || !bytes.Equal(got.Bytes(), want) {
			t.Fatalf("round %d: %v, %d bytes, expected %d; they differ: %v", round, err, got.Len(), len(want), !bytes.Equal(got.Bytes(), want))
		}
		for _, x := range tensors {
			o, read := x.Data.(*observed), 0
			for _, n := range o.reads {
				read += n
			}
			if read != len(o.Memory) || read > 0 && (o.needed != 1 || o.dropped != 1) {
				t.Errorf("%d of %d bytes were read, the data was asked for %d times and dropped %d times", read, len(o.Memory), o.needed, o.dropped)
			}
		}
		path := filepath.Join(t.TempDir(), "m.gguf")
		if err := WriteFile(t.Context(), path, m, WithThreads(1+round%4)); err != nil {
			t.Fatal(err)
		}
		if b, _ := os.ReadFile(path); !bytes.Equal(b, want) {
			t.Errorf("round %d: the file differs", round)
		}
	}
}

// The first error in the order of the file counts, whoever meets one first.
func TestOfSeveralErrorsTheFirstInTheFileIsReported(t *testing.T) {
	for range 20 {
		m := floats(chunk, "a", "b", "c")
		m.Tensors()[0].Data = m.Tensors()[0].Data.(Memory)[:3*chunk]
		m.Tensors()[2].Data = Memory(nil)
		for _, threads := range []int{1, 2, 7} {
			err := Write(t.Context(), io.Discard, m, WithThreads(threads))
			if err == nil || !strings.Contains(err.Error(), `tensor "a"`) {
				t.Fatalf("%d threads: %v", threads, err)
			}
		}
	}
}

func TestTooFewOrTooManyBytesAreAnError(t *testing.T) {
	short, long := floats(8, "t"), floats(8, "t")
	short.Tensors()[0].Data = Memory(make([]byte, 31))
	long.Tensors()[0].Data = Memory(make([]byte, 33))
	for name, c := range map[string]struct {
		m    Model
		says string
	}{
		"short": {short, "expected 32 bytes of data, its source gave 31"},
		"long":  {long, "more bytes"},
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

// slow is data of which a part takes long.
type slow struct {
	Memory
	read  atomic.Int64 // bytes
	begun func()
}

func (s *slow) ReadAt(p []byte, off int64) (int, error) {
	if s.read.Add(int64(len(p))) > chunk/2 {
		s.begun()
	}
	return s.Memory.ReadAt(p, off)
}

func TestCancellingDoesNotWaitForTheEndOfAPart(t *testing.T) {
	m := floats(16*chunk, "a")
	ctx, cancel := context.WithCancel(t.Context())
	data := &slow{Memory: m.Tensors()[0].Data.(Memory), begun: cancel}
	m.Tensors()[0].Data, m.Tensors()[0].Shape = data, []int{chunk / 256, 16 * 256}
	if err := Write(ctx, io.Discard, m, WithThreads(1)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if n := data.read.Load(); n > chunk*3/4 {
		t.Errorf("%d bytes were read", n)
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

package gguf

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// hashable is a model with values and tensors of several kinds, one of them empty.
func hashable() Model {
	md := &Metadata{}
	md.Set("general.architecture", "test")
	md.Set("general.file_type", uint32(7))
	md.Set("test.rates", []float32{1, 2.5})
	md.Set("test.words", []string{"a", "b c", ""})
	md.Set("test.nested", Arrays{[]int8{1}, []string{"x"}})
	data := func(n int) Memory {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(3*i + n)
		}
		return b
	}
	return Assemble(md, []*Tensor{
		{Name: "norm", Type: F32, Shape: []int{7}, Data: data(28)},
		{Name: "with blanks in it", Type: Q4_0, Shape: []int{32, 3}, Data: data(54)},
		{Name: "empty", Type: F32, Shape: []int{0}, Data: Memory{}},
		{Name: "scalar", Type: F16, Data: data(2)},
		{Name: "of tomorrow", Type: 250, Shape: []int{9}, Data: data(50), RawSize: 50},
		{Name: "last", Type: F16, Shape: []int{5, 2}, Data: data(20)},
	})
}

// writeHashed writes m with hashes and returns the bytes of the file.
func writeHashed(t *testing.T, m Model, opts ...WriteOption) (path string, b []byte) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "m.gguf")
	if err := WriteFile(t.Context(), path, m, append(opts, WithHashes())...); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, b
}

// reopen writes m without asking for hashes and opens the file.
func reopen(t *testing.T, m Model, opts ...WriteOption) *File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "again.gguf")
	if err := WriteFile(t.Context(), path, m, opts...); err != nil {
		t.Fatal(err)
	}
	paths, err := ShardPaths(path, m, opts...)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Open(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestHashesAreOfWhatIsRead(t *testing.T) {
	path, b := writeHashed(t, hashable())
	for _, opts := range [][]OpenOption{nil, {WithoutMapping()}} {
		f, err := Open(path, opts...)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := CheckHashes(t.Context(), f); err != nil {
			t.Error(err)
		}
	}
	if size, err := FileSize(hashable(), WithHashes()); err != nil || size != int64(len(b)) {
		t.Errorf("FileSize %d, %v; the file has %d bytes", size, err, len(b))
	}
	if err := CheckHashes(t.Context(), hashable()); !errors.Is(err, ErrMissing) {
		t.Errorf("without hashes: %v", err)
	}
	if err := Write(t.Context(), &bytes.Buffer{}, hashable(), WithHashes()); err == nil {
		t.Error("Write cannot know the hashes and wrote them")
	}
}

// Tensors of all sizes around those of the parts in which files are written.
func TestHashesDoNotDependOnPartsAndThreads(t *testing.T) {
	big := floats(leastPart/4+11, "a", "b", "c", "d", "e")
	_, want := writeHashed(t, big, WithThreads(1))
	for _, threads := range []int{2, 3, 8} {
		path, b := writeHashed(t, big, WithThreads(threads))
		if !bytes.Equal(b, want) {
			t.Errorf("%d threads give another file", threads)
		}
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := CheckHashes(t.Context(), f); err != nil {
			t.Error(err)
		}
	}
}

func TestEveryFlippedBitOfAFileWithHashesIsFound(t *testing.T) {
	_, b := writeHashed(t, hashable())
	for i := range b {
		for bit := range 8 {
			b[i] ^= 1 << bit
			f, err := Parse(bytes.NewReader(b), int64(len(b)))
			if err == nil && Hashed(f) {
				var r *HashReport
				if r, err = ExamineHashes(t.Context(), f); err == nil {
					err = r.Err()
				}
			}
			if !errors.Is(err, ErrFormat) {
				t.Errorf("byte %d of %q, bit %d: %v", i, b[max(0, i-20):min(len(b), i+20)], bit, err)
			}
			if b[i] ^= 1 << bit; t.Failed() && i > 100 {
				return
			}
		}
	}
}

func TestDamageIsNamed(t *testing.T) {
	_, b := writeHashed(t, hashable())
	last := bytes.LastIndex(b, []byte("last"))
	for _, c := range []struct {
		at           int
		tensor, says string
	}{
		{len(b) - 32, "last", "is not as it was written"},
		{last, "mast", `its data are those of "last"`},
		{last + 4 + 4 + 8, "last", "of shape 5x2, found F16 of shape 5x3"},
		{bytes.LastIndex(b, []byte("scalar")) + 6 + 4, "scalar", "those of F16 of shape , found F32"},
	} {
		spoiled := bytes.Clone(b)
		spoiled[c.at] ^= 1
		f, err := Parse(bytes.NewReader(spoiled), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		err = CheckHashes(t.Context(), f)
		var bad *HashError
		if !errors.As(err, &bad) || bad.Tensor != c.tensor || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.tensor, err)
		}
	}
}

// A program that does not know the keys copies them to a model of other tensors.
func TestHashesThatAnotherProgramCopiedAreToldFromDamage(t *testing.T) {
	path, _ := writeHashed(t, hashable())
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	change := func(md func(*Metadata), tensors func([]*Tensor) []*Tensor) *HashReport {
		m := f.Metadata().Clone()
		md(m)
		var list []*Tensor
		for _, t := range f.Tensors() {
			other := *t
			list = append(list, &other)
		}
		r, err := ExamineHashes(t.Context(), Assemble(m, tensors(list)))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	same := func(t []*Tensor) []*Tensor { return t }
	none := func(*Metadata) {}
	fileType := func(md *Metadata) { md.Set("general.file_type", uint32(2)) }
	requantized := func(t []*Tensor) []*Tensor {
		t[1].Type, t[1].Data = Q8_0, Memory(make([]byte, 102))
		return t
	}
	pruned := func(t []*Tensor) []*Tensor { return t[1:] }
	renumbered := func(t []*Tensor) []*Tensor { t[5].Data = Memory(make([]byte, 20)); return t[1:] }

	for name, r := range map[string]*HashReport{
		"requantized":             change(fileType, requantized),
		"requantized, same keys":  change(none, requantized),
		"pruned":                  change(none, pruned),
		"pruned and renumbered":   change(fileType, renumbered),
		"pruned, other file type": change(fileType, pruned),
	} {
		if !r.Rewritten || r.Err() != nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if r := change(func(md *Metadata) { md.Set("x", true) }, same); r.Err() != nil || len(r.Added) != 1 {
		t.Errorf("an added key: %+v", r)
	}
	if r := change(func(md *Metadata) { md.Delete("test.words") }, same); r.Err() != nil || len(r.Removed) != 1 {
		t.Errorf("a removed key: %+v", r)
	}
	if r := change(fileType, same); r.Err() == nil || r.Damage[0].Key != "general.file_type" {
		t.Errorf("another value: %+v", r)
	}
	reversed := func(t []*Tensor) []*Tensor {
		for i := range len(t) / 2 {
			t[i], t[len(t)-1-i] = t[len(t)-1-i], t[i]
		}
		return t
	}
	if r := change(none, reversed); r.Err() != nil || r.Rewritten {
		t.Errorf("another order: %+v", r)
	}
}

func TestHashesStayWhereTheyAreValidAndElseAreDropped(t *testing.T) {
	path, b := writeHashed(t, floats(16, "a", "b", "c"))
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	split := reopen(t, f, WithSplitTensors(1))
	if err := CheckHashes(t.Context(), split); err != nil || len(split.Paths()) != 3 {
		t.Errorf("split in %d: %v", len(split.Paths()), err)
	}
	joined := reopen(t, split)
	if again, err := os.ReadFile(joined.Paths()[0]); err != nil || !bytes.Equal(again, b) {
		t.Errorf("split and joined it is another file (%v)", err)
	}
	if hashed := reopen(t, floats(16, "a", "b", "c"), WithSplitTensors(2), WithHashes()); CheckHashes(t.Context(), hashed) != nil {
		t.Error("hashes of shards do not agree")
	}
	md := f.Metadata().Clone()
	md.Set("general.name", "other")
	if other := reopen(t, Assemble(md, f.Tensors())); Hashed(other) {
		t.Error("hashes of other metadata were kept")
	}
	if other := reopen(t, Assemble(f.Metadata(), f.Tensors()[:2])); Hashed(other) {
		t.Error("hashes of other tensors were kept")
	}
	if renewed := reopen(t, Assemble(md, f.Tensors()[:2]), WithHashes()); CheckHashes(t.Context(), renewed) != nil {
		t.Error("renewed hashes do not agree")
	}
}

func TestATensorThatCannotBeReadLeavesNoFileWithHashes(t *testing.T) {
	m := floats(leastPart, "a", "b", "c", "d")
	m.Tensors()[2].Data = Memory(make([]byte, 100))
	dir := t.TempDir()
	if err := WriteFile(t.Context(), filepath.Join(dir, "m.gguf"), m, WithHashes(), WithThreads(4)); err == nil {
		t.Error("a tensor is too short, and no error")
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

package gguf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
)

func TestEveryVersionAndByteOrderReadsTheSame(t *testing.T) {
	want, err := sample(3, false).parse()
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			f, err := sample(v.version, v.big).parse()
			if err != nil {
				t.Fatal(err)
			}
			if f.Version() != int(v.version) || (f.ByteOrder() == binary.BigEndian) != v.big || f.Alignment() != 32 {
				t.Errorf("version %d, %v, alignment %d", f.Version(), f.ByteOrder(), f.Alignment())
			}
			if got := f.Metadata().All(); !reflect.DeepEqual(got, sampleKVs) {
				t.Errorf("metadata: %v", got)
			}
			sameModel(t, want, f)
		})
	}
}

func TestMappedAndReadFilesAreTheSame(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.gguf")
	for _, v := range variants {
		if err := os.WriteFile(path, sample(v.version, v.big).b, 0o644); err != nil {
			t.Fatal(err)
		}
		a, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := Open(path, WithoutMapping())
		if err != nil {
			t.Fatal(err)
		}
		sameModel(t, a, b)
		for _, f := range []*File{a, b} {
			if got := f.Paths(); len(got) != 1 || got[0] != path {
				t.Errorf("paths %v", got)
			}
			for range 2 {
				if err := f.Close(); err != nil {
					t.Error(err)
				}
			}
			if _, err := mustFind(t, f, "floats").Bytes(); err == nil {
				t.Error("a closed file gave data")
			}
		}
	}
}

func TestMappedTensorsAreViewsAndTakeHints(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.gguf")
	if err := os.WriteFile(path, sample(3, false).b, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.sources[0].mapping == nil {
		t.Skip("no mapping on this platform")
	}
	x := mustFind(t, f, "floats")
	x.WillNeed()
	a, _ := x.Bytes()
	x.DontNeed()
	b, _ := x.Bytes()
	if &a[0] != &b[0] || !bytes.Equal(a, dataOf(t, x)) || cap(a) != len(a) {
		t.Error("not a view of just the tensor")
	}
}

func TestReadAtStaysInsideTheTensor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.gguf")
	for _, v := range variants {
		for _, opts := range [][]OpenOption{nil, {WithoutMapping()}} {
			if err := os.WriteFile(path, sample(v.version, v.big).b, 0o644); err != nil {
				t.Fatal(err)
			}
			f, err := Open(path, opts...)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			for _, x := range f.Tensors() {
				all := dataOf(t, x)
				for off := range len(all) + 3 {
					for n := range len(all) + 3 {
						p := make([]byte, n)
						got, err := x.Data.ReadAt(p, int64(off))
						want := all[min(off, len(all)):min(off+n, len(all))]
						if !bytes.Equal(p[:got], want) || got < n && err != io.EOF || got == n && n > 0 && err != nil && err != io.EOF {
							t.Fatalf("%s %s: ReadAt(%d bytes, %d) gave %d, %v", v.name, x.Name, n, off, got, err)
						}
					}
				}
			}
		}
	}
}

func TestEveryTruncationIsAFormatError(t *testing.T) {
	for _, v := range variants {
		b := sample(v.version, v.big).b
		for n := range b {
			_, err := Parse(bytes.NewReader(b[:n]), int64(n))
			var bad *FormatError
			if !errors.Is(err, ErrFormat) || !errors.As(err, &bad) || bad.Reading == "" || bad.Offset > int64(n)+64 {
				t.Fatalf("%s cut to %d of %d bytes: %v", v.name, n, len(b), err)
			}
		}
	}
}

func TestAFileShorterThanItsSizeIsAFormatError(t *testing.T) {
	b := sample(3, false).b
	if _, err := Parse(bytes.NewReader(b[:100]), int64(len(b))); !errors.Is(err, ErrFormat) {
		t.Error(err)
	}
}

func TestAnIOErrorIsNoFormatError(t *testing.T) {
	broken := errors.New("the disk is on fire")
	_, err := Parse(unreadable{broken}, 1000)
	if !errors.Is(err, broken) || errors.Is(err, ErrFormat) {
		t.Error(err)
	}
}

func TestAnyChangedByteIsReadOrRefused(t *testing.T) {
	for _, v := range variants {
		b := sample(v.version, v.big).b
		for i := range b {
			for _, x := range []byte{0, 1, 0x7f, 0x80, 0xff, b[i] ^ 1, b[i] + 1} {
				c := bytes.Clone(b)
				c[i] = x
				checkParse(t, c)
			}
		}
	}
}

// checkParse is what holds for any bytes: an error is a format error, and a
// file that is accepted can be read, and written with the same content.
func checkParse(t *testing.T, b []byte) {
	t.Helper()
	f, err := Parse(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		if !errors.Is(err, ErrFormat) {
			t.Fatalf("no format error: %v", err)
		}
		return
	}
	for _, x := range f.Tensors() {
		if x.Size() > int64(len(b)) {
			t.Fatalf("tensor %s has %d bytes in a file of %d", x.Name, x.Size(), len(b))
		}
		if _, err := x.Bytes(); err != nil {
			if errors.Is(err, ErrUnsupported) {
				return
			}
			t.Fatalf("tensor %s: %v", x.Name, err)
		}
	}
	var out bytes.Buffer
	if err := Write(t.Context(), &out, f); err != nil {
		t.Fatalf("writing what was read: %v", err)
	}
	again, err := Parse(bytes.NewReader(out.Bytes()), int64(out.Len()))
	if err != nil {
		t.Fatalf("reading what was written: %v", err)
	}
	sameModel(t, f, again)
}

func v3() *forge { return newForge(3, false) }

// lies are headers that must be refused, with a part of the message.
var lies = []struct {
	name string
	f    *forge
	says string
}{
	{"tensors without end", v3().header(1<<40, 0).zeros(76), "the count of tensors is 1099511627776, expected at most 3"},
	{"negative tensors", v3().header(1<<63, 0).zeros(76), "the count of tensors is 9223372036854775808, expected"},
	{"keys without end", v3().header(0, 1<<50).zeros(76), "the count of keys is 1125899906842624, expected at most 5"},
	{"version 4", newForge(4, false).header(0, 0), "found 4"},
	{"version 0", newForge(0, false).header(0, 0), "found 0"},
	{"key without end", v3().header(0, 1).u64(1 << 62).zeros(60), "the count of bytes of a string is 4611686018427387904, expected at most 60"},
	{"value without end", v3().header(0, 1).key("k").t(TypeString).u64(1<<64 - 1).zeros(50), `reading metadata key "k"`},
	{"array without end", v3().header(0, 1).key("k").t(TypeArray).t(TypeFloat64).u64(1 << 61).zeros(40), "array elements"},
	{"array count that overflows", v3().header(0, 1).key("k").t(TypeArray).t(TypeFloat64).u64(1<<61 + 1).zeros(40), "array elements"},
	{"strings without end", v3().header(0, 1).key("k").t(TypeArray).t(TypeString).u64(1 << 40).zeros(40), "array elements"},
	{"arrays without end", v3().header(0, 1).key("k").t(TypeArray).t(TypeArray).u64(1 << 40).zeros(40), "array elements"},
	{"empty key", v3().header(0, 1).key("").t(TypeBool).put(true).zeros(8), "empty"},
	{"key twice", v3().header(0, 2).key("k").t(TypeBool).put(true).key("k").t(TypeBool).put(true), "twice"},
	{"value type 13", v3().header(0, 1).key("k").u32(13).zeros(16), "value type 13"},
	{"array of type 99", v3().header(0, 1).key("k").t(TypeArray).u32(99).zeros(16), "value type 99"},
	{"boolean 2", v3().header(0, 1).key("k").t(TypeBool).put(uint8(2)).zeros(16), "a boolean is 0 or 1, found 2"},
	{"alignment 0", v3().header(0, 1).key(keyAlignment).t(TypeUint32).u32(0), "power of two"},
	{"alignment 48", v3().header(0, 1).key(keyAlignment).t(TypeUint32).u32(48), "power of two"},
	{"alignment 2^31", v3().header(0, 1).key(keyAlignment).t(TypeUint32).u32(1 << 31), "power of two"},
	{"alignment of another type", v3().header(0, 1).key(keyAlignment).t(TypeUint64).u64(32), "uint32"},
	{"five dimensions", v3().header(1, 0).tensor("t", F32, 0, 1, 1, 1, 1, 1).align(32).zeros(32), "at most 4 dimensions"},
	{"2^32-1 dimensions", v3().header(1, 0).str("t").u32(1<<32 - 1).zeros(60), "at most 4 dimensions"},
	{"empty second dimension", v3().header(1, 0).tensor("t", F32, 0, 4, 0).align(32).zeros(32), "empty"},
	{"negative dimension", v3().header(1, 0).tensor("t", F32, 0, 1<<64-4).align(32).zeros(32), "too large"},
	{"elements overflow", v3().header(1, 0).tensor("t", F32, 0, 1<<32, 1<<32).align(32).zeros(32), "overflows"},
	{"elements overflow to 0", v3().header(1, 0).tensor("t", F32, 0, 0, 1<<62, 4).align(32).zeros(32), "overflows"},
	{"elements overflow to 4", v3().header(1, 0).tensor("t", I8, 0, 1<<62, 2, 2, 1).align(32).zeros(32), "overflows"},
	{"bytes overflow", v3().header(1, 0).tensor("t", F64, 0, 1<<61).align(32).zeros(32), "overflows"},
	{"unknown type overflows", v3().header(1, 0).tensor("t", 77, 0, 1<<62, 1<<62).align(32).zeros(32), "overflows"},
	{"part of a block", v3().header(1, 0).tensor("t", Q4_K, 0, 128).align(32).zeros(96), "blocks of 256"},
	{"offset not aligned", v3().header(1, 0).tensor("t", F32, 16, 1).align(32).zeros(64), "multiple of the alignment"},
	{"offset beyond any file", v3().header(1, 0).tensor("t", F32, 1<<64-32, 1).align(32).zeros(64), "beyond any file"},
	{"offset beyond the file", v3().header(1, 0).tensor("t", F32, 1<<40, 1).align(32).zeros(64), "expected 4 bytes, found 0"},
	{"tensor larger than the file", v3().header(1, 0).tensor("t", F32, 0, 1000).align(32).zeros(64), "expected 4000 bytes, found 64"},
	{"tensor twice", v3().header(2, 0).tensor("t", F32, 0, 1).tensor("t", F32, 32, 1).align(32).zeros(64), "twice"},
	{"overlap", v3().header(2, 0).tensor("b", F32, 32, 1).tensor("a", F32, 0, 9).align(32).zeros(64), `overlap tensor "b"`},
	{"same place", v3().header(2, 0).tensor("b", F32, 0, 1).tensor("a", F32, 0, 1).align(32).zeros(64), "overlap"},
	{"unknown type without room", v3().header(2, 0).tensor("b", 77, 0, 1).tensor("a", F32, 0, 1).align(32).zeros(64), "unknown"},
}

func TestLiesAreRefusedCheaply(t *testing.T) {
	for _, lie := range lies {
		t.Run(lie.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := lie.f.parse()
			runtime.ReadMemStats(&after)
			if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), lie.says) {
				t.Errorf("expected %q in: %v", lie.says, err)
			}
			// Other goroutines of the test process allocate too, but little.
			if n := after.TotalAlloc - before.TotalAlloc; n > 256<<10 {
				t.Errorf("%d bytes of file cost %d bytes of memory", len(lie.f.b), n)
			}
		})
	}
}

func TestDeepNestingIsRefusedNotFollowed(t *testing.T) {
	f := v3().header(0, 1).key("k").t(TypeArray)
	for range 100_000 {
		f.t(TypeArray).u64(1)
	}
	if _, err := f.zeros(64).parse(); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "nested") {
		t.Error(err)
	}
}

func TestALieInALargeFileFailsBeforeItCosts(t *testing.T) {
	const size = 1 << 40 // a file of zeros, but for the header
	f := v3().header(0, 1).key("k").t(TypeArray).t(TypeString).u64(1 << 29).u64(1 << 63)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := Parse(sparse(f.b), size)
	runtime.ReadMemStats(&after)
	if !errors.Is(err, ErrFormat) {
		t.Error(err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("cost %d bytes of memory", n)
	}
}

// sparse is a huge file that begins with some bytes and is zero after them.
type sparse []byte

func (s sparse) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	if off < int64(len(s)) {
		copy(p, s[off:])
	}
	return len(p), nil
}

func TestOtherFilesAreRecognised(t *testing.T) {
	for head, says := range map[string]string{
		"PK\x03\x04 and more of it":                        "ZIP",
		"\x80\x02}q\x00(X\x05\x00":                         "pickle",
		"\x10\x00\x00\x00\x00\x00\x00\x00{\"a\":{}}      ": "safetensors",
		"<!DOCTYPE html><html>":                            "web page",
		"\n<html>":                                         "web page",
		"version https://git-lfs.github.com/spec/v1\n":     "git lfs pull",
		"{\n  \"architectures\": []}":                      "give the folder",
		"tjgg\x03\x00\x00\x00":                             "before GGUF",
		"\x00\x00\x00\x00\x00\x00\x00\x00":                 "incomplete",
		"gguf....":                                         `found "gguf"`,
		"GG":                                               "only 2 bytes",
		"":                                                 "only 0 bytes",
	} {
		_, err := Parse(strings.NewReader(head), int64(len(head)))
		if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: expected %q in: %v", head, says, err)
		}
	}
}

func TestACutTailNamesTheTensorAndTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.gguf")
	b := sample(3, false).b
	if err := os.WriteFile(path, b[:len(b)-4], 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := Open(path)
	for _, says := range []string{path, `"ints"`, "expected 10 bytes, found 6", "cut short"} {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("expected %q in: %v", says, err)
		}
	}
}

func TestWhatIsNoFileIsRefusedInWords(t *testing.T) {
	if _, err := Open(t.TempDir()); err == nil || !strings.Contains(err.Error(), "folder") {
		t.Error(err)
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none.gguf")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestAFileCutWhileOpenIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.gguf")
	b := v3().header(1, 0).tensor("t", I8, 0, 1<<20).align(32).zeros(1 << 20).b
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Truncate(path, 1000); err != nil {
		t.Skip(err) // a mapped file cannot be cut on every platform
	}
	if _, err := mustFind(t, f, "t").Bytes(); err == nil {
		t.Error("data that is gone was read")
	}
}

func TestTensorsCanBeReadConcurrently(t *testing.T) {
	m := floats(10_000, "a", "b", "c", "d")
	path := filepath.Join(t.TempDir(), "m.gguf")
	if err := WriteFile(t.Context(), path, m); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for _, x := range f.Tensors() {
				x.WillNeed()
				view, err := x.Bytes()
				if err != nil || !bytes.Equal(view, mustFind(t, m, x.Name).Data.(Memory)) {
					t.Errorf("tensor %s: %v", x.Name, err)
				}
				x.DontNeed()
			}
		})
	}
	readers.Wait()
}

func TestUnknownTensorTypesAreCarried(t *testing.T) {
	f := v3().header(3, 0).tensor("a", 77, 0, 10).tensor("b", F32, 64, 1).tensor("c", 5, 96, 3, 3).align(32)
	f.raw(strings.Repeat("a", 50)).zeros(14).put(float32(1)).zeros(28).raw("the last one")
	m, err := f.parse()
	if err != nil {
		t.Fatal(err)
	}
	if a, c := mustFind(t, m, "a"), mustFind(t, m, "c"); a.Size() != 64 || c.Size() != 12 {
		t.Errorf("sizes %d and %d", a.Size(), c.Size())
	}
	var out bytes.Buffer
	if err := Write(t.Context(), &out, m); err != nil {
		t.Fatal(err)
	}
	if !trailing(f.b, out.Bytes()) {
		t.Error("changed on the way")
	}
}

func TestEmptyAndScalarTensors(t *testing.T) {
	f := v3().header(3, 0).tensor("none", F32, 0, 0).tensor("one", F32, 0).tensor("end", F32, 32, 0, 5).align(32).put(float32(3))
	m, err := f.parse()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "m.gguf")
	if err := WriteFile(t.Context(), path, m); err != nil {
		t.Fatal(err)
	}
	again, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	sameModel(t, m, again)
	for _, x := range again.Tensors() {
		if _, err := x.Bytes(); err != nil {
			t.Error(err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, v := range variants {
		b := sample(v.version, v.big).b
		f.Add(b)
		f.Add(b[:len(b)/2])
		f.Add(b[:len(b)-1])
	}
	for _, lie := range lies {
		f.Add(lie.f.b)
	}
	f.Fuzz(checkParse)
}

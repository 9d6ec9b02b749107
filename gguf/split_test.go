package gguf

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"qtool/internal/sharedtest"
)

// writeSplit writes five tensors in three shards and returns their names.
func writeSplit(t *testing.T) (Model, []string) {
	t.Helper()
	m := floats(16, "a", "b", "c", "d", "e")
	path := filepath.Join(t.TempDir(), "big.gguf")
	paths, err := ShardPaths(path, m, WithSplitTensors(2))
	if err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(t.Context(), path, m, WithSplitTensors(2)); err != nil {
		t.Fatal(err)
	}
	return m, paths
}

func TestASplitModelReadsAsOne(t *testing.T) {
	m, paths := writeSplit(t)
	if len(paths) != 3 || filepath.Base(paths[1]) != "big-00002-of-00003.gguf" {
		t.Fatalf("shards %v", paths)
	}
	if found, _ := filepath.Glob(filepath.Join(filepath.Dir(paths[0]), "*")); !slices.Equal(found, paths) {
		t.Errorf("written %v", found)
	}
	for _, opts := range [][]OpenOption{nil, {WithoutMapping()}} {
		f, err := Open(paths[0], opts...)
		if err != nil {
			t.Fatal(err)
		}
		sameModel(t, m, f)
		if !slices.Equal(f.Paths(), paths) {
			t.Errorf("paths %v", f.Paths())
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestASplitModelIsReplacedAsAWhole(t *testing.T) {
	_, paths := writeSplit(t)
	m := floats(32, "p", "q", "r")
	base := strings.TrimSuffix(paths[0], "-00001-of-00003.gguf")
	if err := WriteFile(t.Context(), base, m, WithSplitTensors(1)); err != nil {
		t.Fatal(err)
	}
	f, err := Open(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sameModel(t, m, f)
}

func TestShardsCarryTheKeysOfLlamaCpp(t *testing.T) {
	_, paths := writeSplit(t)
	for i, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := Parse(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		want := []KV{{keySplitNo, uint16(i)}, {keySplitTensors, int32(5)}, {keySplitCount, uint16(3)}}
		if i == 0 {
			want = slices.Insert(want, 0, KV{"general.architecture", Value("test")})
		}
		if got := f.Metadata().All(); !slices.Equal(got, want) {
			t.Errorf("shard %d: %v", i, got)
		}
	}
}

// The hashes are those of the files that llama-gguf-split made of this model
// with --split-max-tensors 10 and with --split-max-size 1M.
func TestShardsAreByteIdenticalToLlamaCpps(t *testing.T) {
	f, err := Open(sharedtest.Path(t, "golden/archs/mixtral.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, c := range []struct {
		opt  WriteOption
		sums []string
	}{
		{WithSplitTensors(10), []string{
			"f03765a9e8f605ea7a2b54e1497f262f1f1422a39e057c049f261e77c5171e13",
			"23d532c13bbf86843654153262138bc413e7cae510a66f5a9b992f2523e2a754",
			"7d06b083c03bcd373d127545cef6dabd0aaaf1177d24af43765dff1266186183",
		}},
		{WithSplit(1_000_000), []string{
			"6b9015fc9eaf51608874495df977830c8786090b800e81a4bf7e42385d9bd6b0",
			"1c6f39aa6144f83533e6981319563ad7c943c1dbe12f14140111c0d2e1214d35",
		}},
	} {
		path := filepath.Join(t.TempDir(), "m")
		if err := WriteFile(t.Context(), path, f, c.opt); err != nil {
			t.Fatal(err)
		}
		for i, sum := range c.sums {
			b, err := os.ReadFile(ShardPath(path, i+1, len(c.sums)))
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprintf("%x", sha256.Sum256(b)); got != sum {
				t.Errorf("shard %d of %d is %s", i+1, len(c.sums), got)
			}
		}
	}
}

func TestASplitBySizeKeepsToTheSize(t *testing.T) {
	m := floats(16, "a", "b", "c", "d", "e") // 64 bytes each
	for size, want := range map[int64]int{1: 5, 64: 5, 127: 5, 128: 3, 200: 2, 320: 1, 1 << 40: 1} {
		paths, err := ShardPaths("x.gguf", m, WithSplit(size))
		if err != nil || len(paths) != want {
			t.Errorf("%d bytes: %v %v", size, paths, err)
		}
	}
}

func TestAModelThatFitsOneFileIsNotSplit(t *testing.T) {
	m := floats(16, "a", "b")
	path := filepath.Join(t.TempDir(), "m.gguf")
	if err := WriteFile(t.Context(), path, m, WithSplit(1<<40)); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sameModel(t, m, f)
}

func TestEveryShardHasTheAlignment(t *testing.T) {
	m := floats(16, "a", "b", "c")
	path := filepath.Join(t.TempDir(), "m.gguf")
	if err := WriteFile(t.Context(), path, m, WithSplitTensors(1), WithAlignment(256)); err != nil {
		t.Fatal(err)
	}
	f, err := Open(ShardPath(path, 1, 3))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Alignment() != 256 || !f.Metadata().Has(keyAlignment) {
		t.Errorf("alignment %d", f.Alignment())
	}
	for _, x := range f.Tensors() {
		if !bytes.Equal(dataOf(t, x), dataOf(t, mustFind(t, m, x.Name))) {
			t.Errorf("tensor %s differs", x.Name)
		}
	}
}

func TestShardsThatDoNotBelongTogetherAreRefused(t *testing.T) {
	rename := func(t *testing.T, a, b string) string {
		if err := os.Rename(a, b); err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, p []string) string // returns what to open
		says  string
	}{
		{"second shard", func(t *testing.T, p []string) string { return p[1] }, "big-00001-of-00003.gguf"},
		{"renamed second shard", func(t *testing.T, p []string) string {
			return rename(t, p[1], filepath.Join(filepath.Dir(p[1]), "x.gguf"))
		}, "it was renamed"},
		{"missing shard", func(t *testing.T, p []string) string { os.Remove(p[2]); return p[0] }, "shard 3 of 3"},
		{"renamed first shard", func(t *testing.T, p []string) string {
			return rename(t, p[0], filepath.Join(filepath.Dir(p[0]), "x.gguf"))
		}, "rename it"},
		{"exchanged shards", func(t *testing.T, p []string) string {
			rename(t, p[1], p[1]+".tmp")
			rename(t, p[2], p[1])
			rename(t, p[1]+".tmp", p[2])
			return p[0]
		}, "expected split.no to be 1, found 2"},
		{"shard of another model", func(t *testing.T, p []string) string {
			_, q := writeSplit(t)
			m := floats(16, "p", "q", "a")
			if err := WriteFile(t.Context(), strings.TrimSuffix(q[0], "-00001-of-00003.gguf"), m, WithSplitTensors(1)); err != nil {
				t.Fatal(err)
			}
			rename(t, q[2], p[2])
			return p[0]
		}, "is in shard 1 too"},
		{"fewer tensors", func(t *testing.T, p []string) string {
			_, q := writeSplit(t)
			m := floats(16, "x", "y", "z")
			if err := WriteFile(t.Context(), strings.TrimSuffix(q[0], "-00001-of-00003.gguf"), m, WithSplitTensors(1)); err != nil {
				t.Fatal(err)
			}
			rename(t, q[1], p[1])
			return p[0]
		}, "expected 5 tensors in 3 shards, found 4"},
		{"cut shard", func(t *testing.T, p []string) string { os.Truncate(p[1], 180); return p[0] }, "00002-of-00003.gguf: invalid GGUF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, paths := writeSplit(t)
			f, err := Open(c.spoil(t, paths))
			if err == nil {
				f.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("expected %q in: %v", c.says, err)
			}
			if c.name == "missing shard" && !(errors.Is(err, fs.ErrNotExist) && errors.Is(err, ErrFormat)) {
				t.Errorf("not about a missing file: %v", err)
			}
		})
	}
}

func TestNamesOfShardsAreThoseOfLlamaCpp(t *testing.T) {
	for _, base := range []string{"dir/m", "dir/m.gguf"} {
		if got := ShardPath(base, 2, 12345); got != "dir/m-00002-of-12345.gguf" {
			t.Error(got)
		}
	}
}

func TestASplitNeedsFiles(t *testing.T) {
	if err := Write(t.Context(), &bytes.Buffer{}, floats(1, "a"), WithSplitTensors(1)); err == nil {
		t.Error("split into one writer")
	}
	if err := WriteFile(t.Context(), filepath.Join(t.TempDir(), "m"), floats(1, "a"), WithSplitTensors(-1)); err == nil {
		t.Error("a negative size was accepted")
	}
}

func TestShardsAreOfTheSizesAskedFor(t *testing.T) {
	m := floats(16, "a", "b", "c", "d", "e")
	path := filepath.Join(t.TempDir(), "big.gguf")
	for _, c := range []struct {
		opts []WriteOption
		want []int
		keys string // of the second shard
	}{
		{[]WriteOption{WithShards(1, 4)}, []int{1, 4}, "split.no split.count split.tensors.count"},
		{[]WriteOption{WithShards(0, 2, 3)}, []int{0, 2, 3}, "split.no split.count split.tensors.count"},
		{[]WriteOption{WithSplitTensors(3), WithEmptyFirst()}, []int{0, 3, 2}, "split.no split.tensors.count split.count"},
	} {
		if err := WriteFile(t.Context(), path, m, c.opts...); err != nil {
			t.Fatal(err)
		}
		paths, err := ShardPaths(path, m, c.opts...)
		if err != nil {
			t.Fatal(err)
		}
		f, err := Open(paths[0])
		if err != nil {
			t.Fatal(err)
		}
		sameModel(t, m, f)
		if got := f.ShardSizes(); !slices.Equal(got, c.want) {
			t.Errorf("shards of %v tensors, want %v", got, c.want)
		}
		f.Close()
		b, err := os.ReadFile(paths[1])
		if err != nil {
			t.Fatal(err)
		}
		second, err := Parse(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		var keys []string
		for _, kv := range second.Metadata().All() {
			keys = append(keys, kv.Key)
		}
		if got := strings.Join(keys, " "); got != c.keys {
			t.Errorf("the second shard has the keys %s, want %s", got, c.keys)
		}
	}
	for _, sizes := range [][]int{{1, 3}, {1, 5}, {-1, 6}} {
		if err := WriteFile(t.Context(), path, m, WithShards(sizes...)); err == nil {
			t.Errorf("5 tensors became shards of %v", sizes)
		}
	}
	if err := WriteFile(t.Context(), path, m, WithShards(5)); err != nil {
		t.Fatal(err)
	}
	if f, err := Open(path); err != nil || len(f.Paths()) != 1 {
		t.Errorf("one shard is no ordinary file: %v", err)
	}
}

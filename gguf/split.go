package gguf

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"qtool/internal/input"
	"qtool/internal/printable"
)

// A split model is a row of files named NAME-00001-of-00003.gguf. The first
// holds all metadata; every shard has these keys besides.
const (
	keySplitNo      = "split.no"            // u16, from 0
	keySplitCount   = "split.count"         // u16
	keySplitTensors = "split.tensors.count" // i32, over all shards
	maxShards       = 1<<16 - 1
)

var shardSuffix = regexp.MustCompile(`-(\d{5,})-of-(\d{5,})\.gguf$`)

// ShardPath is the name of shard no (from 1) of count for a model called path,
// with or without ".gguf" at its end.
func ShardPath(path string, no, count int) string {
	return fmt.Sprintf("%s-%05d-of-%05d.gguf", strings.TrimSuffix(path, ".gguf"), no, count)
}

// ShardsOf lists the names of all shards of the model that path, by its name, is a shard
// of, or path itself if that is no name of a shard. It does not look whether they are there.
func ShardsOf(path string) []string {
	suffix := shardSuffix.FindStringSubmatch(path)
	if suffix == nil {
		return []string{path}
	}
	count, err := strconv.Atoi(suffix[2])
	if err != nil || count < 1 || count > maxShards {
		return []string{path}
	}
	paths := make([]string, count)
	for i := range paths {
		paths[i] = ShardPath(strings.TrimSuffix(path, suffix[0]), i+1, count)
	}
	return paths
}

// openShards adds the other shards if f is the first of a split model.
func (f *File) openShards(first *contents, o openOptions) error {
	count, err := Or(first.metadata.Int(keySplitCount))(1)
	if err != nil {
		return f.shardError(0, "%v", err)
	}
	if count <= 1 {
		return nil
	}
	prefix, err := f.shardPrefix(first, count)
	if err != nil {
		return err
	}
	tensors := first.tensors
	owner := make(map[string]int, len(tensors))
	for _, t := range tensors {
		owner[t.Name] = 1
	}
	for no := 2; no <= count; no++ {
		s, c, err := openOne(ShardPath(prefix, no, count), o)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: shard %d of %d of %s is missing: %w", ErrFormat, no, count, f.paths[0], err)
		}
		if err != nil {
			return fmt.Errorf("opening shard %d of %d of %s: %w", no, count, f.paths[0], err)
		}
		f.paths = append(f.paths, s.file.Name())
		f.shards = append(f.shards, len(c.tensors))
		f.sources = append(f.sources, s)
		f.padding = append(f.padding, padding{s.file, c.gaps, c.misplaced})
		if err := f.checkShard(c, no, count); err != nil {
			return err
		}
		for _, t := range c.tensors {
			if had := owner[t.Name]; had != 0 {
				return f.shardError(no-1, "tensor %s is in shard %d too", printable.Quote(t.Name), had)
			}
			owner[t.Name] = no
		}
		tensors = append(tensors, c.tensors...)
	}
	want, err := Or(first.metadata.Int(keySplitTensors))(len(tensors))
	if err != nil || want != len(tensors) {
		return f.shardError(0, "expected %d tensors in %d shards, found %d; the shards do not belong together", want, count, len(tensors))
	}
	f.Model = Assemble(withoutSplit(first.metadata), tensors)
	return nil
}

// shardPrefix is the part of the names that all shards share.
func (f *File) shardPrefix(first *contents, count int) (string, error) {
	path := f.paths[0]
	no, err := first.metadata.Int(keySplitNo)
	if err != nil {
		return "", f.shardError(0, "%v", err)
	}
	if _, err := input.Count(keySplitCount, count, 1, input.Limit{Most: maxShards, Why: "it is stored in 16 bits"}); err != nil {
		return "", f.shardError(0, "%v", err)
	}
	if no < 0 || no >= count {
		return "", f.shardError(0, "shard %d of %d cannot be", no+1, count)
	}
	prefix := shardSuffix.ReplaceAllString(path, "")
	if no != 0 {
		first := "it was renamed, so find the one that ends in " + filepath.Base(ShardPath("", 1, count))
		if ShardPath(prefix, no+1, count) == path {
			first = ShardPath(prefix, 1, count)
		}
		return "", fmt.Errorf("%w: %s is shard %d of %d: open the first one: %s", ErrShard, path, no+1, count, first)
	}
	if ShardPath(prefix, 1, count) != path {
		return "", fmt.Errorf("%w by its name: %s is the first of %d shards, but does not end in %s, so the others cannot be found: rename it",
			ErrShard, path, count, filepath.Base(ShardPath("", 1, count)))
	}
	return prefix, nil
}

func (f *File) checkShard(c *contents, no, count int) error {
	if got, err := c.metadata.Int(keySplitNo); err != nil || got != no-1 {
		return f.shardError(no-1, "expected %s to be %d, found %s", keySplitNo, no-1, found(got, err))
	}
	if got, err := Or(c.metadata.Int(keySplitCount))(count); err != nil || got != count {
		return f.shardError(no-1, "expected %s to be %d, found %s", keySplitCount, count, found(got, err))
	}
	return nil
}

func found(n int, err error) string {
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(n)
}

func (f *File) shardError(i int, format string, args ...any) error {
	return &FormatError{Path: f.paths[i], Reading: "the keys of a split model", Reason: fmt.Sprintf(format, args...)}
}

func withoutSplit(md *Metadata) *Metadata {
	md = md.Clone()
	for _, key := range []string{keySplitNo, keySplitCount, keySplitTensors} {
		md.Delete(key)
	}
	return md
}

package safetensors

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"qtool/internal/atomicfile"
)

// WriteFile writes a file as [Write] does. The file is complete or, after an
// error, not there; one that was there before stays until then.
func WriteFile(ctx context.Context, path string, tensors []*Tensor, metadata map[string]string) error {
	f, err := beginFile(ctx, path, tensors, metadata)
	if err != nil {
		return err
	}
	return f.Commit()
}

// beginFile writes everything but does not commit.
func beginFile(ctx context.Context, path string, tensors []*Tensor, metadata map[string]string) (*atomicfile.File, error) {
	f, err := atomicfile.Create(path)
	if err != nil {
		return nil, err
	}
	if err := Write(ctx, f, tensors, metadata); err != nil {
		f.Abort()
		return nil, fmt.Errorf("writing %s: %w", path, err)
	}
	return f, nil
}

// WriteFolder writes a model to the folder dir, which must exist: as
// model.safetensors if its data takes at most maxShardBytes or maxShardBytes is
// 0, else as shards with an index. A tensor is never divided. The files are
// complete before the first of them takes its name.
func WriteFolder(ctx context.Context, dir string, tensors []*Tensor, metadata map[string]string, maxShardBytes int64) error {
	shards := divide(tensors, maxShardBytes)
	single, indexPath := filepath.Join(dir, SingleFile), filepath.Join(dir, IndexFile)
	if len(shards) == 1 {
		if err := refuseOld(indexPath); err != nil {
			return err
		}
		return WriteFile(ctx, single, tensors, metadata)
	}
	if err := refuseOld(single); err != nil {
		return err
	}
	index, err := encodeIndex(shards)
	if err != nil {
		return err
	}
	var files []*atomicfile.File
	for i, shard := range shards {
		f, err := beginFile(ctx, filepath.Join(dir, shardName(i, len(shards))), shard, metadata)
		if err != nil {
			return err
		}
		defer f.Abort()
		files = append(files, f)
	}
	f, err := atomicfile.Create(indexPath)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.Write(index); err != nil {
		return fmt.Errorf("writing %s: %w", indexPath, err)
	}
	// A folder without the index is no model, so old and new shards are never taken
	// for one set.
	return atomicfile.CommitSet(f, files...)
}

// refuseOld keeps a folder from holding one model in two forms.
func refuseOld(path string) error {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("writing a model to %s: it already holds %s; choose another folder or remove it", filepath.Dir(path), filepath.Base(path))
}

// divide fills shards in order, each to at most maxBytes unless one tensor alone
// is larger.
func divide(tensors []*Tensor, maxBytes int64) [][]*Tensor {
	shards := [][]*Tensor{nil}
	used := int64(0)
	for _, t := range tensors {
		size := t.Size()
		last := len(shards) - 1
		if maxBytes > 0 && len(shards[last]) > 0 && size > maxBytes-used {
			shards, used = append(shards, nil), 0
			last++
		}
		shards[last] = append(shards[last], t)
		used += size
	}
	return shards
}

func shardName(i, n int) string { return fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, n) }

func encodeIndex(shards [][]*Tensor) ([]byte, error) {
	var index struct {
		Metadata struct {
			TotalSize int64 `json:"total_size"`
		} `json:"metadata"`
		WeightMap map[string]string `json:"weight_map"`
	}
	index.WeightMap = map[string]string{}
	for i, shard := range shards {
		for _, t := range shard {
			if _, dup := index.WeightMap[t.Name]; dup {
				return nil, fmt.Errorf("tensor name %q is used twice", t.Name)
			}
			index.WeightMap[t.Name] = shardName(i, len(shards))
			index.Metadata.TotalSize += t.Size()
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(index)
	return b.Bytes(), err
}

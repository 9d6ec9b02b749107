package gguf

import "fmt"

// shard is one file of a model being written.
type shard struct {
	md      *Metadata
	tensors []*Tensor
}

// ShardPaths lists the files that [WriteFile] writes with the same arguments:
// path itself, or the shards of a split.
func ShardPaths(path string, m Model, opts ...WriteOption) ([]string, error) {
	o, err := optionsOf(opts)
	if err != nil {
		return nil, err
	}
	shards, err := o.shards(m)
	return shardPaths(path, len(shards)), err
}

// ShardFile is a file that is to be written.
type ShardFile struct {
	Path    string `json:"path"`
	Tensors int    `json:"tensors"`
	Bytes   int64  `json:"bytes"` // of tensor data
}

// ShardFiles describes the files that [ShardPaths] lists.
func ShardFiles(path string, m Model, opts ...WriteOption) ([]ShardFile, error) {
	o, err := optionsOf(opts)
	if err != nil {
		return nil, err
	}
	shards, err := o.shards(m)
	if err != nil {
		return nil, err
	}
	files := make([]ShardFile, len(shards))
	for i, path := range shardPaths(path, len(shards)) {
		files[i] = ShardFile{Path: path, Tensors: len(shards[i].tensors)}
		for _, t := range shards[i].tensors {
			files[i].Bytes += t.Size()
		}
	}
	return files, nil
}

func shardPaths(path string, count int) []string {
	if count <= 1 {
		return []string{path}
	}
	paths := make([]string, count)
	for i := range paths {
		paths[i] = ShardPath(path, i+1, count)
	}
	return paths
}

// shards divides m as the options say. The keys are those of llama-gguf-split; a model
// that fits one file has none of them.
func (o *writeOptions) shards(m Model) ([]shard, error) {
	tensors := m.Tensors()
	md, err := o.metadataOf(m)
	if err != nil || !o.splits() {
		return []shard{{md, tensors}}, err
	}
	md = withoutSplit(md)
	parts, err := o.divide(md, tensors)
	if err != nil || len(parts) <= 1 {
		return []shard{{md, tensors}}, err
	}
	shards := make([]shard, len(parts))
	for i, part := range parts {
		own := &Metadata{}
		if i == 0 {
			own = md.Clone()
		} else if a, ok := md.Get(keyAlignment); ok {
			own.Set(keyAlignment, a)
		}
		o.describe(own, i, len(parts), len(tensors))
		shards[i] = shard{own, part}
	}
	return shards, nil
}

// describe sets the keys of shard i in the order of the program whose work it is:
// llama-quantize for shards that are kept, else llama-gguf-split.
func (o *writeOptions) describe(md *Metadata, i, shards, tensors int) {
	md.Set(keySplitNo, uint16(i))
	if o.shardSizes != nil {
		md.Set(keySplitCount, uint16(shards))
	}
	md.Set(keySplitTensors, int32(tensors))
	md.Set(keySplitCount, uint16(shards))
}

// divide gives the tensors of each shard.
func (o *writeOptions) divide(md *Metadata, tensors []*Tensor) ([][]*Tensor, error) {
	var parts [][]*Tensor
	var err error
	if o.shardSizes != nil {
		parts, err = o.divideAsGiven(tensors)
	} else {
		parts, err = o.divideByLimit(md, tensors)
	}
	if err != nil {
		return nil, err
	}
	if o.emptyFirst && len(parts) > 1 {
		parts = append([][]*Tensor{nil}, parts...)
	}
	if len(parts) > maxShards {
		return nil, fmt.Errorf("the model would take %d shards, at most %d are possible: make them larger", len(parts), maxShards)
	}
	return parts, nil
}

func (o *writeOptions) divideAsGiven(tensors []*Tensor) ([][]*Tensor, error) {
	parts := make([][]*Tensor, len(o.shardSizes))
	rest := tensors
	for i, n := range o.shardSizes {
		if n < 0 || n > len(rest) {
			return nil, fmt.Errorf("shards of %v tensors cannot be made of %d", o.shardSizes, len(tensors))
		}
		parts[i], rest = rest[:n], rest[n:]
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("shards of %v tensors cannot be made of %d", o.shardSizes, len(tensors))
	}
	return parts, nil
}

// divideByLimit cuts the row of tensors where a shard is full.
func (o *writeOptions) divideByLimit(md *Metadata, tensors []*Tensor) ([][]*Tensor, error) {
	alignment, err := alignmentOf(md)
	if err != nil {
		return nil, err
	}
	var parts [][]*Tensor
	begin, bytes := 0, int64(0)
	for i, t := range tensors {
		size := padTo(t.Size(), alignment)
		full := o.shardBytes > 0 && bytes+size > o.shardBytes || o.shardTensors > 0 && i-begin >= o.shardTensors
		if full && i > begin {
			parts = append(parts, tensors[begin:i])
			begin, bytes = i, 0
		}
		bytes += size
	}
	return append(parts, tensors[begin:]), nil
}

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

// shards divides m as the options say. The keys and their order are those of
// llama-gguf-split; a model that fits one file has none of them.
func (o *writeOptions) shards(m Model) ([]shard, error) {
	md, tensors := o.metadataOf(m), m.Tensors()
	if o.shardBytes == 0 && o.shardTensors == 0 {
		return []shard{{md, tensors}}, nil
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
		own.Set(keySplitNo, uint16(i))
		own.Set(keySplitTensors, int32(len(tensors)))
		own.Set(keySplitCount, uint16(len(parts)))
		shards[i] = shard{own, part}
	}
	return shards, nil
}

// divide cuts the row of tensors where a shard is full.
func (o *writeOptions) divide(md *Metadata, tensors []*Tensor) ([][]*Tensor, error) {
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
	parts = append(parts, tensors[begin:])
	if len(parts) > maxShards {
		return nil, fmt.Errorf("the model would take %d shards, at most %d are possible: make them larger", len(parts), maxShards)
	}
	return parts, nil
}

package gguf

import (
	"context"
	"errors"
	"fmt"
	"io"

	"qtool/internal/atomicfile"
)

// WriteOption changes how a file is written.
type WriteOption func(*writeOptions)

type writeOptions struct {
	threads      int
	progress     func(t *Tensor, written, total int64)
	alignment    int // 0: what the metadata says
	shardBytes   int64
	shardTensors int
	shardSizes   []int
	emptyFirst   bool
	hashes       bool
}

// splits reports whether one of the options for shards is there.
func (o *writeOptions) splits() bool {
	return o.shardBytes > 0 || o.shardTensors > 0 || o.shardSizes != nil
}

// WithProgress calls report as tensor data is written: t is the tensor at hand,
// written and total count the bytes of data of all tensors.
func WithProgress(report func(t *Tensor, written, total int64)) WriteOption {
	return func(o *writeOptions) { o.progress = report }
}

// WithThreads computes and writes on n threads; 0, as without it, is one for each processor.
func WithThreads(n int) WriteOption { return func(o *writeOptions) { o.threads = n } }

// WithAlignment aligns tensor data to n bytes, a power of two, and says so in
// general.alignment. Without it that key counts, and 32 if it is missing.
func WithAlignment(n int) WriteOption { return func(o *writeOptions) { o.alignment = n } }

// WithSplit makes [WriteFile] begin another shard when one has more than
// maxBytes of tensor data. A tensor larger than that has a shard of its own.
func WithSplit(maxBytes int64) WriteOption { return func(o *writeOptions) { o.shardBytes = maxBytes } }

// WithSplitTensors makes [WriteFile] begin another shard after n tensors.
func WithSplitTensors(n int) WriteOption { return func(o *writeOptions) { o.shardTensors = n } }

// WithShards makes [WriteFile] write a shard for each of sizes with so many tensors, as
// llama-quantize does to keep the shards of its input. They must add up to all.
func WithShards(sizes ...int) WriteOption { return func(o *writeOptions) { o.shardSizes = sizes } }

// WithEmptyFirst makes the first shard of a split hold the metadata alone.
func WithEmptyFirst() WriteOption { return func(o *writeOptions) { o.emptyFirst = true } }

func optionsOf(opts []WriteOption) (writeOptions, error) {
	var o writeOptions
	for _, opt := range opts {
		opt(&o)
	}
	if o.shardBytes < 0 || o.shardTensors < 0 {
		return o, fmt.Errorf("the size of a shard must be positive, found %d bytes, %d tensors", o.shardBytes, o.shardTensors)
	}
	if o.alignment != 0 {
		return o, checkAlignment(o.alignment)
	}
	return o, nil
}

// metadataOf is the metadata of m with the alignment and the hashes that are asked for.
func (o *writeOptions) metadataOf(m Model) (*Metadata, error) {
	md := m.Metadata()
	if o.alignment != 0 && (o.alignment != defaultAlignment || md.Has(keyAlignment)) {
		md = md.Clone()
		md.Set(keyAlignment, uint32(o.alignment))
	}
	return o.withHashes(md, m.Tensors())
}

// Write writes m to w as GGUF version 3, little-endian, laid out as ggml does:
// the header, then each tensor in order, padded to the alignment. Data is read in
// parts by several goroutines at once, each part once, with WillNeed before the first
// and DontNeed after the last; a tensor that gives more or fewer bytes than its Size is
// an error. It stops when ctx ends.
func Write(ctx context.Context, w io.Writer, m Model, opts ...WriteOption) error {
	o, err := optionsOf(opts)
	if err != nil {
		return err
	}
	if o.splits() {
		return errors.New("a split model is several files: use WriteFile")
	}
	if o.hashes {
		return errors.New("hashes are known at the end but lie at the beginning: use WriteFile")
	}
	md, err := o.metadataOf(m)
	if err != nil {
		return err
	}
	im, err := layOut(md, m.Tensors())
	if err != nil {
		return err
	}
	out := &writer{ctx: ctx, threads: o.threads, progress: o.progress, total: im.dataBytes()}
	return out.image(newInOrder(w), im)
}

// WriteFile writes m to the file at path as [Write] does. The file gets its name
// only when it is complete and what m is made of is unchanged; until then, and after an
// error, a file that was there before stays as it was.
//
// A split that needs several shards writes them to the names of [ShardPath]
// instead; [ShardPaths] lists them beforehand. They get their names once all
// are complete, the first shard last, so that an interruption leaves no mixture
// that can be opened. After an error the old shards are back. A model that fits one
// shard is one ordinary file at path.
func WriteFile(ctx context.Context, path string, m Model, opts ...WriteOption) error {
	o, err := optionsOf(opts)
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	shards, err := o.shards(m)
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	paths := shardPaths(path, len(shards))
	images := make([]*image, len(shards))
	for i, s := range shards {
		if images[i], err = layOut(s.md, s.tensors); err != nil {
			return fmt.Errorf("writing %s: %w", paths[i], err)
		}
	}
	out := &writer{ctx: ctx, threads: o.threads, progress: o.progress}
	for _, im := range images {
		out.total += im.dataBytes()
	}
	files := make([]*atomicfile.File, len(images))
	for i, im := range images {
		f, err := atomicfile.Create(paths[i])
		if err != nil {
			return err
		}
		defer f.Abort()
		if err := f.Reserve(im.end()); err != nil {
			return fmt.Errorf("writing %s: %w", paths[i], err)
		}
		if err := out.hashedImage(f, im, o.hashes); err != nil {
			return fmt.Errorf("writing %s: %w", paths[i], err)
		}
		files[i] = f
	}
	if o.hashes {
		if err := shards[0].writeHashes(files[0], m.Tensors(), out.sums); err != nil {
			return fmt.Errorf("writing %s: %w", paths[0], err)
		}
	}
	if err := m.Unchanged(); err != nil {
		return fmt.Errorf("%s is not written: %w", path, err)
	}
	return atomicfile.CommitSet(files[0], files[1:]...)
}

func (im *image) dataBytes() int64 {
	var n int64
	for _, size := range im.sizes {
		n += size
	}
	return n
}

// writer writes images one after another and counts across them.
type writer struct {
	ctx            context.Context
	threads        int
	progress       func(t *Tensor, written, total int64)
	written, total int64
	sums           []string // of the tensors, if they are hashed
}

var errTooMuch = errors.New("its source gives more bytes of data than its type and shape take")

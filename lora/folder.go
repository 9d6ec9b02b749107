package lora

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"qtool/gguf"
	"qtool/internal/atomicfile"
	"qtool/internal/convert"
	"qtool/internal/input"
	"qtool/internal/peft"
	"qtool/internal/usage"
	"qtool/quantize"
	"qtool/safetensors"
)

// FolderSum is a Hugging Face folder with an adapter added to its weights.
type FolderSum struct {
	// Changed is how many of the folder's tensors change.
	Changed int

	dir     string
	folder  *safetensors.Folder
	tensors []*safetensors.Tensor
}

// AddToFolder makes the sum of the folder dir and an adapter, such as [Combine] makes. Weights
// keep their types, which must be F32, F16 or BF16 where they change. It fails with
// [ErrUnsupported] if a change cannot be said in the folder's weights, and as [convert.Open]
// does if the folder is no model. The caller closes it.
func AddToFolder(dir string, a *Adapter) (*FolderSum, error) {
	s := &FolderSum{dir: dir}
	var err error
	if s.folder, err = safetensors.OpenFolder(dir); err != nil {
		return nil, err
	}
	if err := s.add(a); err != nil {
		s.Close()
		return nil, fmt.Errorf("merging into the weights of %s: %w", dir, err)
	}
	return s, nil
}

// Close releases the folder's files.
func (s *FolderSum) Close() error { return s.folder.Close() }

// Size is how many bytes of weights there are.
func (s *FolderSum) Size() (n int64) {
	for _, t := range s.tensors {
		n += t.Size()
	}
	return n
}

func (s *FolderSum) add(a *Adapter) error {
	layout, err := convert.LayoutOfStored(s.dir, s.folder)
	if err != nil {
		return err
	}
	file, err := a.Model()
	if err != nil {
		return err
	}
	pairs, err := peft.ReadPairs(layout, file)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	var found []*convert.Weight
	for _, t := range s.folder.Tensors() {
		w := weightOf(layout, t.Name)
		if w != nil {
			found = append(found, w)
			if on := pairs.On(w); on != nil {
				if t, err = changedTensor(t, w, on); err != nil {
					return err
				}
				s.Changed++
			}
		}
		s.tensors = append(s.tensors, t)
	}
	if name := pairs.Missing(found); name != "" {
		return fmt.Errorf("%w: it has a pair for %q, whose weights the folder stores in another form, such as blocks of 4 bits", ErrUnsupported, name)
	}
	return nil
}

// weightOf finds the weight that a tensor of the folder is; nil if it is none.
func weightOf(l *convert.Layout, tensor string) *convert.Weight {
	names := []string{tensor}
	if l.Inside {
		names = append(names, strings.Replace(tensor, "language_model.", "", 1))
	}
	for _, name := range names {
		dot := max(0, strings.LastIndexByte(name, '.'))
		for _, w := range l.Module(name[:dot]) {
			if w.Param == name[min(len(name), dot+1):] {
				return w
			}
		}
	}
	return nil
}

// changedTensor is t with the changes of its matrices.
func changedTensor(t *safetensors.Tensor, w *convert.Weight, on []peft.Matrix) (*safetensors.Tensor, error) {
	typ, ok := map[safetensors.DType]gguf.Type{safetensors.F32: gguf.F32, safetensors.F16: gguf.F16, safetensors.BF16: gguf.BF16}[t.DType]
	if !ok {
		return nil, fmt.Errorf("%w: the weight %q is stored as %v; changes are added to F32, F16 and BF16", ErrUnsupported, t.Name, t.DType)
	}
	// Rows of the file are inputs in an embedding and in stacks that are kept so.
	swapped := w.Embedding || w.RowsLast
	rows, columns := w.Out, w.In
	if swapped {
		rows, columns = columns, rows
	}
	shape := []int{columns, rows}
	if w.Matrices > 0 {
		shape = append(shape, w.Matrices)
	}
	stored := &gguf.Tensor{Name: t.Name, Type: typ, Shape: slices.Clone(t.Shape), Data: t.Data}
	if slices.Reverse(stored.Shape); !gguf.SameShape(stored.Shape, shape) {
		return nil, fmt.Errorf("%w: the weight %q has shape %v, the configuration gives %v", convert.ErrInvalid, t.Name, t.Shape, shape)
	}
	stored.Shape = shape
	codec, err := quantize.Lookup(typ)
	if err != nil {
		return nil, err
	}
	c := &change{stored: stored, from: stored, codec: codec, columns: columns, rows: rows, rank: on[0].Rank}
	var factors, basis []float32
	for _, m := range on {
		if swapped {
			factors, basis = append(factors, exchanged(m.A, m.Rank, rows)...), append(basis, exchanged(m.B, columns, m.Rank)...)
		} else {
			factors, basis = append(factors, m.B...), append(basis, m.A...)
		}
	}
	c.set(factors, basis)
	sum, err := quantize.Convert(&gguf.Tensor{Name: t.Name, Type: gguf.F32, Shape: shape, Data: sumData{c}}, typ, nil)
	if err != nil {
		return nil, err
	}
	return &safetensors.Tensor{Name: t.Name, DType: t.DType, Shape: t.Shape, Data: sum.Data}, nil
}

// maxFolderShard is how large the files of transformers are at most.
const maxFolderShard = 5_000_000_000

// weightFiles are the endings of files that hold weights, or say where they are.
var weightFiles = []string{".safetensors", ".safetensors.index.json", ".bin", ".bin.index.json", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".onnx", ".ot"}

// maxFolderFile is more than any file beside the weights has.
const maxFolderFile = 1 << 30

// WriteFolder writes the folder out, which must not hold anything: the weights, and the
// other files of the model as they are, config.json last. After an error nothing is left.
// metadata is written to the files of weights. progress, unless nil, gets the bytes of weights
// written so far.
func (s *FolderSum) WriteFolder(ctx context.Context, out string, metadata map[string]string, progress func(done int64)) (err error) {
	if err := CheckFolder(out); err != nil {
		return err
	}
	_, before := os.Stat(out)
	if err := atomicfile.MkdirAll(out, 0o777); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, empty(out, before != nil))
		}
	}()
	tensors := make([]*safetensors.Tensor, len(s.tensors))
	done := new(int64)
	for i, t := range s.tensors {
		again := *t
		again.Data = &counted{t.Data, done, progress}
		tensors[i] = &again
	}
	if err := safetensors.WriteFolder(ctx, out, tensors, metadata, maxFolderShard); err != nil {
		return err
	}
	names, err := s.others()
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := copyFile(filepath.Join(s.dir, name), filepath.Join(out, name)); err != nil {
			return err
		}
	}
	return s.folder.Unchanged()
}

// CheckFolder finds out whether a folder of this name can be written: it is not there, or empty.
func CheckFolder(out string) error {
	if err := atomicfile.CheckMkdirAll(out); err != nil {
		return err
	}
	if entries, err := os.ReadDir(out); err == nil && len(entries) > 0 {
		return usage.Errorf("the folder %s holds %s already; choose another one or empty it", out, entries[0].Name())
	}
	return nil
}

// empty removes what was written to a folder, and the folder if it was made for that.
func empty(out string, made bool) error {
	entries, err := os.ReadDir(out)
	for _, e := range entries {
		err = errors.Join(err, atomicfile.Remove(filepath.Join(out, e.Name())))
	}
	if made && err == nil {
		err = atomicfile.Remove(out)
	}
	return err
}

// counted is data that tells how much of it was read.
type counted struct {
	io.ReaderAt
	done     *int64
	progress func(done int64)
}

func (c *counted) ReadAt(p []byte, off int64) (n int, err error) {
	n, err = c.ReaderAt.ReadAt(p, off)
	if *c.done += int64(n); c.progress != nil {
		c.progress(*c.done)
	}
	return n, err
}

// others are the folder's files that hold no weights, config.json last.
func (s *FolderSum) others() (names []string, err error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		info, err := os.Stat(filepath.Join(s.dir, e.Name())) // of what a link leads to
		isWeights := slices.ContainsFunc(weightFiles, func(ending string) bool { return strings.HasSuffix(e.Name(), ending) })
		if err == nil && info.Mode().IsRegular() && !isWeights && e.Name() != configFile {
			names = append(names, e.Name())
		}
	}
	return append(names, configFile), nil
}

const configFile = "config.json"

func copyFile(from, to string) error {
	b, err := input.ReadFile(from, maxFolderFile)
	if err != nil {
		return err
	}
	f, err := atomicfile.Create(to)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.Write(b); err != nil {
		return fmt.Errorf("writing %s: %w", to, err)
	}
	return f.Commit()
}

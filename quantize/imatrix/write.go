package imatrix

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"qtool/gguf"
	"qtool/internal/atomicfile"
)

// Model is the GGUF form, laid out as llama-imatrix does: entries by name, sums
// before counts.
func (m *Matrix) Model() gguf.Model {
	md := &gguf.Metadata{}
	md.Set(keyType, kind)
	md.Set(keyDatasets, append([]string{}, m.Datasets...))
	md.Set(keyChunks, uint32(m.Chunks))
	md.Set(keyChunkSize, uint32(m.ChunkSize))
	var tensors []*gguf.Tensor
	for _, e := range m.Entries() {
		counts := make([]float32, len(e.Counts))
		for i, c := range e.Counts {
			counts[i] = float32(c)
		}
		sums, one := []int{e.row(), len(counts)}, []int{1, len(counts)}
		if len(counts) == 1 { // ggml leaves out trailing dimensions of 1
			sums, one = sums[:1], one[:1]
		}
		tensors = append(tensors,
			gguf.Float32Tensor(e.Name+suffixSums, sums, e.Sums), gguf.Float32Tensor(e.Name+suffixCounts, one, counts))
	}
	return gguf.Assemble(md, tensors, m.from...)
}

// LegacyName reports whether path has the ending that the legacy form goes by.
func LegacyName(path string) bool { return strings.EqualFold(filepath.Ext(path), ".dat") }

// WriteFile writes m to path, in the legacy form if that is asked for. The file
// appears when it is complete, or not at all.
func (m *Matrix) WriteFile(ctx context.Context, path string, legacy bool) error {
	if !legacy {
		return gguf.WriteFile(ctx, path, m.Model())
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	for _, s := range m.from {
		if err := s.Unchanged(); err != nil {
			return fmt.Errorf("%s is not written: %w", path, err)
		}
	}
	b, err := m.AppendLegacy(nil)
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	f, err := atomicfile.Create(path)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.Write(b); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return f.Commit()
}

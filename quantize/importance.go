package quantize

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"

	"qtool/gguf"
	"qtool/internal/ggml"
	"qtool/internal/printable"
)

// ErrOtherImportance is in the chain of the error about importance that does not fit a
// tensor.
var ErrOtherImportance = errors.New("importance of another model")

// Importance tells how much each column of a weight counts. It may read that from a file
// when it is asked, since for a model of many experts it is large.
type Importance interface {
	// Names lists the weights that it knows, by name in the source.
	Names() []string
	// Weights has one for each column of the tensor of that name, or Shape[0] × Shape[2] of
	// them for a stack of matrices; nil if there are none.
	Weights(tensor string) ([]float32, error)
}

// ImportanceMap is importance held in memory, by the name of the weight.
type ImportanceMap map[string][]float32

// Names lists the names in order.
func (m ImportanceMap) Names() []string { return slices.Sorted(maps.Keys(m)) }

// Weights never fails.
func (m ImportanceMap) Weights(tensor string) ([]float32, error) { return m[tensor], nil }

// SelectImportance keeps the entries whose names contain one of include, or all if
// include is empty, less those whose names contain one of exclude. It returns nil,
// which is no importance, if none is left.
func SelectImportance(from Importance, include, exclude []string) Importance {
	containsOne := func(name string, parts []string) bool {
		return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(name, part) })
	}
	s := &selected{from, map[string]bool{}}
	for _, name := range from.Names() {
		if (len(include) == 0 || containsOne(name, include)) && !containsOne(name, exclude) {
			s.names[name] = true
		}
	}
	if len(s.names) == 0 {
		return nil
	}
	return s
}

// selected is a part of importance.
type selected struct {
	Importance
	names map[string]bool
}

func (s *selected) Names() []string { return slices.Sorted(maps.Keys(s.names)) }

func (s *selected) Weights(tensor string) ([]float32, error) {
	if !s.names[tensor] {
		return nil, nil
	}
	return s.Importance.Weights(tensor)
}

// weighed is a conversion that reads its importance when it is read itself, and forgets
// it when it is told that it will not be read soon.
type weighed struct {
	*conversion
	weights func() ([]float32, error)

	mu   sync.Mutex
	with *conversion // nil: not read yet
}

func (w *weighed) withImportance() (*conversion, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.with == nil {
		c := *w.conversion
		var err error
		if c.importance, err = w.weights(); err != nil {
			return nil, fmt.Errorf("tensor %q: %w", c.tensor.Name, err)
		}
		w.with = &c
	}
	return w.with, nil
}

func (w *weighed) ReadAt(p []byte, off int64) (int, error) {
	c, err := w.withImportance()
	if err != nil {
		return 0, err
	}
	return c.ReadAt(p, off)
}

var _ gguf.Adviser = (*weighed)(nil)

// DontNeed drops the importance too.
func (w *weighed) DontNeed() {
	w.mu.Lock()
	w.with = nil
	w.mu.Unlock()
	w.conversion.DontNeed()
}

// converted is the data of src, a tensor of the plan, as another type.
func (p *Plan) converted(src *gguf.Tensor, to gguf.Type) io.ReaderAt {
	data := newConversion(src, to, nil)
	c, ok := data.(*conversion)
	if ok && c.misplaced != nil && p.misplaced != nil {
		p.misplaced[src.Name] = c.misplaced
	}
	if ok && p.opts.Importance != nil && src.Type != to && weighs(to) {
		return &weighed{conversion: c, weights: func() ([]float32, error) { return p.importance(src) }}
	}
	return data
}

// importance is that of tensor t of the plan; nil if it has none. An embedding goes
// without one of the wrong length, as in llama-quantize.
func (p *Plan) importance(t *gguf.Tensor) ([]float32, error) {
	if p.opts.Importance == nil {
		return nil, nil
	}
	w, err := p.opts.Importance.Weights(p.SourceName(t.Name))
	if w == nil || err != nil {
		return nil, err
	}
	if want := t.Shape[0] * matrices(t); len(w) != want {
		if roleOf(t.Name) == embedding {
			return nil, nil
		}
		return nil, fmt.Errorf("%w: it has %d weights, expected %d for shape %v", ErrOtherImportance, len(w), want, t.Shape)
	}
	for i, v := range w {
		if !(v >= 0 && v <= math.MaxFloat32) {
			return nil, fmt.Errorf("%w: weight %d is %g, expected a finite number of at least 0", ErrOtherImportance, i, v)
		}
	}
	return w, nil
}

// missingImportance is the error about a tensor whose type needs importance.
func (p *Plan) missingImportance(name string, to gguf.Type) error {
	const way = "give it a type of more bits with --tensor-type"
	if p.opts.Importance == nil {
		return fmt.Errorf("%w to make it %v: give a file with --imatrix (qtool imatrix makes one), or %s or --type",
			ErrNoImportance, to, way)
	}
	return fmt.Errorf("%w to make it %v: the one given with --imatrix has %d entries, but none for %q; "+
		"make one whose text reaches this tensor, check --include-weights and --exclude-weights, or %s '%s=Q4_K'",
		ErrNoImportance, to, len(p.opts.Importance.Names()), p.SourceName(name), way, printable.Text(name))
}

// needsImportance follows llama-quantize, which makes some types without importance for
// the embedding and the output head alone.
func (p *Plan) needsImportance(name string, to gguf.Type) bool {
	need := ggml.TraitsOf(to).Importance
	if to == gguf.Q2_K && p.FileType == "Q2_K_S" {
		need = ggml.NeededInBlocks
	}
	r := roleOf(name)
	return need == ggml.Needed || need == ggml.NeededInBlocks && r != head && r != embedding
}

// matrices is the number of matrices that importance tells apart: the experts.
func matrices(t *gguf.Tensor) int {
	if len(t.Shape) > 2 {
		return t.Shape[2]
	}
	return 1
}

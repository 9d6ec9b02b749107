package quantize

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"qtool/gguf"
)

// ErrOtherImportance is in the chain of the error about importance that does not fit a
// tensor.
var ErrOtherImportance = errors.New("importance of another model")

// SelectImportance keeps the entries whose names contain one of include, or all if
// include is empty, less those whose names contain one of exclude. It returns nil,
// which is no importance, if none is left.
func SelectImportance(all map[string][]float32, include, exclude []string) map[string][]float32 {
	containsOne := func(name string, parts []string) bool {
		for _, part := range parts {
			if strings.Contains(name, part) {
				return true
			}
		}
		return false
	}
	var kept map[string][]float32
	for name, weights := range all {
		if len(include) > 0 && !containsOne(name, include) || containsOne(name, exclude) {
			continue
		}
		if kept == nil {
			kept = map[string][]float32{}
		}
		kept[name] = weights
	}
	return kept
}

// importance is that of tensor t of the plan; nil if it has none. An embedding goes
// without one of the wrong length, as in llama-quantize.
func (p *Plan) importance(t *gguf.Tensor) ([]float32, error) {
	w := p.opts.Importance[p.SourceName(t.Name)]
	if w == nil {
		return nil, nil
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
	return fmt.Errorf("%w to make it %v: the one given with --imatrix has %d entries, but none for %s; "+
		"make one whose text reaches this tensor, check --include-weights and --exclude-weights, or %s '%s=Q4_K'",
		ErrNoImportance, to, len(p.opts.Importance), p.SourceName(name), way, name)
}

// needsImportance follows llama-quantize, which makes some types without importance for
// the embedding and the output head alone.
func (p *Plan) needsImportance(name string, to gguf.Type) bool {
	switch to {
	case gguf.IQ1_S, gguf.IQ2_XXS, gguf.IQ2_XS:
		return true
	case gguf.IQ1_M, gguf.IQ2_S, gguf.IQ3_XXS:
	case gguf.Q2_K:
		if p.FileType != "Q2_K_S" {
			return false
		}
	default:
		return false
	}
	r := roleOf(name)
	return r != head && r != embedding
}

// matrices is the number of matrices that importance tells apart: the experts.
func matrices(t *gguf.Tensor) int {
	if len(t.Shape) > 2 {
		return t.Shape[2]
	}
	return 1
}

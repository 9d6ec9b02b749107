package adapt

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"qtool/gguf"
	"qtool/internal/model"
	"qtool/internal/nn"
)

// Experts says which experts get pairs. The zero value means all.
type Experts struct {
	Top  int     // the most used of each layer; 0: those of List
	List []int32 // ascending, in every layer; nil: all
}

// ParseExperts reads "all", "top:N" or numbers between commas.
func ParseExperts(s string) (e Experts, err error) {
	if s == "all" {
		return e, nil
	}
	if n, ok := strings.CutPrefix(s, "top:"); ok {
		if e.Top, err = strconv.Atoi(n); err != nil || e.Top < 1 {
			return e, fmt.Errorf("experts %q: top: wants a number above 0 behind it", s)
		}
		return e, nil
	}
	for _, field := range strings.Split(s, ",") {
		n, err := strconv.ParseUint(strings.TrimSpace(field), 10, 16)
		if err != nil {
			return e, fmt.Errorf("experts %q: expected all, top:N, or numbers of experts between commas", s)
		}
		e.List = append(e.List, int32(n))
	}
	slices.Sort(e.List)
	e.List = slices.Compact(e.List)
	return e, nil
}

// ByLayer is the choice for each layer of d with experts; nil if all are chosen. How
// often a layer's router chose each expert is in chosen, which only Top asks for.
func (e Experts) ByLayer(d *model.Decoder, chosen map[int][]int64) (map[int][]int32, error) {
	if e.Top == 0 && e.List == nil {
		return nil, nil
	}
	if highest := slices.Max(append(e.List, int32(e.Top-1))); int(highest) >= d.Experts {
		return nil, fmt.Errorf("experts %v: the base has %d, numbered from 0", e, d.Experts)
	}
	layers := map[int][]int32{}
	for _, r := range d.Routers() {
		layers[r.Layer] = e.List
		if e.Top > 0 {
			if len(chosen[r.Layer]) < d.Experts {
				return nil, fmt.Errorf("experts %v: there are no data to tell which are used most", e)
			}
			layers[r.Layer] = mostChosen(chosen[r.Layer][:d.Experts], e.Top)
		}
	}
	return layers, nil
}

// String is what ParseExperts reads.
func (e Experts) String() string {
	if e.Top > 0 {
		return fmt.Sprintf("top:%d", e.Top)
	}
	if e.List == nil {
		return "all"
	}
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(e.List), " ", ","), "[]")
}

// mostChosen are the n experts that were chosen most often, ascending; of equals the
// lower numbers.
func mostChosen(chosen []int64, n int) []int32 {
	order := make([]int32, len(chosen))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(chosen[b], chosen[a]) })
	top := order[:n]
	slices.Sort(top)
	return top
}

// restrict makes p a pair of some of its experts only. It drops what the halves hold.
func (p *Pair) restrict(experts []int32) {
	stack := p.A.Shape[2]
	if len(experts) == stack {
		return
	}
	p.stack, p.Experts = stack, experts
	for _, half := range []**nn.Param{&p.A, &p.B} {
		old := *half
		*half = nn.NewParam(old.Name, old.Shape[0], old.Shape[1], len(experts))
	}
}

// dropIdle makes p a pair of those experts for which it is not all zero.
func (p *Pair) dropIdle() {
	if len(p.A.Shape) != 3 || len(p.B.Shape) != 3 || p.A.Shape[2] != p.B.Shape[2] {
		return
	}
	a, b := *p.A, *p.B
	var used []int32
	for e := range a.Shape[2] {
		if !allZero(ofExpert(&a, e)) || !allZero(ofExpert(&b, e)) {
			used = append(used, int32(e))
		}
	}
	if len(used) == 0 || len(used) == a.Shape[2] {
		return
	}
	p.restrict(used)
	for i, e := range used {
		copy(ofExpert(p.A, i), ofExpert(&a, int(e)))
		copy(ofExpert(p.B, i), ofExpert(&b, int(e)))
	}
}

// ofExpert is the part of number e in a half with three dimensions.
func ofExpert(half *nn.Param, e int) []float32 {
	n := half.Shape[0] * half.Shape[1]
	return half.Data[e*n : (e+1)*n]
}

func allZero(v []float32) bool {
	return !slices.ContainsFunc(v, func(x float32) bool { return x != 0 })
}

// shapes are what the halves of p must be on a target.
func (p *Pair) shapes(t model.Target) (a, b []int) {
	a, b = pairShapes(t, p.Rank)
	if n := len(p.Experts); p.Experts != nil && len(a) == 3 && p.stack == a[2] {
		a[2], b[2] = n, n
	}
	return a, b
}

// tensors are the halves as files hold them: zero for experts without a pair.
func (p *Pair) tensors() []*gguf.Tensor {
	var out []*gguf.Tensor
	for _, half := range []*nn.Param{p.A, p.B} {
		t := gguf.Float32Tensor(half.Name, half.Shape, half.Data)
		if p.Experts != nil {
			t.Shape = []int{half.Shape[0], half.Shape[1], p.stack}
			t.Data = &spreadExperts{half.Data, p.Experts, 4 * int64(half.Shape[0]*half.Shape[1]), p.stack}
		}
		out = append(out, t)
	}
	return out
}

// spreadExperts is the data of a stack of which only some experts are not zero.
type spreadExperts struct {
	held    gguf.Float32s // of experts, one after the other
	experts []int32
	size    int64 // bytes of one expert
	stack   int
}

// ReadAt implements [io.ReaderAt].
func (s *spreadExperts) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, io.EOF
	}
	for n < len(p) {
		e, within := off/s.size, off%s.size
		if e >= int64(s.stack) {
			return n, io.EOF
		}
		part := p[n : n+int(min(int64(len(p)-n), s.size-within))]
		if i, ok := slices.BinarySearch(s.experts, int32(e)); !ok {
			clear(part)
		} else if _, err := s.held.ReadAt(part, int64(i)*s.size+within); err != nil {
			return n, err
		}
		n, off = n+len(part), off+int64(len(part))
	}
	return n, nil
}

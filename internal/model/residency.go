package model

import (
	"slices"
	"strconv"
	"strings"

	"qtool/gguf"
)

// residency keeps what is in memory of a mapped base within a limit: it is told
// which part is about to be used, lets those go that were not used for longest, and
// has the next one read meanwhile. A pass forward and back comes to the parts that
// it used last first. Nil is no limit.
type residency struct {
	limit, bytes int64
	parts        []part // the blocks, then all that belongs to no block
	held         []int  // the parts that may be in memory, the longest unused first
}

// part is the tensors that are used together.
type part struct {
	tensors []*gguf.Tensor
	bytes   int64
}

// LimitMapped keeps what is in memory of the base within limit bytes, but for what
// has to be there at once, [Decoder.LargestPart]; 0 is no limit. From then on one
// tape at a time may use the decoder.
func (d *Decoder) LimitMapped(limit int64) {
	d.residency = nil
	if limit == 0 {
		return
	}
	d.residency = &residency{limit: limit, parts: d.parts()}
	for _, t := range d.source.Tensors() {
		t.DontNeed()
	}
}

// LargestPart is the size of the largest block of the base, or of all that belongs
// to no block if that is larger.
func (d *Decoder) LargestPart() (largest int64) {
	for _, p := range d.parts() {
		largest = max(largest, p.bytes)
	}
	return largest
}

func (d *Decoder) parts() []part {
	parts := make([]part, len(d.blocks)+1)
	for _, t := range d.source.Tensors() {
		p := len(d.blocks)
		if rest, ok := strings.CutPrefix(t.Name, "blk."); ok {
			number, _, _ := strings.Cut(rest, ".")
			layer, err := strconv.Atoi(number)
			if err != nil || layer >= d.Layers {
				continue // it is not computed
			}
			p = layer * len(d.blocks) / d.Layers // a block may be two layers
		}
		parts[p].tensors = append(parts[p].tensors, t)
		parts[p].bytes += t.Size()
	}
	return parts
}

// enter says that part p is about to be used, and next after it, which with ahead is
// read meanwhile.
func (r *residency) enter(p, next int, ahead bool) {
	if n := len(r.held); n > 0 && r.held[n-1] == p {
		return
	}
	r.forget(slices.Index(r.held, p))
	for len(r.held) > 0 && r.bytes+r.parts[p].bytes > r.limit {
		for _, t := range r.parts[r.held[0]].tensors {
			t.DontNeed()
		}
		r.forget(0)
	}
	r.held, r.bytes = append(r.held, p), r.bytes+r.parts[p].bytes
	if !ahead || next < 0 || next == len(r.parts)-1 || slices.Contains(r.held, next) {
		return
	}
	for _, t := range r.parts[next].tensors {
		if len(t.Shape) < 3 { // of experts, only those are read that are chosen
			t.WillNeed()
		}
	}
}

func (r *residency) forget(i int) {
	if i >= 0 {
		r.bytes -= r.parts[r.held[i]].bytes
		r.held = slices.Delete(r.held, i, i+1)
	}
}

// enter is [residency.enter] where there is something to keep in memory.
func (d *Decoder) enter(rehearsing bool, p, next int) {
	if d.residency != nil {
		d.residency.enter(p, next, !rehearsing)
	}
}

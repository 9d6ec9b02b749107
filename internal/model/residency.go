package model

import (
	"slices"

	"qtool/gguf"
	"qtool/internal/arch"
)

// residency keeps what is in memory of a mapped base within a limit. It is told which
// section is about to be used, and which of its experts; it drops the sections that were
// unused for longest, and has the next one read meanwhile. The backward pass visits sections
// in reverse, so the most recent ones are reused first. A nil *residency means no limit.
type residency struct {
	limit, bytes int64
	sections     []section // the blocks, then all that belongs to no block
	held         []int     // the sections that may be in memory, the longest unused first
}

// section is tensors that are used together. Of stacks of experts only what tokens chose is
// used.
type section struct {
	tensors, stacks []*gguf.Tensor
	bytes           int64    // of tensors
	expertBytes     int64    // of one expert in all stacks
	experts         []expert // of each stack
}

// expert is what is known of one expert of all stacks.
type expert struct {
	held   bool // it may be in memory
	chosen bool // by the last pass
}

// whole is the size of a section with all its experts.
func (s *section) whole() int64 { return s.bytes + int64(len(s.experts))*s.expertBytes }

// LimitMapped keeps what is in memory of the base within limit bytes, or within
// [Decoder.LargestBlock], which has to be there at once, if that is more; 0 is no limit. From
// then on one tape at a time may use the decoder.
func (d *Decoder) LimitMapped(limit int64) {
	d.residency = nil
	if limit == 0 {
		return
	}
	d.residency = &residency{limit: limit, sections: d.sections()}
	for _, t := range d.source.Tensors() {
		t.DontNeed()
	}
}

// LargestBlock is the size of the largest block of the base, or of all that belongs
// to no block if that is larger.
func (d *Decoder) LargestBlock() (largest int64) {
	for _, s := range d.sections() {
		largest = max(largest, s.whole())
	}
	return largest
}

func (d *Decoder) sections() []section {
	sections := make([]section, len(d.blocks)+1)
	for _, t := range d.source.Tensors() {
		if !t.Viewed() {
			continue // it was copied
		}
		p := len(d.blocks)
		if l := arch.LayerOf(t.Name); l >= len(d.Layers) {
			continue // it is not computed
		} else if l >= 0 {
			p = d.blockOf[l]
		}
		sections[p].add(t)
	}
	return sections
}

func (s *section) add(t *gguf.Tensor) {
	if !arch.IsExpertStack(t.Name, t.Shape) {
		s.tensors = append(s.tensors, t)
		s.bytes += t.Size()
		return
	}
	s.stacks = append(s.stacks, t)
	s.expertBytes += t.Size() / int64(t.Shape[2])
	s.experts = make([]expert, max(t.Shape[2], len(s.experts)))
}

// eachOf calls f with the place of expert e in every stack.
func (s *section) eachOf(e int, f func(t *gguf.Tensor, off, n int64)) {
	for _, t := range s.stacks {
		n := t.Size() / int64(t.Shape[2])
		f(t, int64(e)*n, n)
	}
}

// enter says that section p is about to be used, and next after it, which with ahead is
// read meanwhile. The backward pass uses the experts that the forward pass chose.
func (r *residency) enter(p, next int, ahead, back bool) {
	n := len(r.held)
	switch again := n > 0 && r.held[n-1] == p; {
	case again && !back: // computed again in the backward pass
		return
	case !again:
		if i := slices.Index(r.held, p); i >= 0 {
			r.held = slices.Delete(r.held, i, i+1)
		} else {
			r.bytes += r.sections[p].bytes
		}
		r.held = append(r.held, p)
	}
	if back {
		r.holdChosen(p, ahead)
	}
	r.makeRoom()
	if !ahead || next < 0 || next == len(r.sections)-1 || slices.Contains(r.held, next) {
		return
	}
	for _, t := range r.sections[next].tensors {
		t.WillNeed()
	}
	for e, x := range r.sections[next].experts {
		if back && x.chosen {
			r.sections[next].eachOf(e, (*gguf.Tensor).WillNeedPart)
		}
	}
}

// choose says which experts of section p, entered last, are about to be used: those that
// have rows, groups[e] to groups[e+1]-1.
func (r *residency) choose(p int, groups []int32, ahead bool) {
	experts := r.sections[p].experts // none if they were copied
	for e := range min(len(groups)-1, len(experts)) {
		experts[e].chosen = groups[e] < groups[e+1]
	}
	r.holdChosen(p, ahead)
	r.makeRoom()
}

// holdChosen has the chosen experts of section p read while the first of them are computed.
func (r *residency) holdChosen(p int, ahead bool) {
	s := &r.sections[p]
	for e := range s.experts {
		x := &s.experts[e]
		if !x.chosen || x.held {
			continue
		}
		x.held = true
		r.bytes += s.expertBytes
		if ahead {
			s.eachOf(e, (*gguf.Tensor).WillNeedPart)
		}
	}
}

// makeRoom drops the sections that were unused for longest. Of the one in use it drops the
// experts that are not chosen.
func (r *residency) makeRoom() {
	for r.bytes > r.limit && len(r.held) > 1 {
		r.drop(r.held[0])
		r.held = slices.Delete(r.held, 0, 1)
	}
	s := &r.sections[r.held[len(r.held)-1]]
	for e := range s.experts {
		x := &s.experts[e]
		if r.bytes <= r.limit {
			return
		}
		if x.held && !x.chosen {
			s.eachOf(e, (*gguf.Tensor).DontNeedPart)
			x.held = false
			r.bytes -= s.expertBytes
		}
	}
}

// drop gives back all that is held of section p.
func (r *residency) drop(p int) {
	s := &r.sections[p]
	for _, tensors := range [][]*gguf.Tensor{s.tensors, s.stacks} {
		for _, t := range tensors {
			t.DontNeed()
		}
	}
	r.bytes -= s.bytes
	for e := range s.experts {
		if s.experts[e].held {
			s.experts[e].held = false
			r.bytes -= s.expertBytes
		}
	}
}

// enter is [residency.enter] where there is something to keep in memory.
func (d *Decoder) enter(rehearsing bool, p, next int) {
	if d.residency != nil {
		d.residency.enter(p, next, !rehearsing, false)
	}
}

// enterBack is enter for the backward pass.
func (d *Decoder) enterBack(rehearsing bool, p int) {
	if d.residency != nil {
		d.residency.enter(p, p-1, !rehearsing, true)
	}
}

// choose is [residency.choose] for the experts of a layer.
func (d *Decoder) choose(rehearsing bool, layer int, groups []int32) {
	if d.residency != nil {
		d.residency.choose(d.blockOf[layer], groups, !rehearsing)
	}
}

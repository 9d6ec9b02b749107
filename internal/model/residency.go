package model

import (
	"slices"

	"qtool/gguf"
	"qtool/internal/arch"
)

// residency keeps what is in memory of a mapped base within a limit: it is told
// which part is about to be used, and which of its experts, lets those go that were
// not used for longest, and has the next one read meanwhile. A pass forward and back
// comes to the parts that it used last first. Nil is no limit.
type residency struct {
	limit, bytes int64
	parts        []part // the blocks, then all that belongs to no block
	held         []int  // the parts that may be in memory, the longest unused first
}

// part is the tensors that are used together, of stacks of experts only what tokens
// chose.
type part struct {
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

// whole is the size of p with all its experts.
func (p *part) whole() int64 { return p.bytes + int64(len(p.experts))*p.expertBytes }

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
		largest = max(largest, p.whole())
	}
	return largest
}

func (d *Decoder) parts() []part {
	parts := make([]part, len(d.blocks)+1)
	for _, t := range d.source.Tensors() {
		if !t.Viewed() {
			continue // it was copied
		}
		p := len(d.blocks)
		if l := arch.LayerOf(t.Name); l >= d.Layers {
			continue // it is not computed
		} else if l >= 0 {
			p = d.blockOf[l]
		}
		parts[p].add(t)
	}
	return parts
}

func (p *part) add(t *gguf.Tensor) {
	if !arch.IsExpertStack(t.Name, t.Shape) {
		p.tensors = append(p.tensors, t)
		p.bytes += t.Size()
		return
	}
	p.stacks = append(p.stacks, t)
	p.expertBytes += t.Size() / int64(t.Shape[2])
	p.experts = make([]expert, max(t.Shape[2], len(p.experts)))
}

// eachOf calls f with the place of expert e in every stack.
func (p *part) eachOf(e int, f func(t *gguf.Tensor, off, n int64)) {
	for _, t := range p.stacks {
		n := t.Size() / int64(t.Shape[2])
		f(t, int64(e)*n, n)
	}
}

// enter says that part p is about to be used, and next after it, which with ahead is
// read meanwhile. Going back, the same experts are used that were chosen on the way.
func (r *residency) enter(p, next int, ahead, back bool) {
	n := len(r.held)
	switch again := n > 0 && r.held[n-1] == p; {
	case again && !back: // computed again on the way back
		return
	case !again:
		if i := slices.Index(r.held, p); i >= 0 {
			r.held = slices.Delete(r.held, i, i+1)
		} else {
			r.bytes += r.parts[p].bytes
		}
		r.held = append(r.held, p)
	}
	if back {
		r.holdChosen(p, ahead)
	}
	r.makeRoom()
	if !ahead || next < 0 || next == len(r.parts)-1 || slices.Contains(r.held, next) {
		return
	}
	for _, t := range r.parts[next].tensors {
		t.WillNeed()
	}
	for e, x := range r.parts[next].experts {
		if back && x.chosen {
			r.parts[next].eachOf(e, (*gguf.Tensor).WillNeedPart)
		}
	}
}

// choose says which experts of part p, entered last, are about to be used: those that
// have rows, groups[e] to groups[e+1]-1.
func (r *residency) choose(p int, groups []int32, ahead bool) {
	experts := r.parts[p].experts // none if they were copied
	for e := range min(len(groups)-1, len(experts)) {
		experts[e].chosen = groups[e] < groups[e+1]
	}
	r.holdChosen(p, ahead)
	r.makeRoom()
}

// holdChosen has the chosen experts of part p read while the first of them are at work.
func (r *residency) holdChosen(p int, ahead bool) {
	part := &r.parts[p]
	for e := range part.experts {
		x := &part.experts[e]
		if !x.chosen || x.held {
			continue
		}
		x.held = true
		r.bytes += part.expertBytes
		if ahead {
			part.eachOf(e, (*gguf.Tensor).WillNeedPart)
		}
	}
}

// makeRoom lets the longest unused parts go, but not the last, of which it lets
// experts go that are not used now.
func (r *residency) makeRoom() {
	for r.bytes > r.limit && len(r.held) > 1 {
		r.letGo(r.held[0])
		r.held = slices.Delete(r.held, 0, 1)
	}
	part := &r.parts[r.held[len(r.held)-1]]
	for e := range part.experts {
		x := &part.experts[e]
		if r.bytes <= r.limit {
			return
		}
		if x.held && !x.chosen {
			part.eachOf(e, (*gguf.Tensor).DontNeedPart)
			x.held = false
			r.bytes -= part.expertBytes
		}
	}
}

// letGo gives back all that is held of part p.
func (r *residency) letGo(p int) {
	part := &r.parts[p]
	for _, tensors := range [][]*gguf.Tensor{part.tensors, part.stacks} {
		for _, t := range tensors {
			t.DontNeed()
		}
	}
	r.bytes -= part.bytes
	for e := range part.experts {
		if part.experts[e].held {
			part.experts[e].held = false
			r.bytes -= part.expertBytes
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

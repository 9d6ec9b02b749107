package tokenizer

// part is a stretch of text during merging: text[start:end], joined so far to
// one entry of the vocabulary (or to something that is no token).
type part struct {
	id         int32
	start, end int32
}

// A pairer says whether two neighbours may be joined, into what, and how early:
// the lowest rank goes first, the leftmost among equals.
type pairer interface {
	pair(text string, left, right part) (rank uint32, id int32, ok bool)
}

// merger joins parts until no pair may be joined. It keeps its buffers
// between calls.
type merger struct {
	parts []part
	ranks []uint32
	ids   []int32
	links []link
	heap  []candidate
}

const (
	noRank = ^uint32(0)
	// smallest number of parts for which a heap beats looking for the minimum
	heapFrom = 64
)

// merge joins m.parts in place.
func (m *merger) merge(p pairer, text string) {
	if len(m.parts) < heapFrom {
		m.scan(p, text)
	} else {
		m.queue(p, text)
	}
}

// scan looks for the lowest rank in an array; ranks[i] is that of the pair (i, i+1).
func (m *merger) scan(p pairer, text string) {
	n := len(m.parts)
	if n < 2 {
		return
	}
	m.ranks, m.ids = m.ranks[:0], m.ids[:0]
	rank := func(i int) (uint32, int32) {
		if i+1 >= n {
			return noRank, None
		}
		r, id, ok := p.pair(text, m.parts[i], m.parts[i+1])
		if !ok {
			return noRank, None
		}
		return r, id
	}
	for i := range n {
		r, id := rank(i)
		m.ranks, m.ids = append(m.ranks, r), append(m.ids, id)
	}
	for {
		best := 0
		for i, r := range m.ranks[:n] {
			if r < m.ranks[best] {
				best = i
			}
		}
		if m.ranks[best] == noRank {
			break
		}
		m.parts[best] = part{m.ids[best], m.parts[best].start, m.parts[best+1].end}
		copy(m.parts[best+1:n], m.parts[best+2:n])
		copy(m.ranks[best+1:n], m.ranks[best+2:n])
		copy(m.ids[best+1:n], m.ids[best+2:n])
		n--
		m.ranks[best], m.ids[best] = rank(best)
		if best > 0 {
			m.ranks[best-1], m.ids[best-1] = rank(best - 1)
		}
	}
	m.parts = m.parts[:n]
}

// link chains the parts that are left; a joined one has gone.
type link struct {
	prev, next int32
	gone       bool
}

// candidate is a pair seen at some time; it is stale if either side has changed,
// which shows in its size.
type candidate struct {
	key         uint64 // rank, then left: the order of merging
	right, size int32
	id          int32
}

// queue keeps the pairs in a heap: n log n for text of any length.
func (m *merger) queue(p pairer, text string) {
	m.heap, m.links = m.heap[:0], m.links[:0]
	for i := range m.parts {
		m.links = append(m.links, link{int32(i) - 1, int32(i) + 1, false})
	}
	last := int32(len(m.parts))
	add := func(left, right int32) {
		if left < 0 || right >= last {
			return
		}
		l, r := m.parts[left], m.parts[right]
		if rank, id, ok := p.pair(text, l, r); ok {
			m.push(candidate{uint64(rank)<<32 | uint64(left), right, r.end - l.start, id})
		}
	}
	for i := range last {
		add(i, i+1)
	}
	for len(m.heap) > 0 {
		c := m.pop()
		left := int32(uint32(c.key))
		l, r := &m.parts[left], &m.parts[c.right]
		if m.links[left].gone || m.links[c.right].gone || r.end-l.start != c.size {
			continue
		}
		l.id, l.end = c.id, r.end
		m.links[c.right].gone = true
		next := m.links[c.right].next
		m.links[left].next = next
		if next < last {
			m.links[next].prev = left
		}
		add(m.links[left].prev, left)
		add(left, next)
	}
	kept := m.parts[:0]
	for i, p := range m.parts {
		if !m.links[i].gone {
			kept = append(kept, p)
		}
	}
	m.parts = kept
}

func (m *merger) push(c candidate) {
	h := append(m.heap, c)
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if h[up].key <= h[i].key {
			break
		}
		h[up], h[i] = h[i], h[up]
		i = up
	}
	m.heap = h
}

func (m *merger) pop() candidate {
	h := m.heap
	top := h[0]
	n := len(h) - 1
	h[0] = h[n]
	h = h[:n]
	for i := 0; ; {
		low := 2*i + 1
		if low >= n {
			break
		}
		if low+1 < n && h[low+1].key < h[low].key {
			low++
		}
		if h[i].key <= h[low].key {
			break
		}
		h[i], h[low] = h[low], h[i]
		i = low
	}
	m.heap = h
	return top
}

package model

import "qtool/internal/nn"

// keyValues are the keys and values of a document's tokens, which attention remembers.
// What lies after the tokens of the cache is forgotten.
type keyValues struct {
	cache        *Cache
	keys, values []float32 // [tokens, key heads · headDim] and [tokens, key heads · valueDim]
	blank        int64     // bytes that both would have after a rehearsal
}

func (s *keyValues) reset()          {}
func (s *keyValues) rewind(int) bool { return true } // the next tokens take the place of what is forgotten
func (s *keyValues) bytes() int64    { return s.blank + 4*int64(cap(s.keys)+cap(s.values)) }

// extend adds the rows k and v of the tokens that follow, and returns all rows.
func (s *keyValues) extend(t *nn.Tape, k, v *nn.Var) (allK, allV *nn.Var) {
	c := s.cache
	rows := c.length + k.Rows
	if c.blank {
		s.blank = 4 * int64(rows) * int64(k.Cols+v.Cols)
		return nn.Constant(t.Blank(rows*k.Cols), rows, k.Cols), nn.Constant(t.Blank(rows*v.Cols), rows, v.Cols)
	}
	if s.keys == nil {
		s.keys, s.values = make([]float32, 0, c.room*k.Cols), make([]float32, 0, c.room*v.Cols)
	}
	s.keys = append(s.keys[:c.length*k.Cols], k.Data...)
	s.values = append(s.values[:c.length*v.Cols], v.Data...)
	return nn.Constant(s.keys, rows, k.Cols), nn.Constant(s.values, rows, v.Cols)
}

// attend is attention of q [tokens, heads·headDim] over keys and values of the same tokens,
// and over those that state, which may be nil, remembers: [tokens, heads·valueDim].
func attend(t *nn.Tape, q, k, v *nn.Var, spec nn.AttentionSpec, b *Batch, state layerState) *nn.Var {
	spec.First = b.First
	if kv, ok := state.(*keyValues); ok {
		spec.Offset = kv.cache.length
		k, v = kv.extend(t, k, v)
	}
	return t.Attention(q, k, v, spec)
}

package model

import "qtool/internal/nn"

// Cache keeps the keys and values of one document's tokens, so that the next
// tokens need not compute them again.
type Cache struct {
	length int
	room   int // tokens that memory is taken for at once
	layers []cachedLayer

	blank bool  // of [Decoder.BlankCache]
	bytes int64 // what a blank one would hold
}

type cachedLayer struct{ k, v []float32 }

// NewCache makes an empty cache for so many tokens. More can be added, which takes memory
// and copies.
func (d *Decoder) NewCache(tokens int) *Cache {
	return &Cache{room: tokens, layers: make([]cachedLayer, d.Layers)}
}

// BlankCache is a cache for rehearsals that holds length tokens. It takes no memory of its
// own: its keys and values mean nothing.
func (d *Decoder) BlankCache(length int) *Cache { return &Cache{length: length, blank: true} }

// Len is the number of cached tokens.
func (c *Cache) Len() int { return c.length }

// BlankBytes is what keys and values would take after a rehearsal with a blank cache.
func (c *Cache) BlankBytes() int64 { return c.bytes }

// Truncate forgets all tokens from position n on.
func (c *Cache) Truncate(n int) { c.length = min(c.length, max(n, 0)) }

// extend adds rows to a layer and returns all of its rows.
func (c *Cache) extend(t *nn.Tape, layer int, k, v *nn.Var) (allK, allV *nn.Var) {
	rows := c.length + k.Rows
	if c.blank {
		c.bytes += 4 * int64(rows) * int64(k.Cols+v.Cols)
		return nn.Constant(t.Blank(rows*k.Cols), rows, k.Cols), nn.Constant(t.Blank(rows*v.Cols), rows, v.Cols)
	}
	l := &c.layers[layer]
	if l.k == nil {
		l.k, l.v = make([]float32, 0, c.room*k.Cols), make([]float32, 0, c.room*v.Cols)
	}
	l.k = append(l.k[:c.length*k.Cols], k.Data...)
	l.v = append(l.v[:c.length*v.Cols], v.Data...)
	return nn.Constant(l.k, rows, k.Cols), nn.Constant(l.v, rows, v.Cols)
}

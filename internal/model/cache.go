package model

import "qtool/internal/nn"

// Cache keeps the keys and values of one document's tokens, so that the next
// tokens need not compute them again.
type Cache struct {
	length int
	layers []cachedLayer
}

type cachedLayer struct{ k, v []float32 }

// NewCache makes an empty cache.
func (d *Decoder) NewCache() *Cache { return &Cache{layers: make([]cachedLayer, d.Layers)} }

// Len is the number of cached tokens.
func (c *Cache) Len() int { return c.length }

// Truncate forgets all tokens from position n on.
func (c *Cache) Truncate(n int) { c.length = min(c.length, max(n, 0)) }

// extend adds rows to a layer and returns all of its rows.
func (c *Cache) extend(layer int, k, v *nn.Var) (allK, allV *nn.Var) {
	l := &c.layers[layer]
	rows := c.length + k.Rows
	l.k = append(l.k[:c.length*k.Cols], k.Data...)
	l.v = append(l.v[:c.length*v.Cols], v.Data...)
	return nn.Constant(l.k, rows, k.Cols), nn.Constant(l.v, rows, v.Cols)
}

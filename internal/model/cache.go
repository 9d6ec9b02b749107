package model

// Cache is what layers remember of the tokens of one document, so that the next tokens do
// not need them computed again.
type Cache struct {
	length int
	room   int          // tokens that memory is taken for at once
	blank  bool         // it is for rehearsals; see [Decoder.BlankCache]
	layers []layerState // by number; nil if the layer remembers nothing
}

// layerState is what one layer remembers of a document. It belongs to a cache, which knows
// how many tokens that are.
type layerState interface {
	// reset forgets all.
	reset()
	// rewind forgets the tokens from position n on. It does nothing and reports false where
	// the state has no way back, as one that all tokens so far were summed up in.
	rewind(n int) bool
	// bytes is the memory of the state; of a blank one what it would take after the rehearsal.
	bytes() int64
}

// NewCache makes an empty cache for so many tokens. More can be added, which takes memory
// and copies.
func (d *Decoder) NewCache(tokens int) *Cache { return d.newCache(&Cache{room: tokens}) }

// BlankCache is a cache for rehearsals that holds length tokens. It takes no memory of its
// own: what it remembers means nothing.
func (d *Decoder) BlankCache(length int) *Cache {
	return d.newCache(&Cache{length: length, blank: true})
}

func (d *Decoder) newCache(c *Cache) *Cache {
	c.layers = make([]layerState, len(d.Layers))
	for _, blk := range d.blocks {
		for _, l := range blk.layers {
			c.layers[l.number] = l.mixer.newState(c)
		}
	}
	return c
}

// Bytes is the memory that the cache takes; of a blank one what it would take after the
// rehearsal.
func (c *Cache) Bytes() (n int64) {
	for _, s := range c.layers {
		if s != nil {
			n += s.bytes()
		}
	}
	return n
}

// Len is the number of tokens that are remembered.
func (c *Cache) Len() int { return c.length }

// Reset forgets all tokens.
func (c *Cache) Reset() {
	for _, s := range c.layers {
		if s != nil {
			s.reset()
		}
	}
	c.length = 0
}

// Rewind forgets the tokens from position n on and returns how many are left: n, or fewer
// if there were no more, or 0 if some layer has no way back. The next tokens continue there.
func (c *Cache) Rewind(n int) (left int) {
	if n = max(n, 0); n >= c.length {
		return c.length
	}
	for _, s := range c.layers {
		if s != nil && !s.rewind(n) {
			c.Reset()
			return 0
		}
	}
	c.length = n
	return n
}

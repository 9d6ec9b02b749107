package gguf

// FileSize is the number of bytes that [WriteFile] writes of m with the same options,
// in all shards together, padding included.
func FileSize(m Model, opts ...WriteOption) (int64, error) {
	o, err := optionsOf(opts)
	if err != nil {
		return 0, err
	}
	shards, err := o.shards(m)
	if err != nil {
		return 0, err
	}
	var n int64
	for _, s := range shards {
		im, err := layOut(s.md, s.tensors)
		if err != nil {
			return 0, err
		}
		n += int64(len(im.header))
		for _, size := range im.sizes {
			n += padTo(size, im.alignment)
		}
	}
	return n, nil
}

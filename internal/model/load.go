package model

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"qtool/gguf"
	"qtool/internal/arch"
	"qtool/internal/kernel/product"
	"qtool/internal/kernel/vector"
	"qtool/internal/nn"
	"qtool/internal/printable"
	"qtool/quantize"
)

// Options of [Load].
type Options struct {
	// TrainWeights copies every weight to float32 and makes it trainable.
	TrainWeights bool
	// Context is the number of tokens a document may have; it chooses between
	// long and short rope factors. 0 means the model's own.
	Context int
	// Shapes binds no data: the source's is not read, and all weights share little
	// memory. The decoder is good for [nn.Tape.Rehearse] and to measure time.
	Shapes bool
	// Mapped, unless 0, limits what is in memory of the base; see [Decoder.LimitMapped].
	Mapped int64
}

// ContextLength is the number of tokens that src was trained for.
func ContextLength(src gguf.Model) (int, error) {
	name, err := arch.Name(src)
	if err != nil {
		return 0, asInvalid(err)
	}
	n, err := arch.CountsOf(src, name).Int(arch.KeyContextLength, 1)
	return n, asInvalid(err)
}

// source is the model that a decoder was made of. Weights that are not trained
// stay in its mapping.
type source struct{ gguf.Model }

// Load binds the tensors of src to a decoder. src must stay open as long as
// the decoder is used. Errors match [ErrUnsupported] or [ErrInvalid].
func Load(src gguf.Model, opt Options) (*Decoder, error) {
	name, err := arch.Name(src)
	if err != nil {
		return nil, asInvalid(err)
	}
	if kind, _ := src.Metadata().Str("general.type"); kind == "adapter" || kind == "imatrix" {
		return nil, fmt.Errorf("%w: this file is of general.type %q, not a model", ErrInvalid, kind)
	}
	row, err := findArchitecture(name)
	if err != nil {
		return nil, err
	}
	return load(src, row, opt)
}

// load is Load for a known architecture.
func load(src gguf.Model, row *architecture, opt Options) (d *Decoder, err error) {
	err = refused(func() {
		c := configOf(src, row)
		b := &binder{src: src, arch: row, opt: opt, used: map[string]bool{}, d: &Decoder{Config: *c, source: source{src}, noTargets: map[string]string{}, dropped: map[string]bool{}}}
		b.bind()
		b.checkLeftover()
		d = b.d
	})
	if err != nil {
		return nil, err
	}
	d.LimitMapped(opt.Mapped)
	return d, nil
}

// configOf reads the metadata of src.
func configOf(src gguf.Model, row *architecture) *Config {
	k := newKeys(src, row.Row)
	c := k.common()
	if row.configure != nil {
		row.configure(k, c)
	}
	if c.Experts > 0 && !row.Experts {
		refuseAs(ErrUnsupported, "%s with %d experts", row.Name, c.Experts)
	}
	pairing := pairings[row.Rotation]
	c.Rope.Pairing, c.WindowRope.Pairing = pairing, pairing
	for l := range c.Layers {
		c.Layers[l].Kind = row.Layer(&arch.Sizes{Experts: c.Experts, LeadingDense: c.LeadingDense}, l)
	}
	return c
}

// binder finds the decoder's tensors by name and checks their shapes. What it returns is
// bound; a tensor that cannot be ends the loading, see [refusal].
type binder struct {
	src  gguf.Model
	arch *architecture
	opt  Options
	used map[string]bool
	d    *Decoder

	// With Options.Shapes.
	none   []byte // as many zeros as were needed at once
	blanks nn.Blanks
}

func (b *binder) bind() {
	d := b.d
	d.embed = b.embedding()
	d.outputNorm = b.vector(arch.OutputNorm, d.Embedding)
	d.head = &nn.Head{Linear: b.head(), Softcap: d.LogitSoftcap}
	d.Rope.Factors = b.ropeFactors()
	rope, windowRope := b.rope(d.Rope), (*nn.Rope)(nil)
	if d.Window > 0 {
		windowRope = b.rope(d.WindowRope)
	}
	for l, layer := range d.Layers {
		r := rope
		switch {
		case layer.Unrotated:
			r = nil
		case layer.Windowed:
			r = windowRope
		}
		if n := len(d.blocks); n == 0 || !d.blocks[n-1].open() {
			d.blocks = append(d.blocks, &block{})
		}
		blk := d.blocks[len(d.blocks)-1]
		blk.layers = append(blk.layers, b.layer(l, r))
		d.blockOf = append(d.blockOf, len(d.blocks)-1)
	}
}

func (b *binder) rope(o nn.RopeOptions) *nn.Rope {
	r := nn.NewRope(o)
	b.d.ropes = append(b.d.ropes, r)
	return r
}

// head binds the matrix of the logits, and offers it and the embedding as targets where they
// are two matrices. Where they are one, llama.cpp can apply a pair to neither name.
func (b *binder) head() *nn.Linear {
	d := b.d
	own := b.has(arch.Output)
	if b.arch.Head == arch.TiedHead || b.arch.Head == arch.AnyHead && !own {
		b.noTarget("this base uses its embedding as the head too, and llama.cpp cannot apply a pair to both", "token_embd", "output")
		return &nn.Linear{Weight: d.embed.Weight, Bias: b.bias("output", d.Vocabulary, 1)}
	}
	head := b.linear("output", d.Embedding, d.Vocabulary, 1)
	b.target(arch.TokenEmbedding, d.embed, true)
	b.target(arch.Output, head, false)
	return head
}

func (b *binder) embedding() *nn.Linear {
	t, ok := b.src.Tensor(arch.TokenEmbedding)
	if !ok || len(t.Shape) < 2 {
		refuseAs(ErrInvalid, "there is no matrix %s", arch.TokenEmbedding)
	}
	b.d.Vocabulary = t.Shape[1]
	if tokens, err := b.src.Metadata().Strings("tokenizer.ggml.tokens"); err == nil && len(tokens) != t.Shape[1] {
		refuseAs(ErrInvalid, "%s has %d rows, but the vocabulary has %d tokens", arch.TokenEmbedding, t.Shape[1], len(tokens))
	}
	return &nn.Linear{Weight: b.weight(arch.TokenEmbedding, b.d.Embedding, t.Shape[1], 1)}
}

// ropeFactors binds the factors for the context in use; of two sets the other one is only
// checked.
func (b *binder) ropeFactors() []float32 {
	if !b.arch.RopeFactors {
		return nil
	}
	if !b.d.LongRope {
		return b.factors("rope_freqs.weight")
	}
	short, long := b.factors("rope_factors_short.weight"), b.factors("rope_factors_long.weight")
	context := b.opt.Context
	if context == 0 {
		context = b.d.Context
	}
	if context > b.d.Rope.OriginalContext {
		return long
	}
	return short
}

// factors are those of each plane that heads rotate in, [dims/2]; nil if the file has none.
func (b *binder) factors(name string) []float32 {
	if !b.has(name) {
		return nil
	}
	return b.frozenVector(name, b.d.Rope.Dims/2).Data
}

// targetLinear is linear, offered as a LoRA target.
func (b *binder) targetLinear(name string, in, out, experts int) *nn.Linear {
	l := b.linear(name, in, out, experts)
	b.target(name+".weight", l, false)
	return l
}

// noTarget says why no pair can be bound to the weights of the given short names.
func (b *binder) noTarget(reason string, names ...string) {
	for _, name := range names {
		b.d.noTargets[name] = reason
	}
}

func scaleName(weight string) string { own, _ := arch.ScaleNames(weight); return own }

func (b *binder) target(tensor string, l *nn.Linear, transposed bool) {
	t := Target{Tensor: tensor, Linear: l, Transposed: transposed, Refused: b.arch.WhyRefused(arch.ShortName(tensor))}
	if t.Refused == "" && arch.ScaledLast(arch.ShortName(tensor)) && b.has(scaleName(tensor)) {
		t.Refused, t.Scaled = arch.ScaledTwice, true
		if w, _ := b.src.Tensor(tensor); w.Type == gguf.NVFP4 {
			t.Refused = arch.NVFP4Crash
		}
	}
	b.d.targets = append(b.d.targets, t)
}

// linear binds name.weight and, where the architecture may have one, name.bias.
func (b *binder) linear(name string, in, out, experts int) *nn.Linear {
	return &nn.Linear{Weight: b.weight(name+".weight", in, out, experts), Bias: b.bias(name, out, experts)}
}

// bias binds name.bias if there is one; nil if not.
func (b *binder) bias(name string, shape ...int) *nn.Param {
	if !b.arch.MayHaveBias(arch.ShortName(name)) || !b.has(name+".bias") {
		return nil
	}
	return b.vector(name+".bias", shape...)
}

func (b *binder) has(name string) bool { _, ok := b.src.Tensor(name); return ok }

// tensor finds a tensor and checks its type and shape; trailing dimensions of 1 may be
// left out.
func (b *binder) tensor(name string, shape ...int) *gguf.Tensor {
	t, ok := b.src.Tensor(name)
	if !ok {
		refuseAs(ErrInvalid, "tensor %q is missing", name)
	}
	b.used[name] = true
	if _, err := quantize.Lookup(t.Type); err != nil {
		refuseAs(ErrUnsupported, "tensor %q: %v", name, err)
	}
	if len(t.Shape) == 0 || !gguf.SameShape(t.Shape, shape) {
		for len(shape) > 1 && shape[len(shape)-1] == 1 {
			shape = shape[:len(shape)-1]
		}
		refuseAs(ErrInvalid, "tensor %q has shape %v, the metadata asks for %v", name, t.Shape, shape)
	}
	return t
}

// vector decodes a norm weight or a bias; it is trained with full weights.
func (b *binder) vector(name string, shape ...int) *nn.Param {
	p := b.frozenVector(name, shape...)
	if b.opt.TrainWeights {
		b.train(p)
	}
	return p
}

// frozenVector decodes a tensor that is never trained.
func (b *binder) frozenVector(name string, shape ...int) *nn.Param {
	t := b.tensor(name, shape...)
	if b.opt.Shapes {
		return &nn.Param{Name: name, Shape: t.Shape, Data: slices.Repeat([]float32{1}, t.Elements())}
	}
	data, err := quantize.Decode(t)
	refuseBecause(err)
	p := &nn.Param{Name: name, Shape: t.Shape, Data: data}
	if i := vector.FirstNotFinite(p.Data); i >= 0 {
		refuseAs(ErrInvalid, "element %d of tensor %q is %g; the file is damaged or was badly converted", i, name, p.Data[i])
	}
	return p
}

func (b *binder) train(p *nn.Param) {
	p.Train()
	b.d.params = append(b.d.params, p)
}

// weight binds a matrix or a stack of experts in the type it has.
func (b *binder) weight(name string, in, out, experts int) *nn.Weight {
	t := b.tensor(name, in, out, experts)
	factors := b.factorsOf(t, experts)
	if b.opt.TrainWeights {
		p := b.trainedMatrix(t, in, out, experts)
		if !b.opt.Shapes {
			for e, f := range factors {
				multiply(p.Data[e*in*out:][:in*out], f)
			}
		}
		if experts == 1 {
			p.Shape = []int{in, out}
		}
		return nn.ParamWeight(p)
	}
	if b.opt.Shapes {
		return b.emptyWeight(t, in, out, experts)
	}
	data, err := t.Bytes()
	refuseBecause(err)
	all, err := storedMatrix(t, data, out*experts, in)
	refuseBecause(err)
	matrices := make([]product.Matrix, experts)
	for e := range matrices {
		if factors == nil {
			matrices[e] = all.Slice(e*out, (e+1)*out)
			continue
		}
		matrices[e], err = scaledMatrix(t, data[int64(e*out)*t.RowBytes():], out, in, factors[e])
		refuseBecause(err)
	}
	return nn.FrozenWeight(name, matrices...)
}

// factorsOf are what the stored values of each matrix of t are multiplied by; nil if t has no
// scale. With Options.Shapes, which reads no data, they are 1.
func (b *binder) factorsOf(t *gguf.Tensor, experts int) []float32 {
	scale, err := arch.ScaleOf(b.src, t)
	switch {
	case errors.Is(err, gguf.ErrFormat):
		refuseAs(ErrInvalid, "%v", err)
	case err != nil:
		refuseAs(ErrUnsupported, "%v", err)
	case scale == nil:
		return nil
	}
	own, ofInput := arch.ScaleNames(t.Name)
	b.used[own], b.used[ofInput] = true, true
	if bias := strings.TrimSuffix(t.Name, ".weight") + ".bias"; arch.ScaledLast(arch.ShortName(t.Name)) && b.has(bias) {
		refuseAs(ErrUnsupported, "tensor %q has both a scale and a bias, and llama.cpp would multiply %q by the scale too", t.Name, bias)
	}
	if b.opt.TrainWeights { // what is trained holds the factors
		b.d.dropped[own], b.d.dropped[ofInput] = true, true
	}
	if b.opt.Shapes {
		return slices.Repeat([]float32{1}, experts)
	}
	factors, err := arch.Factors(scale)
	refuseBecause(asInvalid(err))
	return factors
}

// scaledMatrix views data as rows of t's type whose values are multiplied by factor.
func scaledMatrix(t *gguf.Tensor, data []byte, rows, cols int, factor float32) (product.Matrix, error) {
	codec, err := quantize.Lookup(t.Type)
	if err != nil {
		return product.Matrix{}, fmt.Errorf("tensor %q: %w", t.Name, err)
	}
	return product.EncodedMatrix(data, rows, cols, int(t.RowBytes()), func(dst []float32, src []byte) {
		codec.DecodeRow(dst, src)
		multiply(dst, factor)
	}), nil
}

func multiply(v []float32, factor float32) {
	for i := range v {
		v[i] *= factor
	}
}

// trainedMatrix decodes a matrix that is trained. With Options.Shapes it is a blank.
func (b *binder) trainedMatrix(t *gguf.Tensor, in, out, experts int) *nn.Param {
	if !b.opt.Shapes {
		return b.vector(t.Name, in, out, experts)
	}
	const most = 1 << 31
	n := t.Elements()
	if n > most {
		refuseAs(ErrUnsupported, "training all weights, of which %q alone has %d", t.Name, n)
	}
	p := b.blanks.Param(t.Name, arch.ShortName(t.Name), in, out, experts)
	b.train(p)
	return p
}

// emptyWeight is a weight whose experts are all the same zeros. These are never
// written, so that they take addresses and no memory.
func (b *binder) emptyWeight(t *gguf.Tensor, in, out, experts int) *nn.Weight {
	const most = 1 << 36
	size := int64(out) * t.RowBytes()
	if size > most {
		refuseAs(ErrUnsupported, "a matrix of %q would have %d bytes", t.Name, size)
	}
	if int64(len(b.none)) < size {
		b.none = make([]byte, size)
	}
	m, err := storedMatrix(t, b.none[:size], out, in)
	refuseBecause(err)
	return nn.FrozenWeight(t.Name, slices.Repeat([]product.Matrix{m}, experts)...)
}

// storedMatrix views data as rows of t's type.
func storedMatrix(t *gguf.Tensor, data []byte, rows, cols int) (product.Matrix, error) {
	if t.Type == gguf.F32 {
		if v, ok := product.Float32View(data); ok {
			return product.Float32Matrix(v, rows, cols), nil
		}
	}
	codec, err := quantize.Lookup(t.Type)
	if err != nil {
		return product.Matrix{}, fmt.Errorf("tensor %q: %w", t.Name, err)
	}
	return product.EncodedMatrix(data, rows, cols, int(t.RowBytes()), codec.DecodeRow).OfType(t.Type), nil
}

// checkLeftover refuses a file with tensors that the decoder would ignore: its
// results would be wrong.
func (b *binder) checkLeftover() {
	var left []string
	for _, t := range b.src.Tensors() {
		if !b.used[t.Name] && !b.skipped(t.Name) {
			left = append(left, t.Name)
		}
	}
	if len(left) > 0 {
		shown := left[:min(3, len(left))]
		refuseAs(ErrUnsupported, "%s has %d tensors that the decoder does not know: %s", b.arch.Name, len(left), strings.Join(printable.Texts(shown), ", "))
	}
}

// skipped reports whether a tensor belongs to a block that is not computed.
func (b *binder) skipped(tensor string) bool {
	l := arch.LayerOf(tensor)
	return l >= len(b.d.Layers) && l < len(b.d.Layers)+b.d.SkippedLayers
}

// FindNotFinite is the first tensor with an element that is NaN or infinite, and
// that element's index; "" if there is none. It decodes the whole model.
func (d *Decoder) FindNotFinite() (tensor string, index int) {
	for _, t := range d.source.Tensors() {
		data, err := t.Bytes()
		if err != nil || len(t.Shape) == 0 || t.Elements() == 0 {
			continue
		}
		m, err := storedMatrix(t, data, t.Rows(), t.Shape[0])
		if err != nil {
			continue
		}
		scratch := make([]float32, m.Cols)
		for r := range m.Rows {
			if i := vector.FirstNotFinite(m.Row(r, scratch)); i >= 0 {
				return t.Name, r*m.Cols + i
			}
		}
	}
	return "", -1
}

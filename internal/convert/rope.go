package convert

import (
	"math"
	"strings"

	"qtool/internal/arch"
)

// rope is the rotary embedding's base and the stretching of its context.
type rope struct {
	base    float64
	kind    string // "", "linear", "yarn", "llama3" or "longrope"
	factor  float64
	context int // original context length: yarn, llama3 and longrope

	lowFreq, highFreq float64   // llama3
	multiplied        bool      // yarn: a key of the architecture says the magnitude
	long, short       []float32 // longrope: divisors of the angles
	logarithmic       bool      // longrope: the magnitude is that of YaRN

	// Optional values of yarn, nil if the configuration does not give them.
	magnitude, rotatedMagnitude               *float64 // mscale_all_dim, mscale
	extFactor, attnFactor, betaFast, betaSlow *float64
}

// ropeKinds are the kinds of scaling that an architecture has besides linear and yarn.
type ropeKinds int

const (
	ropeLlama3 ropeKinds = iota + 1
	ropeLong
)

// windowBase is the base of layers with a window, def if config.json does not say it.
func windowBase(c *config, def float64) float64 {
	def = c.float(def, "rope_local_base_freq")
	p, ok := c.object("rope_parameters", "rope_scaling")
	if !ok {
		return def
	}
	window, ok := p.object("sliding_attention")
	if !ok {
		return def
	}
	base := window.float(def, "rope_theta")
	if c.err == nil {
		c.err = joinErr(p, window)
	}
	return base
}

// readRope reads the rotation, of which it sets in d how much of a head it takes.
func readRope(c *config, d *dims, f *family) (*rope, error) {
	p, ok := c.object("rope_parameters", "rope_scaling")
	if ok {
		// Where windowed layers rotate otherwise, these are the others.
		if full, nested := p.object("full_attention"); nested {
			p = full
		}
	}
	if !ok {
		p = &config{where: c.where, fields: map[string]any{}}
	}
	r := &rope{multiplied: f.yarnMultiplier, base: p.float(c.float(10000, "rope_theta"), "rope_theta")}
	kind := strings.ToLower(p.str("rope_type", p.str("type", "default")))
	if kind == "yarn" && f.rope == ropeLong && p.has("long_factor") { // so the first of Phi-3
		kind, r.logarithmic = "longrope", true
	}
	switch kind {
	case "default":
	case "dynamic":
		// It changes nothing up to the context length, which the model is given as.
	case "linear":
		r.kind, r.factor = kind, p.float(0, "factor")
	case "yarn":
		r.kind, r.factor = kind, p.float(0, "factor")
		r.context = p.integer(c.integer(d.context, "original_max_position_embeddings"), "original_max_position_embeddings")
		r.magnitude, r.rotatedMagnitude = p.optional("mscale_all_dim"), p.optional("mscale")
		r.extFactor = p.optional("extrapolation_factor")
		r.attnFactor = p.optional("attention_factor", "attn_factor")
		r.betaFast, r.betaSlow = p.optional("beta_fast"), p.optional("beta_slow")
	case "longrope", "su":
		if f.rope != ropeLong {
			return nil, refuse("the rope scaling %q is not handled, the %s architecture does not have it", kind, f.arch)
		}
		r.kind, r.factor = "longrope", 1
		r.context = p.integer(c.integer(d.context, "original_max_position_embeddings"), "original_max_position_embeddings")
		r.long, r.short = p.floats("long_factor"), p.floats("short_factor")
	case "llama3":
		if f.rope != ropeLlama3 {
			return nil, refuse("the rope scaling llama3 is not handled, the %s architecture does not have it", f.arch)
		}
		r.kind, r.factor = kind, p.float(8, "factor")
		r.lowFreq, r.highFreq = p.float(1, "low_freq_factor"), p.float(4, "high_freq_factor")
		r.context = p.integer(8192, "original_max_position_embeddings")
	default:
		return nil, refuse("the rope scaling %q is not handled; linear, yarn, llama3 and dynamic are", kind)
	}
	if err := joinErr(c, p); err != nil {
		return nil, err
	}
	if err := r.readPart(c, p, d, f); err != nil {
		return nil, err
	}
	if r.base <= 0 || r.kind != "" && r.factor <= 0 || r.kind == "llama3" && r.highFreq <= r.lowFreq {
		return nil, refuse("rope_theta and the factor of rope scaling must be positive and high_freq_factor above low_freq_factor, found %+v", p.fields)
	}
	return r, joinErr(c, p)
}

// readPart sets how much of a head rotates.
func (r *rope) readPart(c, p *config, d *dims, f *family) error {
	part := 1.0
	if f.rotated > 0 {
		part = f.rotated
	}
	part = p.float(c.float(part, "partial_rotary_factor"), "partial_rotary_factor")
	if f.rotated == 0 && part != 1 {
		return refuse("a partial_rotary_factor of %v is not handled", part)
	}
	d.rotated = int(part * float64(d.headDim))
	if !(part > 0 && part <= 1) || d.rotated%2 != 0 {
		return invalid("config.json: a partial_rotary_factor of %v gives %d rotated elements of a head of %d, which takes pairs", part, d.rotated, d.headDim)
	}
	if n := d.rotated / 2; r.kind == "longrope" && (len(r.long) != n || len(r.short) != n) {
		return invalid("config.json: long_factor and short_factor have %d and %d elements, heads have %d rotated pairs", len(r.long), len(r.short), n)
	}
	return nil
}

// longMagnitude is what multiplies sine and cosine of a model that was stretched
// to context.
func (r *rope) longMagnitude(context int) float64 {
	scale := float64(context) / float64(r.context)
	if scale <= 1 {
		return 1
	}
	if r.logarithmic {
		return 1 + 0.1*math.Log(scale)
	}
	return math.Sqrt(1 + math.Log(scale)/math.Log(float64(r.context)))
}

// recipes adds the tensors of factors.
func (r *rope) recipes(list *recipes, d *dims) {
	switch r.kind {
	case "llama3":
		list.generated("rope_freqs.weight", d.headDim/2, r.factors)
	case "longrope":
		list.generated("rope_factors_long.weight", len(r.long), func(int) []float32 { return r.long })
		list.generated("rope_factors_short.weight", len(r.short), func(int) []float32 { return r.short })
	}
}

func (c *config) optional(keys ...string) *float64 {
	if !c.has(keys...) {
		return nil
	}
	f := c.float(0, keys...)
	return &f
}

// factors are the divisors of the rotation angles of llama3 scaling, one for
// each of n pairs. Frequencies of short wavelength stay, long ones are divided
// by the factor, and between the two the divisor changes smoothly.
func (r *rope) factors(n int) []float32 {
	// All in float32, where the factors of published files were computed.
	context, factor := float32(r.context), float32(r.factor)
	low, high := float32(r.lowFreq), float32(r.highFreq)
	out := make([]float32, n)
	for j := range out {
		freq := 1 / float32(math.Pow(r.base, float64(float32(2*j)/float32(2*n))))
		wavelength := float32(1/freq) * float32(2*math.Pi)
		switch {
		case wavelength < context/high:
			out[j] = 1
		case wavelength > context/low:
			out[j] = factor
		default:
			smooth := (float32(float32(1/wavelength)*context) - low) / (high - low)
			out[j] = 1 / (float32((1-smooth)/factor) + smooth)
		}
	}
	return out
}

// write adds the keys of linear and yarn scaling; llama3 has a tensor instead.
func (r *rope) write(w *metadataWriter) {
	if r.kind != "linear" && r.kind != "yarn" {
		return
	}
	w.str(arch.KeyRopeScalingType, r.kind)
	w.float(arch.KeyRopeScalingFactor, r.factor)
	if r.kind != "yarn" {
		return
	}
	w.uint(arch.KeyRopeScalingOriginalContextLength, r.context)
	for _, o := range []struct {
		key   string
		value *float64
	}{
		{arch.KeyRopeScalingYarnExtFactor, r.extFactor},
		{arch.KeyRopeScalingYarnAttnFactor, r.attnFactor},
		{arch.KeyRopeScalingYarnBetaFast, r.betaFast},
		{arch.KeyRopeScalingYarnBetaSlow, r.betaSlow},
	} {
		if o.value != nil {
			w.float(o.key, *o.value)
		}
	}
	if usual := r.logMagnitude(1); !r.multiplied && r.factor > 1 && math.Abs(r.wholeMagnitude()-usual) > 1e-6 {
		w.float(arch.KeyRopeScalingAttnFactor, r.wholeMagnitude()/usual)
	}
}

// logMagnitude is YaRN's magnitude with weight m.
func (r *rope) logMagnitude(m float64) float64 {
	if r.factor <= 1 {
		return 1
	}
	return 1 + 0.1*m*math.Log(r.factor)
}

// wholeMagnitude is what YaRN multiplies sine and cosine with, as transformers has it.
// llama.cpp makes 1+0.1·ln(factor) itself, and multiplies it with a key.
func (r *rope) wholeMagnitude() float64 {
	all, rotated := r.magnitude, r.rotatedMagnitude
	switch {
	case r.attnFactor != nil:
		return *r.attnFactor
	case all != nil && rotated != nil && *all != 0 && *rotated != 0:
		return r.logMagnitude(*rotated) / r.logMagnitude(*all)
	}
	return r.logMagnitude(1)
}

// scoreMagnitude is what YaRN multiplies the scores of attention over latents with.
func (r *rope) scoreMagnitude() float64 {
	if r.kind != "yarn" || r.magnitude == nil {
		return 1
	}
	m := r.logMagnitude(*r.magnitude)
	return m * m
}

package convert

import (
	"math"
	"strings"
)

// rope is the rotary embedding's base and the stretching of its context.
type rope struct {
	base    float64
	kind    string // "", "linear", "yarn" or "llama3"
	factor  float64
	context int // original context length: yarn and llama3

	lowFreq, highFreq float64 // llama3

	// Optional values of yarn, nil if the configuration does not give them.
	extFactor, attnFactor, betaFast, betaSlow *float64
}

func readRope(c *config, d *dims) (*rope, error) {
	p, ok := c.object("rope_parameters", "rope_scaling")
	if !ok {
		p = &config{where: c.where, fields: map[string]any{}}
	}
	r := &rope{base: p.float(c.float(10000, "rope_theta"), "rope_theta")}
	kind := strings.ToLower(p.str("rope_type", p.str("type", "default")))
	switch kind {
	case "default":
	case "dynamic":
		// It changes nothing up to the context length, which the model is given as.
	case "linear":
		r.kind, r.factor = kind, p.float(0, "factor")
	case "yarn":
		r.kind, r.factor = kind, p.float(0, "factor")
		r.context = p.integer(c.integer(d.context, "original_max_position_embeddings"), "original_max_position_embeddings")
		r.extFactor = p.optional("extrapolation_factor")
		r.attnFactor = p.optional("attention_factor", "attn_factor")
		r.betaFast, r.betaSlow = p.optional("beta_fast"), p.optional("beta_slow")
	case "llama3":
		r.kind, r.factor = kind, p.float(8, "factor")
		r.lowFreq, r.highFreq = p.float(1, "low_freq_factor"), p.float(4, "high_freq_factor")
		r.context = p.integer(8192, "original_max_position_embeddings")
	default:
		return nil, refuse("the rope scaling %q is not handled; linear, yarn, llama3 and dynamic are", kind)
	}
	if err := joinErr(c, p); err != nil {
		return nil, err
	}
	if partial := p.float(c.float(1, "partial_rotary_factor"), "partial_rotary_factor"); partial != 1 {
		return nil, refuse("a partial_rotary_factor of %v is not handled", partial)
	}
	if r.base <= 0 || r.kind != "" && r.factor <= 0 || r.kind == "llama3" && r.highFreq <= r.lowFreq {
		return nil, refuse("rope_theta and the factor of rope scaling must be positive and high_freq_factor above low_freq_factor, found %+v", p.fields)
	}
	return r, joinErr(c, p)
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
	w.str("rope.scaling.type", r.kind)
	w.float("rope.scaling.factor", r.factor)
	if r.kind != "yarn" {
		return
	}
	w.uint("rope.scaling.original_context_length", r.context)
	for _, o := range []struct {
		key   string
		value *float64
	}{
		{"rope.scaling.yarn_ext_factor", r.extFactor},
		{"rope.scaling.yarn_attn_factor", r.attnFactor},
		{"rope.scaling.yarn_beta_fast", r.betaFast},
		{"rope.scaling.yarn_beta_slow", r.betaSlow},
	} {
		if o.value != nil {
			w.float(o.key, *o.value)
		}
	}
	// Hugging Face's attention_factor is the whole magnitude. llama.cpp makes
	// 1+0.1·ln(factor) itself and multiplies it with this key.
	if usual := 1 + 0.1*math.Log(r.factor); r.attnFactor != nil && r.factor > 1 && math.Abs(*r.attnFactor-usual) > 1e-6 {
		w.float("rope.scaling.attn_factor", *r.attnFactor/usual)
	}
}

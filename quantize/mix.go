package quantize

import (
	"slices"
	"strings"

	"qtool/gguf"
	"qtool/internal/ggml"
)

// A mix gives some tensors of a file another type than the base. The choices are
// llama-quantize's, compared tensor by tensor with what it really chose.

// site is a tensor as the rules see it.
type site struct {
	mix  fileType
	role role
	// index of count: the position among the tensors that share a role, in layers
	// for the FFN. The first and last layers suffer most from few bits.
	index, count int
	before       int // tensors of the same role before this one
	columns      int
	stacked      bool // one matrix per expert
	imatrix      bool
	arch         *archFacts
}

// rule gives tensors of some mixes and roles the type to. The first rule that fits
// decides; a tensor that none fits takes the base type.
type rule struct {
	mixes string // names separated by blanks; "" is every mix
	role  role
	when  func(*site) bool // nil is always
	to    gguf.Type
}

// lowMixes have rules of their own.
const lowMixes = "IQ1_S IQ1_M IQ2_XXS IQ2_XS IQ2_S IQ2_M"

// base as a rule's type ends the search with the base type of the mix.
const base = ^gguf.Type(0)

var rules = []rule{
	{"MXFP4_MOE", head, nil, gguf.Q8_0},
	{"", head, falcon, gguf.Q8_0},
	{"", head, undivided, gguf.Q8_0},
	{"Q8_0", head, nil, gguf.Q8_0},
	{lowMixes + " IQ3_XXS", head, nil, gguf.Q5_K},
	{"", head, nil, gguf.Q6_K},

	{"MXFP4_MOE", anyRole, stacked, gguf.MXFP4},
	{"MXFP4_MOE", anyRole, nil, gguf.Q8_0},

	{"TQ1_0 TQ2_0 Q2_0", embedding, nil, gguf.Q4_K},
	{"IQ1_S IQ1_M IQ2_XXS IQ2_XS", embedding, nil, gguf.Q2_K},
	{"IQ2_S IQ2_M IQ3_XXS", embedding, nil, gguf.IQ3_S},

	{lowMixes, value, sharedKV, gguf.Q4_K},
	{lowMixes, value, fourExperts, gguf.Q4_K},
	{"IQ2_S IQ2_M", value, nil, gguf.IQ3_S},
	{lowMixes, value, nil, gguf.Q2_K},
	{lowMixes, key, eightExperts, gguf.Q4_K},
	{"IQ2_S IQ2_M", down, firstTensors(8), gguf.IQ3_S},
	{lowMixes, down, firstTensors(8), gguf.Q2_K},
	{lowMixes, projection, eightExperts, gguf.Q5_K},
	{"IQ1_S IQ1_M", projection, nil, gguf.IQ2_XXS},
	{"IQ2_S IQ2_M", projection, nil, gguf.IQ3_S},
	{lowMixes, anyRole, nil, base},

	{"", value, eightExperts, gguf.Q8_0},
	{"Q4_K_M Q5_K_M", value, sensitiveLayer, gguf.Q6_K},
	{"Q2_K Q3_K_S Q3_K_M Q4_K_S Q4_K_M IQ3_M", value, size70B, gguf.Q5_K},
	{"Q2_K_S IQ3_XXS IQ3_XS IQ3_S", value, both(size70B, sharedKV), gguf.Q5_K},
	{"Q2_K Q2_K_S IQ3_XXS IQ3_XS IQ3_S", value, sharedKV, gguf.Q4_K},
	{"IQ3_XXS", value, not(withImatrix), gguf.IQ3_S},
	{"Q2_K", value, nil, gguf.Q3_K},
	{"IQ3_M", value, nil, gguf.Q4_K},
	{"Q3_K_M", value, amongFirst(2), gguf.Q5_K},
	{"Q3_K_M", value, nil, gguf.Q4_K},
	{"Q3_K_L", value, nil, gguf.Q5_K},
	{"IQ4_NL IQ4_XS", value, sharedKV, gguf.Q5_K},
	{"Q4_K_S", value, amongFirst(4), gguf.Q5_K},

	{"", key, eightExperts, gguf.Q8_0},
	{"IQ3_XS", key, nil, gguf.IQ3_XXS},
	{"IQ3_XS", query, nil, gguf.IQ3_XXS},
	{"IQ3_XXS", key, nil, gguf.IQ2_S},
	{"IQ3_XXS", query, nil, gguf.IQ2_S},

	{"Q3_K_L", projection, falcon, gguf.Q4_K},
	{"", projection, falcon, base},
	{"Q2_K Q3_K_S Q3_K_M Q4_K_S Q4_K_M IQ3_XXS IQ3_XS IQ3_S IQ3_M IQ4_NL IQ4_XS", projection, eightExperts, gguf.Q5_K},
	{"", projection, eightExperts, base},
	{"Q2_K", projection, nil, gguf.Q3_K},
	{"IQ3_XXS", projection, nil, gguf.IQ3_S},
	{"Q3_K_M IQ3_M", projection, nil, gguf.Q4_K},
	{"Q3_K_L", projection, nil, gguf.Q5_K},

	{"IQ3_XS", gate, middleLayer, gguf.IQ3_XXS},
	{"IQ3_XS", up, middleLayer, gguf.IQ3_XXS},

	{"Q2_K", down, nil, gguf.Q3_K},
	{"Q2_K_S", down, firstPart(8), gguf.Q4_K},
	{"IQ3_XXS", down, withImatrix, base},
	{"IQ3_XXS", down, firstPart(8), gguf.Q4_K},
	{"IQ3_XXS", down, nil, gguf.Q3_K},
	{"Q3_K_M", down, firstPart(16), gguf.Q5_K},
	{"Q3_K_M", down, both(falcon, not(sensitiveLayer)), base},
	{"Q3_K_M", down, nil, gguf.Q4_K},
	{"Q3_K_L", down, falcon, gguf.Q4_K},
	{"Q3_K_L", down, nil, gguf.Q5_K},
	{"Q4_K_S", down, both(firstPart(8), not(falcon)), gguf.Q5_K},
	{"Q4_K_M", down, both(falcon, firstPart(16)), gguf.Q6_K},
	{"Q4_K_M", down, both(falcon, sensitiveLayer), gguf.Q5_K},
	{"Q4_K_M", down, falcon, base},
	{"Q4_K_M Q5_K_M", down, sensitiveLayer, gguf.Q6_K},
	{"IQ3_M", down, firstPart(8), gguf.Q4_K},
	{"IQ3_M", down, both(eightExperts, sensitiveLayer), gguf.Q4_K},
	{"IQ4_NL IQ4_XS", down, both(firstPart(8), not(withImatrix)), gguf.Q5_K},
	{"Q4_0", down, both(firstPart(8), withImatrix), gguf.Q4_1},
	{"Q5_0", down, both(firstPart(8), withImatrix), gguf.Q5_1},
}

// anyRole in a rule is every role.
const anyRole role = -1

func (r *rule) fits(s *site) bool {
	return (r.role == anyRole || r.role == s.role) &&
		(r.mixes == "" || slices.Contains(strings.Fields(r.mixes), s.mix.name)) &&
		(r.when == nil || r.when(s))
}

// mixedType is the type that the mix gives the tensor at s.
func mixedType(s *site) gguf.Type {
	for i := range rules {
		if r := &rules[i]; r.fits(s) {
			if r.to == base {
				break
			}
			return r.to
		}
	}
	return s.mix.base
}

func falcon(s *site) bool       { return s.arch.name == "falcon" }
func undivided(s *site) bool    { return s.columns%s.mix.base.BlockElements() != 0 }
func stacked(s *site) bool      { return s.stacked }
func withImatrix(s *site) bool  { return s.imatrix }
func fourExperts(s *site) bool  { return s.arch.experts >= 4 }
func eightExperts(s *site) bool { return s.arch.experts == 8 }

// sharedKV: with four query heads or more for each key head, attn_v is small and worth
// its bits.
func sharedKV(s *site) bool { return s.arch.gqa >= 4 }

// layersOf70B are the layers of the models that llama.cpp calls 70B.
var layersOf70B = map[string]int{"llama": 80, "qwen2": 80, "deci": 80, "olmo": 80, "jais2": 68}

// size70B leaves out the first Llama of 65B, which has as many layers.
func size70B(s *site) bool {
	layers, ok := layersOf70B[s.arch.name]
	return ok && s.arch.layers == layers && (s.arch.name != "llama" || s.arch.heads != s.arch.headsKV)
}

// sensitiveLayer: the first and last eighth, and every third layer between.
func sensitiveLayer(s *site) bool {
	eighth := s.count / 8
	return s.index < eighth || s.index >= 7*s.count/8 || (s.index-eighth)%3 == 2
}

func middleLayer(s *site) bool { return s.index >= s.count/8 && s.index < 7*s.count/8 }

func amongFirst(n int) func(*site) bool       { return func(s *site) bool { return s.index < n } }
func firstTensors(n int) func(*site) bool     { return func(s *site) bool { return s.before < s.count/n } }
func firstPart(n int) func(*site) bool        { return func(s *site) bool { return s.index < s.count/n } }
func not(f func(*site) bool) func(*site) bool { return func(s *site) bool { return !f(s) } }
func both(f, g func(*site) bool) func(*site) bool {
	return func(s *site) bool { return f(s) && g(s) }
}

// fitting is t, or what replaces it for rows of the given length.
func fitting(t gguf.Type, columns int) gguf.Type {
	if columns%t.BlockElements() == 0 {
		return t
	}
	if f := ggml.TraitsOf(t).Fallback; columns%f.BlockElements() == 0 {
		return f
	}
	return gguf.F16
}

package ggml

// Traits are the facts of one type. The rows below leave out no column: one that is
// forgotten does not compile.
type Traits struct {
	Name  string
	Block int // elements that are stored together
	Bytes int // of a block
	// Words are the numbers of more than one byte in a block: what differs between byte
	// orders. nil: there is no order that all who write the type agree on.
	Words []Words
	// Scales are where float16 scales and minimums stand in a block; [Scattered] is one
	// whose bits are apart.
	Scales []int
	// Importance is what that of columns does to an encoder.
	Importance Importance
	// Fallback is the type for rows that do not divide into blocks. Where that does not
	// fit either, F16 fits every row.
	Fallback Type
}

// Words are Count numbers of Width bytes, from Offset in a block on.
type Words struct{ Offset, Width, Count int }

// Scattered stands for the place of a scale whose bits only its codec can find.
const Scattered = -1

// Importance is what an encoder does with the importance of columns.
type Importance uint8

const (
	// Ignored: what is stored does not depend on it.
	Ignored Importance = iota
	// Weighed: errors are weighed with it, if there is some.
	Weighed
	// NeededInBlocks: weights of the type are no good without it, except those of the
	// token embedding and the output head.
	NeededInBlocks
	// Needed: no weights of the type are any good without it.
	Needed
)

// What columns of many rows say.
var (
	oneByte   = []Words{}    // nothing is wider
	disagreed = []Words(nil) // byte order
	unscaled  = []int(nil)   // no float16 scale
	first     = []int{0}     // a float16 scale first
	firstTwo  = []int{0, 2}  // a scale, then a minimum
	half      = []Words{{0, 2, 1}}
	halves    = []Words{{0, 2, 2}}
	word      = []Words{{0, 4, 1}}
	double    = []Words{{0, 8, 1}}
)

// The table, with types in the places of their numbers.
var traits = [...]Traits{
	F32:  {"F32", 1, 4, word, unscaled, Ignored, F16},
	F64:  {"F64", 1, 8, double, unscaled, Ignored, F16},
	F16:  {"F16", 1, 2, half, unscaled, Ignored, F16},
	BF16: {"BF16", 1, 2, half, unscaled, Ignored, F16},
	I8:   {"I8", 1, 1, oneByte, unscaled, Ignored, F16},
	I16:  {"I16", 1, 2, half, unscaled, Ignored, F16},
	I32:  {"I32", 1, 4, word, unscaled, Ignored, F16},
	I64:  {"I64", 1, 8, double, unscaled, Ignored, F16},

	Q1_0: {"Q1_0", 128, 18, half, first, Ignored, F16},
	Q2_0: {"Q2_0", 64, 18, half, first, Ignored, Q4_0},
	Q4_0: {"Q4_0", 32, 18, half, first, Weighed, F16},
	Q4_1: {"Q4_1", 32, 20, halves, firstTwo, Weighed, F16},
	Q5_0: {"Q5_0", 32, 22, []Words{{0, 2, 1}, {2, 4, 1}}, first, Weighed, F16}, // the fifth bits are one word
	Q5_1: {"Q5_1", 32, 24, []Words{{0, 2, 2}, {4, 4, 1}}, firstTwo, Weighed, F16},
	Q8_0: {"Q8_0", 32, 34, half, first, Ignored, F16},
	Q8_1: {"Q8_1", 32, 36, halves, firstTwo, Ignored, F16},

	Q2_K: {"Q2_K", 256, 84, []Words{{80, 2, 2}}, []int{80, 82}, Weighed, Q4_0},
	Q3_K: {"Q3_K", 256, 110, []Words{{108, 2, 1}}, []int{108}, Weighed, Q4_0},
	Q4_K: {"Q4_K", 256, 144, halves, firstTwo, Weighed, Q5_0},
	Q5_K: {"Q5_K", 256, 176, halves, firstTwo, Weighed, Q5_1},
	Q6_K: {"Q6_K", 256, 210, []Words{{208, 2, 1}}, []int{208}, Weighed, Q8_0},
	Q8_K: {"Q8_K", 256, 292, []Words{{0, 4, 1}, {260, 2, 16}}, unscaled, Ignored, F16},

	IQ1_S: {"IQ1_S", 256, 50, []Words{{0, 2, 1}, {34, 2, 8}}, first, Needed, IQ4_NL},
	IQ1_M: {"IQ1_M", 256, 56, []Words{{48, 2, 4}}, []int{Scattered}, NeededInBlocks, IQ4_NL},
	// ggml writes the grid indices of IQ2_XXS as 32-bit words and reads them as bytes, so
	// that a big-endian file of it has no meaning to agree on.
	IQ2_XXS: {"IQ2_XXS", 256, 66, disagreed, first, Needed, IQ4_NL},
	IQ2_XS:  {"IQ2_XS", 256, 74, []Words{{0, 2, 33}}, first, Needed, IQ4_NL},
	IQ2_S:   {"IQ2_S", 256, 82, half, first, NeededInBlocks, IQ4_NL},
	IQ3_XXS: {"IQ3_XXS", 256, 98, []Words{{0, 2, 1}, {66, 4, 8}}, first, NeededInBlocks, IQ4_NL},
	IQ3_S:   {"IQ3_S", 256, 110, half, first, Weighed, IQ4_NL},
	IQ4_NL:  {"IQ4_NL", 32, 18, half, first, Weighed, F16},
	IQ4_XS:  {"IQ4_XS", 256, 136, halves, first, Weighed, IQ4_NL},

	TQ1_0: {"TQ1_0", 256, 54, []Words{{52, 2, 1}}, []int{52}, Ignored, Q4_0},
	TQ2_0: {"TQ2_0", 256, 66, []Words{{64, 2, 1}}, []int{64}, Ignored, Q4_0},
	MXFP4: {"MXFP4", 32, 17, oneByte, unscaled, Ignored, F16},
	NVFP4: {"NVFP4", 64, 36, oneByte, unscaled, Ignored, F16},
}

var unknown Traits

// TraitsOf is the row of t, which callers must not change; all zero if t is unknown.
func TraitsOf(t Type) *Traits {
	if int64(t) < int64(len(traits)) {
		return &traits[t]
	}
	return &unknown
}

package tokenizer

import "errors"

var (
	// ErrNoVocab is in the chain of errors about models that carry no vocabulary.
	ErrNoVocab = errors.New("the model has no vocabulary")
	// ErrUnsupported is in the chain of errors about tokenizers that are valid
	// but not implemented.
	ErrUnsupported = errors.New("unsupported tokenizer")
	// ErrInvalid is in the chain of errors about vocabularies that contradict themselves.
	ErrInvalid = errors.New("invalid tokenizer")
)

// TokenType is the role of a token, numbered as in GGUF.
type TokenType int32

// The token types of GGUF.
const (
	Undefined   TokenType = iota
	Normal                // ordinary text
	Unknown               // stands for text that has no token
	Control               // never made from text unless special tokens are parsed
	UserDefined           // always cut out of the text before anything else
	Unused                // a hole in the vocabulary
	Byte                  // one byte, spelled <0xXX>
)

// The families of tokenizers, as tokenizer.ggml.model names them.
const (
	ModelSPM = "llama" // sentencepiece-like: scores, ▁ for a space, byte tokens
	ModelBPE = "gpt2"  // byte-level BPE: merges over a byte alphabet
)

// None is the id of a special token that a vocabulary does not have.
const None int32 = -1

// Vocab is a tokenizer as plain data. The zero value is not valid: ids of
// special tokens that are absent must be [None].
type Vocab struct {
	Model  string // ModelSPM or ModelBPE
	Pre    string // pre-tokenizer's name, BPE only
	Tokens []string
	Scores []float32   // one per token for SPM; nil for BPE
	Types  []TokenType // one per token
	Merges []string    // "left right" in order of rank, BPE only

	BOS, EOS, EOT, EOM  int32
	UNK, SEP, PAD, Mask int32

	// Tokens of fill-in-the-middle prompts.
	FIMPrefix, FIMSuffix, FIMMiddle, FIMPad, FIMRepo, FIMSep int32

	// What Encode adds when special tokens are asked for, and whether SPM puts
	// a space before text that starts a fragment.
	AddBOS, AddEOS, AddSpacePrefix bool
	// Explicit tells which of those the source stated; the others are the
	// defaults of the family or the pre-tokenizer.
	Explicit struct{ AddBOS, AddEOS, AddSpacePrefix bool }

	// Special tokens that swallow white space on their left or right. GGUF has no
	// key for them: they are lost in WriteMetadata.
	LeftStrip, RightStrip []int32

	ChatTemplate  string          // Jinja source, "" if there is none
	ChatTemplates []NamedTemplate // others, for special purposes

	Remarks []string // what the user should know of how the source was read
}

// noSpecials is a vocabulary without special tokens.
func noSpecials() *Vocab {
	return &Vocab{
		BOS: None, EOS: None, EOT: None, EOM: None, UNK: None, SEP: None, PAD: None, Mask: None,
		FIMPrefix: None, FIMSuffix: None, FIMMiddle: None, FIMPad: None, FIMRepo: None, FIMSep: None,
	}
}

// specialID is one special token: where a Vocab keeps it and the key of GGUF.
type specialID struct {
	key string
	id  func(*Vocab) *int32
}

// specialIDs lists the special tokens in the order in which they are written.
var specialIDs = []specialID{
	{"bos", func(v *Vocab) *int32 { return &v.BOS }},
	{"eos", func(v *Vocab) *int32 { return &v.EOS }},
	{"eot", func(v *Vocab) *int32 { return &v.EOT }},
	{"eom", func(v *Vocab) *int32 { return &v.EOM }},
	{"unknown", func(v *Vocab) *int32 { return &v.UNK }},
	{"seperator", func(v *Vocab) *int32 { return &v.SEP }}, // sic
	{"padding", func(v *Vocab) *int32 { return &v.PAD }},
	{"mask", func(v *Vocab) *int32 { return &v.Mask }},
	{"fim_pre", func(v *Vocab) *int32 { return &v.FIMPrefix }},
	{"fim_suf", func(v *Vocab) *int32 { return &v.FIMSuffix }},
	{"fim_mid", func(v *Vocab) *int32 { return &v.FIMMiddle }},
	{"fim_pad", func(v *Vocab) *int32 { return &v.FIMPad }},
	{"fim_rep", func(v *Vocab) *int32 { return &v.FIMRepo }},
	{"fim_sep", func(v *Vocab) *int32 { return &v.FIMSep }},
}

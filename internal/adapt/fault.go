package adapt

// Fault is one way in which an adapter breaks the rules of its format or does not fit a base.
// It is the error about it, too.
type Fault struct {
	Code   Code
	Tensor string // of the adapter or the base; "" for a fault of the metadata or of the whole file
	Key    string // of the metadata; "" for all others
	Text   string // what was expected and found
	kind   error  // [ErrInvalid], [ErrUnsupported] or [ErrMismatch]
}

func (f *Fault) Error() string { return f.kind.Error() + ": " + f.Text }

// Unwrap is the kind of the error.
func (f *Fault) Unwrap() error { return f.kind }

// Code names a kind of fault.
type Code string

// Faults of a file.
const (
	NotAnAdapter     Code = "not-an-adapter"     // general.type is not "adapter"
	NotLoRA          Code = "not-lora"           // adapter.type is not "lora"
	NoArchitecture   Code = "no-architecture"    // general.architecture is missing or no text
	BadAlpha         Code = "bad-alpha"          // alpha is no finite float32
	Activated        Code = "activated"          // it works after its invocation tokens alone
	BadMergeOnly     Code = "bad-merge-only"     // qtool.merge_only is no bool
	DamagedHash      Code = "damaged"            // it is not what its hashes say
	UnexpectedTensor Code = "unexpected-tensor"  // its name ends in neither .lora_a nor .lora_b
	BadShape         Code = "bad-shape"          // not two or three dimensions, or an empty one
	BadType          Code = "unsupported-type"   // the values cannot be decoded
	NotFinite        Code = "not-finite"         // NaN or an infinity among the values
	LoneHalf         Code = "lone-half"          // one half of a pair is missing
	OnNorm           Code = "norm"               // the pair is on a norm
	RanksDiffer      Code = "ranks-differ"       // the halves do not share a rank
	NoPairs          Code = "no-pairs"           // there is nothing in it
	OtherArch        Code = "other-architecture" // the base has another one
	NoSuchTensor     Code = "no-such-tensor"     // the base has no weight of the name that takes pairs
	NeverTarget      Code = "never-a-target"     // no pair can be bound there, for a reason
	NotHonoured      Code = "not-honoured"       // llama.cpp ignores the pair or stops
	WrongShape       Code = "wrong-shape"        // a half does not have the shape that the base asks for
	WrongExperts     Code = "wrong-experts"      // only the number of experts is another
)

// judge is asked about each fault that is found; an error ends the search.
type judge func(*Fault) error

// first ends with the first fault.
func first(f *Fault) error { return f }

// collect gathers all faults in list.
func collect(list *[]*Fault) judge {
	return func(f *Fault) error { *list = append(*list, f); return nil }
}

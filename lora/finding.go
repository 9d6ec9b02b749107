package lora

import (
	"qtool/internal/adapt"
)

// Severity says how bad a [Finding] is.
type Severity string

const (
	Broken      Severity = "broken"      // the file breaks the rules of its format
	Unsupported Severity = "unsupported" // it may be right, and is of a kind that is not computed
	Mismatch    Severity = "mismatch"    // it does not do to this base what it should
	Warning     Severity = "warning"     // it works, and probably not as was meant
	Note        Severity = "note"        // nothing is wrong
)

// Outcome says what becomes of an adapter somewhere.
type Outcome string

const (
	Works   Outcome = "works"
	Caution Outcome = "caution" // it works, with something to know
	Ignores Outcome = "ignores" // it is taken, and some of it has no effect
	Wrong   Outcome = "wrong"   // it is taken, and what results is not what was meant
	Fails   Outcome = "fails"   // it is not taken, or the program ends
)

// outcomes from the best to the worst.
var outcomes = []Outcome{Works, Caution, Ignores, Wrong, Fails}

// Place is a program or a command that takes adapters.
type Place string

const (
	LlamaCpp Place = "llama.cpp"
	Ollama   Place = "Ollama"
	Qtool    Place = "qtool --lora"
	Merging  Place = "qtool lora merge"
)

// places in the order in which they are told.
var places = []Place{LlamaCpp, Ollama, Qtool, Merging}

// Effect is what happens at a place.
type Effect struct {
	Place   Place   `json:"place"`
	Outcome Outcome `json:"outcome"`
	Text    string  `json:"text"`
}

// Finding is one kind of thing that is wrong, or worth knowing.
type Finding struct {
	Severity Severity  `json:"severity"`
	Code     string    `json:"code"` // names the kind, for programs
	Title    string    `json:"title"`
	Subjects []Subject `json:"subjects"` // where it was found; empty for the adapter as a whole
	Effects  []Effect  `json:"effects"`  // places that are not named do as they always do
	Next     string    `json:"next"`     // what to do about it; "" for nothing
}

// Subject is a tensor or a metadata key with what was found there.
type Subject struct {
	Tensor string `json:"tensor,omitempty"`
	Key    string `json:"key,omitempty"`
	Text   string `json:"text"`
}

// rule is all of a finding but where it was found.
type rule struct {
	severity       Severity
	title          string
	llama, ollama  told // no ollama: what follows from llama
	qtool, merge   told
	next           string
	mergeIsChecked bool // merge and next hold for pairs that cannot be merged; others are to be merged
}

type told struct {
	outcome Outcome
	text    string
}

// Effects that many findings have.
var (
	noLoad   = told{Fails, "refuses to load it"}
	noStart  = told{Fails, "takes it, and the model does not start: llama-server refuses to load it"}
	ignored  = told{Ignores, "loads it and ignores these pairs without a word"}
	noOpen   = told{Fails, "refuses the file"}
	noAttach = told{Fails, "refuses it"}
	noMerge  = told{Fails, "refuses it"}
	works    = told{Works, "works"}
)

const (
	convertAgain = "convert it again from where it was trained: qtool lora convert"
	rightBase    = "give the base that it was trained on, or convert the adapter again for this one: qtool lora convert"
	mergeIt      = "merge it, which changes the weights themselves: qtool lora merge --model BASE ADAPTER OUT.gguf"
	trainWithout = "train without these targets"
)

// Codes of findings that have no fault of package adapt.
const (
	codeTiedHead      = "tied-head"
	codeHeadMatrices  = "head-matrices"
	codeIgnored       = "ignored"
	codeAborts        = "aborts"
	codeNotATarget    = "not-a-target"
	codeSkippedBlock  = "skipped-block"
	codeScaledWeight  = "scaled-weight"
	codeOtherModel    = "other-model"
	codeOtherBits     = "other-quantization"
	codeBaseUnknown   = "base-not-recorded"
	codeNoAlpha       = "no-alpha"
	codeZeroAlpha     = "zero-alpha"
	codeNegativeAlpha = "negative-alpha"
	codeTemplate      = "chat-template"
	codeUnreadKey     = "unread-key"
	codeQuantized     = "quantized-halves"
	codeNumbers       = "not-multiplied"
	codeZeroPair      = "zero-pair"
	codeIdleExperts   = "idle-experts"
	codeNoEffect      = "no-effect"
	codeSpoils        = "spoils-logits"
	codeNotComputed   = "base-not-computed"
)

// rules says of each kind of finding what happens where, by the sources of llama.cpp
// (src/llama-adapter.cpp, build_lora_mm and build_lora_mm_id of src/llama-graph.cpp) and Ollama of August 2026.
var rules = map[string]rule{
	string(adapt.NotAnAdapter): {severity: Broken, title: "it does not say that it is an adapter", llama: noLoad,
		ollama: told{Wrong, "takes it for a second model"}, qtool: noOpen, merge: noOpen, next: "give an adapter in GGUF; a PEFT folder becomes one by qtool lora convert"},
	string(adapt.NotLoRA):        {severity: Broken, title: "it is not of the kind lora", llama: noLoad, qtool: noOpen, merge: noOpen, next: convertAgain},
	string(adapt.NoArchitecture): {severity: Broken, title: "it does not say for which architecture it is", llama: noLoad, qtool: noOpen, merge: noOpen, next: convertAgain},
	string(adapt.BadAlpha): {severity: Broken, title: "its alpha is no finite float32",
		llama: told{Fails, "stops with an assertion while it loads another type than float32; what is not finite makes all text nonsense"}, qtool: noOpen, merge: noOpen, next: convertAgain},
	string(adapt.Activated): {severity: Unsupported, title: "it is an activated LoRA", llama: told{Works, "llama-server applies it after its invocation tokens"}, ollama: told{Works, "as llama.cpp"},
		qtool: noOpen, merge: noOpen, next: "run it with llama-server; merged, it would work before its invocation tokens too"},
	string(adapt.BadMergeOnly): {severity: Broken, title: "its key qtool.merge_only is no bool", qtool: noOpen, merge: noOpen, next: "get the file again; another program has written the key"},
	string(adapt.DamagedHash): {severity: Broken, title: "it is not what its own hashes say", llama: told{Wrong, "does not compare hashes, and loads what is damaged"},
		qtool: noOpen, merge: noOpen, next: "copy or download it again; qtool verify ADAPTER lists what is damaged"},
	string(adapt.UnexpectedTensor): {severity: Broken, title: "tensors that are no half of a pair", llama: told{Fails, "refuses to load it, but passes over names that end in _norm.weight"},
		qtool: noOpen, merge: noOpen, next: "biases, norms, DoRA and whole layers have no place in an adapter: train without them, or merge them where it was trained and convert the merged model"},
	string(adapt.BadShape):  {severity: Broken, title: "halves of a shape that no pair has", llama: noLoad, qtool: noOpen, merge: noOpen, next: convertAgain},
	string(adapt.BadType):   {severity: Unsupported, title: "halves in a type that is not decoded", llama: told{Caution, "loads it, and stops with an assertion if it cannot multiply the type"}, qtool: noOpen, merge: noOpen, next: "write the halves as F32 or F16"},
	string(adapt.NotFinite): {severity: Broken, title: "values that are not finite", llama: told{Wrong, "loads it, and all text is nonsense"}, qtool: noOpen, merge: noOpen, next: "train again with a lower learning rate, or from the last good checkpoint: the values are lost"},
	string(adapt.LoneHalf):  {severity: Broken, title: "pairs of which one half is missing", llama: noLoad, qtool: noOpen, merge: noOpen, next: convertAgain},
	string(adapt.OnNorm):    {severity: Broken, title: "pairs on norms", llama: ignored, qtool: noOpen, merge: noOpen, next: trainWithout},
	string(adapt.RanksDiffer): {severity: Broken, title: "halves that do not share a rank",
		llama: told{Fails, "refuses to load it; on the embedding it stops with an assertion when it runs"}, qtool: noOpen, merge: noOpen, next: convertAgain},
	string(adapt.NoPairs): {severity: Broken, title: "it holds no pair", llama: told{Ignores, "loads it, and nothing changes"}, qtool: noOpen, merge: noOpen, next: convertAgain},

	string(adapt.OtherArch):    {severity: Mismatch, title: "the base has another architecture", llama: noLoad, qtool: noAttach, merge: noMerge, next: rightBase},
	string(adapt.NoSuchTensor): {severity: Mismatch, title: "pairs for tensors that the base does not have", llama: noLoad, qtool: noAttach, merge: noMerge, next: rightBase},
	string(adapt.WrongShape):   {severity: Mismatch, title: "halves of another shape than the base asks for", llama: noLoad, qtool: noAttach, merge: noMerge, next: rightBase},
	string(adapt.WrongExperts): {severity: Mismatch, title: "another number of experts than the base has",
		llama: told{Wrong, "does not compare it: it takes the first of too many, and reads other memory in place of those that are missing"}, qtool: noAttach, merge: noMerge, next: rightBase},
	codeTiedHead: {severity: Mismatch, title: "pairs on an embedding that is the head too", llama: told{Fails, "refuses to load a pair on the head; one on the embedding stops it with an assertion when it runs"},
		qtool: noAttach, merge: noMerge, next: "train without token_embd and output"},
	codeHeadMatrices: {severity: Mismatch, title: "pairs on matrices of heads", llama: ignored, qtool: noAttach, merge: noMerge, next: trainWithout, mergeIsChecked: true},
	codeIgnored:      {severity: Mismatch, title: "pairs that llama.cpp ignores", llama: ignored, qtool: noAttach, merge: noMerge, next: trainWithout, mergeIsChecked: true},
	codeAborts: {severity: Mismatch, title: "pairs that end llama.cpp", llama: told{Fails, "loads it, and stops with an assertion when it runs"}, ollama: told{Fails, "takes it, and the model stops when it runs"},
		qtool: noAttach, merge: noMerge, next: trainWithout, mergeIsChecked: true},
	codeNotATarget: {severity: Mismatch, title: "pairs on tensors that take none", llama: ignored, qtool: noAttach, merge: noMerge, next: trainWithout, mergeIsChecked: true},
	codeSkippedBlock: {severity: Mismatch, title: "pairs in blocks that are not used", llama: told{Fails, "refuses to load it: it skips blocks that predict further tokens"},
		qtool: noAttach, merge: noMerge, next: trainWithout, mergeIsChecked: true},
	codeScaledWeight: {severity: Mismatch, title: "pairs on feed-forward weights with a separate scale", llama: told{Wrong, "loads it, and multiplies the pairs by that scale too"},
		qtool: noAttach, merge: noMerge, next: trainWithout, mergeIsChecked: true},
	codeNotComputed: {severity: Unsupported, title: "the base is not computed", qtool: noAttach, next: "names and shapes are compared, no more: whether llama.cpp honours the pairs, only a run of it shows"},
	codeOtherModel: {severity: Mismatch, title: "it was trained on another model", llama: told{Wrong, "loads it, since names and shapes fit"}, qtool: told{Wrong, "computes with it"},
		merge: told{Fails, "refuses it without --force-base"}, next: "give the base that it was trained on; if this one is the same under another name, say --force-base to lora merge"},
	codeOtherBits:   {severity: Note, title: "it was trained on the same model in another quantization, as far as names tell"},
	codeBaseUnknown: {severity: Note, title: "it does not say on which model it was trained"},

	codeNoAlpha: {severity: Warning, title: "it has no alpha", llama: told{Caution, "scales all pairs by their strength alone, without alpha/rank"}, qtool: told{Caution, "does the same"}, merge: told{Caution, "does the same"},
		next: "if it was trained with an alpha, " + convertAgain},
	codeZeroAlpha:     {severity: Note, title: "its alpha is 0: pairs are scaled by their strength alone, without alpha/rank"},
	codeNegativeAlpha: {severity: Warning, title: "its alpha is negative", llama: told{Caution, "subtracts what was learned"}, qtool: told{Caution, "does the same"}, merge: told{Caution, "does the same"}, next: "if that is not meant, " + convertAgain},
	codeTemplate: {severity: Warning, title: "it holds a chat template", ollama: told{Caution, "detects templates by it, and may give the model another one"},
		next: "write it without the key: python gguf-py/gguf/scripts/gguf_new_metadata.py --remove-metadata tokenizer.chat_template IN OUT"},
	codeUnreadKey: {severity: Note, title: "metadata of adapters that no program here reads"},
	codeNumbers: {severity: Mismatch, title: "halves in a type that llama.cpp does not multiply", llama: told{Fails, "loads it, and stops with an assertion when it runs"},
		next: "write the halves as F32 or F16"},
	codeQuantized:   {severity: Note, title: "halves in a type that rounds what was learned"},
	codeZeroPair:    {severity: Warning, title: "pairs that change nothing", next: "train longer, or without these targets"},
	codeIdleExperts: {severity: Note, title: "experts that a pair does not change"},
	codeNoEffect: {severity: Mismatch, title: "it changes no logit", llama: told{Ignores, "loads it, and nothing changes"}, qtool: told{Ignores, "loads it, and nothing changes"}, merge: told{Ignores, "writes the base"},
		next: "train longer; if it changes only some experts, give --data with a text that uses them"},
	codeSpoils: {severity: Mismatch, title: "with it, logits are not finite", llama: told{Wrong, "loads it, and all text is nonsense"}, qtool: told{Wrong, "loads it, and all text is nonsense"}, merge: told{Wrong, "writes a model that computes nonsense"},
		next: "try a smaller strength (ADAPTER:0.5), or train again with a lower learning rate"},
}

// finding is the finding of a code. mergeable: the pairs that it is about can be merged.
func (r rule) finding(code string, mergeable bool) Finding {
	f := Finding{Severity: r.severity, Code: code, Title: r.title, Subjects: []Subject{}, Effects: []Effect{}, Next: r.next}
	if r.ollama.outcome == "" {
		switch {
		case r.llama == noLoad:
			r.ollama = noStart
		case r.llama.outcome != "":
			r.ollama = told{r.llama.outcome, "as llama.cpp"}
		}
	}
	if r.mergeIsChecked && mergeable {
		r.merge, f.Next = works, mergeIt
	}
	for i, e := range []told{r.llama, r.ollama, r.qtool, r.merge} {
		if e.outcome != "" {
			f.Effects = append(f.Effects, Effect{places[i], e.outcome, e.text})
		}
	}
	return f
}

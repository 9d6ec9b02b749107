package tokenizer

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"qtool/gguf"
)

const keyPrefix = "tokenizer.ggml."

// VocabFromMetadata reads the tokenizer.* keys of a model. It fails with
// [ErrNoVocab] if there are none, [ErrUnsupported] if the family or the
// pre-tokenizer is not known, [ErrInvalid] if the keys contradict each other.
func VocabFromMetadata(md *gguf.Metadata) (*Vocab, error) {
	family, err := gguf.Or(md.Str(keyPrefix + "model"))("none")
	if err != nil {
		return nil, err
	}
	v, err := familyDefaults(family, md)
	if err != nil {
		return nil, err
	}
	if err := v.readTokens(md); err != nil {
		return nil, err
	}
	if err := v.readSpecials(md); err != nil {
		return nil, err
	}
	if err := v.readTemplates(md); err != nil {
		return nil, err
	}
	name, err := gguf.Or(md.Str("general.name"))("")
	if err != nil {
		return nil, err
	}
	v.stripByName(name)
	return v, nil
}

// familyDefaults is the vocabulary before any key but model and pre is read.
func familyDefaults(family string, md *gguf.Metadata) (*Vocab, error) {
	v := noSpecials()
	v.Model = family
	switch family {
	case "none", "no_vocab":
		return nil, fmt.Errorf("%smodel is %q: %w", keyPrefix, family, ErrNoVocab)
	case ModelSPM:
		v.BOS, v.EOS, v.UNK = 1, 2, 0
		v.AddBOS, v.AddSpacePrefix = true, true
		return v, nil
	case ModelBPE:
		var err error
		if v.Pre, err = gguf.Or(md.Str(keyPrefix + "pre"))(""); err != nil {
			return nil, err
		}
		rules, err := preRulesOf(v.Pre)
		if err != nil {
			return nil, err
		}
		v.BOS, v.EOS = 11, 11
		if rules.noBOS {
			v.BOS = None
		}
		v.AddBOS = rules.addBOS
		v.Merges, err = md.Strings(keyPrefix + "merges")
		return v, err
	}
	return nil, fmt.Errorf("%w: %smodel %q; %q and %q are known", ErrUnsupported, keyPrefix, family, ModelSPM, ModelBPE)
}

func (v *Vocab) readTokens(md *gguf.Metadata) error {
	tokens, err := md.Strings(keyPrefix + "tokens")
	if err != nil {
		return err
	}
	v.Tokens = slices.Clone(tokens)
	v.nameHoles()
	if v.Scores, err = gguf.Or(md.Floats(keyPrefix + "scores"))(nil); err != nil {
		return err
	}
	types, err := gguf.Or(md.Ints(keyPrefix + "token_type"))(nil)
	if err != nil {
		return err
	}
	v.Types = make([]TokenType, len(v.Tokens))
	for i := range v.Types {
		v.Types[i] = Normal
	}
	if types != nil && len(types) < len(v.Tokens) {
		return fmt.Errorf("%w: %stoken_type has %d entries for %d tokens", ErrInvalid, keyPrefix, len(types), len(v.Tokens))
	}
	for i := range min(len(types), len(v.Types)) {
		v.Types[i] = Undefined
		if t := types[i]; t > 0 && t <= int(Byte) {
			v.Types[i] = TokenType(t)
		}
	}
	switch {
	case v.Model == ModelBPE:
		v.Scores = nil
	case v.Scores == nil:
		v.Scores = make([]float32, len(v.Tokens))
	case len(v.Scores) < len(v.Tokens):
		return fmt.Errorf("%w: %sscores has %d entries for %d tokens", ErrInvalid, keyPrefix, len(v.Scores), len(v.Tokens))
	default:
		v.Scores = v.Scores[:len(v.Tokens)]
	}
	return nil
}

// readSpecials reads ids and flags. As in llama.cpp, an id outside the
// vocabulary counts as not stated.
func (v *Vocab) readSpecials(md *gguf.Metadata) error {
	read := func(key string, id *int32) error {
		if int(*id) >= len(v.Tokens) {
			*id = None
		}
		n, err := gguf.Or(md.Int(keyPrefix + key + "_token_id"))(-1)
		if err == nil && n >= 0 && n < len(v.Tokens) {
			*id = int32(n)
		}
		return err
	}
	for _, s := range specialIDs {
		if err := read(s.key, s.id(v)); err != nil {
			return err
		}
	}
	// The names that fill-in-the-middle tokens had before.
	for key, id := range map[string]*int32{"prefix": &v.FIMPrefix, "suffix": &v.FIMSuffix, "middle": &v.FIMMiddle} {
		if err := read(key, id); err != nil {
			return err
		}
	}
	flag := func(key string, value, explicit *bool) error {
		b, err := md.Bool(keyPrefix + key)
		if errors.Is(err, gguf.ErrMissing) {
			return nil
		}
		*value, *explicit = b, true
		return err
	}
	return errors.Join(
		flag("add_bos_token", &v.AddBOS, &v.Explicit.AddBOS),
		flag("add_eos_token", &v.AddEOS, &v.Explicit.AddEOS),
		flag("add_space_prefix", &v.AddSpacePrefix, &v.Explicit.AddSpacePrefix),
	)
}

const templateKey = "tokenizer.chat_template"

func (v *Vocab) readTemplates(md *gguf.Metadata) (err error) {
	if v.ChatTemplate, err = gguf.Or(md.Str(templateKey))(""); err != nil {
		return err
	}
	names, err := gguf.Or(md.Strings(templateKey + "s"))(nil)
	for _, name := range names {
		text, e := md.Str(templateKey + "." + name)
		err = errors.Join(err, e)
		v.ChatTemplates = append(v.ChatTemplates, NamedTemplate{name, text})
	}
	return err
}

func (v *Vocab) writeTemplates(md *gguf.Metadata) {
	var names []string
	for _, t := range v.ChatTemplates {
		md.Set(templateKey+"."+t.Name, t.Text)
		names = append(names, t.Name)
	}
	if names != nil {
		md.Set(templateKey+"s", names)
	}
	if v.ChatTemplate != "" {
		md.Set(templateKey, v.ChatTemplate)
	}
}

// stripByName applies what GGUF cannot say: in Phi-3 every special token
// swallows the white space on its right, but for the three of its base.
func (v *Vocab) stripByName(name string) {
	name = strings.ToLower(name)
	if !strings.Contains(name, "phi-3") && !strings.Contains(name, "phi3") {
		return
	}
	for i, t := range v.Types {
		special := t == Control || t == UserDefined || t == Unknown || v.Tokens[i] == "</s>"
		if special && !slices.Contains([]string{"<unk>", "<s>", "<|endoftext|>"}, v.Tokens[i]) {
			v.RightStrip = append(v.RightStrip, int32(i))
		}
	}
}

// WriteMetadata sets the tokenizer.* keys as llama.cpp's converter does. Flags
// that are defaults are not written.
func (v *Vocab) WriteMetadata(md *gguf.Metadata) {
	md.Set(keyPrefix+"model", v.Model)
	switch {
	case v.Pre != "":
		md.Set(keyPrefix+"pre", v.Pre)
	case v.Model == ModelSPM:
		md.Set(keyPrefix+"pre", "default")
	}
	md.Set(keyPrefix+"tokens", v.Tokens)
	if v.Model == ModelSPM {
		md.Set(keyPrefix+"scores", v.Scores)
	}
	types := make([]int32, len(v.Types))
	for i, t := range v.Types {
		types[i] = int32(t)
	}
	md.Set(keyPrefix+"token_type", types)
	if v.Model == ModelBPE {
		md.Set(keyPrefix+"merges", v.Merges)
	}
	for _, s := range specialIDs {
		if id := *s.id(v); id >= 0 {
			md.Set(keyPrefix+s.key+"_token_id", uint32(id))
		}
	}
	flag := func(key string, value, explicit bool) {
		if explicit {
			md.Set(keyPrefix+key, value)
		}
	}
	flag("add_bos_token", v.AddBOS, v.Explicit.AddBOS)
	flag("add_eos_token", v.AddEOS, v.Explicit.AddEOS)
	flag("add_space_prefix", v.AddSpacePrefix, v.Explicit.AddSpacePrefix)
	v.writeTemplates(md)
}

package tokenizer

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
)

// hfConfig is what the files beside the tokenizer's own say.
type hfConfig struct {
	tokenizer  hfTokenizerConfig // tokenizer_config.json
	specials   hfTokenNames      // special_tokens_map.json
	addedIDs   map[string]int32  // added_tokens.json
	model      hfModelConfig     // config.json
	generation hfTokenIDs        // generation_config.json

	chatTemplate  string
	remarks       []string
	chatTemplates []NamedTemplate

	addBOS, addEOS *bool // whether they are added, nil if no file says so
}

type hfTokenizerConfig struct {
	hfTokenNames
	Class          string             `json:"tokenizer_class"`
	AddBOS         *bool              `json:"add_bos_token"`
	AddEOS         *bool              `json:"add_eos_token"`
	AddPrefixSpace *bool              `json:"add_prefix_space"`
	CleanUp        *bool              `json:"clean_up_tokenization_spaces"`
	Added          map[string]hfAdded `json:"added_tokens_decoder"`
	ChatTemplate   *json.RawMessage   `json:"chat_template"`
}

type hfModelConfig struct {
	hfTokenIDs
	VocabSize int `json:"vocab_size"`
	Text      *struct {
		hfTokenIDs
		VocabSize int `json:"vocab_size"`
	} `json:"text_config"`
}

// hfTokenNames are special tokens by their spelling.
type hfTokenNames struct {
	BOS  hfName `json:"bos_token"`
	EOS  hfName `json:"eos_token"`
	UNK  hfName `json:"unk_token"`
	SEP  hfName `json:"sep_token"`
	PAD  hfName `json:"pad_token"`
	CLS  hfName `json:"cls_token"`
	Mask hfName `json:"mask_token"`
}

// hfName is a token's spelling: a string, or an object with content.
type hfName string

func (n *hfName) UnmarshalJSON(data []byte) error {
	var object struct {
		Content string `json:"content"`
	}
	if json.Unmarshal(data, (*string)(n)) != nil && json.Unmarshal(data, &object) == nil {
		*n = hfName(object.Content)
	}
	return nil // other spellings of "none" exist
}

// hfTokenIDs are special tokens by id.
type hfTokenIDs struct {
	BOS  hfID `json:"bos_token_id"`
	EOS  hfID `json:"eos_token_id"`
	UNK  hfID `json:"unk_token_id"`
	SEP  hfID `json:"sep_token_id"`
	PAD  hfID `json:"pad_token_id"`
	Mask hfID `json:"mask_token_id"`
}

// hfID is an id: a number, or a list of which the first counts. nil is none.
type hfID struct{ id *int32 }

func (n *hfID) UnmarshalJSON(data []byte) error {
	var list []int32
	if json.Unmarshal(data, &n.id) != nil && json.Unmarshal(data, &list) == nil && len(list) > 0 {
		n.id = &list[0]
	}
	return nil
}

func readHFConfig(fsys fs.FS) (*hfConfig, error) {
	c := new(hfConfig)
	for name, into := range map[string]any{
		"tokenizer_config.json":   &c.tokenizer,
		"special_tokens_map.json": &c.specials,
		"added_tokens.json":       &c.addedIDs,
		"config.json":             &c.model,
		"generation_config.json":  &c.generation,
	} {
		if _, err := readJSON(fsys, name, into); err != nil {
			return nil, err
		}
	}
	return c, c.readChatTemplates(fsys)
}

// decoder lists added_tokens_decoder in the order of ids.
func (c *hfConfig) decoder() (list []hfAdded) {
	for text, a := range c.tokenizer.Added {
		id, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			continue
		}
		a.ID = int32(id)
		list = append(list, a)
	}
	slices.SortFunc(list, func(a, b hfAdded) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

// added is the list of tokenizer.json, with what added_tokens_decoder says otherwise.
func (c *hfConfig) added(list []hfAdded) []hfAdded {
	places := make(map[string]int, len(list))
	list = slices.Clone(list)
	for i, a := range list {
		places[a.Content] = i
	}
	for _, a := range c.decoder() {
		if i, ok := places[a.Content]; !ok {
			list = append(list, a)
		} else if list[i].ID == a.ID {
			list[i] = a
		}
	}
	return list
}

// sizeFor is the number of rows of the embedding; 0 if it is not stated. It must
// be in proportion to the number of tokens that there are.
func (c *hfConfig) sizeFor(tokens int) (int, error) {
	size := c.model.VocabSize
	if size == 0 && c.model.Text != nil {
		size = c.model.Text.VocabSize
	}
	if size < 0 || size > 4*tokens+1<<16 {
		return 0, fmt.Errorf("%w: vocab_size in config.json is %d, but there are only %d tokens", ErrInvalid, size, tokens)
	}
	return size, nil
}

// tidies reports whether decoding removes spaces before punctuation.
func (c *hfConfig) tidies() bool { return c.tokenizer.CleanUp == nil || *c.tokenizer.CleanUp }

// setIDs finds the special tokens: by the names of tokenizer_config.json, by the ids
// of the model's own configuration, by the family, and by the other files.
func (c *hfConfig) setIDs(v *Vocab, ids map[string]int32, file *hfTokenizer, opts HFOptions) {
	set := func(id *int32, name hfName) {
		if found, ok := ids[string(name)]; ok && name != "" && *id == None && int(found) < len(v.Tokens) {
			*id = found
		}
	}
	names := func(n *hfTokenNames) {
		set(&v.BOS, n.BOS)
		set(&v.EOS, n.EOS)
		set(&v.UNK, n.UNK)
		set(&v.SEP, n.SEP)
		set(&v.PAD, n.PAD)
		set(&v.Mask, n.Mask)
	}
	c.applyTemplates(v, file.PostProcessor.steps(), set)
	names(&c.tokenizer.hfTokenNames)
	numbers := func(from hfTokenIDs) {
		for id, stated := range map[*int32]hfID{&v.BOS: from.BOS, &v.EOS: from.EOS, &v.UNK: from.UNK, &v.SEP: from.SEP, &v.PAD: from.PAD, &v.Mask: from.Mask} {
			if *id == None && stated.id != nil && *stated.id >= 0 && int(*stated.id) < len(v.Tokens) {
				*id = *stated.id
			}
		}
	}
	numbers(c.model.hfTokenIDs)
	if c.model.Text != nil {
		numbers(c.model.Text.hfTokenIDs)
	}
	for _, s := range specialIDs {
		set(s.id(v), hfName(opts.Special[s.key]))
	}
	names(&c.specials)
	numbers(c.generation)
	v.EOT = settle(v.EOT, eotTexts, ids)
	v.EOM = settle(v.EOM, eomTexts, ids)
}

// settle chooses between several texts that all say the role of id. If there is
// only one, whoever looks for it by its text finds the same.
func settle(id int32, texts []string, ids map[string]int32) int32 {
	found := 0
	for _, t := range texts {
		if _, ok := ids[t]; ok {
			found++
		}
	}
	if id == None && found > 1 {
		return first(texts, ids)
	}
	return id
}

// applyTemplates reads from the post-processor which tokens begin and end a text.
// They are the BOS where no other is named, and the EOS in any case; an EOS that is
// displaced so ends a turn.
func (c *hfConfig) applyTemplates(v *Vocab, processors []hfStep, set func(*int32, hfName)) {
	t := &c.tokenizer
	t.BOS = cmp.Or(t.BOS, t.CLS)
	t.EOS = cmp.Or(t.EOS, t.SEP)
	for _, p := range processors {
		if p.Type != "TemplateProcessing" || len(p.Single) < 2 {
			continue
		}
		if s := p.Single[0].SpecialToken; s != nil {
			begins := hfName(s.ID)
			if begins != t.CLS {
				t.BOS = cmp.Or(t.BOS, begins)
			}
			adds := begins == t.BOS || begins == t.CLS
			c.addBOS = &adds
		}
		if s := p.Single[len(p.Single)-1].SpecialToken; s != nil {
			if ends := hfName(s.ID); ends != t.EOS {
				set(&v.EOT, t.EOS)
				t.EOS = ends
			}
			adds := true
			c.addEOS = &adds
		}
	}
	c.addBOS = cmp.Or(t.AddBOS, c.addBOS)
	c.addEOS = cmp.Or(t.AddEOS, c.addEOS)
}

// setFlags tells what is put before and after a text. A flag is explicit if a file
// states it or if it differs from what readers of the model suppose.
func (c *hfConfig) setFlags(v *Vocab, opts HFOptions) {
	usual := v.Model == ModelSPM // what readers suppose of BOS
	v.AddBOS = usual
	if v.Model == ModelBPE {
		rules, _ := preRulesOf(v.Pre) // takeBPE has looked it up
		usual = rules.addBOS
	}
	if c.addBOS != nil {
		v.AddBOS = *c.addBOS
	}
	if c.addEOS != nil {
		v.AddEOS = *c.addEOS
	}
	v.AddBOS = v.AddBOS && v.BOS != None && !opts.NoBOS
	v.AddEOS = v.AddEOS && v.EOS != None
	v.Explicit.AddBOS = c.addBOS != nil || opts.NoBOS || v.AddBOS != usual
	v.Explicit.AddEOS = c.addEOS != nil
	prefix := c.tokenizer.AddPrefixSpace
	switch {
	case opts.NoSpacePrefix:
		prefix = new(bool)
	case v.Model == ModelBPE && !opts.StatesPrefix:
		prefix = nil
	}
	if prefix != nil {
		v.AddSpacePrefix = *prefix
	}
	v.Explicit.AddSpacePrefix = prefix != nil || v.AddSpacePrefix != (v.Model == ModelSPM)
}

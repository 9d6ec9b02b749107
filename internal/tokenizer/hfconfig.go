package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
)

// hfConfig is what the files beside tokenizer.json say.
type hfConfig struct {
	tokenizer  hfTokenizerConfig // tokenizer_config.json
	specials   hfTokenNames      // special_tokens_map.json
	model      hfModelConfig     // config.json
	generation hfTokenIDs        // generation_config.json

	chatTemplate string
}

type hfTokenizerConfig struct {
	hfTokenNames
	AddBOS       *bool           `json:"add_bos_token"`
	AddEOS       *bool           `json:"add_eos_token"`
	CleanUp      *bool           `json:"clean_up_tokenization_spaces"`
	ChatTemplate json.RawMessage `json:"chat_template"`
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
	BOS hfID `json:"bos_token_id"`
	EOS hfID `json:"eos_token_id"`
	PAD hfID `json:"pad_token_id"`
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
		"config.json":             &c.model,
		"generation_config.json":  &c.generation,
	} {
		if _, err := readJSON(fsys, name, into); err != nil {
			return nil, err
		}
	}
	return c, c.readChatTemplate(fsys)
}

// readChatTemplate takes the template of tokenizer_config.json, else
// chat_template.jinja, else chat_template.json. Of several it takes "default".
func (c *hfConfig) readChatTemplate(fsys fs.FS) error {
	var text string
	var named []struct {
		Name     string `json:"name"`
		Template string `json:"template"`
	}
	pick := func(data json.RawMessage) bool {
		if len(data) == 0 {
			return false
		}
		if json.Unmarshal(data, &text) == nil && text != "" {
			c.chatTemplate = text
		} else if json.Unmarshal(data, &named) == nil {
			for _, n := range named {
				if n.Name == "default" {
					c.chatTemplate = n.Template
				}
			}
		}
		return c.chatTemplate != ""
	}
	if pick(c.tokenizer.ChatTemplate) {
		return nil
	}
	data, err := fs.ReadFile(fsys, "chat_template.jinja")
	if err == nil {
		c.chatTemplate = string(data)
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading chat_template.jinja: %w", err)
	}
	var wrapped struct {
		ChatTemplate json.RawMessage `json:"chat_template"`
	}
	if _, err := readJSON(fsys, "chat_template.json", &wrapped); err != nil {
		return err
	}
	pick(wrapped.ChatTemplate)
	return nil
}

// vocabSize is the number of rows of the embedding; 0 if it is not stated.
func (c *hfConfig) vocabSize() int {
	if c.model.VocabSize == 0 && c.model.Text != nil {
		return c.model.Text.VocabSize
	}
	return c.model.VocabSize
}

// tidies reports whether decoding removes spaces before punctuation.
func (c *hfConfig) tidies() bool { return c.tokenizer.CleanUp == nil || *c.tokenizer.CleanUp }

// setIDs finds the special tokens: by name first, then by the ids of the model's
// own configuration.
func (c *hfConfig) setIDs(v *Vocab, ids map[string]int32) {
	byName := func(names ...hfName) int32 {
		for _, n := range names {
			if id, ok := ids[string(n)]; ok && n != "" {
				return id
			}
		}
		return None
	}
	t, s := &c.tokenizer, &c.specials
	v.BOS = byName(t.BOS, s.BOS)
	v.EOS = byName(t.EOS, s.EOS)
	v.UNK = byName(t.UNK, s.UNK)
	v.SEP = byName(t.SEP, s.SEP)
	v.PAD = byName(t.PAD, s.PAD)
	v.Mask = byName(t.Mask, s.Mask)
	sources := []hfTokenIDs{c.model.hfTokenIDs, c.generation}
	if c.model.Text != nil {
		sources = append(sources, c.model.Text.hfTokenIDs)
	}
	for _, from := range sources {
		for id, stated := range map[*int32]hfID{&v.BOS: from.BOS, &v.EOS: from.EOS, &v.PAD: from.PAD} {
			if *id == None && stated.id != nil && *stated.id >= 0 && int(*stated.id) < len(v.Tokens) {
				*id = *stated.id
			}
		}
	}
	v.EOT = first(eotTexts, ids)
	v.EOM = first(eomTexts, ids)
}

// setFlags tells whether BOS and EOS are added: tokenizer_config.json decides,
// else the template of the post-processor.
func (c *hfConfig) setFlags(v *Vocab, file *hfTokenizer) {
	for _, p := range file.PostProcessor.steps() {
		if p.Type != "TemplateProcessing" || len(p.Single) < 2 {
			continue
		}
		is := func(item hfTemplateItem, id int32) bool {
			return item.SpecialToken != nil && id >= 0 && v.Tokens[id] == item.SpecialToken.ID
		}
		v.AddBOS = is(p.Single[0], v.BOS)
		v.AddEOS = is(p.Single[len(p.Single)-1], v.EOS)
	}
	if b := c.tokenizer.AddBOS; b != nil {
		v.AddBOS = *b
	}
	if b := c.tokenizer.AddEOS; b != nil {
		v.AddEOS = *b
	}
	v.AddBOS = v.AddBOS && v.BOS != None
	v.AddEOS = v.AddEOS && v.EOS != None
	v.Explicit.AddBOS, v.Explicit.AddEOS = true, true
}

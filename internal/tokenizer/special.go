package tokenizer

import (
	"cmp"
	"slices"
	"strings"
)

// role is what the tokenizer does with a token, worked out from its type and
// from its text.
type role uint8

const (
	hidden    role = 1 << iota // control or unknown: cut out only if special tokens are parsed
	cutAlways                  // user-defined
	stripLeft
	stripRight
)

// specials holds the tokens that are cut out of the text before anything else.
type specials struct {
	roles   []role  // of every token
	ordered []int32 // those to look for, longest first
	eog     map[int32]bool
	eot     int32
	eom     int32
}

// Texts by which llama.cpp knows tokens whose ids a file does not state. Where
// a vocabulary has several, its choice is arbitrary; here the first counts.
var (
	eotTexts = []string{"<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>",
		"<EOT>", "_<EOT>", "[EOT]", "<｜end▁of▁sentence｜>", "<end_of_utterance>"}
	eomTexts = []string{"<|eom_id|>"}
	// Every one of these ends a generation.
	eogTexts = append([]string{"<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "</s>", "<|eom_id|>", "[EOS]", "<eos>",
		"<turn|>", "<|tool_response>", "[e~["}, eotTexts...)
	fimTexts = []struct {
		id    func(*Vocab) *int32
		ends  bool // ends a generation
		texts []string
	}{
		{func(v *Vocab) *int32 { return &v.FIMPrefix }, false, []string{"<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>",
			"<｜fim▁begin｜>", "<PRE>", "▁<PRE>", "<|code_prefix|>", "<|prefix|>"}},
		{func(v *Vocab) *int32 { return &v.FIMSuffix }, false, []string{"<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>",
			"<｜fim▁hole｜>", "<SUF>", "▁<SUF>", "<|code_suffix|>", "<|suffix|>"}},
		{func(v *Vocab) *int32 { return &v.FIMMiddle }, false, []string{"<|fim_middle|>", "<fim-middle>", "<fim_middle>",
			"<｜fim▁end｜>", "<MID>", "▁<MID>", "<|code_middle|>", "<|middle|>"}},
		{func(v *Vocab) *int32 { return &v.FIMPad }, true, []string{"<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"}},
		{func(v *Vocab) *int32 { return &v.FIMRepo }, true, []string{"<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"}},
		{func(v *Vocab) *int32 { return &v.FIMSep }, true, []string{"<|file_sep|>"}},
	}
	// gpt-oss shows these as text.
	shownTexts = []string{"<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"}
)

func newSpecials(v *Vocab, ids map[string]int32) *specials {
	s := &specials{roles: make([]role, len(v.Tokens)), eog: map[int32]bool{}, eot: v.EOT, eom: v.EOM}
	for i, t := range v.Types {
		switch t {
		case Control, Unknown:
			s.roles[i] = hidden
		case UserDefined:
			s.roles[i] = cutAlways
		}
	}
	s.findByText(v, ids)
	s.findEnds(v, ids)
	for _, id := range v.LeftStrip {
		s.roles[id] |= stripLeft
	}
	for _, id := range v.RightStrip {
		s.roles[id] |= stripRight
	}
	for id, r := range s.roles {
		if r&(hidden|cutAlways) != 0 {
			s.ordered = append(s.ordered, int32(id))
		}
	}
	slices.SortStableFunc(s.ordered, func(a, b int32) int {
		return cmp.Compare(len(v.Tokens[b]), len(v.Tokens[a]))
	})
	return s
}

// first is the first of texts that is a token.
func first(texts []string, ids map[string]int32) int32 {
	for _, t := range texts {
		if id, ok := ids[t]; ok {
			return id
		}
	}
	return None
}

// findByText finds the special tokens that the vocabulary does not name. A
// token found so is a control token whatever its type says.
func (s *specials) findByText(v *Vocab, ids map[string]int32) {
	find := func(id int32, texts []string) int32 {
		if id < 0 {
			if id = first(texts, ids); id >= 0 {
				s.roles[id] |= hidden
			}
		}
		return id
	}
	s.eot = find(v.EOT, eotTexts)
	s.eom = find(v.EOM, eomTexts)
	for _, f := range fimTexts {
		if id := find(*f.id(v), f.texts); id >= 0 && f.ends {
			s.eog[id] = true
		}
	}
}

// findEnds fills the set of tokens that end a generation.
func (s *specials) findEnds(v *Vocab, ids map[string]int32) {
	for _, t := range eogTexts {
		if id, ok := ids[t]; ok {
			s.eog[id] = true
			s.roles[id] |= hidden
		}
	}
	for _, t := range shownTexts {
		if id, ok := ids[t]; ok {
			s.roles[id] = cutAlways
		}
	}
	for _, id := range []int32{v.EOS, s.eot, s.eom} {
		if id >= 0 {
			s.eog[id] = true
		}
	}
	ends := func(t string) bool { id, ok := ids[t]; return ok && s.eog[id] }
	call := ends("<|call|>") || ends("<|calls|>")
	if ends("<|end|>") && call && (ends("<|return|>") || ends("<|flush|>")) {
		delete(s.eog, ids["<|end|>"]) // it ends a message there, not the turn
		s.roles[ids["<|end|>"]] = cutAlways
	}
	if ends("<|tool_response>") && ends("</s>") {
		delete(s.eog, ids["</s>"])
		s.roles[ids["</s>"]] = 0
	}
}

// fragment is a stretch of text, or a special token found there.
type fragment struct {
	start, end int
	id         int32 // None for text
}

// partition cuts special tokens out of text, the longest first, each from left
// to right. Hidden ones are left in the text unless parse is set.
func (s *specials) partition(text string, tokens []string, parse bool) []fragment {
	parts := []fragment{{0, len(text), None}}
	seen := bigramsOf(text)
	for _, id := range s.ordered {
		if s.roles[id]&hidden != 0 && !parse || !seen.mayHold(tokens[id]) || !strings.Contains(text, tokens[id]) {
			continue
		}
		cut := make([]fragment, 0, len(parts)+2)
		for _, f := range parts {
			if f.id >= 0 {
				cut = append(cut, f)
			} else {
				cut = s.cutOut(cut, f, text, id, tokens[id])
			}
		}
		parts = cut
	}
	return parts
}

// cutOut appends fragment f with every occurrence of the token id cut out.
func (s *specials) cutOut(parts []fragment, f fragment, text string, id int32, token string) []fragment {
	for f.start < f.end {
		at := strings.Index(text[f.start:f.end], token)
		if at < 0 {
			break
		}
		at += f.start
		left := at
		if s.roles[id]&stripLeft != 0 {
			for left > f.start && isBlank(text[left-1]) {
				left--
			}
		}
		if left > f.start {
			parts = append(parts, fragment{f.start, left, None})
		}
		parts = append(parts, fragment{at, at + len(token), id})
		f.start = at + len(token)
		if s.roles[id]&stripRight != 0 {
			for f.start < f.end && isBlank(text[f.start]) {
				f.start++
			}
		}
	}
	if f.start < f.end {
		parts = append(parts, f)
	}
	return parts
}

func isBlank(b byte) bool { return b == ' ' || '\t' <= b && b <= '\r' }

// bigrams is the set of neighbouring bytes of a text: a quick way to see that
// most special tokens do not occur.
type bigrams [1 << 16 / 64]uint64

func bigramsOf(text string) *bigrams {
	set := new(bigrams)
	for i := 1; i < len(text); i++ {
		n := uint(text[i-1])<<8 | uint(text[i])
		set[n>>6] |= 1 << (n & 63)
	}
	return set
}

func (set *bigrams) mayHold(token string) bool {
	for i := 1; i < len(token); i++ {
		n := uint(token[i-1])<<8 | uint(token[i])
		if set[n>>6]&(1<<(n&63)) == 0 {
			return false
		}
	}
	return true
}

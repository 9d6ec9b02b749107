package tokenizer

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// takeSPM makes v a sentencepiece-like vocabulary.
func (v *Vocab) takeSPM(file *hfTokenizer, ids map[string]int32) error {
	if !file.Model.ByteFallback {
		return fmt.Errorf("%w: BPE that neither is byte-level nor falls back to bytes", ErrUnsupported)
	}
	v.Model = ModelSPM
	if err := v.takeBlanks(file); err != nil {
		return err
	}
	if unk := file.Model.UnkToken; unk != nil {
		if id, ok := ids[*unk]; ok {
			v.UNK = id
			if v.Types[id] == Normal {
				v.Types[id] = Unknown
			}
		}
	}
	for b := range 256 {
		if id, ok := ids[fmt.Sprintf("<0x%02X>", b)]; ok && v.Types[id] == Normal {
			v.Types[id] = Byte
		}
	}
	return v.scoreMerges(file.Model.Merges, ids)
}

// takeBlanks works out from the normalizer and the pre-tokenizer how blanks are
// marked, and refuses whatever else they do.
func (v *Vocab) takeBlanks(file *hfTokenizer) error {
	marked := false
	for _, n := range file.Normalizer.steps() {
		switch {
		case n.Type == "Prepend" && n.Prepend == blankMark:
			v.AddSpacePrefix = true
		case n.Type == "Replace" && n.Pattern.String != nil && *n.Pattern.String == " " && n.Content == blankMark:
			marked = true
		default:
			return fmt.Errorf("%w: the normalizer %q before sentencepiece-like BPE", ErrUnsupported, n.Type)
		}
	}
	for _, p := range file.PreTokenizer.steps() {
		switch {
		case p.Type == "Metaspace" && p.Replacement == blankMark:
			marked = true
			if p.PrependScheme == "" {
				v.AddSpacePrefix = p.AddPrefixSpace == nil || *p.AddPrefixSpace
			} else {
				v.AddSpacePrefix = p.PrependScheme != "never"
			}
			if err := v.checkWords(p.Split == nil || *p.Split); err != nil {
				return err
			}
		case p.Type == "Split" && p.Pattern.String != nil && *p.Pattern.String == " " && marked:
			// there are no blanks left to split at
		default:
			return fmt.Errorf("%w: the pre-tokenizer %q before sentencepiece-like BPE", ErrUnsupported, p.Type)
		}
	}
	if !marked {
		return fmt.Errorf("%w: BPE with byte fallback that does not mark blanks as %s", ErrUnsupported, blankMark)
	}
	return nil
}

// checkWords refuses a vocabulary that is used word by word but has tokens that
// reach beyond a word: scores cannot express that.
func (v *Vocab) checkWords(wordByWord bool) error {
	if !wordByWord {
		return nil
	}
	for i, t := range v.Tokens {
		if v.Types[i] == Normal && strings.LastIndex(t, blankMark) > 0 {
			return fmt.Errorf("%w: Metaspace splits words, but token %q spans two", ErrUnsupported, t)
		}
	}
	return nil
}

// mergeTable is BPE by rank over ids of tokens, without a pre-tokenizer. It does
// not make the token refused.
type mergeTable struct {
	merges  map[uint64]joined
	refused int32
}

func (m *mergeTable) pair(_ string, left, right part) (uint32, int32, bool) {
	j, ok := m.merges[pairKey(left.id, right.id)]
	return j.rank, j.id, ok && j.id != m.refused
}

// scoreMerges gives each token the score that makes SPM join it exactly when
// merging by rank does: minus the rank of its last merge. The same token may come
// from several merges; its last one is that which happens when the token's text
// is encoded alone. It is also the one that happens inside any text, for until
// then nothing has been merged across the token's ends. A token that merging never
// makes gets the lowest score.
func (v *Vocab) scoreMerges(merges hfMerges, ids map[string]int32) error {
	table := &mergeTable{merges: make(map[uint64]joined, len(merges)), refused: None}
	for rank, m := range merges {
		left, okLeft := ids[m[0]]
		right, okRight := ids[m[1]]
		to, ok := ids[m[0]+m[1]]
		if !okLeft || !okRight || !ok {
			return fmt.Errorf("%w: merge %d (%q and %q) is of or into no token", ErrInvalid, rank, m[0], m[1])
		}
		key := pairKey(left, right)
		if _, dup := table.merges[key]; !dup {
			table.merges[key] = joined{uint32(rank), to}
		}
	}
	v.Scores = make([]float32, len(v.Tokens))
	var m merger
	for i, t := range v.Tokens {
		if v.Types[i] != Normal && v.Types[i] != Unused {
			continue
		}
		v.Scores[i] = -float32(len(merges))
		m.parts = m.parts[:0]
		for at, r := range t {
			id, ok := ids[string(r)]
			if !ok {
				id = None
			}
			m.parts = append(m.parts, part{id, int32(at), int32(at + utf8.RuneLen(r))})
		}
		table.refused = int32(i)
		m.merge(table, t)
		if len(m.parts) != 2 {
			continue
		}
		if last, ok := table.merges[pairKey(m.parts[0].id, m.parts[1].id)]; ok && last.id == int32(i) {
			v.Scores[i] = -float32(last.rank)
		}
	}
	return nil
}

package tokenizer

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
)

// tekkenFile is tekken.json, the form of Mistral's own: ranked tokens as bytes, behind
// special ones.
type tekkenFile struct {
	Config struct {
		Pattern  string `json:"pattern"`
		Size     int32  `json:"default_vocab_size"`
		Specials int32  `json:"default_num_special_tokens"`
	} `json:"config"`
	Vocab    []tekkenToken `json:"vocab"`
	Specials []struct {
		Rank int32  `json:"rank"`
		Text string `json:"token_str"`
	} `json:"special_tokens"`
}

type tekkenToken struct {
	Rank  int32  `json:"rank"`
	Bytes []byte `json:"token_bytes"` // in base64
}

const tekkenName = "tekken.json"

// readTekken reads tekken.json as if it were tokenizer.json. It reports whether
// the file is there.
func readTekken(fsys fs.FS, file *hfTokenizer, config *hfConfig) (found bool, err error) {
	var t tekkenFile
	if found, err = readJSON(fsys, tekkenName, &t); !found || err != nil {
		return found, err
	}
	if err := t.translate(file); err != nil {
		return true, fmt.Errorf("%s: %w", tekkenName, err)
	}
	yes, no := true, false
	c := &config.tokenizer
	c.AddBOS, c.AddEOS = cmp.Or(c.AddBOS, &yes), cmp.Or(c.AddEOS, &no)
	c.BOS, c.EOS, c.UNK, c.PAD = cmp.Or(c.BOS, "<s>"), cmp.Or(c.EOS, "</s>"), cmp.Or(c.UNK, "<unk>"), cmp.Or(c.PAD, "<pad>")
	return true, nil
}

func (t *tekkenFile) translate(file *hfTokenizer) error {
	n := t.Config.Specials
	switch ranked := t.Config.Size - n; {
	case t.Specials == nil:
		return fmt.Errorf("%w: it does not list its special tokens (special_tokens), as files of before 2025; save it as tokenizer.json", ErrUnsupported)
	case n < 0 || ranked < 0 || int(ranked) > len(t.Vocab) || int(n) > len(t.Vocab)+1<<16:
		return fmt.Errorf("%w: %d tokens, %d of them special, of a list of %d", ErrInvalid, t.Config.Size, n, len(t.Vocab))
	default:
		slices.SortFunc(t.Vocab, func(a, b tekkenToken) int { return cmp.Compare(a.Rank, b.Rank) })
		t.Vocab = t.Vocab[:ranked]
	}
	texts := make([]string, n)
	for _, s := range t.Specials {
		if s.Rank < 0 || s.Rank >= n || s.Text == "" {
			return fmt.Errorf("%w: the special token %q has the id %d of %d", ErrInvalid, s.Text, s.Rank, n)
		}
		texts[s.Rank] = s.Text
	}
	for i, text := range texts {
		file.AddedTokens = append(file.AddedTokens, hfAdded{ID: int32(i), Content: cmp.Or(text, "<SPECIAL_"+strconv.Itoa(i)+">"), Special: true})
	}
	file.Model = hfModel{Type: "BPE", IgnoreMerges: true}
	file.PreTokenizer = byPattern(t.Config.Pattern)
	return t.spell(&file.Model)
}

// longestRanked is far above the longest token of any such vocabulary.
const longestRanked = 512

// spell writes tokens in the byte alphabet, and as merges every two tokens that make
// a third, by the rank of that, then by their own.
func (t *tekkenFile) spell(model *hfModel) (err error) {
	ranks := make(map[string]int32, len(t.Vocab))
	ids := make(map[string]int32, len(t.Vocab))
	for i, v := range t.Vocab {
		if int(v.Rank) != i || len(v.Bytes) == 0 || len(v.Bytes) > longestRanked {
			return fmt.Errorf("%w: token %d has the rank %d and %d bytes; expected each rank once and from 1 to %d bytes", ErrInvalid, i, v.Rank, len(v.Bytes), longestRanked)
		}
		ranks[string(v.Bytes)] = v.Rank
		ids[string(spell(nil, string(v.Bytes)))] = v.Rank + t.Config.Specials
	}
	for _, v := range t.Vocab {
		first := len(model.Merges)
		for i := 1; i < len(v.Bytes); i++ {
			_, left := ranks[string(v.Bytes[:i])]
			_, right := ranks[string(v.Bytes[i:])]
			if left && right {
				model.Merges = append(model.Merges, [2]string{string(v.Bytes[:i]), string(v.Bytes[i:])})
			}
		}
		pairs := model.Merges[first:]
		slices.SortFunc(pairs, func(a, b [2]string) int {
			return cmp.Or(cmp.Compare(ranks[a[0]], ranks[b[0]]), cmp.Compare(ranks[a[1]], ranks[b[1]]))
		})
		for i := range pairs {
			pairs[i] = [2]string{string(spell(nil, pairs[i][0])), string(spell(nil, pairs[i][1]))}
		}
	}
	model.Vocab, err = json.Marshal(ids)
	return err
}

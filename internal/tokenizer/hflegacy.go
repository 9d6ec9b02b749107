package tokenizer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// legacyPres are the pre-tokenizers of the classes that vocab.json with
// merges.txt are read by: no file of such a folder says what they do.
var legacyPres = map[string]string{
	"GPT2Tokenizer":     patternGPT2,
	"GPT2TokenizerFast": patternGPT2,
	"Qwen2Tokenizer":    patternQwen2,
}

// readLegacy reads a folder without tokenizer.json: vocab.json, merges.txt and the
// tokens of added_tokens.json, as if they were one. It gives the name of the
// vocabulary's file.
func readLegacy(fsys fs.FS, file *hfTokenizer, config *hfConfig, pre string) (name string, err error) {
	name = "vocab.json"
	vocab, err := readFile(fsys, name)
	if err != nil {
		return "", err
	}
	merges, err := readFile(fsys, "merges.txt")
	if err != nil {
		return "", err
	}
	if vocab == nil || merges == nil {
		return "", missing(fsys)
	}
	class := config.tokenizer.Class
	pattern, known := legacyPres[class]
	if !known && pre == "" {
		return "", fmt.Errorf("%s: %w: it says how text is split by the class %q alone; %s", name, ErrUnsupported, class, advice)
	}
	file.Model = hfModel{Type: "BPE", Vocab: vocab}
	if file.Model.Merges, err = parseMerges(merges); err != nil {
		return "", fmt.Errorf("merges.txt: %w", err)
	}
	file.PreTokenizer = byPattern(pattern)
	file.AddedTokens, err = config.legacyAdded(vocab)
	return name, err
}

// byPattern is a pre_tokenizer that splits at an expression.
func byPattern(pattern string) *hfStep {
	split, unsplit := hfStep{Type: "Split", Behavior: "Isolated"}, false
	split.Pattern.Regex = &pattern
	return &hfStep{Type: "Sequence", Pretokenizers: []hfStep{split, {Type: "ByteLevel", UseRegex: &unsplit}}}
}

// legacyAdded lists the tokens of added_tokens.json and those that have a role.
func (c *hfConfig) legacyAdded(vocab json.RawMessage) (added []hfAdded, err error) {
	var ids map[string]int32
	if err := json.Unmarshal(vocab, &ids); err != nil {
		return nil, fmt.Errorf("%w: vocab.json: %w", ErrInvalid, inWords(err))
	}
	roles := append(c.tokenizer.list(), c.specials.list()...)
	for text, id := range c.addedIDs {
		added = append(added, hfAdded{ID: id, Content: text, Special: slices.Contains(roles, text)})
	}
	for _, text := range roles {
		id, ok := ids[text]
		if ok && !slices.ContainsFunc(added, func(a hfAdded) bool { return a.Content == text }) {
			added = append(added, hfAdded{ID: id, Content: text, Special: true})
		}
	}
	return added, nil
}

// list is the names that are not empty.
func (n *hfTokenNames) list() (names []string) {
	for _, name := range []hfName{n.BOS, n.EOS, n.UNK, n.SEP, n.PAD, n.CLS, n.Mask} {
		if name != "" {
			names = append(names, string(name))
		}
	}
	return names
}

// parseMerges reads a line per merge; the first may be a comment.
func parseMerges(data []byte) (merges hfMerges, err error) {
	for n, line := range bytes.Split(data, []byte("\n")) {
		text := strings.TrimRight(string(line), "\r ")
		if text == "" || n == 0 && strings.HasPrefix(text, "#version") {
			continue
		}
		left, right, ok := cutMerge(text)
		if !ok || strings.Contains(right, " ") {
			return nil, fmt.Errorf("%w: line %d is %q, expected two parts with a space between", ErrInvalid, n+1, text)
		}
		merges = append(merges, [2]string{left, right})
	}
	return merges, nil
}

// missing tells which tokenizer a folder has that is not read, if any.
func missing(fsys fs.FS) error {
	for _, other := range []struct{ name, whose string }{
		{"tiktoken.model", "tiktoken's"}, {"qwen.tiktoken", "tiktoken's"}, {"tokenizer.model", "tiktoken's"},
	} {
		if _, err := fs.Stat(fsys, other.name); err == nil {
			return fmt.Errorf("%w: the folder's tokenizer is in %s form (%s); save it as tokenizer.json, which most tools that load it can", ErrUnsupported, other.whose, other.name)
		}
	}
	return fmt.Errorf("the folder has no tokenizer.model, no tokenizer.json and no vocab.json with merges.txt: %w", ErrNoVocab)
}

package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"strings"

	"qtool/internal/input"
)

// hfTokenizer is tokenizer.json as far as it matters here.
type hfTokenizer struct {
	Model         hfModel   `json:"model"`
	AddedTokens   []hfAdded `json:"added_tokens"`
	Normalizer    *hfStep   `json:"normalizer"`
	PreTokenizer  *hfStep   `json:"pre_tokenizer"`
	PostProcessor *hfStep   `json:"post_processor"`
}

type hfModel struct {
	Type         string          `json:"type"`
	Vocab        json.RawMessage `json:"vocab"` // a map for BPE, a list for Unigram
	Merges       hfMerges        `json:"merges"`
	UnkToken     *string         `json:"unk_token"`
	ByteFallback bool            `json:"byte_fallback"`
	IgnoreMerges bool            `json:"ignore_merges"`
	Prefix       *string         `json:"continuing_subword_prefix"`
	Suffix       *string         `json:"end_of_word_suffix"`
}

type hfAdded struct {
	ID      int32  `json:"id"`
	Content string `json:"content"`
	LStrip  bool   `json:"lstrip"`
	RStrip  bool   `json:"rstrip"`
	Special bool   `json:"special"`
}

// hfStep is a normalizer, a pre-tokenizer or a post-processor; a Sequence holds
// others.
type hfStep struct {
	Type          string  `json:"type"`
	Normalizers   hfSteps `json:"normalizers"`
	Pretokenizers hfSteps `json:"pretokenizers"`
	Processors    hfSteps `json:"processors"`

	Pattern struct {
		String *string
		Regex  *string
	} `json:"pattern"`
	Behavior         string           `json:"behavior"`
	Invert           bool             `json:"invert"`
	AddPrefixSpace   *bool            `json:"add_prefix_space"`
	UseRegex         *bool            `json:"use_regex"`
	IndividualDigits bool             `json:"individual_digits"`
	Replacement      string           `json:"replacement"`
	PrependScheme    string           `json:"prepend_scheme"`
	Split            *bool            `json:"split"`
	Prepend          string           `json:"prepend"`
	Content          string           `json:"content"`
	Single           []hfTemplateItem `json:"single"`
}

// hfSteps is short and flat: what stands for a step in memory is many times longer.
type hfSteps []hfStep

const (
	maxStepsBytes   = 1 << 20
	maxStepsNesting = 64
)

func (s *hfSteps) UnmarshalJSON(data []byte) error {
	if len(data) > maxStepsBytes || nesting(data) > maxStepsNesting {
		return fmt.Errorf("a sequence of steps takes %d bytes and is nested %d deep, expected at most %d and %d", len(data), nesting(data), maxStepsBytes, maxStepsNesting)
	}
	return json.Unmarshal(data, (*[]hfStep)(s))
}

// nesting is the number of arrays and objects inside of each other in valid JSON.
func nesting(data []byte) (most int) {
	depth, text := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case text && c == '\\':
			i++
		case c == '"':
			text = !text
		case text:
		case c == '[' || c == '{':
			depth++
			most = max(most, depth)
		case c == ']' || c == '}':
			depth--
		}
	}
	return most
}

type hfTemplateItem struct {
	SpecialToken *struct {
		ID string `json:"id"`
	}
}

// steps flattens a sequence.
func (s *hfStep) steps() []hfStep {
	if s == nil {
		return nil
	}
	if s.Type != "Sequence" {
		return []hfStep{*s}
	}
	var out []hfStep
	for _, inner := range []hfSteps{s.Normalizers, s.Pretokenizers, s.Processors} {
		for i := range inner {
			out = append(out, inner[i].steps()...)
		}
	}
	return out
}

// hfMerges are pairs; files spell them ["a","b"] or, the older ones, "a b".
type hfMerges [][2]string

func (m *hfMerges) UnmarshalJSON(data []byte) error {
	if inner := bytes.TrimLeft(data, " \t\r\n["); len(inner) < len(data) && bytes.Count(data[:len(data)-len(inner)], []byte("[")) == 2 {
		return json.Unmarshal(data, (*[][2]string)(m))
	}
	var joined []string
	if err := json.Unmarshal(data, &joined); err != nil {
		return err
	}
	for i, text := range joined {
		left, right, ok := cutMerge(text)
		if !ok {
			return fmt.Errorf("merge %d is %q, expected two parts with a space between", i, text)
		}
		*m = append(*m, [2]string{left, right})
	}
	return nil
}

// HFOptions is what the files of a folder do not say about its tokenizer.
type HFOptions struct {
	// Arch is general.architecture. It tells names of pre-tokenizers apart that cut alike.
	Arch string
	// Size is the number of tokens that the model has; 0 for what config.json says.
	Size int
	// Pre names the pre-tokenizer of a byte-level vocabulary; "" finds it by what
	// the folder's own one does.
	Pre string
	// Special names special tokens, by their keys in GGUF without "_token_id", that
	// the family has where the files do not state another.
	Special map[string]string
	// NoBOS and NoSpacePrefix say that the family never puts that before a text.
	NoBOS, NoSpacePrefix bool
	// StatesPrefix says that a byte-level vocabulary, too, states whether a space is
	// put before a text, though none ever is.
	StatesPrefix bool
	// AddedByJSON says that the added tokens of tokenizer.json count even where the
	// vocabulary comes from tokenizer.model.
	AddedByJSON bool
}

// VocabFromHF reads the tokenizer of a Hugging Face folder: tokenizer.model (of
// SentencePiece, unless tokenizer.json is byte-level), else tokenizer.json, else
// tekken.json (of Mistral), else vocab.json with merges.txt, and beside it tokenizer_config.json, added_tokens.json, special_tokens_map.json, config.json,
// generation_config.json and the chat templates where they are. It fails with
// [ErrNoVocab] if there is no tokenizer, with [ErrUnsupported] if encoding
// needs something that is not implemented, with [ErrInvalid] if the files
// contradict each other.
//
// As in llama.cpp, normalization (NFC, NFKC) is not applied.
func VocabFromHF(fsys fs.FS, opts HFOptions) (*Vocab, error) {
	if opts.Pre != "" {
		if _, err := preRulesOf(opts.Pre); err != nil {
			return nil, err
		}
	}
	config, err := readHFConfig(fsys)
	if err != nil {
		return nil, err
	}
	if opts.Size > 0 {
		config.model.VocabSize = opts.Size
	}
	v := noSpecials()
	if err := v.takeFolder(fsys, config, opts); err != nil {
		return nil, err
	}
	config.setFlags(v, opts)
	v.ChatTemplate, v.ChatTemplates, v.Remarks = config.chatTemplate, config.chatTemplates, config.remarks
	return v, nil
}

// takeFolder makes v the vocabulary of the file that counts.
func (v *Vocab) takeFolder(fsys fs.FS, config *hfConfig, opts HFOptions) error {
	var file hfTokenizer
	name := "tokenizer.json"
	found, err := readJSON(fsys, name, &file)
	if !found && err == nil {
		name = tekkenName
		found, err = readTekken(fsys, &file, config)
	}
	if err != nil {
		return err
	}
	if !found || name != tekkenName && !file.byteLevel() {
		const name = "tokenizer.model"
		pieces, err := readSentencePiece(fsys, name)
		if pieces != nil && err == nil {
			err = v.takeSentencePiece(pieces, &file, config, opts)
		}
		if pieces != nil || err != nil {
			return in(name, err)
		}
	}
	if !found {
		if name, err = readLegacy(fsys, &file, config, opts.Pre); err != nil {
			return err
		}
	}
	return in(name, v.takeHF(&file, config, opts))
}

// byteLevel reports whether text is spelled in bytes.
func (f *hfTokenizer) byteLevel() bool {
	return slices.ContainsFunc(f.PreTokenizer.steps(), func(s hfStep) bool { return s.Type == "ByteLevel" })
}

// in says in which file an error is, if there is one.
func in(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", name, err)
}

// takeHF makes v the vocabulary of a tokenizer.json.
func (v *Vocab) takeHF(file *hfTokenizer, config *hfConfig, opts HFOptions) error {
	if t := file.Model.Type; t != "BPE" && (t != "" || file.Model.Merges == nil) {
		return fmt.Errorf("%w: model type %q; BPE is known", ErrUnsupported, t)
	}
	for _, affix := range []*string{file.Model.Prefix, file.Model.Suffix} {
		if affix != nil && *affix != "" {
			return fmt.Errorf("%w: a BPE model with the subword affix %q", ErrUnsupported, *affix)
		}
	}
	ids, err := v.takeTokens(file, config)
	if err != nil {
		return err
	}
	config.setIDs(v, ids, file, opts)
	if file.byteLevel() {
		return v.takeBPE(file, config, opts)
	}
	return v.takeSPM(file, ids)
}

// maxFile is far above any real file of a tokenizer.
const maxFile = 256 << 20

// readFile gives nil if there is no such file.
func readFile(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if err := input.Regular(name, info); err != nil {
		return nil, err
	}
	data, err := input.ReadAll(f, name, info.Size(), maxFile)
	if errors.Is(err, input.ErrTooLarge) {
		err = fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return data, err
}

// readJSON reports whether the file is there.
func readJSON(fsys fs.FS, name string, into any) (found bool, err error) {
	data, err := readFile(fsys, name)
	if data == nil || err != nil {
		return false, err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return false, fmt.Errorf("%w: reading %s: %w", ErrInvalid, name, inWords(err))
	}
	return true, nil
}

// inWords says what encoding/json says of a value of a wrong type without the names of
// Go's types.
func inWords(err error) error {
	wrong := (*json.UnmarshalTypeError)(nil)
	if !errors.As(err, &wrong) {
		return err
	}
	want := "an integer"
	switch wrong.Type.Kind() {
	case reflect.Struct, reflect.Map:
		want = "an object"
	case reflect.Slice, reflect.Array:
		want = "an array"
	case reflect.String:
		want = "a string"
	case reflect.Bool:
		want = "true or false"
	case reflect.Float32, reflect.Float64:
		want = "a number"
	}
	where := ""
	if wrong.Field != "" {
		where = fmt.Sprintf("field %q: ", wrong.Field)
	}
	return fmt.Errorf("%sexpected %s, found %s", where, want, wrong.Value)
}

// takeTokens fills Tokens and Types and returns the ids by the spelling of
// tokenizer.json.
func (v *Vocab) takeTokens(file *hfTokenizer, config *hfConfig) (map[string]int32, error) {
	var ids map[string]int32
	if err := json.Unmarshal(file.Model.Vocab, &ids); err != nil {
		return nil, fmt.Errorf("%w: model.vocab: %w", ErrInvalid, inWords(err))
	}
	if ids == nil {
		return nil, fmt.Errorf("%w: model.vocab is missing", ErrInvalid)
	}
	added := config.added(file.AddedTokens)
	for _, a := range added {
		if id, known := ids[a.Content]; known && id != a.ID {
			return nil, fmt.Errorf("%w: token %q has the ids %d and %d", ErrInvalid, a.Content, id, a.ID)
		}
		ids[a.Content] = a.ID
	}
	size := 0
	for text, id := range ids {
		if id < 0 || int(id) > 4*len(ids)+1<<16 {
			return nil, fmt.Errorf("%w: token %q has the id %d in a vocabulary of %d", ErrInvalid, text, id, len(ids))
		}
		size = max(size, int(id)+1)
	}
	stated, err := config.sizeFor(len(ids))
	if err != nil {
		return nil, err
	}
	if stated > 0 && stated < size {
		return nil, fmt.Errorf("%w: it has token id %d, but vocab_size in config.json is %d", ErrInvalid, size-1, stated)
	}
	size = max(size, stated)
	v.Tokens, v.Types = make([]string, size), make([]TokenType, size)
	for text, id := range ids {
		if v.Types[id] != Undefined {
			return nil, fmt.Errorf("%w: tokens %q and %q both have the id %d", ErrInvalid, v.Tokens[id], text, id)
		}
		v.Tokens[id], v.Types[id] = text, Normal
	}
	for i := range v.Tokens {
		if v.Types[i] == Undefined {
			v.Tokens[i], v.Types[i] = fmt.Sprintf("[PAD%d]", i), Unused
		}
	}
	v.takeAdded(added)
	v.nameHoles()
	return ids, nil
}

func (v *Vocab) takeAdded(added []hfAdded) {
	for _, a := range added {
		switch {
		case a.Content == "":
			continue
		case a.Special || looksSpecial(a.Content):
			v.Types[a.ID] = Control
		default:
			v.Types[a.ID] = UserDefined
			v.Tokens[a.ID] = strings.ReplaceAll(a.Content, blankMark, " ")
		}
		if a.LStrip {
			v.LeftStrip = append(v.LeftStrip, a.ID)
		}
		if a.RStrip {
			v.RightStrip = append(v.RightStrip, a.ID)
		}
	}
}

// nameHoles gives tokens without a text one that does not occur.
func (v *Vocab) nameHoles() {
	for i, t := range v.Tokens {
		if t == "" {
			v.Tokens[i] = fmt.Sprintf("[EMPTY_%d]", i)
		}
	}
}

// looksSpecial is true of tokens that are control tokens even where a file
// forgets to say so.
func looksSpecial(t string) bool {
	between := func(left, right string) bool { return strings.HasPrefix(t, left) && strings.HasSuffix(t, right) }
	return slices.Contains([]string{"<pad>", "<mask>", "<2mass>", "[@BOS@]"}, t) ||
		between("<|", "|>") || between("<｜", "｜>") || between("<unused", ">")
}

// takeBPE makes v a byte-level vocabulary.
func (v *Vocab) takeBPE(file *hfTokenizer, config *hfConfig, opts HFOptions) error {
	for _, n := range file.Normalizer.steps() {
		if n.Type != "NFC" {
			return fmt.Errorf("%w: the normalizer %q before byte-level BPE", ErrUnsupported, n.Type)
		}
	}
	v.Model = ModelBPE
	v.Merges = make([]string, len(file.Model.Merges))
	space := string(byteAlphabet[' '])
	for i, m := range file.Model.Merges {
		v.Merges[i] = strings.ReplaceAll(m[0], " ", space) + " " + strings.ReplaceAll(m[1], " ", space)
	}
	if v.Pre = opts.Pre; v.Pre != "" {
		return nil
	}
	var err error
	v.Pre, err = v.findPre(file, config, opts.Arch)
	return err
}

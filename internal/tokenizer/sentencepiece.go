package tokenizer

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"math"
	"strings"
)

// spModel is a SentencePiece file as far as it matters here.
type spModel struct {
	pieces             []spPiece
	kind               uint64 // of algorithm: spBPE or another
	unk, bos, eos, pad int32
	blankBefore        bool // a blank is put before the text
	blankAfter         bool // and belongs to the word before it
}

type spPiece struct {
	text  string
	score float32
	kind  uint64
}

// The numbers of SentencePiece's own definitions (sentencepiece_model.proto).
const (
	spBPE = 2

	spNormal, spUnknown, spControl, spUserDefined, spUnused, spByte = 1, 2, 3, 4, 5, 6
)

// spTypes are the types of GGUF for kinds of pieces. What the file calls
// user-defined is a normal token: only added tokens are cut out of text first.
var spTypes = [...]TokenType{spNormal: Normal, spUnknown: Unknown, spControl: Control, spUserDefined: Normal, spUnused: Unused, spByte: Byte}

// readSentencePiece gives nil if there is no such file, or if it is a list of
// tokens for tiktoken, which goes by the same name.
func readSentencePiece(fsys fs.FS, name string) (*spModel, error) {
	data, err := readFile(fsys, name)
	if data == nil || err != nil || isTiktoken(data) {
		return nil, err
	}
	m := &spModel{kind: 1, unk: 0, bos: 1, eos: 2, pad: None, blankBefore: true}
	if err := m.parse(data); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if m.blankAfter {
		return nil, fmt.Errorf("%w: a SentencePiece model whose words end in blanks", ErrUnsupported)
	}
	if m.kind != spBPE {
		return nil, fmt.Errorf("%w: a SentencePiece model of the kind %d; %d, BPE, is known", ErrUnsupported, m.kind, spBPE)
	}
	return m, nil
}

// isTiktoken is true of lines of a token in base64 and its rank.
func isTiktoken(data []byte) bool {
	line, _, found := strings.Cut(string(data[:min(len(data), 1024)]), "\n")
	token, rank, two := strings.Cut(line, " ")
	digits := strings.Trim(rank, "0123456789") == "" && rank != ""
	base64 := strings.Trim(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=") == ""
	return found && two && digits && base64
}

func (m *spModel) parse(data []byte) error {
	return protobuf(data, 0, func(f field) error {
		switch f.number {
		case 1:
			p := spPiece{kind: spNormal}
			err := protobuf(f.bytes, f.at, func(f field) error {
				switch f.number {
				case 1:
					p.text = string(f.bytes)
				case 2:
					p.score = math.Float32frombits(uint32(f.value))
				case 3:
					p.kind = f.value
				}
				return nil
			})
			if p.text == "" && err == nil {
				err = fmt.Errorf("offset %d: piece %d has no text", f.at, len(m.pieces))
			}
			m.pieces = append(m.pieces, p)
			return err
		case 2: // TrainerSpec
			return protobuf(f.bytes, f.at, func(f field) error {
				switch f.number {
				case 3:
					m.kind = f.value
				case 24:
					m.blankAfter = f.value != 0
				case 40:
					m.unk = int32(f.value)
				case 41:
					m.bos = int32(f.value)
				case 42:
					m.eos = int32(f.value)
				case 43:
					m.pad = int32(f.value)
				}
				return nil
			})
		case 3: // NormalizerSpec
			return protobuf(f.bytes, f.at, func(f field) error {
				if f.number == 3 {
					m.blankBefore = f.value != 0
				}
				return nil
			})
		}
		return nil
	})
}

// field is one field of a message of protocol buffers.
type field struct {
	number uint64
	at     int    // where its content begins in the file
	value  uint64 // of a number
	bytes  []byte // of a string or of a message inside
}

// protobuf calls take for each field of a message that begins at byte base of the file.
func protobuf(data []byte, base int, take func(field) error) error {
	for at := 0; at < len(data); {
		bad := func(what string) error { return fmt.Errorf("offset %d: %s", base+at, what) }
		key, n := binary.Uvarint(data[at:])
		if n <= 0 {
			return bad("expected the number of a field")
		}
		f := field{number: key >> 3, at: base + at + n}
		at += n
		switch key & 7 {
		case 0:
			if f.value, n = binary.Uvarint(data[at:]); n <= 0 {
				return bad("expected an integer")
			}
		case 1:
			if n = 8; len(data)-at < n {
				return bad("expected 8 bytes")
			}
			f.value = binary.LittleEndian.Uint64(data[at:])
		case 2:
			size, width := binary.Uvarint(data[at:])
			if width <= 0 || size > uint64(len(data)-at-width) {
				return bad("expected a length that the file has room for")
			}
			n = width + int(size)
			f.bytes, f.at = data[at+width:at+n], f.at+width
		case 5:
			if n = 4; len(data)-at < n {
				return bad("expected 4 bytes")
			}
			f.value = uint64(binary.LittleEndian.Uint32(data[at:]))
		default:
			return bad(fmt.Sprintf("expected a kind of field from 0 to 5, found %d", key&7))
		}
		at += n
		if err := take(f); err != nil {
			return err
		}
	}
	return nil
}

// Scores of tokens that are not of the SentencePiece file, as llama.cpp's
// converter has them: nothing is merged into them.
const (
	scoreOfHole  = -10000
	scoreOfAdded = -1000
)

// takeSentencePiece makes v the vocabulary of m and of the tokens added to it.
func (v *Vocab) takeSentencePiece(m *spModel, file *hfTokenizer, config *hfConfig, opts HFOptions) error {
	size, err := config.sizeFor(len(m.pieces))
	if err != nil {
		return err
	}
	if size == 0 {
		size = len(m.pieces)
	}
	v.Model, v.AddSpacePrefix = ModelSPM, m.blankBefore
	v.Tokens, v.Scores, v.Types = make([]string, size), make([]float32, size), make([]TokenType, size)
	for i, p := range m.pieces[:min(size, len(m.pieces))] {
		if p.kind >= uint64(len(spTypes)) || spTypes[p.kind] == Undefined {
			return fmt.Errorf("%w: piece %d (%q) is of the unknown kind %d", ErrInvalid, i, p.text, p.kind)
		}
		v.Tokens[i], v.Scores[i], v.Types[i] = p.text, p.score, spTypes[p.kind]
	}
	put := func(id int32, text string, kind TokenType) bool {
		if id < 0 || int(id) >= size {
			return false
		}
		v.Tokens[id], v.Scores[id], v.Types[id] = text, scoreOfAdded, kind
		return true
	}
	for text, id := range config.addedIDs {
		put(id, text, UserDefined)
	}
	added := config.decoder()
	if opts.AddedByJSON {
		added = append(added, file.AddedTokens...)
	}
	inside := added[:0]
	for _, a := range added {
		if put(a.ID, a.Content, UserDefined) {
			inside = append(inside, a)
		}
	}
	v.takeAdded(inside)
	for i, t := range v.Types {
		if t == Undefined {
			v.Tokens[i], v.Scores[i], v.Types[i] = fmt.Sprintf("[PAD%d]", i), scoreOfHole, Unused
		}
	}
	v.nameHoles()
	ids := make(map[string]int32, size)
	for i, t := range v.Tokens {
		ids[t] = int32(i)
	}
	config.setIDs(v, ids, file, opts)
	for id, stated := range map[*int32]int32{&v.UNK: m.unk, &v.BOS: m.bos, &v.EOS: m.eos, &v.PAD: m.pad} {
		if *id == None && stated >= 0 && int(stated) < size {
			*id = stated
		}
	}
	return nil
}

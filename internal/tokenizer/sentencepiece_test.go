package tokenizer

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// spFile writes a SentencePiece model of v's tokens.
func spFile(v *Vocab, trainer []byte) (out []byte) {
	kinds := map[TokenType]uint64{Normal: spNormal, Unknown: spUnknown, Control: spControl, UserDefined: spUserDefined, Unused: spUnused, Byte: spByte}
	for i, t := range v.Tokens {
		piece := lengthDelimited(nil, 1, []byte(t))
		piece = binary.LittleEndian.AppendUint32(append(piece, 2<<3|5), math.Float32bits(v.Scores[i]))
		if v.Types[i] != Normal {
			piece = binary.AppendUvarint(append(piece, 3<<3), kinds[v.Types[i]])
		}
		out = lengthDelimited(out, 1, piece)
	}
	return lengthDelimited(out, 2, trainer)
}

func lengthDelimited(dst []byte, number int, content []byte) []byte {
	return append(binary.AppendUvarint(append(dst, byte(number<<3|2)), uint64(len(content))), content...)
}

var spTrainer = []byte{3 << 3, spBPE}

// spAlone is a folder of a SentencePiece model and nothing else.
func spAlone(data []byte) fstest.MapFS { return fstest.MapFS{"tokenizer.model": {Data: data}} }

// TestSentencePieceModelsBecomeWhatLlamaCppMadeOfThem writes the reference
// vocabularies back as the files they came from.
func TestSentencePieceModelsBecomeWhatLlamaCppMadeOfThem(t *testing.T) {
	for _, name := range []string{"llama-spm", "phi-3"} {
		want := vocabNamed(t, name)
		source, decoder := *want, map[string]any{}
		source.Types = slices.Clone(want.Types)
		for i, typ := range want.Types {
			// Those that were added have this score.
			if want.Scores[i] == scoreOfAdded && (typ == Control || typ == UserDefined) {
				decoder[fmt.Sprint(i)] = map[string]any{"content": want.Tokens[i], "special": typ == Control}
				source.Types[i] = Unused
			}
		}
		config, err := json.Marshal(map[string]any{"added_tokens_decoder": decoder, "add_bos_token": want.AddBOS})
		if err != nil {
			t.Fatal(err)
		}
		fsys := spAlone(spFile(&source, spTrainer))
		fsys["tokenizer_config.json"] = &fstest.MapFile{Data: config}
		fsys["config.json"] = &fstest.MapFile{Data: fmt.Appendf(nil, `{"vocab_size":%d,"bos_token_id":%d,"eos_token_id":%d}`, len(want.Tokens), want.BOS, want.EOS)}
		got, err := VocabFromHF(fsys, HFOptions{AddedByJSON: name == "phi-3"})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.Tokens, want.Tokens) || !slices.Equal(got.Scores, want.Scores) || !slices.Equal(got.Types, want.Types) {
			t.Errorf("%s: tokens, scores or types differ", name)
		}
		if got.BOS != want.BOS || got.EOS != want.EOS || got.UNK != want.UNK || got.AddBOS != want.AddBOS || got.AddSpacePrefix != want.AddSpacePrefix {
			t.Errorf("%s: BOS %d, EOS %d, unknown %d, adds %t, prefix %t", name, got.BOS, got.EOS, got.UNK, got.AddBOS, got.AddSpacePrefix)
		}
		got.RightStrip = want.RightStrip // by the name of the model
		checkGolden(t, mustNew(t, got), name)
	}
}

func TestSentencePieceModelsSpeakForThemselves(t *testing.T) {
	v, err := VocabFromHF(spAlone(spFile(letters(), append(slices.Clone(spTrainer), 0xC8, 2, 1, 0xD0, 2, 0))), HFOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := letters()
	if !slices.Equal(v.Tokens, want.Tokens) || v.BOS != 1 || v.EOS != 0 || v.UNK != 0 || !v.AddBOS || v.AddEOS || !v.AddSpacePrefix {
		t.Errorf("BOS %d, EOS %d, unknown %d, adds %t %t, prefix %t", v.BOS, v.EOS, v.UNK, v.AddBOS, v.AddEOS, v.AddSpacePrefix)
	}
	bare := lengthDelimited(spFile(letters(), spTrainer), 3, []byte{3 << 3, 0})
	if v, err := VocabFromHF(spAlone(bare), HFOptions{}); err != nil || v.AddSpacePrefix || !v.Explicit.AddSpacePrefix {
		t.Errorf("a model that puts no space before a text: %t, %v", v.AddSpacePrefix, err)
	}
}

func TestByteLevelTokenizersGoBeforeSentencePieceModels(t *testing.T) {
	fsys := tinyHF(nil)
	fsys["tokenizer.model"] = spAlone(spFile(letters(), spTrainer))["tokenizer.model"]
	delete(fsys, "config.json")
	if v, err := VocabFromHF(fsys, HFOptions{}); err != nil || len(v.Tokens) != len(letters().Tokens) {
		t.Errorf("beside a tokenizer.json with pieces the model does not count: %v", err)
	}
	for name, f := range tinyHF(func(file map[string]any) {
		file["normalizer"], file["pre_tokenizer"] = nil, map[string]any{"type": "ByteLevel", "add_prefix_space": false}
	}) {
		fsys[name] = f
	}
	if v, err := VocabFromHF(fsys, HFOptions{}); err != nil || v.Model != ModelBPE {
		t.Errorf("beside a byte-level tokenizer.json the model counts: %v", err)
	}
}

func TestBadSentencePieceModelsAreRefused(t *testing.T) {
	good := spFile(letters(), spTrainer)
	for _, c := range []struct {
		name string
		data []byte
		want error
		says string
	}{
		{"unigram", spFile(letters(), []byte{3 << 3, 1}), ErrUnsupported, "kind 1"},
		{"no kind", spFile(letters(), nil), ErrUnsupported, "kind 1"},
		{"suffix", spFile(letters(), append(slices.Clone(spTrainer), 0xC0, 1, 1)), ErrUnsupported, "end in blanks"},
		{"cut short", good[:len(good)/2], ErrInvalid, "offset"},
		{"long", []byte{1<<3 | 2, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F}, ErrInvalid, "room"},
		{"group", []byte{1<<3 | 3}, ErrInvalid, "kind of field"},
		{"no text", append(slices.Clone(good), 1<<3|2, 0), ErrInvalid, "no text"},
		{"odd piece", lengthDelimited(slices.Clone(good), 1, append(lengthDelimited(nil, 1, []byte("q9")), 3<<3, 9)), ErrInvalid, "unknown kind 9"},
		{"tiktoken", []byte("IQ== 0\nIg== 1\n"), ErrUnsupported, "tiktoken's form"},
	} {
		if _, err := VocabFromHF(spAlone(c.data), HFOptions{}); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	fsys := spAlone(good)
	fsys["config.json"] = &fstest.MapFile{Data: []byte(`{"vocab_size":2000000000}`)}
	if _, err := VocabFromHF(fsys, HFOptions{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("huge vocabulary: %v", err)
	}
}

func FuzzSentencePiece(f *testing.F) {
	f.Add(spFile(letters(), spTrainer))
	f.Add(lengthDelimited(spFile(letters(), spTrainer), 3, []byte{3 << 3, 0}))
	f.Add([]byte("IQ== 0\n"))
	f.Add([]byte{1<<3 | 2, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F})
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := VocabFromHF(spAlone(data), HFOptions{})
		if err != nil {
			return
		}
		tok, err := New(v)
		if err != nil {
			return
		}
		for _, id := range tok.Encode("the cat\n", EncodeOptions{AddSpecial: true}) {
			if id < 0 || int(id) >= tok.Size() {
				t.Fatalf("id %d in a vocabulary of %d", id, tok.Size())
			}
		}
	})
}

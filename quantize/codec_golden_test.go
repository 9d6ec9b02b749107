package quantize_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"qtool/gguf"
	"qtool/internal/sharedtest"
	"qtool/quantize"
)

// goldenIndex is quant/index.json of the reference data.
type goldenIndex struct {
	Columns, Rows int
	Types         []struct {
		Type          string
		Imatrix       bool
		DequantSHA256 string `json:"dequant_sha256"`
	}
}

func readIndex(t testing.TB) (x goldenIndex) {
	t.Helper()
	if err := json.Unmarshal(sharedtest.Read(t, "golden/quant/index.json"), &x); err != nil {
		t.Fatal(err)
	}
	return x
}

func floats(b []byte) []float32 {
	f := make([]float32, len(b)/4)
	for i := range f {
		f[i] = math.Float32frombits(uint32(b[4*i]) | uint32(b[4*i+1])<<8 | uint32(b[4*i+2])<<16 | uint32(b[4*i+3])<<24)
	}
	return f
}

func floatBytes(f []float32) []byte {
	b := make([]byte, 0, 4*len(f))
	for _, v := range f {
		u := math.Float32bits(v)
		b = append(b, byte(u), byte(u>>8), byte(u>>16), byte(u>>24))
	}
	return b
}

func TestEveryReferenceFileDecodesBitForBit(t *testing.T) {
	index := readIndex(t)
	for _, entry := range index.Types {
		name := entry.Type
		if entry.Imatrix {
			name += ".imatrix"
		}
		t.Run(name, func(t *testing.T) {
			codec := lookup(t, entry.Type)
			got := make([]float32, index.Rows*index.Columns)
			codec.DecodeRow(got, sharedtest.Read(t, "golden/quant/"+name+".bin"))
			if !entry.Imatrix {
				for i, want := range floats(sharedtest.Read(t, "golden/quant/"+name+".dequant.f32")) {
					if math.Float32bits(got[i]) != math.Float32bits(want) {
						t.Fatalf("value %d of row %d is %g, want %g", i%index.Columns, i/index.Columns, got[i], want)
					}
				}
			}
			if sum := sha256.Sum256(floatBytes(got)); hex.EncodeToString(sum[:]) != entry.DequantSHA256 {
				t.Errorf("sha256 of the decoded values is %x, want %s", sum, entry.DequantSHA256)
			}
		})
	}
}

func TestEncodersGiveTheBytesOfTheReference(t *testing.T) {
	index := readIndex(t)
	input := floats(sharedtest.Read(t, "golden/quant/input.f32"))
	importance := floats(sharedtest.Read(t, "golden/quant/imatrix.f32"))
	for _, entry := range index.Types {
		codec := lookup(t, entry.Type)
		if !codec.CanEncode() {
			continue
		}
		name, weights := entry.Type, []float32(nil)
		if entry.Imatrix {
			name, weights = name+".imatrix", importance
		}
		t.Run(name, func(t *testing.T) {
			want := sharedtest.Read(t, "golden/quant/"+name+".bin")
			size := len(want) / index.Rows
			got := make([]byte, size)
			for r := range index.Rows {
				codec.EncodeRow(got, input[r*index.Columns:(r+1)*index.Columns], weights)
				if w := want[r*size : (r+1)*size]; !bytes.Equal(got, w) {
					t.Fatalf("row %d differs in byte %d of %d", r, firstDifference(got, w), size)
				}
			}
		})
	}
}

func firstDifference(a, b []byte) int {
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return len(a)
}

func lookup(t testing.TB, name string) *quantize.Codec {
	t.Helper()
	typ, err := gguf.ParseType(strings.ToUpper(name))
	if err != nil {
		t.Fatal(err)
	}
	codec, err := quantize.Lookup(typ)
	if err != nil {
		t.Fatal(err)
	}
	return codec
}

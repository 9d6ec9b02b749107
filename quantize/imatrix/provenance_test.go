package imatrix_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"qtool/gguf"
	"qtool/quantize/imatrix"
)

func TestProvenanceIsCutAsInTheReferenceButNotInsideACharacter(t *testing.T) {
	m := imatrix.New(512)
	m.Datasets = []string{strings.Repeat("x", 126) + "é", "second"}
	m.Chunks = 5
	want := []gguf.KV{
		{Key: "quantize.imatrix.file", Value: strings.Repeat("y", 127)},
		{Key: "quantize.imatrix.dataset", Value: strings.Repeat("x", 126)},
		{Key: "quantize.imatrix.entries_count", Value: uint32(9)},
		{Key: "quantize.imatrix.chunks_count", Value: uint32(5)},
	}
	if diff := cmp.Diff(want, m.Provenance(strings.Repeat("y", 200), 9)); diff != "" {
		t.Error(diff)
	}
	bare := []gguf.KV{{Key: "quantize.imatrix.file", Value: "f"}, {Key: "quantize.imatrix.entries_count", Value: uint32(0)}}
	if diff := cmp.Diff(bare, imatrix.New(0).Provenance("f", 0)); diff != "" {
		t.Error(diff)
	}
}

package imatrix

import (
	"unicode/utf8"

	"qtool/gguf"
)

// longestString is what llama-quantize keeps of a text in the metadata it adds.
const longestString = 127

// Provenance is what llama-quantize writes into a model that was quantized with m: the
// file as the user named it, the first dataset, the number of entries that were used,
// and the number of chunks. Texts are cut as there, but never inside a character.
func (m *Matrix) Provenance(file string, entries int) []gguf.KV {
	kvs := []gguf.KV{{Key: "quantize.imatrix.file", Value: cut(file)}}
	if len(m.Datasets) > 0 {
		kvs = append(kvs, gguf.KV{Key: "quantize.imatrix.dataset", Value: cut(m.Datasets[0])})
	}
	kvs = append(kvs, gguf.KV{Key: "quantize.imatrix.entries_count", Value: uint32(entries)})
	if m.Chunks > 0 {
		kvs = append(kvs, gguf.KV{Key: "quantize.imatrix.chunks_count", Value: uint32(m.Chunks)})
	}
	return kvs
}

func cut(s string) string {
	if len(s) <= longestString {
		return s
	}
	n := longestString
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

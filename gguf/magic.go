package gguf

import (
	"bytes"
	"fmt"
)

const magic = "GGUF"

// foreign are the first bytes of files that are taken for GGUF by mistake, and
// what to do about each.
var foreign = []struct{ starts, is string }{
	{"PK\x03\x04", "a ZIP archive, perhaps a PyTorch checkpoint; save the model as safetensors and convert that"},
	{"\x80", "a Python pickle, perhaps a PyTorch checkpoint; save the model as safetensors and convert that"},
	{"version https://git-lfs", "a Git LFS pointer, not the model itself; run `git lfs pull`, or download the file"},
	{"<", "an HTML or XML page; the download gave a web page instead of the model, fetch it again"},
	{"{", "JSON text; for a Hugging Face model give the folder that it is in"},
	{"lmgg", "a GGML file of 2023, from before GGUF; get the model in GGUF or convert the original"},
	{"fmgg", "a GGML file of 2023, from before GGUF; get the model in GGUF or convert the original"},
	{"tjgg", "a GGML file of 2023, from before GGUF; get the model in GGUF or convert the original"},
	{"algg", "a GGML adapter of 2023, from before GGUF; convert the original adapter"},
	{"\x1f\x8b", "gzip data; unpack it first"},
	{"\x28\xb5\x2f\xfd", "zstd data; unpack it first"},
	{"\x93NUMPY", "a NumPy array"},
	{"\x89HDF", "an HDF5 file"},
	{"\x00\x00\x00\x00", "zeros; the download or copy is incomplete, fetch it again"},
}

// wrongMagic says what a file that is no GGUF looks like. head is its first
// bytes, at least four.
func wrongMagic(head []byte) string {
	found := fmt.Sprintf("expected the magic bytes %q, found %q", magic, head[:4])
	// safetensors: 8 bytes of length, then a JSON object.
	if len(head) > 8 && head[8] == '{' {
		return found + ": this looks like a safetensors file; give the folder that it is in"
	}
	for _, f := range foreign {
		if bytes.HasPrefix(bytes.TrimLeft(head, " \r\n\t"), []byte(f.starts)) {
			return found + ": this looks like " + f.is
		}
	}
	return found
}

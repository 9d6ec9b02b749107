// Package safetensors reads and writes safetensors, the container of Hugging
// Face: a JSON header that names typed tensors, then their bytes.
//
//	┌──────────────┬──────────────────────────────┬───────────────────────┐
//	│ N, uint64 LE │ header: N bytes of JSON      │ tensors, back to back │
//	└──────────────┴──────────────────────────────┴───────────────────────┘
//	{"__metadata__":{"format":"pt"},
//	 "NAME":{"dtype":"F32","shape":[rows,columns],"data_offsets":[begin,end]}, …}
//
// Offsets count from the first byte after the header. The tensors must cover
// that part exactly: no overlap, no hole, no byte left over. A model may be
// spread over several such files, listed in model.safetensors.index.json.
//
// It may import internal/atomicfile and internal/mmap. It does no arithmetic on
// tensor data and knows no model.
package safetensors

package arch

import (
	"strconv"
	"strings"
)

// Tensors that belong to no layer.
const (
	TokenEmbedding = "token_embd.weight"
	OutputNorm     = "output_norm.weight"
	Output         = "output.weight"
)

const layerPrefix = "blk."

// InLayer is the name of a tensor of layer l: "blk.3.attn_q.weight" for 3 and
// "attn_q.weight".
func InLayer(l int, name string) string { return layerPrefix + strconv.Itoa(l) + "." + name }

// SplitLayer takes a tensor's name apart: 3 and "attn_q.weight" of "blk.3.attn_q.weight". It
// is not ok if the tensor belongs to no layer; name is the whole name then.
func SplitLayer(tensor string) (l int, name string, ok bool) {
	rest, ok := strings.CutPrefix(tensor, layerPrefix)
	number, name, dot := strings.Cut(rest, ".")
	n, err := strconv.ParseUint(number, 10, 31)
	if !ok || !dot || name == "" || err != nil {
		return -1, tensor, false
	}
	return int(n), name, true
}

// LayerOf is the layer of a tensor; -1 if it belongs to none.
func LayerOf(tensor string) int {
	l, _, _ := SplitLayer(tensor)
	return l
}

// ShortName is the name of a weight as users give it, the same in every layer: "attn_q" for
// "blk.3.attn_q.weight".
func ShortName(tensor string) string {
	_, name, _ := SplitLayer(strings.TrimSuffix(tensor, ".weight"))
	return name
}

// IsExpertStack reports whether a tensor holds a matrix for each of many experts.
func IsExpertStack(tensor string, shape []int) bool {
	return len(shape) > 2 && strings.Contains(tensor, "_exps.")
}

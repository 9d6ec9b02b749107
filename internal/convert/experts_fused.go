package convert

import (
	"strings"

	"qtool/safetensors"
)

// The names of all experts of a layer where they are two tensors.
const (
	fusedGateUp = "mlp.experts.gate_up_proj"
	fusedDown   = "mlp.experts.down_proj"
)

// expertForm says how a folder keeps experts where its architecture permits more than
// one way.
type expertForm struct {
	fused   bool // [experts, gate and up, in] and [experts, out, ff]
	columns bool // or with the last two axes exchanged
}

// formOfExperts finds out by a tensor of any layer. Where shapes fit both ways, rows come
// first, as transformers 5 has them.
func formOfExperts(folder *safetensors.Folder, c *config) expertForm {
	embed := c.integer(0, "hidden_size")
	var form expertForm
	for _, t := range folder.Tensors() {
		if len(t.Shape) != 3 {
			continue
		}
		switch {
		case strings.HasSuffix(t.Name, "."+fusedGateUp):
			form.fused = true
			form.columns = form.columns || t.Shape[2] != embed
		case strings.HasSuffix(t.Name, "."+fusedDown):
			form.columns = form.columns || t.Shape[1] != embed
		}
	}
	return form
}

// fusedExperts adds gate, up and down of experts of the given width. The gates are the
// rows of gate_up_proj that rows takes, the ups those that begin at up.
func (b *block) fusedExperts(d *dims, width int, rows cut, up int) {
	add := func(name, source string, in, out int, rows cut) {
		x := &recipe{
			name: b.name + name + ".weight", shape: []int{in, out, d.experts}, sources: []string{b.from(source)},
			sourceShape: []int{d.experts, rows.groupRows, in}, cut: rows, rowsLast: d.columns,
		}
		if d.columns {
			x.sourceShape = []int{d.experts, in, rows.groupRows}
		}
		b.padded(b.add(x), d)
	}
	add("ffn_gate_exps", fusedGateUp, d.embed, width, rows)
	add("ffn_down_exps", fusedDown, width, d.embed, cut{groupRows: d.embed, step: 1})
	rows.first = up
	add("ffn_up_exps", fusedGateUp, d.embed, width, rows)
}

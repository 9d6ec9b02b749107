package convert

import (
	"fmt"

	"qtool/internal/arch"
	"qtool/internal/printable"
)

// llama is Llama 1 to 3, Mistral and Mixtral. The sliding window of the first
// Mistral has no place in the architecture, which attends to the whole context.
var llama = family{
	arch:        "llama",
	names:       []string{"LlamaForCausalLM", "MistralForCausalLM", "MixtralForCausalLM"},
	words:       llamaWords,
	metadata:    vocabAndRotation,
	rotaryPairs: true,
	rope:        ropeLlama3,
	addExperts:  addMixtralExperts,
}

// smollm3 leaves every fourth layer without rotation, as the architecture has it.
var smollm3 = family{
	arch:        "smollm3",
	names:       []string{"SmolLM3ForCausalLM"},
	check:       checkSmolLM3,
	words:       llamaWords,
	metadata:    vocabAndRotation,
	rotaryPairs: true,
}

func checkSmolLM3(c *config) {
	const period = arch.SmolLM3Period
	if n := c.integer(period, "no_rope_layer_interval"); n != period {
		c.refuse("the smollm3 architecture leaves every %dth layer without rotation, config.json every %dth (no_rope_layer_interval)", period, n)
	}
	list, _ := c.fields["no_rope_layers"].([]any)
	for i, v := range list {
		if rotates := fmt.Sprint(v) == "1"; rotates == ((i+1)%period == 0) {
			c.refuse("the smollm3 architecture leaves every %dth layer without rotation, config.json does not (no_rope_layers, element %d is %s)", period, i, printable.Text(fmt.Sprint(v)))
		}
	}
}

// vocabAndRotation adds the keys of all that descends from Llama.
func vocabAndRotation(w *metadataWriter, _ *config, d *dims) {
	w.uint(arch.KeyVocabSize, d.vocab)
	w.uint(arch.KeyRopeDimensionCount, d.rotated)
}

func addMixtralExperts(b *block, d *dims) {
	if d.fused {
		b.linear("ffn_gate_inp", "mlp.gate", d.embed, d.experts, noBias)
		b.fusedExperts(d, d.ff, cut{groupRows: 2 * d.ff, step: 1}, d.ff)
		return
	}
	const expert = "block_sparse_moe.experts.%d."
	b.linear("ffn_gate_inp", "block_sparse_moe.gate", d.embed, d.experts, noBias)
	b.experts("ffn_gate_exps", expert+"w1", d.experts, d.embed, d.ff)
	b.experts("ffn_down_exps", expert+"w2", d.experts, d.ff, d.embed)
	b.experts("ffn_up_exps", expert+"w3", d.experts, d.embed, d.ff)
}

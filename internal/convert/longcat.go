package convert

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"

	"qtool/internal/arch"
)

// longcat has two layers in GGUF for each of its own, of which the first holds the experts.
var longcat = family{
	arch:  "longcat-flash",
	names: []string{"LongcatFlashForCausalLM"},
	check: func(c *config) {
		c.fields["num_hidden_layers"] = json.Number(fmt.Sprint(2 * c.required("num_layers")))
		c.fields["intermediate_size"] = c.fields["ffn_hidden_size"]
		if kind := c.str("zero_expert_type", "identity"); kind != "identity" {
			c.refuse("zero-computation experts of the kind %q are not handled; identity is", kind)
		}
		if c.boolean("router_bias", false) || c.boolean("attention_bias", false) {
			c.refuse("the longcat-flash architecture has no router_bias and no attention_bias")
		}
	},
	metadata: func(w *metadataWriter, c *config, d *dims) {
		w.uint(arch.KeyVocabSize, d.vocab)
		latentKeys(w, c, d)
		routing(w, c, d)
		w.uint(arch.KeyNZeroExperts, d.identity)
		queries := d.rope.scoreMagnitude() // of queries is of scores
		if c.boolean("mla_scale_q_lora", false) && d.latent.qRank > 0 {
			queries *= math.Sqrt(float64(d.embed) / float64(d.latent.qRank))
		}
		if queries != 1 {
			w.float(arch.KeyAttentionQLoraScale, queries)
		}
		if c.boolean("mla_scale_kv_lora", false) {
			w.float(arch.KeyAttentionKVLoraScale, math.Sqrt(float64(d.embed)/float64(d.latent.kvRank)))
		}
	},
	rename:  longcatSource,
	experts: &expertLayout{routerSource: "mlp.router.classifier", choiceBias: "mlp.router.e_score_correction_bias", choiceMayGo: true},
}

// longcatSource is the place in the folder of what other families name source: each
// layer has two norms, attentions and dense parts, which are numbered.
func longcatSource(i int, source string) string {
	half := fmt.Sprint(i % 2)
	switch part, rest, _ := strings.Cut(source, "."); {
	case part == "self_attn":
		source = "self_attn." + half + "." + rest
	case rest == "gate_proj" || rest == "up_proj" || rest == "down_proj":
		source = "mlps." + half + "." + rest
	case strings.HasSuffix(part, "_layernorm"):
		source = part + "." + half
	}
	return fmt.Sprintf("model.layers.%d.%s", i/2, source)
}

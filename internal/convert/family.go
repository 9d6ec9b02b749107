package convert

import (
	"maps"
	"slices"

	"qtool/internal/arch"
	"qtool/internal/tokenizer"
)

// family is one group of Hugging Face architectures that convert alike. What is
// zero is what most do.
type family struct {
	arch  string   // of the row with all that does not depend on the folder; see [arch.Row]
	names []string // under "architectures" in config.json
	// defaults are fields that config.json may leave out.
	defaults map[string]any
	// check refuses options that the GGUF architecture does not have; may be nil.
	check func(*config)
	// words tells what the family's tokenizers have in common; may be nil.
	words func(*tokenizer.HFOptions, *dims)
	// metadata adds the keys that only this family writes; may be nil.
	metadata func(*metadataWriter, *config, *dims)

	// norms are the sources of the norms of a layer, in the order of [arch.Norms]; nil: those of
	// Llama.
	norms     []string
	normShift float32 // added to the weights of norms
	// rotaryPairs says that the rows of queries and keys are reordered for rotation of neighbours.
	rotaryPairs bool
	// rotated is the share of a head that rotates where config.json does not say; 0: all, and nothing else is handled.
	rotated float64
	rope    ropeKinds
	// yarnMultiplier says that magnitudes of YaRN follow from yarn_log_multiplier.
	yarnMultiplier bool
	// sources are those of the tensors that most families name alike, by the names of GGUF.
	sources map[string]string
	rename  func(i int, source string) string // the whole name of what is in layer i, if it is not usual
	stacked bool                              // all experts of a layer are one tensor in the folder
	experts *expertLayout                     // where they are, unless addExperts knows
	// addExperts adds the experts of a layer; nil: as experts says.
	addExperts func(b *block, d *dims)
}

// row is the architecture that the family becomes.
func (f *family) row() *arch.Row { return arch.Find(f.arch) }

// all is the table of families.
var all = []*family{
	&llama, &qwen2, &qwen3, &olmo2, &gemma2, &gemma3, &phi3, &granite, &glm4, &smollm3, &seedOSS,
	&qwen2moe, &qwen3moe, &olmoe, &granitemoe, &glm4moe, &bailingmoe2, &gptoss, &deepseek2, &glm4moeLite, &longcat,
}

// families maps the name under "architectures" in config.json.
var families = func() map[string]*family {
	m := map[string]*family{}
	for _, f := range all {
		for _, name := range f.names {
			m[name] = f
		}
	}
	return m
}()

// Supported lists the Hugging Face architectures that Open takes, sorted.
func Supported() []string { return slices.Sorted(maps.Keys(families)) }

// ArchitectureOf is the GGUF architecture that a Hugging Face one becomes; "" if it is not known.
func ArchitectureOf(class string) string {
	if f := families[class]; f != nil {
		return f.arch
	}
	return ""
}

// Sources lists the Hugging Face architectures that become a GGUF architecture.
func Sources(architecture string) []string {
	var names []string
	for _, f := range all {
		if f.arch == architecture {
			names = append(names, f.names...)
		}
	}
	return names
}

// activations are what config.json calls them.
var activations = map[arch.Activation]string{arch.SwiGLU: "silu", arch.GeGLU: "gelu_pytorch_tanh", arch.ClampedSwiGLU: "silu"}

// accept checks what the whole table handles alike, then what the family does.
func (f *family) accept(c *config) error {
	for field, v := range f.defaults {
		if c.fields[field] == nil {
			c.fields[field] = v
		}
	}
	want := activations[f.row().Activation]
	act := c.str("hidden_activation", c.str("hidden_act", want))
	if act == "swish" {
		act = "silu"
	}
	if c.err == nil && act != want {
		return refuse("the activation %q is not handled, the %s architecture has %s", act, f.arch, want)
	}
	if f.check != nil {
		f.check(c)
	}
	return c.err
}

// refuse keeps an error about an option that is not handled.
func (c *config) refuse(format string, args ...any) {
	if c.err == nil {
		c.err = refuse(format, args...)
	}
}

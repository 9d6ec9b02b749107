// Package modeldoc writes docs/models.md from the code's own tables, so that the
// page says what the code does. It may import the packages whose tables it reads.
package modeldoc

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"qtool/internal/arch"
	"qtool/internal/convert"
	"qtool/internal/tokenizer"
)

const head = `# Models

This page is generated from the tables in [internal/arch](../internal/arch) and [internal/convert](../internal/convert); after a change there, run
` + "`go test ./internal/modeldoc -update`" + `.

The decoder computes these architectures (the GGUF key ` + "`general.architecture`" + `), forward and backward: they run, and they are trained on as
they are stored, quantized or not. Any other is refused by name, as is a file with a tensor or an option that would be ignored.
A Hugging Face folder whose ` + "`config.json`" + ` names one of the architectures under "converts from" is taken wherever a GGUF model is.

`

const tokenizers = `
## Tokenizers of folders

A folder's vocabulary is read from ` + "`tokenizer.model`" + ` (SentencePiece, BPE), else ` + "`tokenizer.json`" + ` (BPE, byte-level or with byte fallback), else
Mistral's ` + "`tekken.json`" + `, else ` + "`vocab.json`" + ` with ` + "`merges.txt`" + `; the roles of tokens, the flags and the chat templates from the files beside it. What the pre-tokenizer of a
byte-level vocabulary is called is found by what it does to a text. One that does what no known one does is refused; ` + "`--pre NAME`" + ` says which to take, of these:

`

const tail = `
## Targets

A target is a weight that a LoRA pair is bound to, in every layer that has it. Where a file stores several projections in one tensor
(` + "`attn_qkv`, or `ffn_up`" + ` with the rows of the gate in it), that tensor is the target. The embedding and the head
can be targets only where a model has both: where the head is tied to the embedding, llama.cpp cannot apply a pair to it. The groups of
` + "`--targets`" + ` (` + "`attention`, `ffn`, `experts`, `router`, `all`" + `) choose what is honoured; the router, the embedding and the head are trained when they are named.
` + "`experts`" + ` are the routed and the shared ones; ` + "`--experts top:N`" + ` or ` + "`--experts 1,5,7`" + ` gives pairs to some of the routed ones only.

A target that llama.cpp does not honour is refused, unless ` + "`--merge-only`" + ` says that the adapter will be merged into its base.
`

// Models is docs/models.md.
func Models() string {
	var b strings.Builder
	b.WriteString(head)
	b.WriteString("| architecture | models | converts from | targets that inference honours |\n|---|---|---|---|\n")
	all := arch.All()
	for _, a := range all {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", a.Name, a.Models, sources(a.Name), code(a.Targets))
	}
	b.WriteString(tokenizers)
	b.WriteString(code(tokenizer.PreTokenizers()) + "\n")
	b.WriteString(tail)
	b.WriteString(refused(all))
	return b.String()
}

// refused lists the targets that are for merging only, by reason.
func refused(all []*arch.Row) string {
	var b strings.Builder
	for _, a := range all {
		byReason := map[string][]string{}
		for _, name := range slices.Sorted(maps.Keys(a.Refused)) {
			byReason[a.Refused[name]] = append(byReason[a.Refused[name]], name)
		}
		for _, reason := range slices.Sorted(maps.Keys(byReason)) {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", a.Name, code(byReason[reason]), reason)
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return "\n| architecture | for merging only | because |\n|---|---|---|\n" + b.String()
}

// sources are the Hugging Face architectures that become a GGUF architecture.
func sources(architecture string) string {
	names := convert.Sources(architecture)
	if len(names) == 0 {
		return "not yet"
	}
	return code(names)
}

// code sets names as code.
func code(names []string) string { return "`" + strings.Join(names, "` `") + "`" }

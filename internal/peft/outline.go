package peft

import (
	"regexp"
	"strconv"
	"strings"

	"qtool/gguf"
	"qtool/internal/arch"
	"qtool/internal/convert"
)

// size is that of the matrices of a tensor, in the orientation of the target.
type size struct{ in, out int }

var (
	layerOfModule = regexp.MustCompile(`(?:^|\.)layers\.(\d{1,9})\.`)
	denseModule   = regexp.MustCompile(`\.mlp\.(?:gate|up|down)_proj$`)
	denseTensor   = regexp.MustCompile(`\.ffn_(?:gate|up|down)\.weight$`)
)

// Outline is what the adapter in the folder tells of a model of the given architecture.
func (p *Adapter) Outline(architecture string) (*convert.Outline, error) {
	read := peftEntries
	if p.Form == MLX {
		read = mlxEntries
	}
	entries, err := read(p.Tensors)
	if err != nil {
		return nil, err
	}
	o := &convert.Outline{Arch: architecture}
	sizes := map[string]size{}
	for _, e := range entries {
		module := plainModule(e.module)
		if m := layerOfModule.FindStringSubmatch(module); m != nil {
			n, _ := strconv.Atoi(m[1])
			o.Layers = max(o.Layers, n+1)
			if denseModule.MatchString(module) {
				o.LeadingDense = max(o.LeadingDense, n+1)
			}
		}
		s := size{e.a.Shape[len(e.a.Shape)-1], e.b.Shape[0]}
		switch {
		case p.Form == MLX && len(e.a.Shape) == 3:
			s.out = e.b.Shape[1%len(e.b.Shape)]
			o.Experts = max(o.Experts, e.a.Shape[0])
		case p.Form == MLX:
			s = size{e.a.Shape[0], e.b.Shape[len(e.b.Shape)-1]}
		}
		sizes[module] = s
	}
	o.Size = func(tensor, module string) (in, out int, ok bool) {
		if place, _, isExperts := strings.Cut(module, ".experts."); isExperts {
			_, name, _ := arch.SplitLayer(tensor)
			module = place + ".switch_mlp." + mlxProjections[name]
		}
		s, ok := sizes[module]
		if tensor == arch.TokenEmbedding {
			s.in, s.out = s.out, s.in
		}
		return s.in, s.out, ok
	}
	return o, nil
}

// plainModule is the path of a module in a language model that is no part of another.
func plainModule(module string) string {
	for _, prefix := range insides {
		if rest, ok := strings.CutPrefix(module, prefix); ok {
			if strings.HasPrefix(rest, "model.") || rest == "lm_head" {
				return rest
			}
			return "model." + rest
		}
	}
	return module
}

// OutlineOfGGUF is what an adapter in GGUF tells of its model.
func OutlineOfGGUF(adapter gguf.Model) (*convert.Outline, error) {
	name, err := adapter.Metadata().Str(arch.KeyArchitecture)
	if err != nil {
		return nil, invalid("%v", err)
	}
	o := &convert.Outline{Arch: name}
	sizes := map[string]size{}
	for _, a := range adapter.Tensors() {
		tensor, isA := strings.CutSuffix(a.Name, ".lora_a")
		b, ok := adapter.Tensor(tensor + ".lora_b")
		if !isA || !ok || len(a.Shape) < 2 || len(b.Shape) < 2 {
			continue // told when it is read
		}
		s := size{a.Shape[0], b.Shape[1]}
		if tensor == arch.TokenEmbedding {
			s = size{b.Shape[1], a.Shape[1]}
		}
		sizes[tensor] = s
		layer := arch.LayerOf(tensor)
		o.Layers = max(o.Layers, layer+1)
		if denseTensor.MatchString(tensor) {
			o.LeadingDense = max(o.LeadingDense, layer+1)
		}
		if arch.IsExpertStack(tensor, a.Shape) {
			o.Experts = max(o.Experts, a.Shape[2])
		}
	}
	o.Size = func(tensor, _ string) (in, out int, ok bool) {
		s, ok := sizes[tensor]
		return s.in, s.out, ok
	}
	return o, nil
}

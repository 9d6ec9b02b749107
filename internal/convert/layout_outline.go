package convert

import (
	"fmt"
	"slices"
	"strings"

	"qtool/internal/arch"
)

// Outline is what an adapter tells of the model that it is for, where there is no model.
type Outline struct {
	Arch    string // general.architecture
	Layers  int
	Experts int // 0 if unknown, or none
	// LeadingDense is how many of the first layers have no experts.
	LeadingDense int
	// Size is the size of the matrices of a tensor; module is that of the folder which it is
	// made of, of several the first. It is not ok if it is unknown.
	Size func(tensor, module string) (in, out int, ok bool)
}

// LayoutOfOutline is the layout of those tensors that are a weight of the folder as it is, or
// stack such ones. Of the others [Layout.Unsized] says why they need a model: their rows are
// in another order in GGUF, or cut, by sizes that an adapter does not tell. It refuses with
// [ErrUnsupported] an architecture that no Hugging Face model becomes, or all of whose
// layers need sizes of the model.
func LayoutOfOutline(o *Outline) (*Layout, error) {
	i := slices.IndexFunc(all, func(f *family) bool { return f.arch == o.Arch })
	if i < 0 {
		return nil, refuse("the architecture %q is not handled", o.Arch)
	}
	fam := all[i]
	if fam.row().Has(arch.LatentAttention) {
		return nil, refuse("the weights of attention over latents (%s) are cut by sizes that only the model tells", o.Arch)
	}
	// Sizes that decide of no name; those of matrices are set below.
	d := &dims{
		blocks: o.Layers, experts: o.Experts, leadingDense: o.LeadingDense,
		embed: 2, heads: 1, headsKV: 1, headDim: 2, rotated: 2, ff: 2, expertFF: 2, sharedFF: 2, vocab: 2,
	}
	c := &config{where: "the adapter", fields: map[string]any{}}
	list, err := layoutRecipes(fam, c, d)
	if err != nil {
		return nil, err
	}
	l := &Layout{Arch: fam.arch, Outlined: true, byName: map[string]*Target{}, modules: map[string][]*Weight{}, unsized: map[string]string{}}
	known := map[string]*Weight{}
	for _, x := range list {
		weights := x.weights()
		if reason := x.whyUnsized(); reason != "" {
			l.unsized[x.name] = reason
			for _, w := range weights {
				l.unsized[w[:strings.LastIndexByte(w, '.')]] = reason
			}
			continue
		}
		in, out, ok := o.Size(x.name, weights[0][:strings.LastIndexByte(weights[0], '.')])
		if !ok {
			continue
		}
		x.shape = slices.Clone(x.shape)
		x.shape[0], x.shape[1] = in, out
		l.add(x, known)
	}
	l.addFusedExperts()
	return l, nil
}

// whyUnsized is why the rows of a tensor are not those of a folder's weight, in order; "" if
// they are.
func (x *recipe) whyUnsized() string {
	switch {
	case x.heads > 0:
		return "its rows have another order in GGUF, which follows from the number of heads"
	case len(x.sourceShape) > 0 || x.packed || x.cut.step > 0 || x.zeros > 0:
		return fmt.Sprintf("%s holds only a part of the folder's %s, which follows from sizes of the model", x.name, x.weights()[0])
	}
	return ""
}

// Unsized is why the tensor or the module of that name is not known without a model; "" if
// that is not the reason.
func (l *Layout) Unsized(name string) string { return l.unsized[name] }

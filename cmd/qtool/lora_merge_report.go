package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"qtool/gguf"
	"qtool/internal/arch"
	"qtool/internal/printable"
	"qtool/lora"
	"qtool/quantize"
)

// mergeReport is the JSON of lora merge.
type mergeReport struct {
	Output   string            `json:"output,omitempty"`
	Files    []string          `json:"files,omitempty"`
	Seconds  float64           `json:"seconds,omitempty"`
	Adapters []*mergedAdapter  `json:"adapters"`
	Kept     keptReport        `json:"kept"` // of all changes together
	Kinds    []keptReport      `json:"kinds"`
	Tensors  []keptReport      `json:"tensors"`
	Idle     []string          `json:"idle,omitempty"`
	Raised   int               `json:"raised"`
	Check    *mergeCheckReport `json:"check,omitempty"`
	Plan     *quantize.Plan    `json:"plan"`
}

// keptReport is what is kept of the change of one tensor, or of several as if they were one.
type keptReport struct {
	Name    string  `json:"name,omitempty"`
	Tensors int     `json:"tensors"`
	Type    string  `json:"type,omitempty"`
	Change  float64 `json:"change"` // ‖ΔW‖/‖W‖
	Kept    float64 `json:"kept"`
	Noise   float64 `json:"noise"`
	Bytes   int64   `json:"bytes"`
	Before  int64   `json:"bytes_before"`

	share float64
}

func (m *merge) report(plan *quantize.Plan, files []string, seconds float64) error {
	r := &mergeReport{Output: m.output, Files: files, Seconds: seconds, Adapters: m.adapters, Idle: m.sum.Idle, Raised: m.raised, Plan: plan}
	if len(m.survivals) > 0 {
		r.describe(plan, m.survivals)
	}
	if m.check != nil {
		r.Check = m.check.report()
	}
	if m.con.json {
		return m.con.printJSON(r)
	}
	_, err := io.WriteString(m.con.out, r.text())
	return err
}

// describe fills in what is kept.
func (r *mergeReport) describe(plan *quantize.Plan, survivals []lora.Survival) {
	planned := map[string]*quantize.PlannedTensor{}
	for i := range plan.Tensors {
		planned[plan.Tensors[i].Name] = &plan.Tensors[i]
	}
	report := func(name string, of []lora.Survival) keptReport {
		s := lora.Together(of)
		k := keptReport{Name: name, Tensors: len(of), Change: s.Change, Kept: s.Kept, Noise: s.Noise, share: s.Share()}
		var types []gguf.Type
		for _, s := range of {
			p := planned[s.Tensor]
			k.Bytes, k.Before = k.Bytes+p.ToBytes, k.Before+p.FromBytes
			if !slices.Contains(types, s.Type) {
				types = append(types, s.Type)
			}
		}
		k.Type = strings.Trim(strings.ReplaceAll(fmt.Sprint(types), " ", ", "), "[]")
		return k
	}
	r.Kept = report("", survivals)
	var kinds []string
	byKind := map[string][]lora.Survival{}
	for _, s := range survivals {
		r.Tensors = append(r.Tensors, report(s.Tensor, []lora.Survival{s}))
		kind := arch.ShortName(s.Tensor)
		if byKind[kind] == nil {
			kinds = append(kinds, kind)
		}
		byKind[kind] = append(byKind[kind], s)
	}
	for _, kind := range kinds {
		r.Kinds = append(r.Kinds, report(kind, byKind[kind]))
	}
}

// worstShown is how many of the tensors that keep the least are printed.
const worstShown = 5

func (r *mergeReport) text() string {
	var b strings.Builder
	if len(r.Tensors) == 0 {
		b.WriteString("no tensor changes: all pairs are zero\n")
		return b.String()
	}
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "kind\ttensors\tstored as\tchange\tkept\tnoise\tbytes\n")
	for _, k := range append(r.Kinds, r.Kept) {
		name := cmp.Or(k.Name, "all")
		fmt.Fprintf(w, "%s\t%d\t%s\t%s%s\n", printable.Text(name), k.Tensors, k.Type, k.columns(), k.growth())
	}
	w.Flush()
	worst := slices.Clone(r.Tensors)
	slices.SortStableFunc(worst, func(a, b keptReport) int { return cmp.Compare(a.share, b.share) })
	fmt.Fprintf(&b, "\nthe least is kept by:\n")
	for _, k := range worst[:min(worstShown, len(worst))] {
		fmt.Fprintf(w, "%s\t%s\t%s\n", printable.Text(k.Name), k.Type, k.columns())
	}
	w.Flush()
	if r.Check != nil {
		fmt.Fprintf(&b, "\n%v", r.Check)
	}
	return b.String()
}

func (k *keptReport) columns() string {
	return fmt.Sprintf("%.2f %%\t%.1f %%\t%.2f\t", 100*k.Change, 100*k.Kept, k.Noise)
}

// growth is the size, and how much more it is than before.
func (k *keptReport) growth() string {
	if k.Bytes == k.Before {
		return printable.Bytes(k.Bytes)
	}
	return fmt.Sprintf("%s, was %s", printable.Bytes(k.Bytes), printable.Bytes(k.Before))
}

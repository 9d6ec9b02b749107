package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"qtool/internal/arch"
	"qtool/internal/printable"
	"qtool/lora"
)

// fitReport says how well pairs hold a change: one pair, or several as if they were one.
type fitReport struct {
	Name    string  `json:"name,omitempty"`
	Pairs   int     `json:"pairs"`
	Lowest  int     `json:"rank_min"`
	Highest int     `json:"rank_max"`
	Kept    float64 `json:"kept"` // 1 − ‖residual‖²/‖D‖²
	Change  float64 `json:"change,omitempty"`
	Noise   float64 `json:"quantization,omitempty"` // share of ‖D‖²
	FromSum float64 `json:"from_sum,omitempty"`
}

// describeFits reports fits: all together, by kind of tensor, and each.
func describeFits(of []lora.Fit) (all fitReport, kinds, tensors []fitReport) {
	report := func(name string, of []lora.Fit) fitReport {
		f := lora.FitTogether(of)
		r := fitReport{name, len(of), f.Rank, f.Rank, f.Kept, f.Change, f.Noise, f.FromSum}
		for _, f := range of {
			r.Lowest = min(r.Lowest, f.Rank)
		}
		return r
	}
	var names []string
	byKind := map[string][]lora.Fit{}
	for _, f := range of {
		tensors = append(tensors, report(f.Tensor, []lora.Fit{f}))
		kind := arch.ShortName(f.Tensor)
		if byKind[kind] == nil {
			names = append(names, kind)
		}
		byKind[kind] = append(byKind[kind], f)
	}
	for _, name := range names {
		kinds = append(kinds, report(name, byKind[name]))
	}
	return report("", of), kinds, tensors
}

// fitColumn is a column of the table beside those that every one has.
type fitColumn struct {
	title string
	value func(r *fitReport) string
}

var (
	fitChange  = fitColumn{"change", func(r *fitReport) string { return fmt.Sprintf("%.2f %%", 100*r.Change) }}
	fitNoise   = fitColumn{"quantization", func(r *fitReport) string { return fmt.Sprintf("%.1f %%", 100*r.Noise) }}
	fitFromSum = fitColumn{"off the sum", func(r *fitReport) string { return fmt.Sprintf("%.1f %%", 100*r.FromSum) }}
)

// printFits prints the kinds, and the tensors that keep the least unless all keep everything.
func printFits(con *console, all fitReport, kinds, tensors []fitReport, more ...fitColumn) error {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	line := func(r *fitReport, count string) {
		fmt.Fprintf(w, "%s\t%s", printable.Text(cmp.Or(r.Name, "all")), count)
		rank := fmt.Sprint(r.Highest)
		if r.Lowest < r.Highest {
			rank = fmt.Sprintf("%d to %d", r.Lowest, r.Highest)
		}
		fmt.Fprintf(w, "%s\t%.2f %%", rank, 100*r.Kept)
		for _, c := range more {
			fmt.Fprintf(w, "\t%s", c.value(r))
		}
		fmt.Fprintln(w)
	}
	fmt.Fprint(w, "kind\tpairs\trank\tkept")
	for _, c := range more {
		fmt.Fprintf(w, "\t%s", c.title)
	}
	fmt.Fprintln(w)
	for _, k := range append(kinds, all) {
		line(&k, fmt.Sprintf("%d\t", k.Pairs))
	}
	w.Flush()
	if all.Kept < 0.99995 {
		worst := slices.Clone(tensors)
		slices.SortStableFunc(worst, func(a, b fitReport) int { return cmp.Compare(a.Kept, b.Kept) })
		fmt.Fprintf(&b, "\nthe least is kept by:\n")
		for _, t := range worst[:min(worstShown, len(worst))] {
			line(&t, "")
		}
		w.Flush()
	}
	_, err := io.WriteString(con.out, b.String())
	return err
}

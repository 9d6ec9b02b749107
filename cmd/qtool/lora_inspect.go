package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"qtool/gguf"
	"qtool/internal/arch"
	"qtool/internal/printable"
	"qtool/lora"
)

func loraInspectCommand() *cli.Command {
	return &cli.Command{
		Name:  "inspect",
		Usage: "show how much an adapter changes, where, and in how many directions",
		UsageText: `qtool lora inspect ADAPTER [--model BASE]

qtool lora inspect mine.gguf
qtool lora inspect mine.gguf --model model-q4_k_m.gguf --json`,
		Description: `ΔW = alpha/rank·B·A is what a pair adds to its weight W, ‖ΔW‖ its Frobenius norm, and
with --model ‖ΔW‖/‖W‖ is how large it is beside the weight. ΔW itself is never computed:
its singular values σ are those of a small matrix made of B and A.

The effective rank is exp(-Σ p·ln p) with p = σ/Σσ: the rank if all directions count the
same, 1 if one does all. "95 %" is the least number of directions that hold 95 % of ‖ΔW‖².
A rank far above both is more than was used; qtool lora resize makes it smaller.

Metadata keys of the adapter say how it was made. --json has all singular values.`,
		Flags: []cli.Flag{
			modelFlag(&cli.StringFlag{Name: "model", Aliases: []string{"m"}, Usage: "compare with the weights of `BASE`: a .gguf file, a Hugging Face folder or ollama:NAME"}),
			&cli.BoolFlag{Name: "all", Usage: "show every pair and long values in full"},
			preFlag(),
			threadsFlag(),
			forceFlag(),
			jsonFlag(),
		},
		Action: runLoraInspect,
	}
}

// loraInspectReport is the JSON of lora inspect.
type loraInspectReport struct {
	Adapter      string               `json:"adapter"`
	Model        string               `json:"model,omitempty"`
	Architecture string               `json:"architecture"`
	Alpha        float32              `json:"alpha"`
	MergeOnly    bool                 `json:"merge_only"`
	Parameters   int                  `json:"parameters"`
	Metadata     []metadataEntry      `json:"metadata"`
	All          lora.SpectrumGroup   `json:"all"`
	Layers       []lora.SpectrumGroup `json:"layers"`
	Kinds        []lora.SpectrumGroup `json:"kinds"`
	Pairs        []lora.Spectrum      `json:"pairs"`
}

func runLoraInspect(c *cli.Context) error {
	args, err := arguments(c, "ADAPTER")
	if err != nil {
		return err
	}
	con := newConsole(c)
	if err := checkAdapterFile(args[0]); err != nil {
		return err
	}
	if err := checkAdapterMemory(c, con, 2, "inspect it on a machine with more memory", args[0]); err != nil {
		return err
	}
	a, err := lora.Open(args[0])
	if err != nil {
		return fmt.Errorf("adapter: %w", err)
	}
	r := &loraInspectReport{Adapter: args[0], Model: c.String("model"), Architecture: a.Architecture, Alpha: a.Alpha, MergeOnly: a.MergeOnly, Metadata: []metadataEntry{}}
	for _, kv := range a.Extra.All() {
		r.Metadata = append(r.Metadata, describeValue(kv, c.Bool("all")))
	}
	for _, p := range a.Pairs {
		r.Parameters += len(p.A.Values) + len(p.B.Values)
	}
	if err := r.measure(c, con, a); err != nil {
		return err
	}
	if con.json {
		return con.printJSON(r)
	}
	_, err = io.WriteString(con.out, r.text(c.Bool("all")))
	return err
}

// measure computes the spectra.
func (r *loraInspectReport) measure(c *cli.Context, con *console, a *lora.Adapter) error {
	var base gguf.Model
	unchanged := func() error { return nil }
	if r.Model != "" {
		m, err := openToRead(c, r.Model)
		if err != nil {
			return err
		}
		defer m.Close()
		base, unchanged = m, m.Unchanged
	}
	bar := con.progress()
	defer bar.Done()
	var err error
	if r.Pairs, err = lora.Spectra(c.Context, a, base, c.Int("threads"), bar.Of("pairs", "singular values")); err != nil {
		if r.Model != "" {
			return fmt.Errorf("%s on %s: %w", r.Adapter, r.Model, err)
		}
		return fmt.Errorf("%s: %w", r.Adapter, err)
	}
	if err := unchanged(); err != nil {
		return err
	}
	r.All = lora.GroupSpectra(r.Pairs, func(string) string { return "all" })[0]
	r.Layers = lora.GroupSpectra(r.Pairs, layerName)
	r.Kinds = lora.GroupSpectra(r.Pairs, arch.ShortName)
	return nil
}

// layerName is the layer of a tensor, or its short name if it is in none.
func layerName(tensor string) string {
	if l := arch.LayerOf(tensor); l >= 0 {
		return fmt.Sprintf("layer %d", l)
	}
	return arch.ShortName(tensor)
}

// largestShown is how many of the pairs that change the most are printed.
const largestShown = 10

func (r *loraInspectReport) text(all bool) string {
	var b strings.Builder
	ranks := map[int]bool{}
	for _, s := range r.Pairs {
		ranks[s.Rank] = true
	}
	fmt.Fprintf(&b, "%s: adapter for %s, %s, %d parameters, rank %s, alpha %g\n", printable.Text(r.Adapter), printable.Text(r.Architecture),
		printable.Count(len(r.Pairs), "pair"), r.Parameters, ranksText(ranks), r.Alpha)
	if r.MergeOnly {
		b.WriteString("for merging into its base only: qtool lora merge\n")
	}
	fmt.Fprintf(&b, "‖ΔW‖ %.4g%s, effective rank %.1f on average\n", r.All.Norm, ofWeights(", ‖ΔW‖/‖W‖ ", r.All.Relative), r.All.EffectiveRank)
	if len(r.Metadata) > 0 {
		b.WriteString("\n")
		w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		for _, e := range r.Metadata {
			fmt.Fprintf(w, "%s\t%s\n", printable.Text(e.Key), e.text())
		}
		w.Flush()
	}
	bars := barTable{relative: r.Model != ""}
	bars.print(&b, "by layer", rowsOf(r.Layers))
	bars.print(&b, "by kind", rowsOf(r.Kinds))
	pairs := pairRows(r.Pairs)
	slices.SortStableFunc(pairs, func(x, y barRow) int { return cmp.Compare(bars.length(y), bars.length(x)) })
	title := "all pairs"
	if !all && len(pairs) > largestShown {
		pairs, title = pairs[:largestShown], "largest"
	}
	bars.print(&b, title, pairs)
	return b.String()
}

func ranksText(ranks map[int]bool) string {
	least, most := math.MaxInt, 0
	for r := range ranks {
		least, most = min(least, r), max(most, r)
	}
	if least == most {
		return fmt.Sprint(most)
	}
	return fmt.Sprintf("%d to %d", least, most)
}

func ofWeights(label string, relative float64) string {
	if relative == 0 {
		return ""
	}
	return fmt.Sprintf("%s%.3g %%", label, 100*relative)
}

// barRow is one line with a bar.
type barRow struct {
	name            string
	norm, relative  float64
	effective, rank string
}

func rowsOf(groups []lora.SpectrumGroup) (rows []barRow) {
	for _, g := range groups {
		rows = append(rows, barRow{g.Name, g.Norm, g.Relative, fmt.Sprintf("%.1f", g.EffectiveRank), ""})
	}
	return rows
}

func pairRows(spectra []lora.Spectrum) (rows []barRow) {
	for _, s := range spectra {
		rows = append(rows, barRow{strings.TrimSuffix(s.Tensor, ".weight"), s.Norm, s.Relative, fmt.Sprintf("%.1f", s.EffectiveRank), fmt.Sprintf("%d of %d", s.Rank95, s.Rank)})
	}
	return rows
}

// barTable prints rows in at most 80 columns.
type barTable struct {
	relative bool // bars are as long as changes are relative to their weights
}

// length is what the bar of a row stands for.
func (t barTable) length(r barRow) float64 {
	if t.relative {
		return r.relative
	}
	return r.norm
}

// tableWidth is the most columns of a line, and barNameWidth those of a name.
const (
	tableWidth   = 80
	barNameWidth = 24
)

func (t barTable) print(w io.Writer, title string, rows []barRow) {
	most, ranks := 0.0, false
	for _, r := range rows {
		most, ranks = max(most, t.length(r)), ranks || r.rank != ""
	}
	line := func(name, norm, relative, effective, rank string) string {
		s := fmt.Sprintf("%s  %8s", padded(name, barNameWidth), norm)
		if t.relative {
			s += fmt.Sprintf("  %7s", relative)
		}
		s += fmt.Sprintf("  %8s", effective)
		if ranks {
			s += fmt.Sprintf("  %10s", rank)
		}
		return s
	}
	fmt.Fprintln(w)
	header := line(title, "‖ΔW‖", "of ‖W‖", "eff.rank", "95 %")
	fmt.Fprintln(w, header)
	width := tableWidth - utf8.RuneCountInString(header) - 2
	for _, r := range rows {
		n := 0
		if most > 0 {
			n = int(math.Ceil(float64(width) * (t.length(r) / most)))
		}
		s := line(printable.Text(r.name), fmt.Sprintf("%.3g", r.norm), ofWeights("", r.relative), r.effective, r.rank)
		fmt.Fprintln(w, strings.TrimRight(s+"  "+strings.Repeat("#", n), " "))
	}
}

// padded is s in so many columns, cut at its beginning where it is longer: names of tensors differ
// at the end as well as at the beginning.
func padded(s string, width int) string {
	n := utf8.RuneCountInString(s)
	if n > width {
		runes := []rune(s)
		return "…" + string(runes[n-width+1:])
	}
	return s + strings.Repeat(" ", width-n)
}

package quantize

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"

	"qtool/internal/printable"
)

// Elements is the number of weights in the model.
func (p *Plan) Elements() (n int64) {
	for _, t := range p.Tensors {
		e := int64(1)
		for _, d := range t.Shape {
			e *= int64(d)
		}
		n += e
	}
	return n
}

// FromBytes is the size of all tensors before.
func (p *Plan) FromBytes() (n int64) {
	for _, t := range p.Tensors {
		n += t.FromBytes
	}
	return n
}

// ToBytes is the size of all tensors after, without padding.
func (p *Plan) ToBytes() (n int64) {
	for _, t := range p.Tensors {
		n += t.ToBytes
	}
	return n
}

// BitsPerWeight is the mean over all tensors after.
func (p *Plan) BitsPerWeight() float64 {
	return 8 * float64(p.ToBytes()) / max(1, float64(p.Elements()))
}

// String is a table with a line for each tensor, one for each shard, and one of totals.
func (p *Plan) String() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, t := range p.Tensors {
		to := t.To.String()
		if t.To == t.From {
			to = "="
		}
		shape := strings.ReplaceAll(strings.Trim(fmt.Sprint(t.Shape), "[]"), " ", " x ")
		fmt.Fprintf(w, "%s\t%s\t%v\t%s\t%d\t%s%s\n", printable.Text(t.Name), shape, t.From, to, t.ToBytes, t.Estimate, t.Note)
	}
	w.Flush()
	b.WriteString(p.Target.String())
	for _, s := range p.Shards {
		fmt.Fprintf(&b, "%s: %d tensors, %d bytes\n", s.Path, s.Tensors, s.Bytes)
	}
	fmt.Fprintf(&b, "%s: %d tensors, %d bytes -> %d bytes, %.2f bits per weight\n",
		p.FileType, len(p.Tensors), p.FromBytes(), p.ToBytes(), p.BitsPerWeight())
	return b.String()
}

// Notes are the notes of the tensors, each once, with the tensors that it is about.
func (p *Plan) Notes() []string {
	type group struct {
		first  string
		others int
	}
	groups := map[string]*group{}
	var order []string
	for _, t := range p.Tensors {
		if g := groups[t.Note]; g != nil {
			g.others++
		} else if t.Note != "" {
			groups[t.Note] = &group{first: t.Name}
			order = append(order, t.Note)
		}
	}
	for i, note := range order {
		g := groups[note]
		order[i] = printable.Text(g.first) + ": " + note
		if g.others > 0 {
			order[i] = fmt.Sprintf("%s and %d others: %s", printable.Text(g.first), g.others, note)
		}
	}
	return order
}

// remark adds what the choice of the types leaves to be said.
func (p *Plan) remark(c *chooser) {
	for i := range c.rules {
		if s := c.rules[i].remark(); s != "" {
			p.Remarks = append(p.Remarks, s)
		}
	}
}

// MarshalJSON adds the totals.
func (p *Plan) MarshalJSON() ([]byte, error) {
	type fields Plan
	return json.Marshal(struct {
		*fields
		Elements      int64   `json:"elements"`
		FromBytes     int64   `json:"from_bytes"`
		ToBytes       int64   `json:"to_bytes"`
		BitsPerWeight float64 `json:"bits_per_weight"`

		Misplaced map[string]int64 `json:"misplaced_blocks,omitempty"`
	}{(*fields)(p), p.Elements(), p.FromBytes(), p.ToBytes(), p.BitsPerWeight(), p.MisplacedBlocks()})
}

// MarshalJSON names the types.
func (t PlannedTensor) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Name      string `json:"name"`
		Shape     []int  `json:"shape"`
		From      string `json:"from"`
		To        string `json:"to"`
		FromBytes int64  `json:"from_bytes"`
		ToBytes   int64  `json:"to_bytes"`
		Note      string `json:"note,omitempty"`
		*Estimate
	}{t.Name, t.Shape, t.From.String(), t.To.String(), t.FromBytes, t.ToBytes, t.Note, t.Estimate})
}

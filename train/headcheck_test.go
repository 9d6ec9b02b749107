package train_test

import (
	"path/filepath"
	"testing"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/train"
)

// withLikeRows is a small base in which the rows of tokens 9 and 11 in a matrix are equal.
func withLikeRows(t *testing.T, shape fixtures.Shape, name string) gguf.Model {
	t.Helper()
	m := fixtures.TinyLlama(1, shape)
	var tensors []*gguf.Tensor
	for _, tensor := range m.Tensors() {
		if tensor.Name == name {
			b, err := tensor.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			values, cols := append([]float32(nil), gguf.DecodeFloat32(b)...), tensor.Shape[0]
			copy(values[9*cols:10*cols], values[11*cols:12*cols])
			tensor = gguf.Float32Tensor(tensor.Name, tensor.Shape, values)
		}
		tensors = append(tensors, tensor)
	}
	return gguf.Assemble(m.Metadata(), tensors)
}

func TestTokensThatTheHeadCannotTellApartAreWarnedOf(t *testing.T) {
	data := write(t, "ids.jsonl", `{"input_ids":[5,6,7,9],"labels":[-100,6,7,9]}
{"input_ids":[5,7,6,9],"labels":[-100,-100,6,9]}
{"input_ids":[7,8,9,8],"labels":[-100,8,9,8]}
`)
	untied, tied := withLikeRows(t, fixtures.Shape{Untied: true}, "output.weight"), withLikeRows(t, fixtures.Shape{}, "token_embd.weight")
	old := filepath.Join(t.TempDir(), "old.gguf")
	job := func(base gguf.Model, change func(*train.Job)) []string {
		j := train.NewJob()
		j.Base, j.Data, j.Adapter, j.EvalSplit, j.Rank = base, []string{data}, filepath.Join(t.TempDir(), "a.gguf"), 0, 2
		change(j)
		return run(t, j).Warnings
	}
	job(untied, func(j *train.Job) { j.Adapter = old })
	for name, c := range map[string]struct {
		base   gguf.Model
		change func(*train.Job)
		want   string // "" for no warning
	}{
		"a head of its own": {untied, func(*train.Job) {}, "--targets all,output trains the head too"},
		"an old adapter":    {untied, func(j *train.Job) { j.Init = old }, "a new adapter with --targets all,output, in place of --init-adapter, learns it"},
		"a tied head":       {tied, func(*train.Job) {}, "LoRA cannot change that"},
		"a trained head":    {untied, func(j *train.Job) { j.Targets = []string{"attention", "output"} }, ""},
		"all weights":       {tied, func(j *train.Job) { j.Full, j.Adapter = j.Adapter, "" }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := job(c.base, c.change)
			const said = "token 9, which is learned 3 times and ends 2 examples: its row of the output head is as good as equal to that of token 11. The model will not stop where it should"
			if c.want == "" && mentions(got, "cannot teach") != 0 {
				t.Errorf("a warning: %q", got)
			}
			if c.want != "" && (mentions(got, said) != 1 || mentions(got, c.want) != 1) {
				t.Errorf("expected %q and %q: %q", said, c.want, got)
			}
		})
	}
}

package main

import (
	"fmt"

	"qtool/internal/adapt"
	"qtool/internal/infer"
	"qtool/internal/source"
	"qtool/internal/tokenizer"
)

// mergeCheck compares the merged model with base and adapters.
type mergeCheck struct {
	*loaded // base and adapters
	merge   *merge
	ids     []int32
	options infer.PerplexityOptions
	found   infer.Divergence
}

// newMergeCheck finds out before the work whether it is possible.
func newMergeCheck(m *merge, text string) (k *mergeCheck, err error) {
	k = &mergeCheck{merge: m, options: infer.PerplexityOptions{Context: m.c.Int("context"), Chunks: m.c.Int("chunks")}}
	file, err := m.weights.Model()
	if err != nil {
		return nil, err
	}
	bound, err := adapt.FromModelSparse(file)
	if err != nil {
		return nil, err
	}
	bound.MergeOnly = true // pairs that llama.cpp passes over are merged as well
	from, err := modelSource(m.c, m.c.String("model"))
	if err != nil {
		return nil, err
	}
	k.loaded, err = loadWith(m.c, m.con, from, bound, "--check-data: the adapter "+m.adapterPaths(), func(l *loaded) (err error) {
		k.ids, err = l.checkText(text, tokenizer.EncodeOptions{AddSpecial: true}, func(tokens, context int) error {
			return infer.CheckPerplexity(tokens, context, k.options)
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	if _, err = k.tokenizer(); err == nil {
		err = checkPerplexity(m.c, k.loaded, k.loaded, len(k.ids), k.options)
	}
	if err != nil {
		k.Close()
		return nil, err
	}
	return k, nil
}

// compare runs the model at path, which was written just now.
func (k *mergeCheck) compare(path string) error {
	c, con := k.merge.c, k.merge.con
	merged, err := loadWith(c, con, source.Source{Path: path}, nil, "", nil)
	if err != nil {
		return err
	}
	defer merged.Close()
	bar := con.progress()
	defer bar.Done()
	opt := k.options
	opt.Progress = func(sofar infer.Perplexity, total int) {
		if sofar.Chunks == 0 {
			bar.Start(int64(total), "windows", "comparing")
			return
		}
		bar.Set(int64(sofar.Chunks))
	}
	if k.found, err = merged.session().Compare(c.Context, k.session(), k.ids, opt); err != nil {
		return err
	}
	return k.file.Unchanged()
}

// mergeCheckReport is the JSON of --check-data.
type mergeCheckReport struct {
	Tokens   int                `json:"scored_tokens"`
	Merged   perplexityOf       `json:"merged"`
	Baseline perplexityOf       `json:"base_and_adapters"`
	KL       infer.Distribution `json:"kl_divergence"`
	SameTop  infer.Estimate     `json:"same_top"`
}

func (k *mergeCheck) report() *mergeCheckReport {
	d := k.found
	return &mergeCheckReport{d.Model.Scored, perplexityFrom(d.Model), perplexityFrom(d.Baseline), d.KL, d.SameTop}
}

func (r *mergeCheckReport) String() string {
	return fmt.Sprintf("merged against base and adapters, %d tokens: KL divergence %.6f ± %.6f, same top token %.2f %%, perplexity %.4f and %.4f\n",
		r.Tokens, r.KL.Mean.Value, r.KL.Mean.Error, 100*r.SameTop.Value, r.Merged.Perplexity, r.Baseline.Perplexity)
}

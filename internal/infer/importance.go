package infer

import (
	"context"
	"fmt"
	"math"
	"slices"

	"qtool/internal/arch"
	"qtool/internal/kernel/vector"
	"qtool/internal/model"
	"qtool/internal/nn"
	"qtool/quantize/imatrix"
)

// Importance is a collection of importance under way. Between two chunks it is whole,
// so it can be saved there and continued from there.
type Importance struct {
	Matrix *imatrix.Matrix
	// Next is the chunk of the text that comes next.
	Next int

	chunks int // that were run
	nll    sums
}

// ImportanceOptions choose what [Session.CollectImportance] does.
type ImportanceOptions struct {
	First  int // the first chunk of the text to run
	Chunks int // how many from there on; 0 is all of the text
	// Output collects for the output head too, under the name of the embedding if the
	// head is tied to it.
	Output bool
	// NoPerplexity leaves out the head, which costs time in large vocabularies.
	NoPerplexity bool
	// Progress, if not nil, is called before the first chunk and after each, with the
	// number of chunks there will be. An error ends the collection.
	Progress func(run *Importance, total int) error
}

// NewImportance begins a collection in chunks of that many tokens. 0 is 512, or the
// model's own context if that is less. The text must have one chunk at least.
func (s *Session) NewImportance(chunkSize int) (*Importance, error) {
	chunkSize = windowSize(chunkSize, s.Decoder.Context)
	if err := checkContext("a chunk", chunkSize, s.Decoder.Context); err != nil {
		return nil, err
	}
	return &Importance{Matrix: imatrix.New(chunkSize)}, nil
}

// CheckImportance refuses, before a model of that context is loaded, a text of too few
// tokens for [Session.CollectImportance] or chunks that the model cannot read.
func CheckImportance(tokens, context, chunkSize int, opt ImportanceOptions) error {
	chunkSize = windowSize(chunkSize, context)
	if err := checkContext("a chunk", chunkSize, context); err != nil {
		return err
	}
	_, err := opt.lastChunk(tokens, chunkSize)
	return err
}

// lastChunk is the end of the chunks of n tokens to run.
func (o *ImportanceOptions) lastChunk(tokens, n int) (end int, err error) {
	end = tokens / n
	if o.Chunks > 0 {
		end = min(end, o.First+o.Chunks)
	}
	if end <= o.First {
		return 0, fmt.Errorf("%w: it has %d tokens, too few for chunk %d of %d tokens: give more text or smaller chunks", ErrTextTooShort, tokens, o.First, n)
	}
	return end, nil
}

// CollectImportance runs tokens, a whole text with BOS if the model adds one, and adds
// the squares of what all weights of the blocks are multiplied with to run. As in
// llama-imatrix the text is cut into chunks, each beginning with BOS in place of its
// first token (if the model adds BOS), and what is left at the end is not read. It
// begins with run.Next. When ctx ends or the progress function fails, run holds the
// chunks that were finished.
func (s *Session) CollectImportance(ctx context.Context, tokens []int32, run *Importance, opt ImportanceOptions) error {
	n := run.Matrix.ChunkSize
	end, err := opt.lastChunk(len(tokens), n)
	if err != nil {
		return err
	}
	if err := s.Decoder.CheckTokens(tokens); err != nil {
		return err
	}
	run.Next = max(run.Next, opt.First)
	run.Matrix.MadeFrom(s.Decoder.Source())
	c := &collector{session: s, opt: opt, pending: imatrix.New(n), cache: s.Decoder.NewCache(n)}
	s.tape.Observe = c.observe
	defer func() { s.tape.Observe = nil }()
	for {
		if opt.Progress != nil {
			if err := opt.Progress(run, end-opt.First); err != nil {
				return err
			}
		}
		if run.Next >= end {
			return nil
		}
		if err := c.chunk(ctx, run, tokens[run.Next*n:(run.Next+1)*n]); err != nil {
			return err
		}
	}
}

// Perplexity is what the chunks so far gave, as [Session.Perplexity] measures it.
func (run *Importance) Perplexity() Perplexity {
	return run.nll.perplexity(run.Matrix.ChunkSize, run.chunks)
}

// collector collects one chunk at a time.
type collector struct {
	session *Session
	opt     ImportanceOptions
	cache   *model.Cache
	pending *imatrix.Matrix // the chunk at hand
}

// chunk runs one chunk of text and adds it to run.
func (c *collector) chunk(ctx context.Context, run *Importance, text []int32) error {
	for _, e := range c.pending.Entries() {
		clear(e.Sums)
		clear(e.Counts)
	}
	input := slices.Clone(text)
	if bos := c.session.addedBOS(); bos >= 0 {
		input[0] = bos
	}
	c.cache.Reset()
	nll := run.nll
	err := c.session.forward(ctx, input, c.cache, func(first int, hidden *nn.Var) error {
		return c.score(first, hidden, text, &nll)
	})
	if err != nil {
		return err
	}
	for _, e := range c.pending.Entries() {
		if i := vector.FirstNotFinite(e.Sums); i >= 0 {
			return fmt.Errorf("%w: what %q is multiplied with is not finite in column %d; weights before it may be damaged",
				model.ErrInvalid, e.Name, i%(len(e.Sums)/len(e.Counts)))
		}
	}
	if err := run.Matrix.Merge(c.pending); err != nil {
		return fmt.Errorf("adding the chunk to what was there before: %w", err)
	}
	run.nll = nll
	run.Next++
	run.chunks++
	return nil
}

// score runs the head on the rows that are scored, or on all to collect from it too.
func (c *collector) score(first int, hidden *nn.Var, text []int32, nll *sums) error {
	from := max(0, len(text)/2-first)
	switch {
	case c.opt.Output:
		from = 0
	case c.opt.NoPerplexity:
		return nil
	}
	return c.session.head(hidden, from, func(row int, logits []float32) error {
		at := first + row
		if at < len(text)/2 || at == len(text)-1 || c.opt.NoPerplexity {
			return nil
		}
		value := negativeLogLikelihood(logits, text[at+1])
		if math.IsNaN(value) {
			return errNotFinite
		}
		nll.add(value)
		return nil
	})
}

// observeColumns is how many columns a worker takes at once.
const observeColumns = 64

// observe adds the squares of the rows of x to what is pending for w. The rows of one
// call are summed in double precision, since a text has many more of them, and in order,
// whoever sums a column.
func (c *collector) observe(w *nn.Weight, x *nn.Var, groups []int32) {
	if !c.opt.Output && arch.LayerOf(w.Name) < 0 {
		return
	}
	e, ok := c.pending.Entry(w.Name)
	if !ok {
		e = c.pending.Begin(w.Name, w.Cols, w.Experts)
	}
	for g := range len(groups) - 1 { // a file may store identity experts, which are not multiplied
		from, to := int(groups[g]), int(groups[g+1])
		if from == to {
			continue
		}
		e.Counts[g] += int64(to - from)
		sums := e.Sums[g*w.Cols : (g+1)*w.Cols]
		c.session.tape.Pool.Run((w.Cols+observeColumns-1)/observeColumns, func(_, part int) {
			first := part * observeColumns
			addSquares(sums[first:min(first+observeColumns, w.Cols)], x, from, to, first)
		})
	}
}

// addSquares adds to sums those of rows from to to-1 of x, in the columns from first on.
func addSquares(sums []float32, x *nn.Var, from, to, first int) {
	var squares [observeColumns]float64
	for r := from; r < to; r++ {
		for i, v := range x.Row(r)[first:][:len(sums)] {
			squares[i] += float64(v) * float64(v) // which is exact
		}
	}
	for i := range sums {
		sums[i] += float32(squares[i])
	}
}

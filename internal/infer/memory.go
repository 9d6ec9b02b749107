package infer

import (
	"math"

	"qtool/gguf"
	"qtool/internal/nn"
)

// Memory is what a computation takes beside what the program holds already, in bytes. It
// is found by going through the largest chunks that will come without computing them.
type Memory struct {
	Activations int64 // results, as many as exist at once
	Scratch     int64 // packed operands, and what each thread works in
	Cache       int64 // keys and values
	Positions   int64 // what is known of positions
	Results     int64 // what is collected
	// Rehearsal is address space that finding out took; the memory behind it was not
	// touched.
	Rehearsal int64
	// AtLeast: it is more, since not all was gone through.
	AtLeast bool
}

// Total is the sum.
func (m *Memory) Total() int64 {
	return m.Activations + m.Scratch + m.Cache + m.Positions + m.Results
}

// add makes m the memory of both at once.
func (m *Memory) add(o Memory) {
	m.Activations += o.Activations
	m.Scratch += o.Scratch
	m.Cache += o.Cache
	m.Positions += o.Positions
	m.Results += o.Results
	m.Rehearsal += o.Rehearsal
	m.AtLeast = m.AtLeast || o.AtLeast
}

// chunk is a chunk of a document: its first token, and how many follow. With head, logits
// are wanted.
type chunk struct {
	first, rows int
	head        bool
}

// lastChunk is the last one of a document of n tokens, of the size that the chunks before
// it have.
func lastChunk(n int, head bool) chunk {
	rows := min(chunkRows, n)
	return chunk{n - rows, rows, head}
}

// longest is the most tokens that a generation can come to.
func (s *Session) longest(prompt, maxTokens int) int {
	if maxTokens < 0 {
		return max(prompt, s.Decoder.Context)
	}
	return max(prompt, min(prompt+min(maxTokens, math.MaxInt-prompt), s.Decoder.Context))
}

// GenerateMemory is that of [Session.Generate] after a prompt of so many tokens. Before
// finding out takes more than most bytes of address space it is given up; 0 is no limit.
func (s *Session) GenerateMemory(prompt, maxTokens int, most int64) Memory {
	longest := s.longest(prompt, maxTokens)
	m := s.rehearse(most, lastChunk(max(prompt, 1), true), chunk{max(longest, 1) - 1, 1, true})
	m.Results = 4*int64(s.Decoder.Vocabulary) + 2*4*int64(longest)
	return m
}

// LogitsMemory is that of [Session.Logits] on so many tokens; most is as there.
func (s *Session) LogitsMemory(tokens int, most int64) Memory {
	return s.rehearse(most, lastChunk(max(tokens, 1), true))
}

// PerplexityMemory is that of [Session.Perplexity], or of [Session.Compare] with a
// baseline, on so many tokens; most is as there. The window must be one that the models can read.
func (s *Session) PerplexityMemory(tokens int, baseline *Session, opt PerplexityOptions, most int64) Memory {
	longest := s.Decoder.Context
	if baseline != nil {
		longest = min(longest, baseline.Decoder.Context)
	}
	n := windowSize(opt.Context, longest)
	m := s.rehearse(most, lastChunk(n-1, true))
	if baseline != nil {
		m.add(baseline.rehearse(most, lastChunk(n-1, true)))
		m.Results = 2 * 4 * int64(tokens/2) // KL divergence and Δp of each scored token
	}
	return m
}

// ImportanceMemory is that of [Session.CollectImportance] on src, the model of s, in chunks
// of n tokens; most is as there.
func (s *Session) ImportanceMemory(src gguf.Model, n int, opt ImportanceOptions, most int64) Memory {
	s.tape.Observe = func(*nn.Weight, *nn.Var, []int32) {} // some operators work otherwise where they are observed
	defer func() { s.tape.Observe = nil }()
	m := s.rehearse(most, lastChunk(n, opt.Output || !opt.NoPerplexity))
	m.Results = 2 * ImportanceBytes(src, opt) // in all, and of the chunk at hand
	return m
}

// rehearse finds the memory of chunks that come one after the other.
func (s *Session) rehearse(most int64, chunks ...chunk) (m Memory) {
	for _, c := range chunks {
		cache, ids := s.Decoder.BlankCache(c.first), make([]int32, c.rows)
		_, whole := s.tape.RehearseWithin(most, func() {
			hidden := s.hidden(ids, cache)
			if c.head {
				s.logits(hidden, 0, min(headRows, hidden.Rows), func(*nn.Var) {})
			}
		})
		m.Cache = max(m.Cache, cache.Bytes())
		m.Positions = max(m.Positions, s.Decoder.PositionBytes(c.first+c.rows))
		m.AtLeast = m.AtLeast || !whole
	}
	m.Activations, m.Scratch, m.Rehearsal = s.tape.PeakBytes(), s.tape.ScratchBytes(), s.tape.RehearsalBytes()
	return m
}

package imatrix

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"qtool/gguf"
	"qtool/internal/printable"
)

// ErrFormat is in the chain of every error about a file that is no valid imatrix.
var ErrFormat = errors.New("invalid imatrix")

// Matrix is the importance of the weights of one model.
type Matrix struct {
	Datasets []string // the texts that were run, in order
	Chunks   int      // pieces of text that were run
	// ChunkSize is the number of tokens of a chunk. 0 means that the counts of the
	// entries are of chunks and not of tokens, which is all that the legacy form knows.
	ChunkSize int
	// Unread names tensors of the file that are of no kind known here.
	Unread []string

	from    []gguf.Source // what it was measured on
	entries map[string]*Entry
}

// Entry is what was measured for one weight matrix, or for a stack of them such as
// the experts of a layer.
type Entry struct {
	Name string // of the weight, such as "blk.0.attn_q.weight"
	// Sums has the sum of squares of each column's inputs, matrix by matrix.
	Sums []float32
	// Counts has the number of rows that went into the sums, of each matrix of the
	// stack or once for all of them.
	Counts []int64
}

// New makes an empty matrix for chunks of that many tokens.
func New(chunkSize int) *Matrix {
	return &Matrix{ChunkSize: chunkSize, entries: map[string]*Entry{}}
}

// Len is the number of entries.
func (m *Matrix) Len() int { return len(m.entries) }

// Entries lists the entries by name.
func (m *Matrix) Entries() []*Entry {
	var all []*Entry
	for _, name := range slices.Sorted(maps.Keys(m.entries)) {
		all = append(all, m.entries[name])
	}
	return all
}

// Entry finds the entry of a weight.
func (m *Matrix) Entry(name string) (*Entry, bool) {
	e, ok := m.entries[name]
	return e, ok
}

// MadeFrom says that what is added from now on is measured on s, so that m is not written
// if that changes.
func (m *Matrix) MadeFrom(s gguf.Source) { m.from = append(m.from, s) }

// Add puts e in, in place of one of the same name. Its sums must be finite and not
// negative, its counts not negative, and the number of counts must divide that of sums.
func (m *Matrix) Add(e *Entry) error {
	if err := e.valid(); err != nil {
		return err
	}
	m.entries[e.Name] = e
	return nil
}

func (e *Entry) valid() error {
	if err := e.check(); err != nil {
		return fmt.Errorf("%w: entry %s: %w", ErrFormat, printable.Quote(e.Name), err)
	}
	return nil
}

// Begin adds an entry without counts for a stack of matrices of that many columns, in
// place of one of the same name.
func (m *Matrix) Begin(name string, columns, matrices int) *Entry {
	e := &Entry{Name: name, Sums: make([]float32, columns*matrices), Counts: make([]int64, matrices)}
	m.entries[name] = e
	return e
}

func (e *Entry) check() error {
	switch {
	case e.Name == "":
		return errors.New("its name is empty")
	case len(e.Sums) == 0:
		return errors.New("it has no values")
	case len(e.Counts) == 0 || len(e.Sums)%len(e.Counts) != 0:
		return fmt.Errorf("%d counts do not divide %d values", len(e.Counts), len(e.Sums))
	}
	for i, s := range e.Sums {
		if !(s >= 0 && s <= math.MaxFloat32) {
			return fmt.Errorf("value %d is %g, expected a finite number of at least 0", i, s)
		}
	}
	for i, c := range e.Counts {
		if c < 0 {
			return fmt.Errorf("count %d is %d, expected at least 0", i, c)
		}
	}
	return nil
}

// row is the number of values that belong to one count.
func (e *Entry) row() int { return len(e.Sums) / len(e.Counts) }

// Weights is the importance of each column: the mean of its squares. Where nothing
// was counted, as for an expert that no token was routed to, all columns weigh 1.
func (e *Entry) Weights() []float32 {
	w := make([]float32, len(e.Sums))
	n := e.row()
	for i, count := range e.Counts {
		for j := i * n; j < (i+1)*n; j++ {
			w[j] = 1
			if count > 0 {
				w[j] = e.Sums[j] / float32(count)
			}
		}
	}
	return w
}

// Unused lists the matrices of the stack that nothing was counted for: experts that no
// token was routed to.
func (e *Entry) Unused() []int {
	var unused []int
	for i, c := range e.Counts {
		if c == 0 {
			unused = append(unused, i)
		}
	}
	return unused
}

// Weights is the importance of each entry by name; see [Entry.Weights].
func (m *Matrix) Weights() map[string][]float32 {
	w := make(map[string][]float32, len(m.entries))
	for name, e := range m.entries {
		w[name] = e.Weights()
	}
	return w
}

// CountTokens turns a matrix that counts chunks into one that counts tokens, given how
// many tokens a chunk had. A matrix that counts tokens stays as it is.
func (m *Matrix) CountTokens(chunkSize int) error {
	if m.ChunkSize > 0 {
		return nil
	}
	for _, e := range m.entries {
		for i := range e.Sums {
			e.Sums[i] *= float32(chunkSize)
		}
		for i := range e.Counts {
			e.Counts[i] *= int64(chunkSize)
		}
		if err := e.check(); err != nil {
			return fmt.Errorf("%w: entry %s, in tokens: %w", ErrFormat, printable.Quote(e.Name), err)
		}
	}
	m.ChunkSize = chunkSize
	return nil
}

// Merge adds what other has measured. Both must count tokens. A stack that one of them
// counts as a whole is taken to have seen that count in each of its matrices.
func (m *Matrix) Merge(other *Matrix) error {
	for _, o := range other.Entries() {
		e, ok := m.entries[o.Name]
		if !ok {
			m.entries[o.Name] = &Entry{Name: o.Name, Sums: slices.Clone(o.Sums), Counts: slices.Clone(o.Counts)}
			continue
		}
		if err := e.merge(o); err != nil {
			return fmt.Errorf("%w: entry %s: %w", ErrFormat, printable.Quote(o.Name), err)
		}
	}
	m.Datasets = append(m.Datasets, other.Datasets...)
	m.Chunks = m.mostCounted() / max(1, m.ChunkSize)
	return nil
}

func (e *Entry) merge(o *Entry) error {
	if len(e.Sums) != len(o.Sums) {
		return fmt.Errorf("it has %d values in one file and %d in another: they are of different models", len(o.Sums), len(e.Sums))
	}
	n := max(len(e.Counts), len(o.Counts))
	if min(len(e.Counts), len(o.Counts)) != 1 && len(e.Counts) != len(o.Counts) {
		return fmt.Errorf("it is a stack of %d matrices in one file and of %d in another: they are of different models",
			len(o.Counts), len(e.Counts))
	}
	counts := make([]int64, n)
	for i := range counts {
		counts[i] = e.Counts[min(i, len(e.Counts)-1)] + o.Counts[min(i, len(o.Counts)-1)]
	}
	e.Counts = counts
	for i, s := range o.Sums {
		e.Sums[i] += s
	}
	return e.check()
}

// mostCounted is the largest count of all entries.
func (m *Matrix) mostCounted() int {
	most := int64(0)
	for _, e := range m.entries {
		most = max(most, slices.Max(e.Counts))
	}
	return int(most)
}

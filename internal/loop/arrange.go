package loop

import (
	"qtool/internal/budget"
	"qtool/internal/dataset"
	"qtool/train/run"
)

// What is chosen from the data aims at these.
const (
	EnoughSteps   = 100 // optimizer steps: a small adapter learns in so many
	DefaultEpochs = 3
	MostEpochs    = 10 // more is learning by heart
	shortestText  = 128
	roundedTo     = 32 // lengths of rows
)

// Arrangement says how examples become rows and how often these are gone through. What it
// leaves open is chosen from the data: rows as full, and epochs as few, as EnoughSteps
// optimizer steps allow.
type Arrangement struct {
	Seq     int         // most positions of a row of several examples
	Shorter bool        // rows may be made shorter than Seq, and plain texts cut anew for them
	BOS     int32       // what windows of plain texts begin with; negative for nothing
	Packing run.Packing // several examples to a row
	Epochs  int         // 0: to be chosen
	Steps   int         // if not 0, the length of the run: then rows are as full as can be
	Batch   int         // rows that are computed together
	Accum   int         // batches of a step

	EvalSplit  float64 // fraction to hold out, where there is no evaluation file
	EvalTokens int     // about so many held-out tokens are evaluated; 0 is all
	Seed       uint64
}

// Arranged is what came of an [Arrangement].
type Arranged struct {
	Rows    []dataset.Row
	HeldOut []dataset.Row // to be evaluated
	// Withheld are rows of all that is held out, of which HeldOut has a sample.
	Withheld []dataset.Row

	Examples int  // to train on or held out, of the training data
	Seq      int  // most positions of a row
	Packed   bool // some rows have several examples
	Epochs   int
	Steps    int // optimizer steps of the run
	// Standard is how many steps full rows and DefaultEpochs would have made.
	Standard int

	Evaluated, HeldOutExamples int // examples
}

// Arrange splits off the held-out examples, unless there are some in eval, which may be nil,
// and lays both parts out in rows. What is evaluated is drawn among examples, so that
// it is the same with and without packing.
func (a Arrangement) Arrange(train, eval *dataset.Data) Arranged {
	l := layouts{Arrangement: a, train: train, eval: eval}
	l.shortest = l.shortestRow()
	best := l.layout(a.Seq, a.Packing != run.PackingOff)
	standard := best.steps
	if a.Steps == 0 {
		best = l.search(best)
	}
	c := Arranged{
		Rows: best.rows, Examples: best.examples, Seq: best.seq, Packed: len(best.rows) < best.learned, Epochs: best.epochs, Steps: best.steps, Standard: standard,
		Withheld: best.rowsOf(best.held, a.Seed), HeldOutExamples: len(best.held),
	}
	sample := dataset.Sample(best.held, a.EvalTokens, a.Seed)
	c.HeldOut, c.Evaluated = best.rowsOf(sample, a.Seed), len(sample)
	if a.Shorter {
		c.Seq = min(c.Seq, rounded(longest(c.Rows, c.HeldOut)))
	}
	return c
}

func longest(all ...[]dataset.Row) (n int) {
	for _, rows := range all {
		for i := range rows {
			n = max(n, rows[i].Len())
		}
	}
	return n
}

// rounded is the length of rows that hold n tokens.
func rounded(n int) int { return (n + roundedTo - 1) / roundedTo * roundedTo }

// layouts finds the one that suits the data.
type layouts struct {
	Arrangement
	train, eval *dataset.Data
	shortest    int
}

// layout is one way to lay the examples out.
type layout struct {
	seq      int
	packed   bool
	examples int // to train on or held out, of the training data
	learned  int // to train on
	held     []dataset.Example
	rows     []dataset.Row
	epochs   int
	steps    int
}

func (l *layout) rowsOf(examples []dataset.Example, seed uint64) []dataset.Row {
	if l.packed {
		return dataset.Pack(examples, l.seq, seed)
	}
	return dataset.Rows(examples)
}

func (l *layouts) layout(seq int, packed bool) layout {
	learn, held := l.train.Examples, []dataset.Example(nil)
	if l.eval != nil {
		held = l.eval.Examples
	}
	switch {
	case l.texts() && seq < l.Seq:
		learn, held = dataset.Shorten(learn, seq, l.BOS), dataset.Shorten(held, seq, l.BOS)
	case !l.texts() && !packed:
		seq = l.shortest
	}
	n := layout{seq: seq, packed: packed, examples: len(learn), held: held}
	if l.eval == nil {
		learn, n.held = dataset.Split(learn, l.EvalSplit, l.Seed)
	}
	learn = dataset.Repeated(learn, l.Seed)
	n.learned = len(learn)
	n.rows = n.rowsOf(learn, l.Seed)
	n.epochs = l.Epochs
	if n.epochs == 0 {
		n.epochs = DefaultEpochs
	}
	n.steps = l.stepsOf(len(n.rows), n.epochs)
	return n
}

// stepsOf is the number of steps that a run over so many rows takes.
func (l *layouts) stepsOf(rows, epochs int) int {
	return totalSteps(&Config{Batch: min(l.Batch, rows), GradAccum: l.Accum, Epochs: epochs, Steps: l.Steps}, rows)
}

// texts reports whether all examples are windows of plain texts.
func (l *layouts) texts() bool {
	only := func(d *dataset.Data) bool { return d == nil || d.Report.Prose == d.Report.Records }
	return only(l.train) && only(l.eval)
}

// search goes on from the fullest rows to ones with less in them, as long as that makes too
// few steps, and then to more epochs.
func (l *layouts) search(best layout) layout {
	try := func(seq int, packed bool) {
		if best.steps < EnoughSteps {
			if n := l.layout(seq, packed); n.steps > best.steps {
				best = n
			}
		}
	}
	packed := l.Packing != run.PackingOff
	if l.Shorter && (packed || l.texts()) {
		for _, seq := range budget.Halves(l.Seq, l.shortest) {
			try(seq, packed)
		}
		try(l.shortest, packed)
	}
	if l.Packing == run.PackingAuto && !l.texts() {
		try(l.shortest, false)
	}
	for l.Epochs == 0 && best.steps < EnoughSteps && best.epochs < MostEpochs {
		best.epochs++
		best.steps = l.stepsOf(len(best.rows), best.epochs)
	}
	return best
}

// shortestRow is how short rows may be: they must hold every example, and windows of texts
// must have enough to read.
func (l *layouts) shortestRow() int {
	if !l.Shorter {
		return l.Seq
	}
	longest := 0
	for _, d := range []*dataset.Data{l.train, l.eval} {
		if d == nil {
			continue
		}
		for i := range d.Examples {
			longest = max(longest, d.Examples[i].Len())
		}
	}
	if l.texts() {
		longest = min(longest, shortestText)
	}
	return min(l.Seq, rounded(longest))
}

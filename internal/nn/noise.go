package nn

import "math/rand/v2"

// Noise is noise for the rows of a Var: to every element of row r a number is added that is
// uniform from -Magnitudes[r] to Magnitudes[r]. Keys[r] decides which numbers, alone.
type Noise struct {
	Keys       []uint64
	Magnitudes []float32
}

// AddNoise adds noise to x [tokens, n] in its place. Gradients pass it as they are.
func (t *Tape) AddNoise(x *Var, noise *Noise) {
	o := newOp[noiseTask](t)
	*o = noiseTask{x, noise}
	t.Pool.Do(rowParts(x.Rows), o)
}

type noiseTask struct {
	x     *Var
	noise *Noise
}

func (o *noiseTask) Do(_, part int) {
	from, to := rowsOf(part, o.x.Rows)
	for r := from; r < to; r++ {
		o.noise.add(o.x.Row(r), r)
	}
}

// add adds the noise of row r. A number of the generator makes two of the noise.
func (n *Noise) add(row []float32, r int) {
	const stream = 0x6e6f697365 // "noise"
	var generator rand.PCG
	generator.Seed(n.Keys[r], stream)
	unit := n.Magnitudes[r] / (1 << 31)
	for i := 0; i < len(row); i += 2 {
		bits := generator.Uint64()
		row[i] += unit * float32(int32(bits>>32))
		if i+1 < len(row) {
			row[i+1] += unit * float32(int32(bits))
		}
	}
}

package nn

import (
	"math"
	"sync"
	"sync/atomic"
)

// RopePairing says which two elements of a head rotate together.
type RopePairing int

const (
	// RopeNorm rotates elements 2k and 2k+1.
	RopeNorm RopePairing = iota
	// RopeNeox rotates elements k and k+Dims/2.
	RopeNeox
)

// RopeOptions are the parameters of rotary position embedding with llama.cpp's
// scaling variants.
type RopeOptions struct {
	Pairing RopePairing
	Dims    int     // how many elements of a head rotate, even
	Last    bool    // the last ones do, not the first
	Base    float64 // frequency base
	// FreqScale multiplies every angle: 1/factor of linear scaling.
	FreqScale float64
	// ExtFactor mixes in the unscaled angle (YaRN); 0 turns that off.
	ExtFactor float64
	// AttnFactor multiplies sine and cosine.
	AttnFactor float64
	// BetaFast and BetaSlow bound YaRN's correction range, in rotations over
	// OriginalContext tokens.
	BetaFast, BetaSlow float64
	OriginalContext    int
	// Factors divide the angle of each plane (Llama 3, LongRoPE); nil means 1.
	Factors []float32
}

// Rope holds sines and cosines for positions from 0 on, computed when first
// needed. It may be shared by tapes at work at the same time.
type Rope struct {
	opt   RopeOptions
	grow  sync.Mutex
	table atomic.Pointer[ropeTable]
}

// ropeTable is never changed; a larger one replaces it.
type ropeTable struct{ sin, cos []float32 } // [positions, Dims/2]

// NewRope makes an empty table for opt.
func NewRope(opt RopeOptions) *Rope {
	r := &Rope{opt: opt}
	r.table.Store(&ropeTable{})
	return r
}

// Bytes is the memory of the table for n positions.
func (r *Rope) Bytes(n int) int64 { return 2 * 4 * int64(n) * int64(r.opt.Dims/2) }

// Reserve computes the table for positions 0 to n-1. Angles follow llama.cpp
// step by step in float32, so that they agree to the last bit: theta of plane
// k+1 is that of plane k times base^(-2/dims).
func (r *Rope) Reserve(n int) {
	o, planes := &r.opt, r.opt.Dims/2 // two elements of a head span a plane, and turn in it
	if len(r.table.Load().sin) >= n*planes {
		return
	}
	r.grow.Lock()
	defer r.grow.Unlock()
	t := *r.table.Load()
	low, high := o.correctionRange()
	step := float32(math.Pow(o.Base, float64(-2/float32(o.Dims))))
	magnitude := float32(o.AttnFactor)
	if o.ExtFactor != 0 {
		magnitude *= float32(1 + 0.1*math.Log(1/o.FreqScale))
	}
	for p := len(t.sin) / planes; p < n; p++ {
		theta := float32(p)
		for k := range planes {
			extrapolated := theta
			if o.Factors != nil {
				extrapolated /= o.Factors[k]
			}
			angle := float32(o.FreqScale) * extrapolated
			if o.ExtFactor != 0 {
				y := (float32(k) - low) / max(0.001, high-low)
				mix := (1 - min(1, max(0, y))) * float32(o.ExtFactor)
				angle = angle*(1-mix) + extrapolated*mix
			}
			sin, cos := math.Sincos(float64(angle))
			t.sin = append(t.sin, float32(sin)*magnitude)
			t.cos = append(t.cos, float32(cos)*magnitude)
			theta *= step
		}
	}
	r.table.Store(&t)
}

// correctionRange is the range of planes over which YaRN passes from
// extrapolation to interpolation.
func (o *RopeOptions) correctionRange() (low, high float32) {
	if o.ExtFactor == 0 {
		return 0, 0
	}
	plane := func(rotations float64) float64 {
		return float64(o.Dims) * math.Log(float64(o.OriginalContext)/(2*math.Pi*rotations)) / (2 * math.Log(o.Base))
	}
	return float32(max(0, math.Floor(plane(o.BetaFast)))), float32(min(float64(o.Dims-1), math.Ceil(plane(o.BetaSlow))))
}

// Rope rotates every head of x [tokens, heads·headDim] by its row's position, in
// place: x must not be used afterwards. The table must have been reserved beyond
// the largest position.
func (t *Tape) Rope(x *Var, r *Rope, headDim int, positions []int32) *Var {
	y := t.vars.take() // [tokens, heads·headDim]
	*y = Var{Rows: x.Rows, Cols: x.Cols, Data: x.Data, needs: x.needs}
	o := newOp[ropeOp](t)
	*o = ropeOp{x: x, y: y, r: r, headDim: headDim, positions: positions, data: y.Data, direction: 1}
	t.Pool.Do(rowParts(x.Rows), (*ropeRotate)(o))
	t.record(y, o)
	return y
}

// rotate turns v in place, forwards for direction 1, backwards for -1.
func (r *Rope) rotate(v []float32, headDim, position int, direction float32) {
	planes := r.opt.Dims / 2
	first, second, stride := 0, 1, 2
	if r.opt.Pairing == RopeNeox {
		second, stride = planes, 1
	}
	t := r.table.Load()
	sin, cos := t.sin[position*planes:(position+1)*planes], t.cos[position*planes:(position+1)*planes]
	start := 0
	if r.opt.Last {
		start = headDim - r.opt.Dims
	}
	for h := 0; h < len(v); h += headDim {
		head := v[h+start : h+headDim]
		for k, c := range cos {
			s := sin[k] * direction
			a, b := head[first+k*stride], head[second+k*stride]
			head[first+k*stride] = a*c - b*s
			head[second+k*stride] = a*s + b*c
		}
	}
}

type ropeOp struct {
	x, y      *Var
	r         *Rope
	headDim   int
	positions []int32
	data      []float32 // what to rotate
	direction float32
}

type ropeRotate ropeOp

func (o *ropeRotate) Do(_, part int) {
	from, to := rowsOf(part, o.y.Rows)
	n := o.y.Cols
	for row := from; row < to; row++ {
		o.r.rotate(o.data[row*n:(row+1)*n], o.headDim, int(o.positions[row]), o.direction)
	}
}

func (o *ropeOp) backward(t *Tape) {
	if o.y.grad == nil {
		return
	}
	o.data, o.direction = o.y.grad, -1
	t.Pool.Do(rowParts(o.y.Rows), (*ropeRotate)(o))
	t.giveGrad(o.x, o.y.grad)
}

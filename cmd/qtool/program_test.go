package main

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// program reads a fuzz input as a list of decisions: what to change in a valid file, where,
// and to what. So most inputs differ from a valid file in a few places, and get past its
// header. At the end of the input every decision is 0.
type program struct{ b []byte }

func (p *program) more() bool { return len(p.b) > 0 }

func (p *program) byte() byte {
	if len(p.b) == 0 {
		return 0
	}
	x := p.b[0]
	p.b = p.b[1:]
	return x
}

func (p *program) bits(bytes int) (x uint64) {
	for range bytes {
		x = x<<8 | uint64(p.byte())
	}
	return x
}

// pick decides on one of n > 0 things.
func (p *program) pick(n int) int {
	switch {
	case n <= 1:
		return 0
	case n <= 256:
		return int(p.byte()) % n
	}
	return int(p.bits(3) % uint64(n))
}

// one decides on an element.
func one[E any](p *program, of []E) E { return of[p.pick(len(of))] }

// limits are numbers at which something may break.
var limits = []uint64{
	0, 1, 2, 3, 7, 31, 32, 33, 255, 256, 1 << 15, 1<<16 - 1, 1 << 20, 1<<31 - 1, 1 << 31, 1<<32 - 1, 1 << 32,
	1 << 40, 1<<62 + 1, 1<<63 - 1, 1 << 63, 1<<64 - 1, 1<<64 - 5, 100_000_000,
}

// number changes a number.
func (p *program) number(old uint64) uint64 {
	switch p.pick(8) {
	case 0:
		return old + 1
	case 1:
		return old - 1
	case 2:
		return old * 2
	case 3:
		return old / 2
	case 4:
		return uint64(p.byte())
	case 5:
		return p.bits(8)
	}
	return one(p, limits)
}

// float decides on a number of floating point.
func (p *program) float() float64 {
	return one(p, []float64{0, 1, -1, 1e-5, 0.5, 1e30, -1e30, 1e-45, 1e308, math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1), 65504, 1 << 31})
}

// words are texts at which something may break.
var words = []string{
	"", "a", "\x1b]0;title\x07\x1b[2J", "a\rb\x08c\u202ed\u009b", "../../x", "%s%d%n", "\xff\xfe", "\x00", "true", "-1", "1e400", "null",
	"llama", "qwen3moe", "deepseek2", "gpt-oss", "longcat-flash", "yarn", "linear", "longrope", "gpt2", "llama-bpe", "no_vocab",
	"imatrix", "adapter", "lora", "{{ messages[0] }}", "{% for m in messages %}", strings.Repeat("{%if 1%}", 200), strings.Repeat("[", 20000), strings.Repeat("A", 70000),
}

// raw changes bytes anywhere.
func (p *program) raw(b []byte) []byte {
	at := func() int { return p.pick(len(b) + 1) }
	switch p.pick(8) {
	case 0:
		if len(b) > 0 {
			b[p.pick(len(b))] ^= 1 << p.pick(8)
		}
	case 1:
		if len(b) > 0 {
			b[p.pick(len(b))] = p.byte()
		}
	case 2:
		return b[:at()]
	case 3:
		i := at()
		return slices.Insert(b, i, []byte(one(p, words))...)
	case 4:
		i := at()
		return slices.Delete(b, i, i+p.pick(len(b)-i+1))
	case 5:
		i := at()
		return slices.Insert(b, i, slices.Clone(b[i:i+p.pick(min(len(b)-i, 4096)+1)])...)
	case 6:
		if i := at(); len(b)-i >= 4 {
			binary.LittleEndian.PutUint32(b[i:], uint32(p.number(uint64(binary.LittleEndian.Uint32(b[i:])))))
		}
	case 7:
		if i := at(); len(b)-i >= 8 {
			binary.LittleEndian.PutUint64(b[i:], p.number(binary.LittleEndian.Uint64(b[i:])))
		}
	}
	return b
}

// rawAll makes all changes that are left in the program.
func (p *program) rawAll(b []byte) []byte {
	b = slices.Clone(b)
	for p.more() {
		b = p.raw(b)
	}
	return b
}

// addPrograms adds seeds to a target whose inputs are the numbers of a file and of a command, and a
// program: every command on a valid file, and programs that begin with each operation.
// Where operations is 0, since a command takes long, there is a seed for each command only.
func addPrograms(f *testing.F, files, commands, operations int) {
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range commands {
		f.Add(byte(i%files), byte(i), []byte{})
	}
	if operations == 0 {
		return
	}
	for i := range files {
		f.Add(byte(i), byte(i%commands), []byte{})
	}
	for op := range operations {
		p := []byte{byte(op)}
		for range 4 + rng.IntN(12) {
			p = append(p, byte(rng.Uint32()))
		}
		f.Add(byte(rng.IntN(files)), byte(rng.IntN(commands)), p)
	}
}

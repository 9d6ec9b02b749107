package gguf

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// forge builds files byte by byte, valid or not, in any version and byte order,
// without the encoder that is under test.
type forge struct {
	version uint32
	order   interface {
		binary.ByteOrder
		binary.AppendByteOrder
	}
	b []byte
}

func newForge(version uint32, big bool) *forge {
	f := &forge{version: version, order: binary.LittleEndian}
	if big {
		f.order = binary.BigEndian
	}
	return f
}

func (f *forge) raw(s string) *forge   { f.b = append(f.b, s...); return f }
func (f *forge) u32(x uint32) *forge   { f.b = f.order.AppendUint32(f.b, x); return f }
func (f *forge) u64(x uint64) *forge   { f.b = f.order.AppendUint64(f.b, x); return f }
func (f *forge) str(s string) *forge   { return f.count(uint64(len(s))).raw(s) }
func (f *forge) t(t ValueType) *forge  { return f.u32(uint32(t)) }
func (f *forge) put(v any) *forge      { f.b, _ = binary.Append(f.b, f.order, v); return f }
func (f *forge) key(k string) *forge   { return f.str(k) }
func (f *forge) zeros(n int) *forge    { f.b = append(f.b, make([]byte, n)...); return f }
func (f *forge) align(n int) *forge    { return f.zeros((n - len(f.b)%n) % n) }
func (f *forge) reader() *bytes.Reader { return bytes.NewReader(f.b) }

func (f *forge) count(n uint64) *forge {
	if f.version == 1 {
		return f.u32(uint32(n))
	}
	return f.u64(n)
}

func (f *forge) header(tensors, keys uint64) *forge {
	return f.raw("GGUF").u32(f.version).count(tensors).count(keys)
}

func (f *forge) tensor(name string, typ Type, offset uint64, shape ...uint64) *forge {
	f.str(name).u32(uint32(len(shape)))
	for _, n := range shape {
		f.count(n)
	}
	return f.u32(uint32(typ)).u64(offset)
}

func (f *forge) parse() (*File, error) { return Parse(f.reader(), int64(len(f.b))) }

// sample is a valid file with a value of every type and three tensors.
func sample(version uint32, big bool) *forge {
	f := newForge(version, big)
	f.header(3, 16)
	f.key("u8").t(TypeUint8).put(uint8(200))
	f.key("i8").t(TypeInt8).put(int8(-3))
	f.key("u16").t(TypeUint16).put(uint16(0x1234))
	f.key("i16").t(TypeInt16).put(int16(-1234))
	f.key("u32").t(TypeUint32).put(uint32(0x12345678))
	f.key("i32").t(TypeInt32).put(int32(-12345678))
	f.key("f32").t(TypeFloat32).put(float32(1.25))
	f.key("bool").t(TypeBool).put(true)
	f.key("str").t(TypeString).str("héllo")
	f.key("u64").t(TypeUint64).put(uint64(1) << 60)
	f.key("i64").t(TypeInt64).put(int64(-1) << 60)
	f.key("f64").t(TypeFloat64).put(float64(-0.1))
	f.key("strings").t(TypeArray).t(TypeString).count(2).str("a").str("")
	f.key("ints").t(TypeArray).t(TypeInt16).count(3).put([]int16{1, -2, 300})
	f.key("none").t(TypeArray).t(TypeFloat64).count(0)
	f.key("nested").t(TypeArray).t(TypeArray).count(2)
	f.t(TypeInt32).count(1).put(int32(7)).t(TypeString).count(1).str("x")
	f.tensor("floats", F32, 0, 3, 2)
	f.tensor("block", Q8_0, 32, 32)
	f.tensor("ints", I16, 96, 5)
	f.align(32).put([]float32{1, 2, 3, 4, 5, 6}).align(32)
	f.put(uint16(0x3c00))
	for i := range 32 {
		f.put(int8(i - 16))
	}
	f.align(32).put([]int16{1, 2, 3, 4, -5})
	return f
}

var sampleKVs = []KV{
	{"u8", uint8(200)}, {"i8", int8(-3)}, {"u16", uint16(0x1234)}, {"i16", int16(-1234)},
	{"u32", uint32(0x12345678)}, {"i32", int32(-12345678)}, {"f32", float32(1.25)}, {"bool", true},
	{"str", "héllo"}, {"u64", uint64(1) << 60}, {"i64", int64(-1) << 60}, {"f64", float64(-0.1)},
	{"strings", []string{"a", ""}}, {"ints", []int16{1, -2, 300}}, {"none", []float64{}},
	{"nested", Arrays{[]int32{7}, []string{"x"}}},
}

// variants are all the encodings that can be read.
var variants = []struct {
	name    string
	version uint32
	big     bool
}{
	{"v1", 1, false}, {"v2", 2, false}, {"v3", 3, false}, {"v1 big-endian", 1, true}, {"v3 big-endian", 3, true},
}

// dataOf is the content of a tensor, read through ReadAt.
func dataOf(t testing.TB, x *Tensor) []byte {
	t.Helper()
	b := make([]byte, x.Size())
	if n, err := x.Data.ReadAt(b, 0); n < len(b) {
		t.Fatalf("tensor %s: read %d of %d bytes: %v", x.Name, n, len(b), err)
	}
	return b
}

func mustFind(t testing.TB, m Model, name string) *Tensor {
	t.Helper()
	x, ok := m.Tensor(name)
	if !ok {
		t.Fatalf("no tensor %q", name)
	}
	return x
}

// sameModel fails unless a and b have the same keys and tensors in the same
// order, bit for bit. The size of an unknown type takes in the padding.
func sameModel(t testing.TB, a, b Model) {
	t.Helper()
	ka, err := layOut(a.Metadata(), nil)
	if err != nil {
		t.Fatal(err)
	}
	kb, err := layOut(b.Metadata(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(ka.header, kb.header) {
		t.Errorf("metadata differ")
	}
	if len(a.Tensors()) != len(b.Tensors()) {
		t.Fatalf("%d and %d tensors", len(a.Tensors()), len(b.Tensors()))
	}
	for i, x := range a.Tensors() {
		y := b.Tensors()[i]
		if x.Name != y.Name || x.Type != y.Type || len(x.Shape) != len(y.Shape) {
			t.Fatalf("tensor %d: %s %v %v and %s %v %v", i, x.Name, x.Type, x.Shape, y.Name, y.Type, y.Shape)
		}
		dx, dy := dataOf(t, x), dataOf(t, y)
		if !bytes.Equal(dx, dy) && (x.Type.Known() || !trailing(dx, dy)) {
			t.Errorf("tensor %s: data differ", x.Name)
		}
	}
}

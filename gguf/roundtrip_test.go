package gguf

import (
	"bytes"
	"errors"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"qtool/internal/sharedtest"
)

// trailing reports whether a and b differ in nothing but zeros at the end of one.
func trailing(a, b []byte) bool {
	n := min(len(a), len(b))
	rest := append(bytes.Clone(a[n:]), b[n:]...)
	return bytes.Equal(a[:n], b[:n]) && len(bytes.Trim(rest, "\x00")) == 0
}

// rewrite is m as a file in memory, read again.
func rewrite(t *testing.T, m Model, opts ...WriteOption) ([]byte, *File) {
	t.Helper()
	var out bytes.Buffer
	if err := Write(t.Context(), &out, m, opts...); err != nil {
		t.Fatal(err)
	}
	f, err := Parse(bytes.NewReader(out.Bytes()), int64(out.Len()))
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), f
}

// Every file made by llama.cpp and its Python writer comes back as the same
// bytes. Without tensors the Python writer leaves out the padding at the end.
func TestRealFilesRoundTripByteIdentically(t *testing.T) {
	files := 0
	for _, root := range []string{"data", "golden"} {
		err := filepath.WalkDir(sharedtest.Path(t, root), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".gguf") {
				return err
			}
			files++
			original, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			f, err := Open(path)
			if err != nil {
				return err
			}
			defer f.Close()
			b, again := rewrite(t, f)
			sameModel(t, f, again)
			same := bytes.Equal(original, b)
			if len(f.Tensors()) == 0 {
				same = trailing(original, b)
			}
			if !same {
				t.Errorf("%s: the bytes differ", path)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	if files == 0 {
		t.Error("no files were found")
	}
}

// TestOwnSampleRoundTripsByteIdentically needs no reference data.
func TestOwnSampleRoundTripsByteIdentically(t *testing.T) {
	want := sample(3, false).align(32).b
	for _, v := range variants {
		f, err := sample(v.version, v.big).parse()
		if err != nil {
			t.Fatal(err)
		}
		if b, _ := rewrite(t, f); !bytes.Equal(b, want) {
			t.Errorf("%s: not the bytes of the version 3 file", v.name)
		}
	}
}

func randomString(r *rand.Rand) string {
	b := make([]byte, r.IntN(20))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return string(b)
}

// randomArray is an array of a random type, empty at times.
func randomArray(r *rand.Rand, depth int) Value {
	n := r.IntN(5)
	if r.IntN(20) == 0 {
		n = 40_000 // more than one window
	}
	kinds := []any{
		[]uint8{}, []int8{}, []uint16{}, []int16{}, []uint32{}, []int32{}, []uint64{}, []int64{},
		[]float32{}, []float64{}, []bool{}, []string{}, Arrays{},
	}
	if depth > 2 {
		kinds = kinds[:len(kinds)-1]
	}
	kind := reflect.TypeOf(kinds[r.IntN(len(kinds))])
	if kind == reflect.TypeFor[Arrays]() {
		n = r.IntN(4)
	}
	a := reflect.MakeSlice(kind, n, n)
	for i := range n {
		e := a.Index(i)
		switch e.Kind() {
		case reflect.Interface:
			e.Set(reflect.ValueOf(randomArray(r, depth+1)))
		case reflect.String:
			e.SetString(randomString(r))
		case reflect.Bool:
			e.SetBool(r.IntN(2) == 1)
		case reflect.Float32, reflect.Float64:
			e.SetFloat(r.NormFloat64())
		default:
			e.Set(reflect.ValueOf(r.Uint64()).Convert(e.Type()))
		}
	}
	return a.Interface()
}

func randomModel(r *rand.Rand) Model {
	md := &Metadata{}
	for i := range r.IntN(12) {
		v := randomArray(r, 0)
		if a := reflect.ValueOf(v); r.IntN(2) == 0 && a.Len() > 0 && a.Type() != reflect.TypeFor[Arrays]() {
			v = a.Index(0).Interface() // a value of that type alone
		}
		md.Set(string(rune('a'+i))+randomString(r), v)
	}
	types := []Type{F32, F16, Q4_0, Q4_K, Q6_K, I8, I64, MXFP4, IQ2_XXS}
	var tensors []*Tensor
	for i := range r.IntN(8) {
		x := &Tensor{Name: string(rune('a'+i)) + randomString(r), Type: types[r.IntN(len(types))]}
		for d := range r.IntN(maxDims + 1) {
			n := 1 + r.IntN(4)
			if d == 0 {
				n = r.IntN(4) * x.Type.BlockElements()
			}
			x.Shape = append(x.Shape, n)
		}
		if len(x.Shape) == 0 && x.Type.BlockElements() > 1 {
			x.Shape = []int{x.Type.BlockElements()}
		}
		data := make([]byte, x.Size())
		for k := range data {
			data[k] = byte(r.Uint32())
		}
		x.Data = Memory(data)
		tensors = append(tensors, x)
	}
	return Assemble(md, tensors)
}

func TestRandomModelsRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		m := randomModel(r)
		var opts []WriteOption
		if r.IntN(3) == 0 {
			opts = append(opts, WithAlignment(1<<r.IntN(10)))
		}
		_, f := rewrite(t, m, opts...)
		if len(opts) == 0 {
			sameModel(t, m, f)
		}
		f.Metadata().Delete(keyAlignment)
		if a, b := m.Metadata().All(), f.Metadata().All(); len(a)+len(b) > 0 && !reflect.DeepEqual(a, b) {
			t.Fatalf("metadata %v became %v", a, b)
		}
	}
}

func TestNotANumberKeepsItsBits(t *testing.T) {
	md := &Metadata{}
	md.Set("f32", math.Float32frombits(0x7fa01234))
	md.Set("f64s", []float64{math.Float64frombits(0x7ff4000000001234)})
	m := Assemble(md, nil)
	a, f := rewrite(t, m)
	if b, _ := rewrite(t, f); !bytes.Equal(a, b) || !bytes.Contains(a, []byte{0x34, 0x12, 0xa0, 0x7f}) {
		t.Error("the bits changed")
	}
}

func TestAlignmentIsFollowedAndRecorded(t *testing.T) {
	m := randomModel(rand.New(rand.NewPCG(3, 4)))
	for _, n := range []int{8, 32, 64, 4096} {
		_, f := rewrite(t, m, WithAlignment(n))
		if f.Alignment() != n || f.Metadata().Has(keyAlignment) != (n != 32) {
			t.Errorf("asked for %d: found %d, key %v", n, f.Alignment(), f.Metadata().Has(keyAlignment))
		}
		if _, again := rewrite(t, f); again.Alignment() != n {
			t.Errorf("%d became %d on the way", n, again.Alignment())
		}
	}
	for _, n := range []int{-8, 3, 48, 1 << 30} {
		if err := Write(t.Context(), &bytes.Buffer{}, m, WithAlignment(n)); err == nil {
			t.Errorf("alignment %d was accepted", n)
		}
	}
}

func TestWhatCannotBeReadBackIsNotWritten(t *testing.T) {
	one := func(x Tensor) Model {
		if x.Data == nil {
			x.Data = Memory(make([]byte, 64))
		}
		return Assemble(&Metadata{}, []*Tensor{&x})
	}
	key := func(k string, v Value) Model {
		md := &Metadata{}
		md.Set(k, v)
		return Assemble(md, nil)
	}
	deep := Arrays{}
	for range 20 {
		deep = Arrays{deep}
	}
	for name, m := range map[string]Model{
		"five dimensions":  one(Tensor{Name: "t", Shape: []int{1, 1, 1, 1, 16}}),
		"negative size":    one(Tensor{Name: "t", Shape: []int{-1}}),
		"empty rows":       one(Tensor{Name: "t", Shape: []int{16, 0}}),
		"part of a block":  one(Tensor{Name: "t", Type: Q8_0, Shape: []int{16}}),
		"overflow":         one(Tensor{Name: "t", Shape: []int{1 << 62}}),
		"unknown size":     one(Tensor{Name: "t", Type: 99, Shape: []int{1}, RawSize: -1}),
		"empty key":        key("", true),
		"array of scalars": key("k", Arrays{uint8(1)}),
		"nested too deep":  key("k", deep),
		"alignment":        key(keyAlignment, uint32(33)),
		"no data":          Assemble(&Metadata{}, []*Tensor{{Name: "t", Shape: []int{1}}}),
	} {
		path := filepath.Join(t.TempDir(), "m.gguf")
		if err := WriteFile(t.Context(), path, m); err == nil {
			t.Errorf("%s: written", name)
		}
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: a file was left behind", name)
		}
	}
}

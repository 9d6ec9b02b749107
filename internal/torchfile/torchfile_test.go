package torchfile

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"qtool/gguf"
	"qtool/safetensors"
)

// pickled writes opcodes of protocol 2.
type pickled struct{ bytes.Buffer }

func (p *pickled) str(s string) {
	p.WriteByte('X')
	binary.Write(p, binary.LittleEndian, uint32(len(s)))
	p.WriteString(s)
}

func (p *pickled) int(n int) {
	p.WriteByte('J')
	binary.Write(p, binary.LittleEndian, int32(n))
}

func (p *pickled) global(module, name string) { p.WriteString("c" + module + "\n" + name + "\n") }

func (p *pickled) ints(list []int) {
	p.WriteByte('(')
	for _, n := range list {
		p.int(n)
	}
	p.WriteByte('t')
}

// view is a tensor on a storage.
type view struct {
	name, key      string
	typ            string
	offset, stored int
	shape, strides []int
}

func pickleOf(views ...view) []byte {
	p := &pickled{}
	p.WriteString("\x80\x02}(")
	for _, v := range views {
		p.str(v.name)
		p.global("torch._utils", "_rebuild_tensor_v2")
		p.WriteString("((")
		p.str("storage")
		p.global("torch", v.typ)
		p.str(v.key)
		p.str("cpu")
		p.int(v.stored)
		p.WriteString("tQ")
		p.int(v.offset)
		p.ints(v.shape)
		p.ints(v.strides)
		p.WriteByte(0x89)
		p.global("collections", "OrderedDict")
		p.WriteString(")RtR")
	}
	p.WriteString("u.")
	return p.Bytes()
}

// zipped is a file of torch.save with the given entries.
func zipped(t testing.TB, method uint16, entries map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range []string{"data.pkl", "byteorder", "data/0", "data/1", "constants.pkl"} {
		data, ok := entries[name]
		if !ok {
			continue
		}
		e, err := w.CreateHeader(&zip.FileHeader{Name: "archive/" + name, Method: method})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func floats(n int) []byte {
	var b []byte
	for i := range n {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(i)))
	}
	return b
}

func parse(b []byte) ([]*safetensors.Tensor, error) { return Parse(bytes.NewReader(b), int64(len(b))) }

// valuesOf are those of a tensor in F32 or BF16.
func valuesOf(t *testing.T, x *safetensors.Tensor) []float32 {
	t.Helper()
	b, err := x.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if x.DType == safetensors.F32 {
		return gguf.DecodeFloat32(b)
	}
	var out []float32
	for i := 0; i < len(b); i += 2 {
		out = append(out, math.Float32frombits(uint32(b[i])<<16|uint32(b[i+1])<<24))
	}
	return out
}

// The files in testdata were made by CPython's pickler of an OrderedDict with _metadata, in the
// layout of torch.save. The second tensor is a transposed view.
func TestFilesOfPythonsPicklerAreRead(t *testing.T) {
	for _, name := range []string{"protocol2.bin", "protocol4.bin"} {
		f, err := Open(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		got := f.Tensors()
		if len(got) != 2 || !strings.HasSuffix(got[0].Name, "q_proj.lora_A.weight") || got[1].DType != safetensors.BF16 || !slices.Equal(got[1].Shape, []int{6, 2}) {
			t.Fatalf("%s: %+v", name, got)
		}
		if v := valuesOf(t, got[0]); !slices.Equal(v, []float32{0, 1, 2, 3, 4, 5, 6, 7}) {
			t.Errorf("%s: A is %v", name, v)
		}
		if v := valuesOf(t, got[1]); !slices.Equal(v, []float32{0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11}) {
			t.Errorf("%s: B is %v", name, v)
		}
		if err := errors.Join(f.Unchanged(), f.Close()); err != nil {
			t.Error(err)
		}
	}
}

func TestViewsOfOneStorageAreRead(t *testing.T) {
	got, err := parse(zipped(t, zip.Store, map[string][]byte{"data/0": floats(12), "byteorder": []byte("little"), "data.pkl": pickleOf(
		view{"a", "0", "FloatStorage", 0, 12, []int{2, 3}, []int{3, 1}},
		view{"b", "0", "FloatStorage", 6, 12, []int{2, 3}, []int{3, 1}},
		view{"every other", "0", "FloatStorage", 1, 12, []int{2, 3}, []int{6, 2}},
		view{"nothing", "0", "FloatStorage", 12, 12, []int{0, 3}, []int{3, 1}},
		view{"one row", "0", "FloatStorage", 3, 12, []int{1, 3}, []int{99, 1}},
	)}))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]float32{{0, 1, 2, 3, 4, 5}, {6, 7, 8, 9, 10, 11}, {1, 3, 5, 7, 9, 11}, {}, {3, 4, 5}} {
		if v := valuesOf(t, got[i]); !slices.Equal(v, want) {
			t.Errorf("%s is %v, want %v", got[i].Name, v, want)
		}
	}
	if b := make([]byte, 5); true { // a part that begins within an element
		if n, err := got[2].Data.ReadAt(b, 2); n != 5 || err != nil || !bytes.Equal(b, append(floats(2)[6:8], floats(4)[12:15]...)) {
			t.Errorf("a part is %v, %v", b, err)
		}
	}
}

func TestWhatIsNoDictionaryOfTensorsIsRefusedWithItsReason(t *testing.T) {
	good := view{"a", "0", "FloatStorage", 0, 6, []int{2, 3}, []int{3, 1}}
	with := func(change func(v *view)) []byte {
		v := good
		change(&v)
		return pickleOf(v)
	}
	file := func(pickle []byte) []byte {
		return zipped(t, zip.Store, map[string][]byte{"data.pkl": pickle, "data/0": floats(6)})
	}
	ops := func(s string) []byte { return file([]byte("\x80\x02" + s)) }
	tar := make([]byte, 1024)
	copy(tar[257:], "ustar")
	whole := file(pickleOf(good))
	for name, c := range map[string]struct {
		file []byte
		kind error
		says string
	}{
		"a command":            {ops("cposix\nsystem\nX\x02\x00\x00\x00ls\x85R."), ErrUnsupported, `"posix.system"`},
		"a command by another": {file([]byte("\x80\x04\x8c\x08builtins\x8c\x04eval\x93.")), ErrUnsupported, `"builtins.eval"`},
		"an instance":          {ops("(iposix\nsystem\n."), ErrUnsupported, "does not need"},
		"a new object":         {ops("ccollections\nOrderedDict\n)\x81."), ErrUnsupported, "does not need"},
		"protocol 0":           {file([]byte("(dp0\n.")), ErrUnsupported, "does not need"},
		"protocol 9":           {file([]byte("\x80\x09}.")), ErrUnsupported, "protocol is 9"},
		"a number":             {ops("K\x01."), ErrUnsupported, "an integer, not a dictionary"},
		"no tensor":            {ops("}X\x01\x00\x00\x00aK\x01s."), ErrUnsupported, `"a" is an integer`},
		"no name":              {ops("}K\x01K\x01s."), ErrUnsupported, "as a key"},
		"nothing":              {ops("."), ErrInvalid, "0 values"},
		"no end":               {ops("}"), ErrInvalid, "ends within"},
		"more after the end":   {ops("}.}"), ErrInvalid, "follow its end"},
		"an empty stack":       {ops("s."), ErrInvalid, "stack is empty"},
		"no mark":              {ops("}u."), ErrInvalid, "no mark"},
		"no memo":              {ops("h\x07."), ErrInvalid, "memo"},
		"a long string":        {ops("X\xff\xff\xff\x7fa."), ErrInvalid, "claims"},
		"a long integer":       {ops("\x8a\x09123456789."), ErrUnsupported, "9 bytes"},
		"a called string":      {ops("X\x01\x00\x00\x00a)R."), ErrInvalid, "calls a string"},
		"state of a list":      {ops("]}b."), ErrUnsupported, "state of a list"},
		"twice the name":       {file(pickleOf(good, good)), ErrInvalid, "two tensors"},
		"no such entry":        {file(with(func(v *view) { v.key = "7" })), ErrInvalid, "no entry"},
		"another folder":       {file(with(func(v *view) { v.key = "../data.pkl" })), ErrInvalid, "no entry"},
		"a short storage":      {file(with(func(v *view) { v.stored = 7 })), ErrInvalid, "of 7 elements has 24 bytes"},
		"beyond the storage":   {file(with(func(v *view) { v.offset = 1 })), ErrInvalid, "not in its storage"},
		"a negative offset":    {file(with(func(v *view) { v.offset = -1 })), ErrInvalid, "not in its storage"},
		"negative strides":     {file(with(func(v *view) { v.strides = []int{-3, 1} })), ErrInvalid, "strides"},
		"an expanded view":     {file(with(func(v *view) { v.shape, v.strides = []int{1 << 30, 1 << 30}, []int{0, 0} })), ErrInvalid, "shape"},
		"a stride too few":     {file(with(func(v *view) { v.strides = []int{3} })), ErrInvalid, "arguments"},
		"compressed":           {zipped(t, zip.Deflate, map[string][]byte{"data.pkl": pickleOf(good), "data/0": floats(6)}), ErrUnsupported, "compressed"},
		"big-endian":           {zipped(t, zip.Store, map[string][]byte{"data.pkl": pickleOf(good), "data/0": floats(6), "byteorder": []byte("big")}), ErrUnsupported, `"big"`},
		"TorchScript":          {zipped(t, zip.Store, map[string][]byte{"data.pkl": pickleOf(good), "constants.pkl": nil}), ErrUnsupported, "TorchScript"},
		"another zip":          {zipped(t, zip.Store, map[string][]byte{"data/0": floats(6)}), ErrUnsupported, "0 entries"},
		"a tar":                {tar, ErrUnsupported, "0.1.10"},
		"a bare pickle":        {[]byte("\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."), ErrUnsupported, "before PyTorch 1.6"},
		"an empty file":        {nil, ErrInvalid, "empty"},
		"a text":               {[]byte("hello"), ErrInvalid, "no zip"},
		"cut off":              {whole[:len(whole)-30], ErrInvalid, "cut off"},
	} {
		if _, err := parse(c.file); !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: not of its kind, or it does not say %q: %v", name, c.says, err)
		}
	}
}

// A pickle of a few bytes a tensor may say of each that it is the whole storage.
func TestTensorsThatShareAStorageAreBounded(t *testing.T) {
	var views []view
	for i := range 2000 {
		views = append(views, view{strings.Repeat("a", i+1), "0", "FloatStorage", 0, 1 << 20, []int{1 << 20}, []int{1}})
	}
	_, err := parse(zipped(t, zip.Store, map[string][]byte{"data.pkl": pickleOf(views...), "data/0": make([]byte, 4<<20)}))
	if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "share") {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"protocol2.bin", "protocol4.bin"} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, false)
	}
	good := pickleOf(view{"a", "0", "FloatStorage", 0, 6, []int{2, 3}, []int{3, 1}}, view{"b", "0", "HalfStorage", 1, 6, []int{2, 3}, []int{1, 2}})
	f.Add(good, true)
	f.Add([]byte("\x80\x04}\x94."), true)
	f.Fuzz(func(t *testing.T, b []byte, isPickle bool) {
		if isPickle {
			b = zipped(t, zip.Store, map[string][]byte{"data.pkl": b, "data/0": floats(6)})
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		tensors, err := parse(b)
		if err != nil && !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrUnsupported) {
			t.Errorf("an error of no kind: %v", err)
		}
		for _, x := range tensors {
			if _, err := x.Bytes(); err != nil {
				t.Errorf("%s: %v", x.Name, err)
			}
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > uint64(256*len(b)+1<<20) {
			t.Errorf("%d bytes of file took %d bytes of memory", len(b), n)
		}
	})
}

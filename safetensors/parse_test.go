package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// file joins a header and data to the bytes of a file.
func file(header string, data ...byte) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), data...)
}

func parseBytes(b []byte) (*File, error) { return Parse(bytes.NewReader(b), int64(len(b))) }

func TestParseGivesNamesTypesShapesAndData(t *testing.T) {
	f, err := parseBytes(file(`{"__metadata__":{"format":"pt"},`+
		`"b":{"shape":[2,1],"dtype":"U8","data_offsets":[4,6]},`+
		`"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},`+
		`"none":{"dtype":"F32","shape":[0,3],"data_offsets":[6,6]}}  `, 1, 2, 3, 4, 5, 6))
	if err != nil {
		t.Fatal(err)
	}
	if f.Metadata["format"] != "pt" {
		t.Errorf("metadata: %v", f.Metadata)
	}
	var got []string
	for _, x := range f.Tensors() {
		b, err := x.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(x.Name, x.DType, x.Shape, b))
	}
	want := []string{"aF32 [] [1 2 3 4]", "bU8 [2 1] [5 6]", "noneF32 [0 3] []"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestEveryDTypeHasItsNameAndSize(t *testing.T) {
	bits := map[string]int{
		"BOOL": 8, "U8": 8, "I8": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
		"I64": 64, "U64": 64, "F64": 64, "C64": 64, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8,
		"F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
	}
	if len(bits) != len(dtypes) {
		t.Errorf("%d types here, %d in the package", len(bits), len(dtypes))
	}
	for name, n := range bits {
		d, err := ParseDType(name)
		if err != nil || d.String() != name || d.Bits() != n {
			t.Errorf("%s: %v, %d bits, %v", name, d, d.Bits(), err)
		}
		text := fmt.Sprintf(`{"x":{"dtype":%q,"shape":[4,2],"data_offsets":[0,%d]}}`, name, n)
		if _, err := parseBytes(file(text, make([]byte, n)...)); err != nil {
			t.Errorf("eight elements of %s: %v", name, err)
		}
	}
}

// broken are files that break one rule each, with a word of the refusal.
var broken = map[string]struct {
	bytes []byte
	says  string
}{
	"empty":                  {nil, "at least 8 bytes"},
	"length beyond file":     {file("{}")[:9], "cut short"},
	"length beyond limit":    {binary.LittleEndian.AppendUint64(nil, 1<<40), "at most 100000000"},
	"no header":              {file(""), "begins with {"},
	"space before header":    {file(" {}"), "begins with {"},
	"not JSON":               {file("{]}"), "invalid character"},
	"JSON ends early":        {file(`{"x":`), "ends too early"},
	"text after header":      {file(`{}x`), "only spaces"},
	"not UTF-8":              {file("{\"\xff\":{}}"), "UTF-8"},
	"tensor twice":           {file(`{"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 0), `"x" comes twice`},
	"field twice":            {file(`{"x":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 0), `"dtype" comes twice`},
	"metadata key twice":     {file(`{"__metadata__":{"a":"","a":""}}`), `"a" comes twice`},
	"metadata not string":    {file(`{"__metadata__":{"a":1}}`), "expected a string"},
	"metadata not object":    {file(`{"__metadata__":[]}`), "expected an object"},
	"tensor not object":      {file(`{"x":1}`), "expected an object"},
	"unknown field":          {file(`{"x":{"scale":1}}`), `no field "scale"`},
	"field missing":          {file(`{"x":{"dtype":"U8","shape":[0]}}`), "one is missing"},
	"unknown dtype":          {file(`{"x":{"dtype":"F128","shape":[0],"data_offsets":[0,0]}}`), "F128"},
	"negative dimension":     {file(`{"x":{"dtype":"U8","shape":[-1],"data_offsets":[0,0]}}`), "found -1"},
	"fractional dimension":   {file(`{"x":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}}`, 0), "found 1.0"},
	"dimension too large":    {file(`{"x":{"dtype":"U8","shape":[99999999999999999999],"data_offsets":[0,1]}}`, 0), "2^63-1"},
	"count overflows":        {file(`{"x":{"dtype":"U8","shape":[4294967296,4294967296,2],"data_offsets":[0,0]}}`), "can be counted"},
	"size overflows":         {file(`{"x":{"dtype":"F64","shape":[4611686018427387904],"data_offsets":[0,0]}}`), "overflows"},
	"shape and size differ":  {file(`{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`, 0, 0, 0, 0), "takes 8 bytes"},
	"half a byte":            {file(`{"x":{"dtype":"F4","shape":[3],"data_offsets":[0,1]}}`, 0), "12 bits"},
	"offsets reversed":       {file(`{"x":{"dtype":"U8","shape":[0],"data_offsets":[1,0]}}`), "begin <= end"},
	"three offsets":          {file(`{"x":{"dtype":"U8","shape":[0],"data_offsets":[0,0,0]}}`), "begin <= end"},
	"hole before":            {file(`{"x":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, 0, 0), "a hole"},
	"overlap":                {file(`{"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"y":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}`, 0, 0, 0), `overlaps "x"`},
	"data beyond file":       {file(`{"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}`, 0), "cut short"},
	"bytes left over":        {file(`{"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 0, 0), "holds 2 bytes of data"},
	"deep nesting":           {file(strings.Repeat(`{"x":`, 10000)), "no field"},
	"dimension not a number": {file(`{"x":{"dtype":"U8","shape":["1"],"data_offsets":[0,1]}}`, 0), "expected an integer"},
}

func TestEveryBrokenRuleIsRefusedWithItsReason(t *testing.T) {
	for name, c := range broken {
		_, err := parseBytes(c.bytes)
		if !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v does not match ErrFormat", name, err)
		} else if !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: the error does not say %q: %v", name, c.says, err)
		}
	}
}

func TestAnErrorNamesFileOffsetAndTensor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.safetensors")
	b := file(`{"w":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, 0, 0)
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
	_, err := Open(path)
	var fe *FormatError
	if !errors.As(err, &fe) {
		t.Fatalf("not a FormatError: %v", err)
	}
	if fe.Path != path || fe.Offset != 12 || fe.Reading != `tensor "w"` {
		t.Errorf("%+v", fe)
	}
}

func TestAHostileHeaderCostsMemoryInProportion(t *testing.T) {
	hostile := [][]byte{
		append(binary.LittleEndian.AppendUint64(nil, MaxHeader), "{}"...),
		file(`{"x":{"dtype":"U8","shape":[9223372036854775807],"data_offsets":[0,9223372036854775807]}}`),
	}
	for i, b := range hostile {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := parseBytes(b); !errors.Is(err, ErrFormat) {
			t.Errorf("%d: %v", i, err)
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 64<<10 {
			t.Errorf("%d: %d bytes allocated for a file of %d", i, n, len(b))
		}
	}
}

func TestReadAtStaysInsideTheTensor(t *testing.T) {
	f, err := parseBytes(file(`{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"U8","shape":[3],"data_offsets":[3,6]}}`, 1, 2, 3, 4, 5, 6))
	if err != nil {
		t.Fatal(err)
	}
	a, _ := f.Tensor("a")
	p := make([]byte, 4)
	if n, err := a.Data.ReadAt(p, 1); n != 2 || err == nil || p[0] != 2 || p[1] != 3 || p[2] != 0 {
		t.Errorf("n=%d p=%v err=%v", n, p, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range slices.Sorted(maps.Keys(broken)) {
		f.Add(broken[name].bytes)
	}
	f.Add(file(`{}`))
	f.Add(file(`{"__metadata__":{"format":"pt"},"x":{"dtype":"F4","shape":[2,2],"data_offsets":[0,2]}} `, 0, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := parseBytes(b)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("%v does not match ErrFormat", err)
			}
			return
		}
		// What parses can be written, and reads back the same.
		again, err := parseBytes(written(t, x))
		if err != nil {
			t.Fatalf("what was written is refused: %v", err)
		}
		sameContent(t, x, again)
	})
}

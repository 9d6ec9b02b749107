package imatrix_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"qtool/gguf"
	"qtool/internal/sharedtest"
	"qtool/quantize/imatrix"
)

// sample has a dense weight and a stack of which the second matrix was never used.
func sample() *imatrix.Matrix {
	m := imatrix.New(4)
	m.Datasets, m.Chunks = []string{"a.txt", "b.txt"}, 2
	must(m.Add(&imatrix.Entry{Name: "blk.0.attn_q.weight", Sums: []float32{8, 16, 0}, Counts: []int64{8}}))
	must(m.Add(&imatrix.Entry{Name: "blk.0.ffn_up_exps.weight", Sums: []float32{5, 10, 0, 0, 9, 6}, Counts: []int64{5, 0, 3}}))
	return m
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func parse(b []byte) (*imatrix.Matrix, error) {
	return imatrix.Parse(bytes.NewReader(b), int64(len(b)))
}

func encode(t testing.TB, m *imatrix.Matrix) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := gguf.Write(context.Background(), &b, m.Model()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// legacyBytes builds the legacy form by hand: numbers as i32, floats, strings with
// their length.
func legacyBytes(parts ...any) []byte {
	var b []byte
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			b = binary.LittleEndian.AppendUint32(b, uint32(len(p)))
			b = append(b, p...)
		case int:
			b = binary.LittleEndian.AppendUint32(b, uint32(int32(p)))
		case float64:
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(p)))
		}
	}
	return b
}

func TestWeightsAreMeansOfSquaresAndOnesWithoutCounts(t *testing.T) {
	want := map[string][]float32{
		"blk.0.attn_q.weight":      {1, 2, 0},
		"blk.0.ffn_up_exps.weight": {1, 2, 1, 1, 3, 2},
	}
	if diff := cmp.Diff(want, sample().Weights()); diff != "" {
		t.Error(diff)
	}
	e, _ := sample().Entry("blk.0.ffn_up_exps.weight")
	if diff := cmp.Diff([]int{1}, e.Unused()); diff != "" {
		t.Error(diff)
	}
}

func TestGGUFFormComesBackAsItWas(t *testing.T) {
	m := sample()
	got, err := parse(encode(t, m))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m, got, cmp.AllowUnexported(imatrix.Matrix{})); diff != "" {
		t.Error(diff)
	}
}

func TestGGUFFormIsLaidOutAsLlamaImatrixDoes(t *testing.T) {
	m := sample().Model()
	var names []string
	for _, t := range m.Tensors() {
		names = append(names, t.Name)
	}
	want := []string{
		"blk.0.attn_q.weight.in_sum2", "blk.0.attn_q.weight.counts",
		"blk.0.ffn_up_exps.weight.in_sum2", "blk.0.ffn_up_exps.weight.counts",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
	var shapes [][]int
	for _, t := range m.Tensors() {
		shapes = append(shapes, t.Shape)
	}
	if diff := cmp.Diff([][]int{{3}, {1}, {2, 3}, {1, 3}}, shapes); diff != "" {
		t.Error(diff)
	}
	wantKeys := []gguf.KV{
		{Key: "general.type", Value: "imatrix"}, {Key: "imatrix.datasets", Value: []string{"a.txt", "b.txt"}},
		{Key: "imatrix.chunk_count", Value: uint32(2)}, {Key: "imatrix.chunk_size", Value: uint32(4)},
	}
	if diff := cmp.Diff(wantKeys, m.Metadata().All()); diff != "" {
		t.Error(diff)
	}
}

func TestLegacyFormIsWrittenByteForByte(t *testing.T) {
	got, err := sample().AppendLegacy(nil)
	if err != nil {
		t.Fatal(err)
	}
	// 8 tokens are two chunks of 4, 5 are two as well; what was never used weighs 1.
	want := legacyBytes(2,
		"blk.0.attn_q.weight", 2, 3, 2.0, 4.0, 0.0,
		"blk.0.ffn_up_exps.weight", 2, 6, 2.0, 4.0, 2.0, 2.0, 6.0, 4.0,
		2, "b.txt")
	if !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
	m, err := parse(got)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sample().Weights(), m.Weights()); diff != "" {
		t.Errorf("weights after a round trip: %s", diff)
	}
}

func TestEntriesThatCountedNothingAreNotInTheLegacyForm(t *testing.T) {
	m := sample()
	must(m.Add(&imatrix.Entry{Name: "blk.1.ffn_up_exps.weight", Sums: []float32{0, 0}, Counts: []int64{0, 0}}))
	b, err := m.AppendLegacy(nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := parse(b); err != nil || got.Len() != 2 {
		t.Errorf("%v, %d entries", err, got.Len())
	}
}

func TestRealLegacyFileIsReadAndWrittenUnchanged(t *testing.T) {
	path := sharedtest.Path(t, "data/imatrix/Llama-3.2-3B-Instruct.imatrix")
	m, err := imatrix.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if m.Len() != 196 || m.Chunks != 125 || m.ChunkSize != 0 || !strings.HasSuffix(m.Datasets[0], "calibration_datav3.txt") {
		t.Errorf("%d entries, %d chunks of %d, %q", m.Len(), m.Chunks, m.ChunkSize, m.Datasets)
	}
	e, ok := m.Entry("blk.27.ffn_down.weight")
	if !ok || len(e.Sums) != 8192 {
		t.Fatalf("blk.27.ffn_down.weight: %v", ok)
	}
	b, err := m.AppendLegacy(nil)
	if err != nil {
		t.Fatal(err)
	}
	again, err := parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m.Entries(), again.Entries()); diff != "" {
		t.Error("the values changed")
	}
	if original := sharedtest.Read(t, "data/imatrix/Llama-3.2-3B-Instruct.imatrix"); len(original) != len(b) {
		t.Errorf("%d bytes became %d", len(original), len(b))
	}
	// As GGUF, in tokens: the importance stays.
	want := m.Weights()
	if err := m.CountTokens(512); err != nil {
		t.Fatal(err)
	}
	again, err = parse(encode(t, m))
	if err != nil {
		t.Fatal(err)
	}
	for name, w := range again.Weights() {
		for i := range w {
			if d := math.Abs(float64(w[i] - want[name][i])); d > 1e-6*float64(want[name][i]) {
				t.Fatalf("%s column %d: %g became %g", name, i, want[name][i], w[i])
			}
		}
	}
}

func TestMergingAddsAndSpreadsASingleCount(t *testing.T) {
	m, other := sample(), imatrix.New(4)
	other.Datasets = []string{"c.txt"}
	must(other.Add(&imatrix.Entry{Name: "blk.0.attn_q.weight", Sums: []float32{1, 1, 1}, Counts: []int64{4}}))
	must(other.Add(&imatrix.Entry{Name: "blk.0.ffn_up_exps.weight", Sums: []float32{1, 1, 1, 1, 1, 1}, Counts: []int64{4}}))
	must(other.Add(&imatrix.Entry{Name: "blk.1.attn_q.weight", Sums: []float32{1}, Counts: []int64{4}}))
	if err := m.Merge(other); err != nil {
		t.Fatal(err)
	}
	want := []*imatrix.Entry{
		{Name: "blk.0.attn_q.weight", Sums: []float32{9, 17, 1}, Counts: []int64{12}},
		{Name: "blk.0.ffn_up_exps.weight", Sums: []float32{6, 11, 1, 1, 10, 7}, Counts: []int64{9, 4, 7}},
		{Name: "blk.1.attn_q.weight", Sums: []float32{1}, Counts: []int64{4}},
	}
	if diff := cmp.Diff(want, m.Entries()); diff != "" {
		t.Error(diff)
	}
	if m.Chunks != 3 || len(m.Datasets) != 3 {
		t.Errorf("%d chunks, datasets %q", m.Chunks, m.Datasets)
	}
	if e, _ := other.Entry("blk.1.attn_q.weight"); e.Sums[0] != 1 {
		t.Error("merging changed the other matrix")
	}
}

func TestMatricesOfDifferentModelsAreNotMerged(t *testing.T) {
	for _, e := range []*imatrix.Entry{
		{Name: "blk.0.attn_q.weight", Sums: []float32{1}, Counts: []int64{1}},
		{Name: "blk.0.ffn_up_exps.weight", Sums: make([]float32, 6), Counts: []int64{1, 1}},
		{Name: "blk.0.attn_q.weight", Sums: []float32{math.MaxFloat32, 0, 0}, Counts: []int64{1}},
	} {
		m, other := sample(), imatrix.New(4)
		if e.Sums[0] > 1 { // too much together
			must(m.Add(&imatrix.Entry{Name: e.Name, Sums: []float32{math.MaxFloat32, 0, 0}, Counts: []int64{1}}))
		}
		must(other.Add(e))
		if err := m.Merge(other); !errors.Is(err, imatrix.ErrFormat) || !strings.Contains(err.Error(), e.Name) {
			t.Errorf("%s: %v", e.Name, err)
		}
	}
}

func TestLegacyTrailerIsOptional(t *testing.T) {
	entry := []any{1, "w", 2, 1, 4.0}
	for _, c := range []struct {
		trailer []any
		chunks  int
		dataset []string
	}{{nil, 0, nil}, {[]any{7}, 7, nil}, {[]any{7, ""}, 7, nil}, {[]any{7, "d"}, 7, []string{"d"}}} {
		m, err := parse(legacyBytes(append(entry, c.trailer...)...))
		if err != nil || m.Chunks != c.chunks || !cmp.Equal(m.Datasets, c.dataset) {
			t.Errorf("trailer %v: %v", c.trailer, err)
			continue
		}
		if w := m.Weights()["w"]; w[0] != 2 {
			t.Errorf("weight %g", w[0])
		}
	}
	// Without a number of calls, the values are taken as they are.
	if m, err := parse(legacyBytes(1, "w", 0, 1, 4.0)); err != nil || m.Weights()["w"][0] != 4 {
		t.Errorf("no calls: %v", err)
	}
}

// invalid are files that must be refused, with a word that the reason must have.
var invalid = map[string]struct {
	data []byte
	word string
}{
	"empty":                    {nil, "neither"},
	"text":                     {[]byte("once upon a time there was a file of text"), "neither"},
	"no entries":               {legacyBytes(0, 1, "d"), "neither"},
	"more entries than bytes":  {legacyBytes(1<<30, "w", 1, 1, 1.0), "neither"},
	"negative number":          {legacyBytes(-1, "w", 1, 1, 1.0), "neither"},
	"name longer than file":    {legacyBytes(1, 1<<30, 1, 1, 1, 1), "entry 1 of 1"},
	"no name":                  {legacyBytes(1, "", 1, 1, 1.0, 0, 0), "at least 1"},
	"more values than bytes":   {legacyBytes(1, "w", 1, 1<<30, 1.0), "ends 4 bytes later"},
	"no values":                {legacyBytes(1, "w", 1, 0, 1.0), "at least 1"},
	"negative calls":           {legacyBytes(1, "w", -1, 1, 1.0), "at least 0"},
	"not a number":             {legacyBytes(1, "w", 1, 1, math.NaN()), "NaN"},
	"infinite":                 {legacyBytes(1, "w", 1, 1, math.Inf(1)), "Inf"},
	"negative":                 {legacyBytes(1, "w", 1, 1, -1.0), "-1"},
	"name twice":               {legacyBytes(2, "w", 1, 1, 1.0, "w", 1, 1, 1.0), "twice"},
	"cut in the dataset":       {legacyBytes(1, "w", 1, 1, 1.0, 7, 5), "dataset"},
	"more after the end":       {legacyBytes(1, "w", 1, 1, 1.0, 7, "d", 1), "end of the file"},
	"a model":                  {ggufBytes("model", nil), "another kind"},
	"no metadata":              {ggufBytes("imatrix", nil), "imatrix.datasets"},
	"no tensors":               {ggufBytes("imatrix", keys), "no entries"},
	"sums without counts":      {ggufBytes("imatrix", keys, tensor("w.in_sum2", 2, 1)), "w.counts"},
	"counts without sums":      {ggufBytes("imatrix", keys, tensor("w.counts", 1, 1)), "w.in_sum2"},
	"counts do not fit":        {ggufBytes("imatrix", keys, tensor("w.in_sum2", 2, 4), tensor("w.counts", 1, 3)), "4 rows"},
	"half precision":           {ggufBytes("imatrix", keys, &gguf.Tensor{Name: "w.in_sum2", Type: gguf.F16, Shape: []int{1}, Data: gguf.Memory{0, 0}}, tensor("w.counts", 1)), "F16"},
	"sum is not a number":      {ggufBytes("imatrix", keys, values("w.in_sum2", math.NaN()), tensor("w.counts", 1)), "NaN"},
	"negative count":           {ggufBytes("imatrix", keys, tensor("w.in_sum2", 1), values("w.counts", -1)), "-1"},
	"infinite count":           {ggufBytes("imatrix", keys, tensor("w.in_sum2", 1), values("w.counts", math.Inf(1))), "Inf"},
	"empty entry":              {ggufBytes("imatrix", keys, tensor("w.in_sum2", 0), tensor("w.counts", 1)), "no values"},
	"name of the weight empty": {ggufBytes("imatrix", keys, tensor(".in_sum2", 1), tensor(".counts", 1)), "empty"},
}

var keys = []gguf.KV{
	{Key: "imatrix.datasets", Value: []string{"d"}},
	{Key: "imatrix.chunk_count", Value: uint32(1)}, {Key: "imatrix.chunk_size", Value: uint32(512)},
}

func tensor(name string, shape ...int) *gguf.Tensor {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return gguf.Float32Tensor(name, shape, make([]float32, n))
}

func values(name string, v float64) *gguf.Tensor {
	return gguf.Float32Tensor(name, []int{1}, []float32{float32(v)})
}

func ggufBytes(kind string, kvs []gguf.KV, tensors ...*gguf.Tensor) []byte {
	md := &gguf.Metadata{}
	md.Set("general.type", kind)
	for _, kv := range kvs {
		md.Set(kv.Key, kv.Value)
	}
	var b bytes.Buffer
	must(gguf.Write(context.Background(), &b, gguf.Assemble(md, tensors)))
	return b.Bytes()
}

func TestInvalidFilesAreRefusedWithAReason(t *testing.T) {
	for name, c := range invalid {
		_, err := parse(c.data)
		if !errors.Is(err, imatrix.ErrFormat) || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTensorsOfOtherKindsAreNamedAndPassedOver(t *testing.T) {
	m, err := parse(ggufBytes("imatrix", keys, tensor("w.in_sum2", 1), tensor("w.in_sum", 1), tensor("w.counts", 1)))
	if err != nil || m.Len() != 1 || !cmp.Equal(m.Unread, []string{"w.in_sum"}) {
		t.Errorf("%v %+v", err, m)
	}
}

func TestSmallHostileFilesCostLittleMemory(t *testing.T) {
	for name, c := range invalid {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range 10 {
			parse(c.data)
		}
		runtime.ReadMemStats(&after)
		if n := (after.TotalAlloc - before.TotalAlloc) / 10; n > 1<<20 {
			t.Errorf("%s: %d bytes allocated for a file of %d", name, n, len(c.data))
		}
	}
}

func TestFilesOfBothFormsAreWrittenAndRead(t *testing.T) {
	for name, legacy := range map[string]bool{"a.gguf": false, "a.dat": true} {
		path := filepath.Join(t.TempDir(), name)
		if err := sample().WriteFile(context.Background(), path, legacy); err != nil {
			t.Fatal(err)
		}
		m, err := imatrix.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		if (m.ChunkSize == 0) != legacy || imatrix.LegacyName(name) != legacy {
			t.Errorf("%s has chunks of %d", name, m.ChunkSize)
		}
		if diff := cmp.Diff(sample().Weights(), m.Weights()); diff != "" {
			t.Error(diff)
		}
	}
}

func FuzzParse(f *testing.F) {
	var whole bytes.Buffer
	must(gguf.Write(context.Background(), &whole, sample().Model()))
	f.Add(whole.Bytes())
	legacy, err := sample().AppendLegacy(nil)
	must(err)
	f.Add(legacy)
	for _, c := range invalid {
		f.Add(c.data)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parse(b)
		if err != nil {
			return
		}
		// What was read can be used and written, and comes back with the same importance.
		again, err := parse(encode(t, m))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(m.Weights(), again.Weights()); diff != "" {
			t.Error(diff)
		}
		if err := m.Merge(again); err != nil && !errors.Is(err, imatrix.ErrFormat) {
			t.Error(err)
		}
		m.AppendLegacy(nil)
	})
}

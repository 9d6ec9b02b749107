package quantize_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"qtool/gguf"
	"qtool/quantize"
)

// Of blocks with zeros in all 256 patterns of groups those are told, and only those, that
// do not come back as they were.
func TestWeightsThatIQ3_SStoresInWrongPlacesAreTold(t *testing.T) {
	const rows = 256
	rng := rand.New(rand.NewPCG(41, 42))
	x := make([]float32, 256*rows)
	for i := range x {
		if zeros := i / 256; zeros>>(i/32%8)&1 == 0 {
			x[i] = float32(rng.NormFloat64())
		}
	}
	data := make(gguf.Memory, 4*len(x))
	for i, v := range x {
		binary.LittleEndian.PutUint32(data[4*i:], math.Float32bits(v))
	}
	src := &gguf.Tensor{Name: "blk.0.ffn_up.weight", Type: gguf.F32, Shape: []int{256, rows}, Data: data}
	p := planOf(t, gguf.Assemble(&gguf.Metadata{}, []*gguf.Tensor{src}), quantize.Options{FileType: "IQ3_S", Pure: true, Threads: 3})
	m := p.Model()
	if told := p.Misplaced(); told != nil {
		t.Errorf("told before anything was read: %q", told)
	}
	back, err := quantize.Decode(m.Tensors()[0])
	if err != nil {
		t.Fatal(err)
	}
	wrong := 0
	for row := range rows {
		var off, all float64
		for i := 256 * row; i < 256*row+256; i++ {
			off += math.Pow(float64(back[i]-x[i]), 2)
			all += math.Pow(float64(x[i]), 2)
		}
		if off > 0.1*all {
			wrong++
		}
	}
	told := p.Misplaced()
	if n := p.MisplacedBlocks()[src.Name]; wrong == 0 || n != int64(wrong) || len(told) != 2 {
		t.Errorf("%d blocks are wrong; %d told, as %q", wrong, n, told)
	} else if !strings.HasPrefix(told[1], "blk.0.ffn_up.weight: ") {
		t.Error(told[1])
	}
}

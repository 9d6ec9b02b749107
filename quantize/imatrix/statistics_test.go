package imatrix_test

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"qtool/quantize/imatrix"
)

// near compares with what the reference prints, to that many decimals.
func near(got, want float64, decimals int) bool {
	return math.Abs(got-want) <= 0.51*math.Pow10(-decimals)
}

// The figures are what llama-imatrix --show-statistics prints of this file.
func TestStatisticsAreThoseOfLlamaImatrix(t *testing.T) {
	m, err := imatrix.Read("../../internal/infer/testdata/moe.imatrix.gguf")
	if err != nil {
		t.Fatal(err)
	}
	all := m.Statistics()
	if len(all) != 17 || all[0].Name != "blk.0.attn_k.weight" || all[2].Name != "blk.1.attn_output.weight" || all[16].Name != "output.weight" {
		t.Errorf("%d entries, in another order", len(all))
	}
	for _, want := range []struct {
		at                                     int
		sum, least, most, mean, deviation      float64
		columns                                int
		entropy, evenness, outstanding, cosine float64
	}{
		{2, 11.63, 0.0588, 1.1091, 0.36, 0.26, 32, 4.6808, 93.62, 12.50, 0.7779},
		{8, 85.24, 0.0102, 4.2382, 0.33, 0.50, 256, 7.1049, 88.81, 7.03, 0.3060},
		{10, 127.97, 0.2948, 2.9097, 1.00, 0.51, 128, 6.8341, 97.63, 11.72, 0.7474},
		{16, 33.86, 0.4539, 2.6174, 1.06, 0.54, 32, 4.8314, 96.63, 18.75, 0},
	} {
		s := all[want.at]
		if !near(s.Sum, want.sum, 2) || !near(s.Min, want.least, 4) || !near(s.Max, want.most, 4) || !near(s.Mean, want.mean, 2) ||
			!near(s.Deviation, want.deviation, 2) || s.Columns != want.columns || s.Active != 1 || !near(s.Entropy, want.entropy, 4) ||
			!near(100*s.Evenness, want.evenness, 2) || !near(100*s.Outstanding, want.outstanding, 2) || !near(s.Cosine, want.cosine, 4) {
			t.Errorf("%+v", s)
		}
	}
	layers := imatrix.ByLayer(all)
	if len(layers) != 2 || !near(layers[0].Sum, 81.22, 2) || !near(100*layers[0].Outstanding, 13.9881, 4) ||
		!near(layers[1].Sum, 87.65, 2) || !near(100*layers[1].Outstanding, 10.7143, 4) || !near(layers[1].Cosine, 0.5999, 4) {
		t.Errorf("layers: %+v", layers)
	}
}

func TestStatisticsLeaveOutWhatWasNeverUsed(t *testing.T) {
	m := sample()
	must(m.Add(&imatrix.Entry{Name: "blk.1.ffn_up_exps.weight", Sums: []float32{0, 0}, Counts: []int64{0, 0}}))
	must(m.Add(&imatrix.Entry{Name: "blk.1.attn_q.weight", Sums: []float32{0, 0, 0}, Counts: []int64{1}}))
	share := 0.0
	for _, s := range m.Statistics() {
		share += s.ShareOfAllSums
		switch s.Name {
		case "blk.0.ffn_up_exps.weight": // means 1 2, 3 2
			if s.Columns != 4 || s.Sum != 8 || s.Min != 1 || s.Max != 3 || !cmp.Equal(s.Unused, []int{1}) || s.HasPrevious {
				t.Errorf("%+v", s)
			}
		case "blk.1.ffn_up_exps.weight":
			if s.Columns != 0 || s.Sum != 0 || s.Entropy != 0 {
				t.Errorf("%+v", s)
			}
		case "blk.1.attn_q.weight":
			if s.Entropy != 0 || s.Active != 0 || s.Outstanding != 0 || !s.HasPrevious || s.Cosine != 0 {
				t.Errorf("%+v", s)
			}
		}
	}
	if math.Abs(share-1) > 1e-9 {
		t.Errorf("shares add up to %g", share)
	}
}

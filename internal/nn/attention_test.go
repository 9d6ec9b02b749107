package nn

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"qtool/internal/kernel"
)

func BenchmarkAttention(b *testing.B) {
	const heads, kvHeads, dim = 14, 2, 64
	pool := kernel.NewPool(0)
	defer pool.Close()
	for _, s := range [][2]int{{256, 256}, {2048, 2048}, {1, 2048}} {
		rows, keys := s[0], s[1]
		rng := rand.New(rand.NewPCG(1, 2))
		q, k, v := randomParam(rng, "q", heads*dim, rows), randomParam(rng, "k", kvHeads*dim, keys), randomParam(rng, "v", kvHeads*dim, keys)
		spec := AttentionSpec{Heads: heads, KVHeads: kvHeads, HeadDim: dim, ValueDim: dim, Scale: 0.125,
			First: make([]int32, rows), Offset: keys - rows}
		dy := randomParam(rng, "dy", heads*dim, rows).Data
		// Two products forward, five backward, over half of all pairs.
		pairs := float64(heads) * float64(rows) * (float64(keys) - float64(rows)/2)
		for _, backward := range []bool{false, true} {
			if backward && rows == 1 {
				continue
			}
			b.Run(fmt.Sprintf("rows=%d/keys=%d/backward=%t", rows, keys, backward), func(b *testing.B) {
				tape := NewTape(pool)
				vars := [3]Var{
					{Rows: rows, Cols: heads * dim, Data: q.Data, needs: backward, grad: q.Grad},
					{Rows: keys, Cols: kvHeads * dim, Data: k.Data, needs: backward, grad: k.Grad},
					{Rows: keys, Cols: kvHeads * dim, Data: v.Data, needs: backward, grad: v.Grad},
				}
				b.ReportAllocs()
				for b.Loop() {
					tape.Reset(backward)
					tape.Attention(&vars[0], &vars[1], &vars[2], spec).grad = dy
					tape.Backward()
				}
				products := 2.0
				if backward {
					products = 7
				}
				b.ReportMetric(products*2*dim*pairs*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		}
	}
}

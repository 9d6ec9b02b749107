package product

import (
	"sync"
	"testing"
)

// Steps that workers take at the same time from both ends of a span cover it, each
// row once.
func TestStepsCoverASpan(t *testing.T) {
	const rows = 1000
	for _, least := range []int{1, 7, 2000} {
		var s span
		s.set(5, 5+rows)
		var taken [4][][2]int
		var all sync.WaitGroup
		for w := range taken {
			all.Go(func() {
				for {
					from, to := s.take(least, w > 0)
					if from == to {
						return
					}
					taken[w] = append(taken[w], [2]int{from, to})
				}
			})
		}
		all.Wait()
		var count [rows]int
		for _, steps := range taken {
			for _, step := range steps {
				for r := step[0]; r < step[1]; r++ {
					count[r-5]++
				}
			}
		}
		for r, n := range count {
			if n != 1 {
				t.Fatalf("steps of %d: row %d was handed out %d times", least, r, n)
			}
		}
	}
}

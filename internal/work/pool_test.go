package work

import (
	"sync/atomic"
	"testing"
)

func TestPoolRunsEveryTaskOnceAndPassesPanicsOn(t *testing.T) {
	p := NewPool(4)
	defer p.Close()
	for _, n := range []int{0, 1, 2, 100} {
		seen := make([]int32, n)
		p.Run(n, func(_, task int) { seen[task]++ })
		for i, s := range seen {
			if s != 1 {
				t.Fatalf("task %d of %d ran %d times", i, n, s)
			}
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("the panic of a task was lost")
		}
	}()
	p.Run(10, func(_, task int) {
		if task == 7 {
			panic("seven")
		}
	})
}

func TestWhoIsDoneTakesPartsFromOthers(t *testing.T) {
	p := NewPool(3)
	defer p.Close()
	const parts = 30
	var done atomic.Int32
	all := make(chan struct{})
	p.Run(parts, func(_, part int) {
		if part == 0 { // its worker has more, which somebody else must do
			<-all
			return
		}
		if done.Add(1) == parts-1 {
			close(all)
		}
	})
}

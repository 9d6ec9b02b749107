package panics

import (
	"go/ast"
	"runtime/debug"
	"sync/atomic"
	"testing"

	"qtool/internal/sharedtest"
)

func TestAPanicOfAGoroutineReachesWhoWaitsForIt(t *testing.T) {
	if p := <-Go(func() {}); p != nil {
		t.Error(p)
	}
	if p := caught(func() { (<-Go(deep)).Raise() }); p == nil || p.Error() != "unexpected EOF" {
		t.Error(p)
	}
	var ran atomic.Int32
	p := caught(func() {
		Parallel(4, func() {
			if ran.Add(1) == 3 {
				deep()
			}
		})
	})
	if p == nil || p.Error() != "unexpected EOF" || ran.Load() != 4 {
		t.Error(p, ran.Load())
	}
	Parallel(0, deep)
}

func TestAFaultOfAGoroutineIsAPanic(t *testing.T) {
	<-Go(func() {
		if !debug.SetPanicOnFault(true) {
			t.Error("it would end the process")
		}
	})
}

// byThemselves are the files that start goroutines in another way.
var byThemselves = []string{
	"internal/panics/",
	"internal/work/pool.go", // Pool.Do raises what job.run caught
	"internal/work/stop.go", // sets a variable
	"cmd/qtool/signals.go",  // cancels a context
	"internal/kernel/_asm/", // generates assembly
}

func TestEveryGoroutineIsStartedByThisPackage(t *testing.T) {
	sharedtest.Inspect(t, byThemselves, func(n ast.Node) (fault string) {
		switch n := n.(type) {
		case *ast.GoStmt:
			return "go: use panics.Go, which carries a panic to who waits"
		case *ast.CallExpr: // methods of sync.WaitGroup, errgroup.Group and the like; functions of context and time
			called, ok := n.Fun.(*ast.SelectorExpr)
			if !ok {
				return ""
			}
			of, _ := called.X.(*ast.Ident)
			if called.Sel.Name == "Go" && (of == nil || of.Name != "panics") || called.Sel.Name == "AfterFunc" {
				return called.Sel.Name + ": use panics.Go, which carries a panic to who waits"
			}
		}
		return ""
	})
}

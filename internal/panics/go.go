package panics

import "runtime/debug"

// Go runs f in a goroutine. Whoever waits for it receives its panic, or nil, and is to
// raise it: a panic at the end of a goroutine ends the process. What f reads may lie in a file
// that others can cut; that is a panic too.
func Go(f func()) <-chan *Panic {
	ended := make(chan *Panic, 1)
	go func() {
		debug.SetPanicOnFault(true)
		var p *Panic
		defer func() { ended <- p }()
		defer func() {
			if r := recover(); r != nil {
				p = Of(r)
			}
		}()
		f()
	}()
	return ended
}

// Parallel runs f in n goroutines at once, and returns when all are done, raising the
// panic of the first that has one.
func Parallel(n int, f func()) {
	running := make([]<-chan *Panic, n)
	for i := range running {
		running[i] = Go(f)
	}
	var first *Panic
	for _, ended := range running {
		if p := <-ended; first == nil {
			first = p
		}
	}
	first.Raise()
}

// Raise raises p again; a nil p is none.
func (p *Panic) Raise() {
	if p != nil {
		panic(p)
	}
}

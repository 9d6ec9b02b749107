package work

// Rehearse runs f, a computation whose steps do not depend on the values that it
// computes, without computing: worker 0 does the first and the last part of every
// task, or the largest of an [Uneven] one. Results are meaningless, but pool and worker come to hold the memory
// that they will need when f runs in earnest.
func (p *Pool) Rehearse(f func()) {
	p.rehearsing = true
	defer func() { p.rehearsing = false }()
	f()
}

// spent is the panic of a rehearsal that would take more memory than it may.
type spent struct{}

// RehearseWithin is Rehearse, but gives up, and returns false, before rehearsals of p have
// taken more than most bytes for results and operands; 0 is no limit.
func (p *Pool) RehearseWithin(most int64, f func()) (whole bool) {
	p.most = most
	defer func() {
		p.most = 0
		if r := recover(); r != nil {
			if _, ok := r.(spent); !ok {
				panic(r)
			}
			p.unwound()
		}
	}()
	p.Rehearse(f)
	return true
}

// Spend says that a rehearsal is about to take so many bytes.
func (p *Pool) Spend(bytes int64) {
	if !p.rehearsing {
		return
	}
	p.spent += bytes
	if p.most > 0 && p.spent > p.most {
		panic(spent{})
	}
}

// Rehearsing reports whether a rehearsal is going on.
func (p *Pool) Rehearsing() bool { return p.rehearsing }

// Uneven is a task whose parts do not all need the same memory.
type Uneven interface {
	Task
	// Largest is the part that needs the most.
	Largest() int
}

// rehearse is Do in a rehearsal.
func (p *Pool) rehearse(parts int, task Task) {
	if u, ok := task.(Uneven); ok && parts > 0 {
		task.Do(0, u.Largest())
		return
	}
	for part := 0; part < parts; part += max(parts-1, 1) {
		task.Do(0, part)
	}
}

package faulty

import (
	"slices"
	"sync"

	"qtool/internal/atomicfile"
)

// Recorder is the real system with a record of the calls that succeeded.
type Recorder struct {
	observed
	root   string
	before *disk

	mu    sync.Mutex
	calls []Call
}

// Record begins a record of what happens in the folder root. What is there now is
// taken to be durable.
func Record(root string) (*Recorder, error) {
	before, err := readDisk(root)
	if err != nil {
		return nil, err
	}
	r := &Recorder{root: root, before: before}
	r.observed = observed{atomicfile.Disk(), r.pass}
	return r, nil
}

// pass carries one call out at a time, so that the record has their order.
func (r *Recorder) pass(c *Call, act func() error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := act()
	if err == nil {
		call := *c
		call.data = slices.Clone(c.data)
		r.calls = append(r.calls, call)
	}
	return err
}

// Calls lists the calls until now, in order.
func (r *Recorder) Calls() []Call { return r.calls }

// Crashes yields every different folder that a crash before the first call, or after
// any of them, can leave. Temporary files that differ in their names alone do not count
// as different.
func (r *Recorder) Crashes(yield func(Crash) bool) {
	seen := map[string]bool{}
	d := r.before.clone()
	for after := 0; ; after++ {
		states := d.states()
		if after < len(r.calls) && r.calls[after].Kind == Write {
			torn := d.clone()
			half := r.calls[after]
			half.data = half.data[:len(half.data)/2]
			torn.apply(half, r.root)
			states = append(states, state{"in the middle of the next write", torn.names, (*inode).current})
		}
		for _, s := range states {
			c := s.crash(after)
			if key := c.key(); !seen[key] {
				seen[key] = true
				if !yield(c) {
					return
				}
			}
		}
		if after == len(r.calls) {
			return
		}
		d.apply(r.calls[after], r.root)
	}
}

// Durable is what a crash of the system after the last call leaves, at the least.
func (r *Recorder) Durable() Crash {
	d := r.before.clone()
	for _, c := range r.calls {
		d.apply(c, r.root)
	}
	return state{"at the end", d.durable, (*inode).lastSynced}.crash(len(r.calls))
}

package faulty

import (
	"sync"
	"syscall"

	"qtool/internal/atomicfile"
)

// Failing is the real system in which one call fails.
type Failing struct {
	observed
	at    int
	err   error
	stays bool

	mu     sync.Mutex
	calls  []Call
	failed *Call
}

// Fail makes the call number at, counted from 0, fail by a fault of the disk. Close
// closes all the same. No call fails if at is negative.
func Fail(at int) *Failing { return newFailing(at, syscall.EIO, false) }

// Full makes the disk full from the call number at on: what needs space fails, and of
// the first write a half is there.
func Full(at int) *Failing { return newFailing(at, syscall.ENOSPC, true) }

func newFailing(at int, err error, stays bool) *Failing {
	f := &Failing{at: at, err: err, stays: stays}
	f.observed = observed{atomicfile.Disk(), f.pass}
	return f
}

// Calls lists the calls until now, in order.
func (f *Failing) Calls() []Call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

// Failed is the first call that failed by f's doing; nil if there was none.
func (f *Failing) Failed() *Call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed
}

func (f *Failing) pass(c *Call, act func() error) error {
	f.mu.Lock()
	number := len(f.calls)
	f.calls = append(f.calls, Call{Kind: c.Kind, Name: c.Name, To: c.To})
	fails := number == f.at
	if f.stays {
		fails = f.at >= 0 && number >= f.at && c.Kind.needsSpace()
	}
	first := fails && f.failed == nil
	if first {
		f.failed = &f.calls[number]
	}
	f.mu.Unlock()
	if !fails {
		return act()
	}
	switch {
	case c.Kind == Close:
		_ = act()
	case first && (c.Kind == Write || c.Kind == WriteAt):
		c.data = c.data[:len(c.data)/2]
		_ = act()
	}
	return f.err
}

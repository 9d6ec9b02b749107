package memory

import (
	"runtime"
	"runtime/debug"
)

// Kind is what limits the memory of the program.
type Kind int

const (
	Machine  Kind = iota // what is free, or can be freed without writing it to a disk
	Group                // a memory control group, such as that of a container
	Commit               // what the system promises to all programs together
	Data                 // the process's limit of private memory (ulimit -d)
	Address              // the process's limit of address space (ulimit -v)
	Resident             // what the user allows
)

// Limit is what one limit lets the program have.
type Limit struct {
	Kind Kind
	// Left is how many bytes the program can take beside what it has.
	Left int64
}

// Words says what the limit leaves, as a clause; size is how large that is.
func (k Kind) Words(size string) string {
	switch k {
	case Group:
		return "this container's limit (memory cgroup) leaves " + size
	case Commit:
		return "the memory that the system promises to programs (overcommit is off) leaves " + size
	case Data:
		return "the limit of private memory (ulimit -d) leaves " + size
	case Address:
		return "the limit of address space (ulimit -v) leaves " + size
	case Resident:
		return "--max-resident allows " + size
	}
	return "the machine has " + size + " of memory available"
}

// Limits are all that are known; none where the system does not tell.
type Limits []Limit

// Need is what a computation will take beside what the program holds.
type Need struct {
	Own int64 // bytes of memory
	// Addresses are bytes of address space without memory: files that will be mapped,
	// whose pages the system can drop, and reservations.
	Addresses int64
	// Pages are bytes of mapped files that are in use at once. They count against what
	// the user allows; the system takes single pages of them back.
	Pages int64
}

// Under is what counts of n under a limit.
func (n Need) Under(k Kind) int64 {
	switch k {
	case Address:
		return n.Own + n.Addresses
	case Resident:
		return n.Own + n.Pages
	}
	return n.Own
}

// Short returns the limit that n exceeds the most; ok is false if n fits all.
func (ls Limits) Short(n Need) (worst Limit, ok bool) {
	lacking := int64(0)
	for _, l := range ls {
		if d := n.Under(l.Kind) - l.Left; d > lacking {
			worst, lacking, ok = l, d, true
		}
	}
	return worst, ok
}

// Least is the limit that leaves the least; ok is false if there is none.
func (ls Limits) Least() (least Limit, ok bool) {
	for i, l := range ls {
		if i == 0 || l.Left < least.Left {
			least = l
		}
	}
	return least, len(ls) > 0
}

// ForFiles is what the limits leave that pages of mapped files count against; ok is false
// if there are none.
func (ls Limits) ForFiles() (left int64, ok bool) {
	for _, l := range ls {
		if (l.Kind == Machine || l.Kind == Group) && (!ok || l.Left < left) {
			left, ok = l.Left, true
		}
	}
	return left, ok
}

// Held is what the program holds of the system's memory when all garbage has been
// given back, mapped files apart.
func Held() int64 {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse) + ofRuntime(&m)
}

// HeldNow is what the program holds at the moment, with garbage and what the heap keeps for
// later: memory that it will use again before it asks for more. Unlike [Held] it collects nothing, which takes milliseconds.
func HeldNow() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapSys-m.HeapReleased) + ofRuntime(&m)
}

// ofRuntime is what is held beside the heap.
func ofRuntime(m *runtime.MemStats) int64 {
	return int64(m.StackInuse + m.MSpanInuse + m.MCacheInuse + m.BuckHashSys + m.GCSys + m.OtherSys)
}

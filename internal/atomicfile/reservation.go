package atomicfile

import "fmt"

// Reservation is disk space that is held for a file to be written later.
type Reservation struct {
	system System
	temp   Handle
	named  bool // the file that holds it still has its temporary name
}

// Reserve holds n bytes on the disk of path until Release or the end of the process, so
// that what is written to path right after Release finds room. Where the file system
// cannot set space aside, it holds none.
func Reserve(path string, n int64) (*Reservation, error) {
	target, _, err := resolve(path)
	if err != nil {
		return nil, fmt.Errorf("reserving space for %s: %w", path, err)
	}
	temp, err := beginTemp(target)
	if err != nil {
		return nil, fmt.Errorf("reserving space for %s: %w", path, err)
	}
	r := &Reservation{system: system, temp: temp, named: true}
	if n > 0 {
		if err := temp.Allocate(n); err != nil {
			r.Release()
			return nil, fmt.Errorf("reserving %d bytes for %s: %w", n, path, explain(target, err))
		}
	}
	if renamesOpen { // a file without a name is gone with the process
		r.named = r.system.Remove(temp.Name()) != nil
	}
	return r, nil
}

// Release gives the space back. It may be called again, and for nil.
func (r *Reservation) Release() {
	if r == nil || r.temp == nil {
		return
	}
	if r.named {
		discard(r.system, r.temp)
	} else {
		_ = r.temp.Close()
	}
	r.temp = nil
}

package model

import "fmt"

// refusal carries the reason why a model cannot be loaded out of keys and binder. These
// refuse by panic: none of their methods returns a value that was not read or bound, so
// none can be used by mistake, and no caller needs to ask. It never leaves the package:
// [refused] ends it.
type refusal struct{ err error }

// refuseBecause ends the loading with err unless that is nil.
func refuseBecause(err error) {
	if err != nil {
		panic(refusal{err})
	}
}

// refuseAs ends the loading with an error of a kind, [ErrInvalid] or [ErrUnsupported].
func refuseAs(kind error, format string, args ...any) {
	refuseBecause(fmt.Errorf("%w: %s", kind, fmt.Sprintf(format, args...)))
}

// refused runs load and returns the reason if it refuses.
func refused(load func()) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case refusal:
			err = r.err
		default:
			panic(r)
		}
	}()
	load()
	return nil
}

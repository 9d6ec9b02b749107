// Package crash lets a program report what no code of it can recover from: the fatal errors of
// the Go runtime, such as being out of memory or a stack that overflows, and a panic that
// reaches the end of its goroutine.
//
// The runtime ends a process by writing the reason and all stacks to descriptor 2 and, where
// [debug.SetTraceback] asks for it, raising SIGABRT. [Start] puts a file in memory in the
// place of descriptor 2, and gives the signal a handler that starts the program again in the
// same process (execve). That frees all memory, keeps the arguments, the process id and
// whoever waits for it, and costs nothing until it is needed. The program that is started
// so finds in [Last] what was written, and reports it.
//
// It imports golang.org/x/sys and the standard library only. Where it has no handler for the
// system and CPU, and where GOTRACEBACK is "crash", which asks for a core dump, the runtime
// does what it always does.
package crash

import (
	"io"
	"os"
)

// Watch is the process while its end is watched. It must stay reachable.
type Watch struct {
	// Stderr is where the process that was started writes its errors; os.Stderr is not, since
	// descriptor 2 is the runtime's.
	Stderr *os.File
	text   *os.File // what came to descriptor 2; nil if nothing is watched
	ending any      // what the handler of the signal uses
}

// Flush writes to Stderr what came to descriptor 2 although nothing has crashed: what the runtime tells by
// GODEBUG, or the race detector.
func (w *Watch) Flush() error {
	if w.text == nil {
		return nil
	}
	_, err := io.Copy(w.Stderr, all(w.text))
	return err
}

// all is the content of f from its start; writers may be at any place of it.
func all(f *os.File) io.Reader {
	size := int64(0)
	if info, err := f.Stat(); err == nil {
		size = info.Size()
	}
	return io.NewSectionReader(f, 0, size)
}

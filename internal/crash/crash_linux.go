//go:build amd64 || arm64

package crash

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// variable is set for the program that reports: the number of the descriptor of the text.
const variable = "QTOOL_CRASH"

// reserve is how much of the text has its memory from the start: where the system promises no more memory
// than it has, there may be none when it is written.
const reserve = 64 << 10

// Start begins to watch the process. Where that cannot be done it changes nothing.
func Start() *Watch {
	w, err := start()
	if err != nil {
		return &Watch{Stderr: os.Stderr}
	}
	return w
}

func start() (*Watch, error) {
	const program = "/proc/self/exe" // found even if it was replaced or removed
	if os.Getenv("GOTRACEBACK") == "crash" {
		return nil, os.ErrInvalid
	}
	if err := unix.Access(program, unix.X_OK); err != nil {
		return nil, err
	}
	text, err := unix.MemfdCreate("crash", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	_ = unix.Fallocate(text, unix.FALLOC_FL_KEEP_SIZE, 0, reserve) // for the worst case only
	stderr, err := unix.FcntlInt(2, unix.F_DUPFD_CLOEXEC, 3)
	var ending *finalCalls
	if err == nil {
		ending, err = onAbort(program, text, stderr)
	}
	if err == nil {
		err = unix.Dup3(text, 2, 0)
	}
	if err != nil {
		unix.Close(text)
		return nil, err
	}
	debug.SetTraceback("crash")
	return &Watch{Stderr: os.NewFile(uintptr(stderr), os.Stderr.Name()), text: os.NewFile(uintptr(text), "crash"), ending: ending}, nil
}

// systemCall is a call to the system, as the handler makes it.
type systemCall struct{ number, a, b, c, d uintptr }

// finalCalls are the calls that the handler makes, of which the last does not return.
type finalCalls struct {
	calls    [7]systemCall
	pointees []any // what they have the addresses of
}

// handler is the address of a signal handler, which makes the calls from first on. They must
// stay reachable.
func handler(first *systemCall) uintptr

// onAbort lets SIGABRT start program in place of the process, with its arguments and
// environment, stderr as descriptor 2, and text.
func onAbort(program string, text, stderr int) (*finalCalls, error) {
	path, err := unix.BytePtrFromString(program)
	if err != nil {
		return nil, err
	}
	args, err := syscall.SlicePtrFromStrings(os.Args)
	if err != nil {
		return nil, err
	}
	env, err := syscall.SlicePtrFromStrings(append(slices.Clip(os.Environ()), fmt.Sprintf("%s=%d", variable, text)))
	if err != nil {
		return nil, err
	}
	failed := []byte("qtool: a fatal error, whose report could not be started:\n")
	none, start := new(uint64), new(int64)
	address := func(p unsafe.Pointer) uintptr { return uintptr(p) }
	f := &finalCalls{pointees: []any{path, args, env, failed, none, start}}
	f.calls = [...]systemCall{
		// The runtime may be in a handler of its own, which blocks signals.
		{unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, address(unsafe.Pointer(none)), 0, unsafe.Sizeof(*none)},
		{unix.SYS_FCNTL, uintptr(text), unix.F_SETFD, 0, 0},
		{unix.SYS_DUP3, uintptr(stderr), 2, 0, 0},
		{unix.SYS_EXECVE, address(unsafe.Pointer(path)), address(unsafe.Pointer(&args[0])), address(unsafe.Pointer(&env[0])), 0},
		// Without memory for the new program the user gets what there is.
		{unix.SYS_WRITE, 2, address(unsafe.Pointer(&failed[0])), uintptr(len(failed)), 0},
		{unix.SYS_SENDFILE, 2, uintptr(text), address(unsafe.Pointer(start)), 1 << 20},
		{unix.SYS_EXIT_GROUP, 70, 0, 0, 0},
	}
	h := handler(&f.calls[0])
	return f, setAction(unix.SIGABRT, &action{handler: h, flags: onStack | restorer | noDefer, restorer: h})
}

// action is the kernel's struct sigaction.
type action struct {
	handler  uintptr
	flags    uint64
	restorer uintptr // required on amd64, though the handler does not return
	mask     uint64
}

// Flags of an action, which package unix lacks.
const (
	onStack  = 0x08000000
	restorer = 0x04000000
	noDefer  = 0x40000000
)

func setAction(s unix.Signal, a *action) error {
	_, _, err := unix.Syscall6(unix.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(a)), 0, unsafe.Sizeof(a.mask), 0, 0)
	if err != 0 {
		return err
	}
	return nil
}

// Last is what the Go runtime wrote as it ended the run in whose place this one was started,
// empty if it was another program that sent SIGABRT; nil in a run that was started as usual.
func Last() io.Reader {
	number, err := strconv.Atoi(os.Getenv(variable))
	if err != nil {
		return nil
	}
	os.Unsetenv(variable)
	if _, err := unix.FcntlInt(uintptr(number), unix.F_GET_SEALS, 0); err != nil { // it is no file in memory
		return nil
	}
	return all(os.NewFile(uintptr(number), "crash"))
}

// Die ends the process by a signal, as if it were not handled.
func Die(s syscall.Signal) {
	_ = setAction(s, &action{})
	runtime.LockOSThread() // it does not go on, while another thread might be late
	_ = unix.Tgkill(os.Getpid(), unix.Gettid(), s)
	os.Exit(128 + int(s)) // it is blocked
}

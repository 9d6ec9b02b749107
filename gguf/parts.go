package gguf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"runtime"
	"slices"
	"sync"

	"qtool/internal/mmap"
	"qtool/internal/panics"
	"qtool/internal/printable"
)

// A file is written in parts, at multiples of their size: a worker fills one with the
// bytes of the header and of all tensors that are there, and writes it, while others do
// the same with the next ones. So what is computed goes to the file system from the cache
// of the processor that computed it, and tensors need not wait for each other.
const (
	leastPart      = 64 << 10
	greatestPart   = 1 << 20
	partsPerWorker = 8 // at least, of small files
)

// partWriter writes an image.
type partWriter struct {
	*writer
	im   *image
	dst  io.WriterAt
	part int64 // bytes

	mu     sync.Mutex
	taken  int64          // the next part
	done   map[int64]bool // parts that are written, after those which progress was told of
	told   int64          // parts
	left   []int64        // bytes of each tensor that were not asked for
	err    error          // of the first part that failed
	failed int64
}

// partSize is a power of two, so that files of few parts have one for each worker.
func partSize(total int64, workers int) int64 {
	n := total / int64(workers*partsPerWorker)
	return max(leastPart, min(greatestPart, int64(1)<<bits.Len64(uint64(n))))
}

// image writes im to dst.
func (w *writer) image(dst io.WriterAt, im *image) error {
	workers := w.threads
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	p := &partWriter{writer: w, im: im, dst: dst, part: partSize(im.end(), workers), done: map[int64]bool{}, left: slices.Clone(im.sizes)}
	count := (im.end() + p.part - 1) / p.part
	panics.Parallel(int(min(int64(workers), count)), func() { p.run(count) })
	if fault := (*panics.Panic)(nil); errors.As(p.err, &fault) {
		if err := mmap.Lost(fault); err != nil {
			return err
		}
		panic(fault)
	}
	if p.err == nil {
		p.err = context.Cause(w.ctx)
	}
	return p.err
}

// run writes parts until there are none left or one fails. A panic is such a failure,
// for image to raise again.
func (p *partWriter) run(count int64) {
	var n int64 // the part at hand
	defer func() {
		if r := recover(); r != nil {
			p.fail(n, panics.Of(r))
		}
	}()
	buf := make([]byte, min(p.part, p.im.end()))
	for {
		p.mu.Lock()
		n = p.taken
		if n == count || p.err != nil {
			p.mu.Unlock()
			return
		}
		p.taken++
		p.mu.Unlock()
		err := context.Cause(p.ctx)
		if err == nil {
			err = p.write(n, buf)
		}
		if err != nil {
			p.fail(n, err)
			return
		}
		p.finish(n)
	}
}

// fail keeps the error of the first part that has one.
func (p *partWriter) fail(n int64, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil || n < p.failed && !errors.Is(err, errStopped) {
		p.err, p.failed = err, n
	}
	if d, ok := p.dst.(interface{ stop() }); ok {
		d.stop()
	}
}

// write fills part n and writes it; if something cannot be read, what is before that.
func (p *partWriter) write(n int64, buf []byte) error {
	off := n * p.part
	b := buf[:min(p.part, p.im.end()-off)]
	filled, err := p.fill(b, off)
	if _, e := p.dst.WriteAt(b[:filled], off); err == nil {
		err = e
	}
	return err
}

// fill puts what the file has from off on into b, and returns how many bytes it could.
func (p *partWriter) fill(b []byte, off int64) (int, error) {
	end := off + int64(len(b))
	at := off
	if off < int64(len(p.im.header)) {
		at += int64(copy(b, p.im.header[off:]))
	}
	for i := p.im.tensorAt(at); at < end; i++ {
		if i == len(p.im.tensors) {
			clear(b[at-off:])
			break
		}
		t, start, size := p.im.tensors[i], p.im.starts[i], p.im.sizes[i]
		from, to := at-start, min(end-start, size)
		if from < to || size == 0 {
			if err := p.read(i, b[at-off:][:max(0, to-from)], from); err != nil {
				return int(at - off), fmt.Errorf("tensor %s: %w", printable.Quote(t.Name), err)
			}
			at = start + max(to, 0)
		}
		padded := min(end, start+padTo(size, p.im.alignment))
		clear(b[at-off : padded-off])
		at = padded
	}
	return len(b), nil
}

// read fills b with the data of tensor i from off on, and makes sure that it ends where it should.
func (p *partWriter) read(i int, b []byte, off int64) error {
	t, size := p.im.tensors[i], p.im.sizes[i]
	if off == 0 {
		t.WillNeed()
	}
	n, err := p.readPieces(t, b, off)
	if n < len(b) {
		if err == nil || errors.Is(err, io.EOF) {
			return fmt.Errorf("expected %d bytes of data, its source gave %d", size, off+int64(n))
		}
		return fmt.Errorf("reading its data at %d: %w", off, err)
	}
	if off+int64(len(b)) == size {
		if n, _ := t.Data.ReadAt(make([]byte, 1), size); n > 0 {
			return errTooMuch
		}
	}
	p.mu.Lock()
	p.left[i] -= int64(len(b))
	last := p.left[i] == 0
	p.mu.Unlock()
	if last {
		t.DontNeed()
	}
	return nil
}

// pieceBytes is how much is read between two looks at the context: types of few bits are
// searched for so long that a part can take seconds.
const pieceBytes = 64 << 10

// readPieces is ReadAt of t's data, in pieces that end where rows do.
func (p *partWriter) readPieces(t *Tensor, b []byte, off int64) (n int, err error) {
	row := max(1, t.RowBytes())
	for n < len(b) && err == nil {
		if err := context.Cause(p.ctx); err != nil {
			return n, err
		}
		at := off + int64(n)
		end := (at/row + max(1, pieceBytes/row)) * row
		want, got := int(min(int64(len(b)-n), end-at)), 0
		got, err = t.Data.ReadAt(b[n:n+want], at)
		if n += got; got < want {
			break
		}
	}
	return n, err
}

// finish counts part n, and tells of all parts up to the first that is not written.
func (p *partWriter) finish(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done[n] = true
	for p.done[p.told] {
		delete(p.done, p.told)
		p.tell(p.told)
		p.told++
	}
}

// tell reports the tensors that have data in part n.
func (p *partWriter) tell(n int64) {
	off := n * p.part
	end := min(off+p.part, p.im.end())
	for i := p.im.tensorAt(off); i < len(p.im.tensors) && p.im.starts[i] < end; i++ {
		start := p.im.starts[i]
		if k := min(end, start+p.im.sizes[i]) - max(off, start); k > 0 {
			p.written += k
			if p.progress != nil {
				p.progress(p.im.tensors[i], p.written, p.total)
			}
		}
	}
}

// inOrder lets parts pass in the order of their places.
type inOrder struct {
	to      io.Writer
	mu      sync.Mutex
	turn    sync.Cond
	at      int64
	stopped bool
}

func newInOrder(to io.Writer) *inOrder {
	o := &inOrder{to: to}
	o.turn.L = &o.mu
	return o
}

var errStopped = errors.New("another part could not be written")

// WriteAt waits until all before off is written.
func (o *inOrder) WriteAt(b []byte, off int64) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.at != off && !o.stopped {
		o.turn.Wait()
	}
	if o.stopped {
		return 0, errStopped
	}
	n, err := o.to.Write(b)
	o.at += int64(n)
	o.turn.Broadcast()
	return n, err
}

// stop ends the waiting: a part will not come.
func (o *inOrder) stop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stopped = true
	o.turn.Broadcast()
}

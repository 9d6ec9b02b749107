package dataset

// windows cuts a document that comes token by token into examples of at most seq
// positions. If bos is not negative, every window after the first starts with
// it, as at inference; what follows it was scored at the end of the window before,
// with more context, and so every target is scored exactly once:
//
//	tokens   BOS a b | BOS c d       seq = 3
//	targets   a  b c |  -  d e
type windows struct {
	seq  int
	bos  int32
	emit func(Example)

	room    []int32 // for windows to come
	ids     []int32 // of the window at hand, and the token that follows it
	context int     // how many of its targets were scored before
	last    int32   // token
	tokens  int     // of the document so far
	emitted int
}

// add continues the document.
func (w *windows) add(ids ...int32) {
	for _, id := range ids {
		if len(w.ids) == w.seq+1 {
			w.flush()
			w.begin()
		}
		if w.ids == nil {
			w.ids = w.window()
		}
		w.ids = append(w.ids, id)
		w.last = id
		w.tokens++
	}
}

// begin begins a window after the first.
func (w *windows) begin() {
	w.ids, w.context = w.window(), 0
	if w.bos >= 0 {
		w.ids, w.context = append(w.ids, w.bos), 1
	}
	w.ids = append(w.ids, w.last)
}

// window is an empty window.
func (w *windows) window() []int32 {
	n := w.seq + 1
	if len(w.room) < n {
		const windowsAtOnce = 1 << 16
		w.room = make([]int32, max(windowsAtOnce/n, 1)*n)
	}
	ids := w.room[:0:n]
	w.room = w.room[n:]
	return ids
}

// flush ends the window at hand, if it has anything to score. The document may end
// with it.
func (w *windows) flush() {
	n := len(w.ids) - 1
	if n <= w.context {
		return
	}
	ex := Example{IDs: w.ids}
	if w.context > 0 {
		ex.Scored = []Span{{int32(w.context), int32(n), 1}}
	}
	w.emitted++
	w.emit(ex)
}

// Shorten cuts the examples of plain texts, which are windows, into windows of at most seq
// positions. Every target is scored exactly once, as before. bos is what windows begin
// with, negative for nothing.
func Shorten(examples []Example, seq int, bos int32) (shorter []Example) {
	for _, ex := range examples {
		weight := float32(1)
		w := windows{seq: seq, bos: bos}
		if len(ex.Scored) > 0 {
			weight, w.context = ex.Scored[0].Weight, int(ex.Scored[0].From)
		}
		w.emit = func(window Example) {
			if weight != 1 && window.Scored == nil {
				window.Scored = []Span{{0, int32(window.Len()), weight}}
			}
			for i := range window.Scored {
				window.Scored[i].Weight = weight
			}
			window.Repeat = ex.Repeat
			shorter = append(shorter, window)
		}
		w.add(ex.IDs...)
		w.flush()
	}
	return shorter
}

package train

import (
	"fmt"

	"qtool/train/run"
)

// Observer is told what a job does, from the goroutine that does it. Functions that are nil
// are not called.
type Observer struct {
	// Event gets every event of the run; an error from it ends the run.
	Event func(run.Event) error
	// Plan gets the report so far when it is known what the run will take, and again when
	// the speed is measured.
	Plan func(*Report)
	// Progress tells how far a task is that takes long.
	Progress func(Progress)
	// Note gets what a user should know, and Detail what one who wants to know more does.
	Note, Detail func(text string)
}

// Progress is how far a task is.
type Progress struct {
	Task  string // such as "reading the base"
	Unit  string // "bytes", "rows" or "steps"
	Done  int64
	Total int64
	Over  bool // the task ended, perhaps before its total
}

func (o *Observer) note(format string, args ...any) {
	if o.Note != nil {
		o.Note(fmt.Sprintf(format, args...))
	}
}

func (o *Observer) detail(text string) {
	if o.Detail != nil {
		o.Detail(text)
	}
}

func (o *Observer) plan(r *Report) {
	if o.Plan != nil {
		o.Plan(r)
	}
}

// begin begins a task.
func (o *Observer) begin(total int64, unit, name string) *task {
	t := &task{o, Progress{Task: name, Unit: unit, Total: total}}
	t.tell()
	return t
}

// task is one whose progress is told.
type task struct {
	observer *Observer
	progress Progress
}

func (t *task) set(done int64) {
	t.progress.Done = done
	t.tell()
}

func (t *task) end() {
	t.progress.Over = true
	t.tell()
}

func (t *task) tell() {
	if t.observer.Progress != nil {
		t.observer.Progress(t.progress)
	}
}

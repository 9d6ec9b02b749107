package dataset

import (
	"runtime"

	"qtool/internal/panics"
	"qtool/internal/records"
)

// pipeline makes examples of records in several goroutines. What comes out is the same for
// any number of them.
type pipeline struct {
	into    *builder
	fresh   func() *builder
	threads int
	batch   batch    // the records at hand
	running []*batch // in order
	err     error    // the first
}

// batch is consecutive records that one goroutine takes.
type batch struct {
	records []queued
	bytes   int
	out     *builder
	err     error
	done    <-chan *panics.Panic
}

// queued is a record, or the error about one that could not be read.
type queued struct {
	record *records.Record
	err    error
}

// batchBytes is how much a goroutine takes at once.
const batchBytes = 256 << 10

func newPipeline(into *builder, fresh func() *builder, threads int) *pipeline {
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	return &pipeline{into: into, fresh: fresh, threads: threads}
}

// add takes a record, which is copied.
func (p *pipeline) add(r *records.Record) error {
	p.batch.records = append(p.batch.records, queued{record: r.Clone()})
	for key, value := range r.Fields {
		p.batch.bytes += len(key) + len(value)
	}
	if p.batch.bytes < batchBytes {
		return nil
	}
	return p.start()
}

// unread takes the error about a record that could not be read and is passed over.
func (p *pipeline) unread(err error) { p.batch.records = append(p.batch.records, queued{err: err}) }

// start begins work on the records at hand, once there is room.
func (p *pipeline) start() error {
	if len(p.batch.records) == 0 {
		return nil
	}
	for len(p.running) >= p.threads {
		if err := p.next(); err != nil {
			return err
		}
	}
	b := p.batch
	b.out = p.fresh()
	p.running = append(p.running, &b)
	p.batch = batch{}
	b.done = panics.Go(b.work)
	return nil
}

func (b *batch) work() {
	for _, r := range b.records {
		if r.err != nil {
			b.out.unread(r.err)
		} else if b.err = b.out.add(r.record); b.err != nil {
			return
		}
	}
	b.out.compact()
}

// next takes the oldest batch.
func (p *pipeline) next() error {
	b := p.running[0]
	p.running = p.running[1:]
	(<-b.done).Raise()
	if p.err = b.err; p.err == nil {
		p.into.append(b.out)
	}
	return p.err
}

// drain takes all that is left.
func (p *pipeline) drain() error {
	if p.err == nil {
		p.start()
	}
	for p.err == nil && len(p.running) > 0 {
		p.next()
	}
	return p.err
}

// stop waits for what is running, whose work is not needed any more.
func (p *pipeline) stop() {
	for _, b := range p.running {
		<-b.done
	}
}

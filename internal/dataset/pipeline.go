package dataset

import (
	"bytes"
	"runtime"
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
	records []raw
	bytes   int
	out     *builder
	err     error
	done    chan struct{}
}

// raw is a record as it was read.
type raw struct {
	at   place
	body []byte
}

// batchBytes is how much a goroutine takes at once.
const batchBytes = 256 << 10

func newPipeline(into *builder, fresh func() *builder, threads int) *pipeline {
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	return &pipeline{into: into, fresh: fresh, threads: threads}
}

// add takes a record; body is copied.
func (p *pipeline) add(at place, body []byte) error {
	p.batch.records = append(p.batch.records, raw{at, bytes.Clone(body)})
	if p.batch.bytes += len(body); p.batch.bytes < batchBytes {
		return nil
	}
	return p.start()
}

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
	b.out, b.done = p.fresh(), make(chan struct{})
	p.running = append(p.running, &b)
	p.batch = batch{}
	go b.work()
	return nil
}

func (b *batch) work() {
	defer close(b.done)
	for _, r := range b.records {
		o, err := parseObject(r.at, r.body)
		if err == nil {
			err = b.out.add(r.at, o, false)
		} else {
			err = b.out.skip(err)
		}
		if err != nil {
			b.err = err
			return
		}
	}
	b.out.compact()
}

// next takes the oldest batch.
func (p *pipeline) next() error {
	b := p.running[0]
	p.running = p.running[1:]
	<-b.done
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

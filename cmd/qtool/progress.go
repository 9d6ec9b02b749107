package main

import (
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"

	"qtool/internal/printable"
)

// When a job that shows no bar tells how far it is.
const (
	firstReport = 2 * time.Second
	reportEvery = 5 * time.Second
)

// Progress shows how far a long job is: as a bar if stderr is a terminal, else as a
// line now and then, and not at all under --quiet. It is used by one goroutine.
type Progress struct {
	con  *console
	bar  *progressbar.ProgressBar // nil where lines are printed
	now  func() time.Time
	next time.Time // when to print the next line

	label, remark, unit string
	start               time.Time
	done, total         int64
}

// progress makes a Progress that prints where c does.
func (c *console) progress() *Progress { return &Progress{con: c, now: time.Now} }

// Start begins a job of total units. The unit "bytes" is shown in KiB and more.
func (p *Progress) Start(total int64, unit, label string) {
	p.total, p.done, p.unit, p.label, p.remark = total, 0, unit, label, ""
	p.start = p.now()
	p.next = p.start.Add(firstReport)
	if p.con.quiet || p.con.json || !isTerminal(p.con.err) {
		return
	}
	p.bar = progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(unwrapped(p.con.err).(io.Writer)), // the bar's own sequences are meant
		progressbar.OptionSetDescription(label),
		progressbar.OptionShowBytes(unit == "bytes"),
		progressbar.OptionUseIECUnits(true),
		progressbar.OptionShowCount(),
		progressbar.OptionShowIts(),
		progressbar.OptionSetItsString(unit),
		progressbar.OptionSetWidth(24),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
	)
}

// Of is a function to call with what is done of a total, which begins the job the first
// time.
func (p *Progress) Of(unit, label string) func(done, total int) {
	started := false
	return func(done, total int) {
		if !started {
			p.Start(int64(total), unit, label)
			started = true
		}
		p.Set(int64(done))
	}
}

// Remark is shown with the progress from now on: the tensor or the loss at hand.
func (p *Progress) Remark(format string, args ...any) {
	p.remark = ", " + fmt.Sprintf(format, args...)
	if p.bar != nil {
		p.bar.Describe(printable.Escape(p.label + p.remark))
	}
}

// Add tells that n more units are done.
func (p *Progress) Add(n int64) { p.Set(p.done + n) }

// Set tells that done units in all are done.
func (p *Progress) Set(done int64) {
	p.done = done
	if p.bar != nil {
		p.bar.Set64(done) // fails only beyond the total, which is no reason to stop
		return
	}
	if now := p.now(); !now.Before(p.next) {
		p.next = now.Add(reportEvery)
		p.con.say("%s", p.line(now))
	}
}

// Note prints a line of its own; a bar continues below it.
func (p *Progress) Note(format string, args ...any) {
	if p.bar != nil {
		p.bar.Clear()
	}
	p.con.say(format, args...)
	if p.bar != nil {
		p.bar.RenderBlank()
	}
}

// Done ends the job and removes its bar.
func (p *Progress) Done() {
	if p.bar != nil {
		p.bar.Exit()
		p.bar.Clear()
		p.bar = nil
	}
}

// line is the progress as text: "writing: 40%, 4.0 MiB of 10.0 MiB, 3s left".
func (p *Progress) line(now time.Time) string {
	s := fmt.Sprintf("%s: %d%%, ", p.label, 100*p.done/max(1, p.total))
	if p.unit == "bytes" {
		s += printable.Bytes(p.done) + " of " + printable.Bytes(p.total)
	} else {
		s += fmt.Sprintf("%d of %d %s", p.done, p.total, p.unit)
	}
	if p.done > 0 && p.done < p.total {
		left := float64(now.Sub(p.start)) * float64(p.total-p.done) / float64(p.done)
		s += fmt.Sprintf(", %v left", time.Duration(left).Round(time.Second))
	}
	return s + p.remark
}

package main

import (
	"bytes"
	"qtool/internal/printable"
	"testing"
	"time"
)

func TestProgressWithoutTerminalIsALineNowAndThen(t *testing.T) {
	var out bytes.Buffer
	p := (&console{err: &out}).progress()
	clock := time.Unix(0, 0)
	p.now = func() time.Time { return clock }
	p.Start(10<<20, "bytes", "writing")
	for second := range 11 {
		clock = time.Unix(int64(second), 0)
		p.Remark("tensor %d", second)
		p.Set(int64(second) << 20)
	}
	p.Done()
	want := "writing: 20%, 2.0 MiB of 10.0 MiB, 8s left, tensor 2\n" +
		"writing: 70%, 7.0 MiB of 10.0 MiB, 3s left, tensor 7\n"
	if out.String() != want {
		t.Errorf("got %q\nwant %q", out.String(), want)
	}
}

func TestShortJobsAndQuietOnesPrintNoProgress(t *testing.T) {
	for _, con := range []*console{{}, {quiet: true}} {
		var out bytes.Buffer
		con.err = &out
		p := con.progress()
		clock := time.Unix(0, 0)
		p.now = func() time.Time { return clock }
		p.Start(10, "steps", "training")
		if con.quiet {
			clock = clock.Add(time.Hour)
		}
		p.Add(10)
		p.Done()
		if out.Len() > 0 {
			t.Errorf("printed %q", out.String())
		}
	}
}

func TestSizesHaveBinaryUnits(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 3 << 19: "1.5 MiB", 1 << 40: "1.0 TiB", 1<<63 - 1: "8.0 EiB"} {
		if got := printable.Bytes(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

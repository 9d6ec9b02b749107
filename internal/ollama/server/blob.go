package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"qtool/internal/input"
	"qtool/internal/panics"
)

// Blob is a file to be sent.
type Blob struct {
	Path   string
	Digest string // sha256: and hexadecimal digits
	Size   int64
}

// Watch is told how a long call goes on. Its functions may be nil.
type Watch struct {
	// Sent is told how many bytes of a blob have been sent. It begins again at 0 where the
	// blob has to.
	Sent func(n int64)
	// Status is told what the server is doing.
	Status func(text string)
	// Note is told what goes wrong and is tried again.
	Note func(text string)
}

func (w Watch) sent(n int64) {
	if w.Sent != nil {
		w.Sent(n)
	}
}

func (w Watch) status(text string) {
	if w.Status != nil {
		w.Status(text)
	}
}

func (w Watch) note(text string) {
	if w.Note != nil {
		w.Note(text)
	}
}

// HasBlob asks whether the server has a blob.
func (c *Client) HasBlob(ctx context.Context, digest string) (bool, error) {
	const doing = "looking for a blob"
	ctx, cancel := context.WithTimeout(ctx, c.wait.answer)
	defer cancel()
	resp, err := c.do(ctx, doing, http.MethodHead, "/api/blobs/"+digest, nil)
	if e := (*Error)(nil); errors.As(err, &e) && e.Status == http.StatusNotFound {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, resp.Body.Close()
}

// Upload sends a blob, unless the server has it. A connection that is cut is tried again:
// first it asks whether the blob has arrived after all; Ollama keeps no part of one. sent
// is false if the server had it already.
func (c *Client) Upload(ctx context.Context, b Blob, w Watch) (sent bool, err error) {
	err = c.retry(ctx, w.note, func() error {
		has, err := c.HasBlob(ctx, b.Digest)
		if has || err != nil {
			return err
		}
		sent = true
		return c.send(ctx, b, w)
	})
	return sent, err
}

// send sends a whole blob. The server compares it with its digest.
func (c *Client) send(ctx context.Context, b Blob, w Watch) error {
	doing := "sending " + b.Path
	f, err := input.Open(b.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	if f.Size() != b.Size {
		return fmt.Errorf("%s: %w: it has %d bytes now and had %d before", doing, input.ErrChanged, f.Size(), b.Size)
	}
	return c.guard(ctx, func(ctx context.Context, report func(func())) error {
		body := &body{r: io.LimitReader(f, b.Size), moved: func(n int64) { report(func() { w.sent(n) }) }}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url.JoinPath("/api/blobs/"+b.Digest).String(), body)
		if err != nil {
			return err
		}
		if req.ContentLength = b.Size; b.Size == 0 {
			req.Body = http.NoBody
		}
		req.Header.Set("Content-Type", "application/octet-stream")
		req.Header.Set("Expect", "100-continue")
		resp, err := c.http.Do(req)
		if err != nil {
			return c.cut(ctx, doing, err)
		}
		defer resp.Body.Close()
		if resp.StatusCode/100 != 2 {
			return errors.Join(refusal(doing, resp), f.Unchanged())
		}
		return nil
	})
}

// body counts what is read of it.
type body struct {
	r     io.Reader
	n     int64
	moved func(n int64)
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.n += int64(n)
	b.moved(b.n)
	return n, err
}

// Close does nothing: the file is closed by who opened it.
func (b *body) Close() error { return nil }

// guard runs call, and here what call reports: that something has moved, and what to do
// about it. Nothing moving for too long ends the call.
func (c *Client) guard(ctx context.Context, call func(ctx context.Context, report func(func())) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	events := make(chan func())
	report := func(f func()) {
		select {
		case events <- f:
		case <-ctx.Done():
		}
	}
	var err error
	done := panics.Go(func() { err = call(ctx, report) })
	for {
		select {
		case f := <-events:
			f()
		case p := <-done:
			p.Raise()
			return err
		case <-time.After(c.wait.quiet):
			cancel(&cutError{fmt.Errorf("%w at %s: nothing has moved for %v", ErrUnreachable, c, c.wait.quiet)})
		}
	}
}

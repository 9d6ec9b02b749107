package server

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"qtool/internal/input"
	"qtool/internal/printable"
)

// Client talks to one server.
type Client struct {
	url  *url.URL
	http *http.Client
	wait wait
}

// wait is how long a client waits for what. Tests wait less.
type wait struct {
	answer time.Duration // for a short answer
	quiet  time.Duration // while a blob is sent or a model is made, without any sign of life
	retry  time.Duration // before the first new attempt; each further one waits twice as long
	tries  int           // attempts in all
}

// A slow machine may take minutes to read a model back from its disk before it says a word.
var patient = wait{answer: time.Minute, quiet: 30 * time.Minute, retry: time.Second, tries: 6}

// New makes a client for the server at u, see [Address]. A proxy of the environment is
// used for other machines, never for this one.
func New(u *url.URL) *Client {
	t := &http.Transport{
		Proxy:       http.ProxyFromEnvironment, // which leaves out localhost
		DialContext: (&net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		// An upload of hours ends where it was refused at once, if the server may say so first.
		ExpectContinueTimeout: 2 * time.Second,
	}
	return &Client{url: u, http: &http.Client{Transport: t}, wait: patient}
}

// String is the address of the server.
func (c *Client) String() string { return c.url.String() }

// Limits of what is read of an answer.
const (
	maxAnswer = 64 << 20 // of show, which lists tokens and tensors
	maxError  = 64 << 10
	maxLine   = 1 << 20
)

// Version is what the server says its version is.
func (c *Client) Version(ctx context.Context) (string, error) {
	var v struct {
		Version string `json:"version"`
	}
	err := c.ask(ctx, "asking for the version", http.MethodGet, "/api/version", nil, &v)
	return v.Version, err
}

// Tag is a model that the server has.
type Tag struct {
	Name   string `json:"name"`
	Digest string `json:"digest"` // of its manifest, in hexadecimal
}

// Tags lists the server's models.
func (c *Client) Tags(ctx context.Context) ([]Tag, error) {
	var list struct {
		Models []Tag `json:"models"`
	}
	err := c.ask(ctx, "listing models", http.MethodGet, "/api/tags", nil, &list)
	return list.Models, err
}

// Shown is what the server says of a model.
type Shown struct {
	Modelfile string `json:"modelfile"`
	Template  string `json:"template"`
	System    string `json:"system"`
	Details   struct {
		Family string `json:"family"`
	} `json:"details"`
}

// HasAdapter reports whether the model runs with an adapter.
func (s *Shown) HasAdapter() bool {
	for line := range strings.Lines(s.Modelfile) {
		if word, _, _ := strings.Cut(strings.TrimSpace(line), " "); strings.EqualFold(word, "adapter") {
			return true
		}
	}
	return false
}

// Show describes a model. One that the server does not have is an [Error] with status 404.
func (c *Client) Show(ctx context.Context, name string) (*Shown, error) {
	s := new(Shown)
	return s, c.ask(ctx, "looking at "+name, http.MethodPost, "/api/show", map[string]string{"model": name}, s)
}

// ask makes a request with a short answer, into which the reply is decoded.
func (c *Client) ask(ctx context.Context, doing, method, path string, body, into any) error {
	ctx, cancel := context.WithTimeout(ctx, c.wait.answer)
	defer cancel()
	resp, err := c.do(ctx, doing, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := input.ReadAll(resp.Body, "the answer", 0, maxAnswer)
	if err != nil {
		return c.cut(ctx, doing, err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		return &Error{doing, resp.StatusCode, "an answer that is not its JSON: " + printable.Escape(err.Error())}
	}
	return nil
}

// do sends a request with a JSON body, unless that is nil. An answer that is no success
// is an error.
func (c *Client) do(ctx context.Context, doing, method, path string, body any) (*http.Response, error) {
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		r = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.url.JoinPath(path).String(), r)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.cut(ctx, doing, err)
	}
	if resp.StatusCode/100 != 2 {
		defer resp.Body.Close()
		return nil, refusal(doing, resp)
	}
	return resp, nil
}

// refusal reads what an answer that is no success says.
func refusal(doing string, resp *http.Response) *Error {
	b, _ := io.ReadAll(io.LimitReader(resp.Body, maxError)) // what can be had of it
	var e struct {
		Error string `json:"error"`
	}
	if err := json.Unmarshal(b, &e); err != nil || e.Error == "" {
		e.Error = strings.TrimSpace(string(b))
	}
	return &Error{doing, resp.StatusCode, e.Error}
}

// cut is the error about a connection that failed. What ctx was ended for counts more.
func (c *Client) cut(ctx context.Context, doing string, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.DeadlineExceeded) {
		return fmt.Errorf("%s: %w", doing, cause)
	}
	if u := (*url.Error)(nil); errors.As(err, &u) {
		err = u.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no answer within %v", c.wait.answer)
	}
	return &cutError{fmt.Errorf("%s: %w at %s: %w; is it running there? start it with: ollama serve, or name another with --host or OLLAMA_HOST", doing, ErrUnreachable, c, err)}
}

// cutError marks an error after which another attempt makes sense.
type cutError struct{ error }

func (e *cutError) Unwrap() error { return e.error }

// again reports whether another attempt makes sense after err.
func again(err error) bool {
	if e := (*Error)(nil); errors.As(err, &e) {
		return e.Status == http.StatusBadGateway || e.Status == http.StatusServiceUnavailable || e.Status == http.StatusGatewayTimeout
	}
	return errors.As(err, new(*cutError))
}

// retry calls try until it succeeds, fails for good, or has failed often enough.
func (c *Client) retry(ctx context.Context, note func(string), try func() error) error {
	pause := c.wait.retry
	for n := 1; ; n++ {
		err := try()
		if err == nil || !again(err) || n >= c.wait.tries {
			return err
		}
		note(fmt.Sprintf("%v; trying again in %v", err, pause))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return cmp.Or(context.Cause(ctx), err)
		}
		pause *= 2
	}
}

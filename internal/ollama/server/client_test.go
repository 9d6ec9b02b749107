package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"qtool/internal/input"
	"qtool/internal/ollama"
	"qtool/internal/ollama/ollamatest"
)

// clientOf is a client of a server, which waits less than others.
func clientOf(t *testing.T, h http.Handler) *Client {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := New(u)
	c.wait = wait{answer: 5 * time.Second, quiet: 5 * time.Second, retry: time.Millisecond, tries: 4}
	return c
}

// fake is a client of a fake server that is set up by change.
func fake(t *testing.T, change func(*ollamatest.Server)) (*Client, *ollamatest.Server) {
	t.Helper()
	s := &ollamatest.Server{Store: ollama.Store{Dir: filepath.Join(t.TempDir(), "models")}, Version: "0.33.1"}
	if change != nil {
		change(s)
	}
	t.Cleanup(func() {
		if f := s.Faults(); f != nil {
			t.Error(f)
		}
	})
	return clientOf(t, s), s
}

// file writes a file to be sent.
func file(t *testing.T, content string) Blob {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.gguf")
	if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
	digest, size, err := ollama.Digest(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return Blob{path, digest, size}
}

// count is how many calls begin so.
func count(s *ollamatest.Server, prefix string) (n int) {
	for _, c := range s.Calls() {
		if strings.HasPrefix(c, prefix) {
			n++
		}
	}
	return n
}

func TestABlobIsSentOnce(t *testing.T) {
	c, s := fake(t, nil)
	for i, size := range []int{0, 1, 3 << 20} {
		b := file(t, strings.Repeat("x", size))
		var last int64
		for _, again := range []bool{false, true} {
			sent, err := c.Upload(t.Context(), b, Watch{Sent: func(n int64) { last = n }})
			if err != nil || sent == again {
				t.Error(size, sent, err)
			}
		}
		if last != b.Size || count(s, "POST") != i+1 {
			t.Error(last, s.Calls())
		}
	}
}

func TestACutUploadIsTriedAgain(t *testing.T) {
	c, s := fake(t, func(s *ollamatest.Server) { s.CutUploads = 2 })
	var notes []string
	sent, err := c.Upload(t.Context(), file(t, strings.Repeat("x", 4<<20)), Watch{Note: func(n string) { notes = append(notes, n) }})
	if err != nil || !sent || len(notes) != 2 || !strings.Contains(notes[1], "trying again in 2ms") {
		t.Error(sent, err, notes)
	}
	if count(s, "HEAD") != 3 || count(s, "POST") != 3 {
		t.Error(s.Calls())
	}
	c, s = fake(t, func(s *ollamatest.Server) { s.CutUploads = 99 })
	if _, err := c.Upload(t.Context(), file(t, strings.Repeat("x", 1<<20)), Watch{}); !errors.Is(err, ErrUnreachable) || count(s, "POST") != 4 {
		t.Error(err, s.Calls())
	}
}

// An upload may arrive although its answer is lost: then it is not sent again.
func TestABlobThatArrivedAfterAllIsNotSentAgain(t *testing.T) {
	arrived, posts := false, 0
	c := clientOf(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPost:
			io.Copy(io.Discard, r.Body)
			arrived, posts = true, posts+1
			panic(http.ErrAbortHandler)
		case !arrived:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	if _, err := c.Upload(t.Context(), file(t, "x"), Watch{}); err != nil || posts != 1 {
		t.Error(err, posts)
	}
}

func TestWhatAServerRefusesIsNotTriedAgain(t *testing.T) {
	for says, change := range map[string]func(*ollamatest.Server){
		"digest mismatch":         func(s *ollamatest.Server) { s.Corrupt = true },
		"no space left on device": func(s *ollamatest.Server) { s.FailBlobs = true },
	} {
		c, s := fake(t, change)
		_, err := c.Upload(t.Context(), file(t, "content"), Watch{})
		if e := (*Error)(nil); !errors.As(err, &e) || !strings.Contains(err.Error(), says) || count(s, "POST") != 1 {
			t.Error(says, err, s.Calls())
		}
	}
	c, s := fake(t, func(s *ollamatest.Server) { s.Busy = 2 })
	if _, err := c.Upload(t.Context(), file(t, "content"), Watch{}); err != nil || count(s, "HEAD") != 3 {
		t.Error(err, s.Calls()) // but one that is busy is asked again
	}
}

func TestAFileThatChangedIsNotSent(t *testing.T) {
	c, _ := fake(t, nil)
	b := file(t, "content")
	if err := os.WriteFile(b.Path, []byte("content, more"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Upload(t.Context(), b, Watch{}); !errors.Is(err, input.ErrChanged) {
		t.Error(err)
	}
}

func TestEveryLineOfAnAnswerIsRead(t *testing.T) {
	for answer, says := range map[string]string{
		`{"status":"a"}` + "\n" + `{"status":"success"}`:          "",
		`{"status":"a"}` + "\n\n" + `{"status":"success"}` + "\n": "",
		`{"error":"broken"}` + "\n" + `{"status":"success"}`:      "broken",
		`{"status":"success"}` + "\n" + `{"error":"broken"}`:      "broken",
		`{"status":"success"}` + "\n" + `{"status":"a"}`:          "ends without success",
		`{"status":"a"}`: "ends without success",
		``:               "ends without success",
		`<html>`:         "not its JSON",
		`{"error":"one"}` + "\n" + `{"error":"two"}`: "one",
		`{"error":"\u001b[31m"}`:                     `\x1b[31m`,
		`{"status":"` + strings.Repeat("x", maxLine) + `"}` + "\n" + `{"status":"success"}`:   "token too long",
		`{"status":"b","completed":1,"total":3}` + "\n" + `{"status":"success","total":null}`: "",
	} {
		c := clientOf(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, answer) }))
		err := c.Create(t.Context(), Request{Model: "m"}, Watch{})
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%.80s: %v", answer, err)
		}
	}
}

func TestProgressOfCreatingIsTold(t *testing.T) {
	answer := `{"status":"validating GGUF model","completed":1,"total":4}` + "\n" + `{"status":"writing manifest"}` + "\n" + `{"status":"success"}`
	c := clientOf(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, answer) }))
	var got []string
	if err := c.Create(t.Context(), Request{Model: "m"}, Watch{Status: func(s string) { got = append(got, s) }}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"validating GGUF model: 25%", "writing manifest", "success"}; !slices.Equal(got, want) {
		t.Error(got)
	}
}

func TestAnAnswerThatEndsEarlyIsAskedForAgain(t *testing.T) {
	c, s := fake(t, func(s *ollamatest.Server) { s.CutCreates = 2 })
	if err := c.Create(t.Context(), Request{Model: "m", Files: map[string]string{}}, Watch{}); err != nil || count(s, "POST /api/create") != 3 {
		t.Error(err, s.Calls())
	}
	c, s = fake(t, func(s *ollamatest.Server) { s.ErrorLine = "llama-quantize failed" })
	if err := c.Create(t.Context(), Request{Model: "m"}, Watch{}); err == nil || !strings.Contains(err.Error(), "llama-quantize failed") || count(s, "POST") != 1 {
		t.Error(err)
	}
}

// A slow server is waited for as long as something moves, and no longer.
func TestAServerMayBeSlowButNotDead(t *testing.T) {
	slow := func(n int) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for range n {
				fmt.Fprintln(w, `{"status":"validating"}`)
				w.(http.Flusher).Flush()
				select {
				case <-time.After(100 * time.Millisecond):
				case <-r.Context().Done():
					return
				}
			}
			fmt.Fprintln(w, `{"status":"success"}`)
		})
	}
	c := clientOf(t, slow(8))
	c.wait.quiet = 400 * time.Millisecond
	if err := c.Create(t.Context(), Request{Model: "m"}, Watch{}); err != nil {
		t.Error(err)
	}
	dead := clientOf(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body); <-r.Context().Done() }))
	dead.wait = wait{answer: 50 * time.Millisecond, quiet: 50 * time.Millisecond, retry: time.Millisecond, tries: 2}
	if err := dead.Create(t.Context(), Request{Model: "m"}, Watch{}); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "nothing has moved for 50ms") {
		t.Error(err)
	}
	if _, err := dead.Version(t.Context()); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "no answer within 50ms") {
		t.Error(err)
	}
}

func TestAnInterruptionEndsACall(t *testing.T) {
	c := clientOf(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body); <-r.Context().Done() }))
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, context.Canceled)
	defer cancel()
	if err := c.Create(ctx, Request{Model: "m"}, Watch{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestNoServerIsExplained(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	u, _ := Address(address)
	if _, err := New(u).Version(t.Context()); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "ollama serve") || !strings.Contains(err.Error(), address) {
		t.Error(err)
	}
}

func TestModelsAreListedAndShown(t *testing.T) {
	c, s := fake(t, nil)
	if v, err := c.Version(t.Context()); err != nil || v != "0.33.1" {
		t.Error(v, err)
	}
	if tags, err := c.Tags(t.Context()); err != nil || len(tags) != 0 {
		t.Error(tags, err)
	}
	name, _ := ollama.ParseName("me/x")
	config, err := s.Store.AddConfig([]byte(`{"model_family":"llama"}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Store.WriteManifest(name, config, nil); err != nil {
		t.Fatal(err)
	}
	if tags, err := c.Tags(t.Context()); err != nil || len(tags) != 1 || tags[0].Name != "me/x:latest" {
		t.Error(tags, err)
	}
	if shown, err := c.Show(t.Context(), "me/x"); err != nil || shown.HasAdapter() || shown.Details.Family != "llama" {
		t.Error(shown, err)
	}
	_, err = c.Show(t.Context(), "none")
	if e := (*Error)(nil); !errors.As(err, &e) || e.Status != http.StatusNotFound {
		t.Error(err)
	}
}

// A proxy of the environment gets nothing that is meant for this machine.
func TestThisMachineNeedsNoProxy(t *testing.T) {
	proxy := New(&url.URL{Scheme: "http", Host: "x"}).http.Transport.(*http.Transport).Proxy
	t.Setenv("HTTP_PROXY", "http://proxy.invalid:1")
	for _, host := range []string{"127.0.0.1:11434", "localhost:11434", "[::1]:11434"} {
		if u, err := proxy(&http.Request{URL: &url.URL{Scheme: "http", Host: host}}); u != nil || err != nil {
			t.Error(host, u, err)
		}
	}
}

// Package ollamatest has a server that answers as a recorded Ollama does, and refuses what
// no client of ours should ask. Only tests import it.
package ollamatest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"qtool/gguf"
	"qtool/internal/ollama"
)

// Adapters is what a server does with the adapters of a request.
type Adapters int

// What a server may do with them.
const (
	Accept Adapters = iota
	Refuse          // an error
	Ignore          // no word about them, and a model without
)

// Server is the fake. Its fields are set before it is used.
type Server struct {
	Store    ollama.Store
	Version  string
	Adapters Adapters
	Pretend  map[string]bool // digests of blobs that it says it has

	CutUploads int           // so many uploads are cut in the middle
	CutCreates int           // so many answers to create end before they say success
	Busy       int           // so many requests are answered with 503
	FailBlobs  bool          // 500 for every upload
	Corrupt    bool          // what arrives is damaged on the way
	ErrorLine  string        // an error in the answer to create, with HTTP 200
	Pause      time.Duration // between two lines, and before an upload is read

	mu     sync.Mutex
	calls  []string
	faults []string
}

// Start starts it. The caller closes it.
func (s *Server) Start() *httptest.Server {
	if s.Version == "" {
		s.Version = "0.0.0"
	}
	return httptest.NewServer(s)
}

// Calls lists the requests until now, such as "HEAD /api/blobs/sha256:…".
func (s *Server) Calls() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// Faults lists what was asked that should not have been.
func (s *Server) Faults() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.faults)
}

func (s *Server) fault(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, fmt.Sprintf(format, args...))
}

// take counts down a number of misdeeds that are left.
func (s *Server) take(left *int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	*left--
	return *left >= 0
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.calls = append(s.calls, r.Method+" "+r.URL.Path)
	s.mu.Unlock()
	if s.take(&s.Busy) {
		answer(w, http.StatusServiceUnavailable, "server busy, please try again")
		return
	}
	digest, blob := strings.CutPrefix(r.URL.Path, "/api/blobs/")
	switch call := r.Method + " " + r.URL.Path; {
	case blob && r.Method == http.MethodHead:
		s.head(w, digest)
	case blob && r.Method == http.MethodPost:
		s.post(w, r, digest)
	case call == "GET /api/version":
		reply(w, map[string]string{"version": s.Version})
	case call == "GET /api/tags":
		s.tags(w)
	case call == "POST /api/show":
		s.show(w, r)
	case call == "POST /api/create":
		s.create(w, r)
	default:
		s.fault("unexpected %s", call)
		http.NotFound(w, r)
	}
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	b, _ := json.Marshal(v)
	w.Write(b)
}

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	b, _ := json.Marshal(map[string]string{"error": text})
	w.Write(b)
}

var digestForm = regexp.MustCompile("^sha256[:-][0-9a-fA-F]{64}$")

func (s *Server) blob(digest string) string {
	return filepath.Join(s.Store.Dir, "blobs", strings.ReplaceAll(digest, ":", "-"))
}

func (s *Server) has(digest string) bool {
	_, err := os.Stat(s.blob(digest))
	return err == nil || s.Pretend[digest]
}

func (s *Server) head(w http.ResponseWriter, digest string) {
	switch {
	case !digestForm.MatchString(digest):
		answer(w, http.StatusBadRequest, "invalid digest format")
	case !s.has(digest):
		answer(w, http.StatusNotFound, fmt.Sprintf("blob %q not found", digest))
	}
}

func (s *Server) post(w http.ResponseWriter, r *http.Request, digest string) {
	switch {
	case !digestForm.MatchString(digest):
		answer(w, http.StatusBadRequest, "invalid digest format")
		return
	case s.has(digest):
		return
	case s.FailBlobs:
		answer(w, http.StatusInternalServerError, "write blob: no space left on device")
		return
	}
	if r.ContentLength < 0 {
		s.fault("an upload of unknown length")
	}
	time.Sleep(s.Pause)
	if s.take(&s.CutUploads) {
		io.CopyN(io.Discard, r.Body, r.ContentLength/2)
		panic(http.ErrAbortHandler)
	}
	b, err := io.ReadAll(r.Body)
	if err != nil || int64(len(b)) != r.ContentLength {
		return // the client has gone
	}
	if s.Corrupt {
		b = append(b, '!')
	}
	l, err := s.Store.AddText("", b)
	switch {
	case err != nil:
		answer(w, http.StatusInternalServerError, err.Error())
	case l.Digest != digest:
		answer(w, http.StatusBadRequest, fmt.Sprintf("digest mismatch, expected %q, got %q", digest, l.Digest))
	default:
		w.WriteHeader(http.StatusCreated)
	}
}

// find is a model of the store; nil if there is none.
func (s *Server) find(name string) *ollama.Model {
	n, err := ollama.ParseName(name)
	if err != nil {
		return nil
	}
	m, err := ollama.Find([]ollama.Store{s.Store}, n)
	if err != nil && !errors.Is(err, ollama.ErrNotFound) {
		s.fault("%v", err)
	}
	return m
}

func (s *Server) tags(w http.ResponseWriter) {
	type tag struct {
		Name   string `json:"name"`
		Model  string `json:"model"`
		Digest string `json:"digest"`
	}
	list := []tag{}
	models, _ := ollama.List(s.Store) // without models there is no folder
	for _, l := range models {
		if l.Model != nil {
			list = append(list, tag{l.Name.String(), l.Name.String(), l.Model.Digest})
		}
	}
	reply(w, map[string]any{"models": list})
}

func (s *Server) show(w http.ResponseWriter, r *http.Request) {
	var req struct{ Model string }
	s.decode(r, &req)
	m := s.find(req.Model)
	if m == nil {
		answer(w, http.StatusNotFound, fmt.Sprintf("model '%s' not found", req.Model))
		return
	}
	file := fmt.Sprintf("# Modelfile generated by \"ollama show\"\n# FROM %s\n\n", req.Model)
	for _, l := range m.Manifest.Layers {
		switch l.MediaType {
		case "application/vnd.ollama.image.model":
			file += "FROM " + s.blob(l.Digest) + "\n"
		case "application/vnd.ollama.image.adapter":
			file += "ADAPTER " + s.blob(l.Digest) + "\n"
		}
	}
	reply(w, map[string]any{"modelfile": file, "details": map[string]string{"format": "gguf", "family": m.Config.Family}})
}

// decode reads a body that may have no field but those of v.
func (s *Server) decode(r *http.Request, v any) {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil || r.Header.Get("Content-Type") != "application/json" {
		s.fault("%s: %v, %q", r.URL.Path, err, r.Header.Get("Content-Type"))
	}
}

// isAdapter reads a blob as Ollama does: only this key makes one an adapter.
func (s *Server) isAdapter(digest string) bool {
	if s.Pretend[digest] {
		return true
	}
	f, err := gguf.Open(s.blob(digest))
	if err != nil {
		return false
	}
	defer f.Close()
	kind, _ := f.Metadata().Str("general.type")
	return kind == "adapter"
}

func (s *Server) size(digest string) int64 {
	info, err := os.Stat(s.blob(digest))
	if err != nil {
		return 0
	}
	return info.Size()
}

package ollamatest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"qtool/gguf"
	"qtool/internal/arch"
	"qtool/internal/ollama"
)

// request is what a client may send; to ask for quantizing is a fault.
type request struct {
	Model      string            `json:"model"`
	From       string            `json:"from"`
	Files      map[string]string `json:"files"`
	Adapters   map[string]string `json:"adapters"`
	Template   string            `json:"template"`
	System     string            `json:"system"`
	License    []string          `json:"license"`
	Parameters map[string]any    `json:"parameters"`
	Renderer   string            `json:"renderer"`
	Parser     string            `json:"parser"`
}

// stream writes lines, the first of which makes the status 200.
type stream struct {
	w     http.ResponseWriter
	pause time.Duration
}

func (s stream) line(v any) {
	s.w.Header().Set("Content-Type", "application/x-ndjson")
	b, _ := json.Marshal(v)
	s.w.Write(append(b, '\n'))
	s.w.(http.Flusher).Flush()
	time.Sleep(s.pause)
}

func (s stream) status(format string, args ...any) {
	s.line(map[string]any{"status": fmt.Sprintf(format, args...)})
}

func (s stream) fail(format string, args ...any) {
	s.line(map[string]any{"error": fmt.Sprintf(format, args...)})
}

func (s *Server) create(w http.ResponseWriter, r *http.Request) {
	var req request
	s.decode(r, &req)
	name, err := ollama.ParseName(req.Model)
	out := stream{w, s.Pause}
	switch {
	case err != nil:
		answer(w, http.StatusBadRequest, "invalid model name")
		return
	case len(req.Adapters) > 1:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		out.line(map[string]string{"error": "only one adapter is currently supported"})
		return
	case len(req.Adapters) > 0 && s.Adapters == Refuse:
		answer(w, http.StatusBadRequest, "adapters are no longer supported")
		return
	case s.ErrorLine != "":
		out.status("parsing GGUF")
		out.fail("%s", s.ErrorLine)
		out.status("success") // the real one can say so even then
		return
	case s.take(&s.CutCreates):
		out.status("parsing GGUF")
		return
	}
	layers, config, ok := s.base(out, &req)
	if !ok || !s.addAdapters(out, &req, &layers) {
		return
	}
	if slices.ContainsFunc(slices.Collect(maps.Values(req.Files)), func(digest string) bool { return !s.isAdapter(digest) }) {
		out.status("verifying conversion") // by llama-quantize
	}
	made := len(layers)
	for _, t := range []struct{ kind, text string }{{"template", req.Template}, {"system", req.System}, {"license", strings.Join(req.License, "\n")}, {"params", paramsOf(&req)}} {
		if t.text != "" {
			layers = append(layers, s.add(t.kind, []byte(t.text)))
		}
	}
	for i, l := range layers {
		if i < made {
			out.status("using existing layer %s", l.Digest)
		} else {
			out.status("creating new layer %s", l.Digest)
		}
	}
	out.status("writing manifest")
	c, err := s.Store.AddConfig(config)
	if err == nil {
		err = s.Store.WriteManifest(name, c, layers)
	}
	if err != nil {
		out.fail("%v", err)
		return
	}
	out.status("success")
}

func paramsOf(req *request) string {
	if len(req.Parameters) == 0 {
		return ""
	}
	b, _ := json.Marshal(req.Parameters)
	return string(b)
}

// add is a layer of bytes that are put into the store.
func (s *Server) add(kind string, b []byte) ollama.Layer {
	l, err := s.Store.AddText(kind, b)
	if err != nil {
		s.fault("%v", err)
	}
	return l
}

// base is what a model is made of, without its adapters.
func (s *Server) base(out stream, req *request) (layers []ollama.Layer, config []byte, ok bool) {
	if req.From != "" {
		m := s.find(req.From)
		if m == nil {
			out.status("pulling manifest")
			tag := strings.Replace(req.From, ":", "/manifests/", 1)
			out.fail(`pull model manifest: Get "https://registry.ollama.ai/v2/library/%s": dial tcp: lookup registry.ollama.ai: no such host`, tag)
			return nil, nil, false
		}
		config, _ := json.Marshal(m.Config)
		return m.Manifest.Layers, config, true
	}
	architecture := ""
	for _, file := range slices.Sorted(maps.Keys(req.Files)) {
		digest := req.Files[file]
		out.status("parsing GGUF")
		f, err := gguf.Open(s.blob(digest))
		if err != nil {
			out.fail("supplied file was not in GGUF format")
			return nil, nil, false
		}
		architecture, _ = arch.Name(f)
		layers = append(layers, ollama.Layer{MediaType: "application/vnd.ollama.image.model", Digest: digest, Size: s.size(digest), From: file})
		f.Close()
	}
	config, _ = json.Marshal(ollama.Config{Format: "gguf", Family: architecture, Renderer: req.Renderer, Parser: req.Parser})
	return layers, config, true
}

func (s *Server) addAdapters(out stream, req *request, layers *[]ollama.Layer) bool {
	for name, digest := range req.Adapters {
		if s.Adapters == Ignore {
			continue
		}
		out.status("parsing GGUF")
		if !s.has(digest) {
			out.fail("open %s: no such file or directory", s.blob(digest))
			return false
		}
		kind := "model"
		if s.isAdapter(digest) {
			kind = "adapter"
		}
		*layers = append(*layers, ollama.Layer{MediaType: "application/vnd.ollama.image." + kind, Digest: digest, Size: s.size(digest), From: name})
	}
	return true
}

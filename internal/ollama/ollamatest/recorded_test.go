package ollamatest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"qtool/gguf"
	"qtool/internal/ollama"
	"qtool/internal/sharedtest"
)

// The blobs that the recorded requests are about.
const (
	presentBlob = "sha256:270cba1bd5109f42d03350f60406024560464db173c0e387d91f0426d3bd256d"
	otherBlob   = "sha256:b6acbed1d9922c26fb9e62350e07b5ddb58162e54fed75fd7e8b1eecbe41e5df"
	wrongArch   = "sha256:b068e7803a9f7f91ad2ed0e1bccb6d281f3c775536de91bdc4d516f5672f86bd"
	baseBlob    = "sha256:f40a10bece340d0e0dda4a908a9aa9bd86cc6a9073fdf7f3303b16ea7bed7bf2"
	template    = "sha256:b507b9c2f6ca642bffcd06665ea7c91f235fd32daeefdf875a0f938db05fb315"
	modelFile   = "sha256:abbeab9399d03567ed5a33d79ad5567893efeda633cc83499bc36bbf51b36505"
	adapterFile = "sha256:92ee9675518b92ff5d40ee3e9cee578f5c2d364d8ff1a79623d4e1cc90d7ed61"
	otherFile   = "sha256:07a393ab53da7dc138af4fd9b957b7792ac853c61632e2375332cc0b55352d44" // no GGUF
	newBlob     = "sha256:4f8ba2ff1e93f4c6a65cc79dbad32ba147ca894ba1842a2f855c10bbc060ee95"
)

// exchange is a recorded request and its answer.
type exchange struct {
	method, path, body string
	status, kind       string // of the answer: "HTTP/1.1 200 OK", its content type
	answer             string
}

// readExchange reads one of testdata, recorded from Ollama of 21 August 2026 (fb3076099), or
// one of the reference data.
func readExchange(t *testing.T, name string) exchange {
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		b = sharedtest.Read(t, "golden/ollama/"+name)
	}
	text := string(b)
	request, rest, _ := strings.Cut(text, "\n")
	head, body, _ := strings.Cut(strings.ReplaceAll(rest, "\r\n", "\n"), "\n\n")
	x := exchange{method: http.MethodGet, answer: strings.TrimSpace(body)}
	lines := strings.Split(head, "\n")
	x.status = lines[0]
	for _, l := range lines {
		if kind, ok := strings.CutPrefix(l, "Content-Type: "); ok {
			x.kind = kind
		}
	}
	words := strings.Fields(strings.TrimPrefix(request, "# "))
	for i, w := range words {
		switch {
		case w == "-I":
			x.method = http.MethodHead
		case w == "POST":
			x.method = http.MethodPost
		case w == "--data-binary":
			x.body = "some bytes"
		case w == "-d":
			x.body = strings.Join(words[i+1:], " ")
		case strings.HasPrefix(w, "HOST"):
			x.path = strings.TrimPrefix(w, "HOST")
		}
	}
	return x
}

var (
	hexDigits = regexp.MustCompile("[0-9a-f]{64}")
	folders   = regexp.MustCompile(`[^ "]*/blobs/`)
)

// leveled hides what differs from machine to machine.
func leveled(s string) string {
	return folders.ReplaceAllString(hexDigits.ReplaceAllString(s, "DIGEST"), "STORE/blobs/")
}

// ggufOf is a file of metadata alone.
func ggufOf(t *testing.T, keys map[string]gguf.Value) []byte {
	t.Helper()
	md := &gguf.Metadata{}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		md.Set(key, keys[key])
	}
	var b bytes.Buffer
	if err := gguf.Write(context.Background(), &b, gguf.Assemble(md, nil)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// The fake is worth as much as it resembles the real one.
func TestTheFakeAnswersAsRecorded(t *testing.T) {
	for _, name := range []string{
		"create-adapter.txt", "create-bad-name.txt", "create-missing-blob.txt", "create-two-adapters.txt", "create-unknown-base.txt",
		"create-wrong-arch.txt", "head-missing.txt", "head-present.txt", "post-bad-digest.txt", "post-existing.txt", "post-mismatch.txt", "version.txt",
		"create-adapter-as-file.txt", "create-file.txt", "create-file-again.txt", "create-file-adapter.txt", "create-file-no-gguf.txt",
		"create-settings.txt", "post-new.txt",
	} {
		t.Run(name, func(t *testing.T) {
			want := readExchange(t, name)
			s := &Server{Store: ollama.Store{Dir: filepath.Join(t.TempDir(), "models")}}
			s.Pretend = map[string]bool{presentBlob: true, otherBlob: true, wrongArch: true}
			base, err := ollama.ParseName("st:base")
			if err != nil {
				t.Fatal(err)
			}
			config, err := s.Store.AddConfig([]byte("{}"))
			if err != nil {
				t.Fatal(err)
			}
			err = s.Store.WriteManifest(base, config, []ollama.Layer{
				{MediaType: "application/vnd.ollama.image.model", Digest: baseBlob}, {MediaType: "application/vnd.ollama.image.template", Digest: template},
			})
			if err != nil {
				t.Fatal(err)
			}
			// The files that the requests of testdata are about, which have digests of their own here.
			for recorded, b := range map[string][]byte{
				modelFile: ggufOf(t, map[string]gguf.Value{"general.architecture": "llama", "general.type": "model"}), otherFile: []byte("not a model at all"),
				adapterFile: ggufOf(t, map[string]gguf.Value{"general.architecture": "llama", "general.type": "adapter"}),
			} {
				l, err := s.Store.AddText("model", b)
				if err != nil {
					t.Fatal(err)
				}
				want.body = strings.ReplaceAll(want.body, recorded, l.Digest)
			}
			if name == "post-new.txt" {
				want.body = "new bytes"
				want.path = strings.Replace(want.path, newBlob, fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(want.body))), 1)
			}
			h := s.Start()
			defer h.Close()
			req, err := http.NewRequest(want.method, h.URL+want.path, strings.NewReader(want.body))
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(want.body, "{") {
				req.Header.Set("Content-Type", "application/json")
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			if got := resp.Proto + " " + resp.Status; got != want.status || want.answer != "" && resp.Header.Get("Content-Type") != want.kind {
				t.Errorf("%s, %s; recorded %s, %s", got, resp.Header.Get("Content-Type"), want.status, want.kind)
			}
			if got := strings.TrimSpace(string(b)); leveled(got) != leveled(want.answer) {
				t.Errorf("got\n%s\nrecorded\n%s", leveled(got), leveled(want.answer))
			}
			if f := s.Faults(); f != nil {
				t.Error(f)
			}
		})
	}
}

// The recorded answers of tags and show have the fields that the fake's have.
func TestTheFakeDescribesModelsAsRecorded(t *testing.T) {
	var tags struct {
		Models []struct{ Name, Digest string }
	}
	if err := json.Unmarshal([]byte(readExchange(t, "tags.txt").answer), &tags); err != nil || len(tags.Models) != 3 || !hexDigits.MatchString(tags.Models[0].Digest) {
		t.Error(tags, err)
	}
	var show struct {
		Modelfile string
		Details   struct{ Family string }
	}
	if err := json.Unmarshal([]byte(readExchange(t, "show.txt").answer), &show); err != nil || show.Details.Family != "llama" {
		t.Error(show, err)
	}
	var kinds []string
	for lines := bufio.NewScanner(strings.NewReader(show.Modelfile)); lines.Scan(); {
		word, _, _ := strings.Cut(lines.Text(), " ")
		kinds = append(kinds, word)
	}
	if !slices.Contains(kinds, "FROM") || !slices.Contains(kinds, "ADAPTER") {
		t.Error(kinds)
	}
}

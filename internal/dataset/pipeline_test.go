package dataset

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"qtool/internal/sharedtest"
)

// jsonl is about n bytes of records of several forms.
func jsonl(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	word := func() string { return strings.Repeat("the ", r.IntN(20)) + fmt.Sprint(r.IntN(1000)) }
	var b bytes.Buffer
	for b.Len() < n {
		switch r.IntN(4) {
		case 0:
			fmt.Fprintf(&b, "{\"text\":%q,\"id\":1}\n", word())
		case 1:
			fmt.Fprintf(&b, "{\"prompt\":%q,\"completion\":%q}\n", word(), []string{"", word()}[r.IntN(2)])
		default:
			fmt.Fprintf(&b, "{\"messages\":[{\"role\":\"user\",\"content\":%q},{\"role\":\"assistant\",\"content\":%q},{\"role\":\"user\",\"content\":\"x\"},{\"role\":\"assistant\",\"content\":%q}]}\n", word(), "\n"+word(), word())
		}
	}
	return b.Bytes()
}

func TestAnyNumberOfThreadsGivesTheSame(t *testing.T) {
	content := jsonl(1 << 20)
	read := func(threads int) *Data {
		d, err := Read(bytes.NewReader(content), "x.jsonl", newFake(), Options{Seq: 60, Template: chatML, Threads: threads})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	want := read(1)
	for _, threads := range []int{2, 5} {
		if diff := cmp.Diff(want, read(threads)); diff != "" {
			t.Errorf("%d threads: %s", threads, diff[:min(len(diff), 2000)])
		}
	}
}

func TestTheFirstBadRecordIsTheErrorWithAnyNumberOfThreads(t *testing.T) {
	good := jsonl(300 << 10)
	content := append(bytes.Clone(good), "{\"text\":1}\n"...)
	line := bytes.Count(content, []byte("\n"))
	content = append(append(content, good...), "{\"text\":2}\n{\"text\":\"\xff\"}\n"...)
	for _, threads := range []int{1, 2, 7} {
		_, err := Read(bytes.NewReader(content), "x.jsonl", newFake(), Options{Seq: 1000, Template: chatML, Threads: threads})
		if !errors.Is(err, ErrFormat) || !strings.HasPrefix(err.Error(), fmt.Sprintf("x.jsonl:%d: ", line)) {
			t.Errorf("%d threads: %v", threads, err)
		}
	}
}

func TestRecordsTakeLittleMoreMemoryThanTheirTokens(t *testing.T) {
	text := bytes.Repeat([]byte(`{"prompt":"`+strings.Repeat("What is it? ", 40)+`","completion":"`+strings.Repeat("It is that. ", 40)+"\"}\n"), 4000)
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	heap := func() int64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	runtime.GC()
	before, peak := heap(), int64(0)
	source := readerFunc{bytes.NewReader(text), func() { peak = max(peak, heap()-before) }}
	d, err := Read(source, "x.jsonl", newFake(), Options{Seq: 2000, Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	live, tokens := heap()-before, int64(d.Report.Tokens)
	if limit := 5 * tokens; live > limit {
		t.Errorf("%d tokens take %d bytes, more than %d", tokens, live, limit)
	}
	if limit := 6*tokens + 20<<20; peak > limit {
		t.Errorf("%d tokens took %d bytes while they were read, more than %d", tokens, peak, limit)
	}
	runtime.KeepAlive(text)
}

func BenchmarkJSONLToTokens(b *testing.B) {
	for _, c := range []struct{ name, file, vocab string }{
		{"gsm8k/qwen2", "data/sft/gsm8k-train.jsonl", "data/vocabs/ggml-vocab-qwen2.gguf"},
		{"gsm8k/llama-spm", "data/sft/gsm8k-train.jsonl", "data/vocabs/ggml-vocab-llama-spm.gguf"},
		{"mlx/llama-bpe", "data/sft/mlx/train.jsonl", "data/vocabs/ggml-vocab-llama-bpe.gguf"},
	} {
		content := sharedtest.Read(b, c.file)
		tok := ForTokenizer(realTokenizer(b, c.vocab))
		for _, templated := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/template=%v", c.name, templated), func(b *testing.B) {
				b.SetBytes(int64(len(content)))
				for range b.N {
					if _, err := Read(bytes.NewReader(content), c.file, tok, Options{Seq: 4096, Template: chatML, TemplatePairs: templated, Threads: 1}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// Parquet is counted by the bytes of the same records as JSON lines.
func BenchmarkParquetToTokens(b *testing.B) {
	type row struct {
		Question string `parquet:"question"`
		Answer   string `parquet:"answer"`
	}
	content := sharedtest.Read(b, "data/sft/gsm8k-train.jsonl")
	var rows []row
	for line := range bytes.Lines(content) {
		var r row
		if err := json.Unmarshal(line, &r); err != nil {
			b.Fatal(err)
		}
		rows = append(rows, r)
	}
	var file bytes.Buffer
	if err := parquet.Write(&file, rows, parquet.Compression(&parquet.Snappy)); err != nil {
		b.Fatal(err)
	}
	tok := ForTokenizer(realTokenizer(b, "data/vocabs/ggml-vocab-qwen2.gguf"))
	b.SetBytes(int64(len(content)))
	b.ResetTimer()
	for range b.N {
		if _, err := Read(bytes.NewReader(file.Bytes()), "d.parquet", tok, Options{Seq: 4096, Threads: 1}); err != nil {
			b.Fatal(err)
		}
	}
}

func TestReadingEndsWhenItIsAskedTo(t *testing.T) {
	asked, ended := 0, errors.New("ended")
	_, err := Read(strings.NewReader(strings.Repeat("{\"text\":\"a\"}\n", 1000)), "x.jsonl", newFake(), Options{Seq: 9, SkipBad: true, Ended: func() error {
		if asked++; asked > 10 {
			return ended
		}
		return nil
	}})
	if !errors.Is(err, ended) || asked != 11 {
		t.Errorf("asked %d times: %v", asked, err)
	}
}

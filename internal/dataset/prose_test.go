package dataset

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"qtool/internal/sharedtest"
	"qtool/internal/tokenizer"
)

// words is a tokenizer whose tokens are words with the blanks before them.
type words struct{ fake }

func (w *words) Encode(text string, _ bool) (ids []int32, starts []int) {
	return w.Continue(text, false), nil
}

func (w *words) Piece(int32) []byte { return nil }

func (w *words) Continue(text string, _ bool) (ids []int32) {
	ids = make([]int32, 0, len(text)/5)
	for at := 0; at < len(text); {
		id, n := int32(0), 0
		for ; at+n < len(text) && (n == 0 || !blank(text[at+n]) || blank(text[at+n-1])); n++ {
			id = (id*31 + int32(text[at+n])) & 0xffff
		}
		ids, at = append(ids, id), at+n
	}
	return ids
}

// randomWords is n bytes of text, n rounded up to a whole word.
func randomWords(n int) []byte {
	rng := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	for b.Len() < n {
		fmt.Fprintf(&b, "w%d", rng.IntN(10000))
		b.WriteString([]string{" ", " ", " ", "\n", "\n\n", "  "}[rng.IntN(6)])
	}
	return b.Bytes()
}

// ids joins the windows of a plain text again.
func ids(d *Data) (all []int32) {
	for i, ex := range d.Examples {
		if i == 0 {
			all = append(all, ex.IDs[0])
		}
		for _, t := range ex.AppendTargets(nil) {
			if t != Unscored {
				all = append(all, t)
			}
		}
	}
	return all
}

func TestALongTextTakesLittleMoreMemoryThanItsTokens(t *testing.T) {
	text := randomWords(16 << 20)
	tok := &words{fake{addBOS: true}}
	defer debug.SetGCPercent(debug.SetGCPercent(5))
	heap := func() int64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	runtime.GC()
	before, peak := heap(), int64(0)
	source := readerFunc{bytes.NewReader(text), func() { peak = max(peak, heap()-before) }}
	d, err := Read(source, "x.txt", tok, Options{Seq: 512})
	if err != nil {
		t.Fatal(err)
	}
	rows := Pack(d.Examples, 512, 1)
	runtime.GC()
	live := heap() - before
	tokens := int64(d.Report.Tokens)
	if limit := 5*tokens + 1<<20; live > limit {
		t.Errorf("%d tokens take %d bytes in examples and rows, more than %d", tokens, live, limit)
	}
	if limit := 5*tokens + 10<<20; peak > limit {
		t.Errorf("%d tokens took %d bytes while they were read, more than %d", tokens, peak, limit)
	}
	runtime.KeepAlive(rows)
	runtime.KeepAlive(text)
}

// readerFunc calls seen before every read.
type readerFunc struct {
	io.Reader
	seen func()
}

func (r readerFunc) Read(p []byte) (int, error) {
	r.seen()
	return r.Reader.Read(p)
}

func TestATextInPiecesHasTheTokensOfTheWhole(t *testing.T) {
	text := randomWords(3 << 20)
	tok := &words{fake{addBOS: true}}
	d, err := Read(bytes.NewReader(text), "x.txt", tok, Options{Seq: 100})
	if err != nil {
		t.Fatal(err)
	}
	want := append(append([]int32{fakeBOS}, tok.Continue(string(text), false)...), fakeEOS)
	if !slices.Equal(ids(d), want) {
		t.Error("the tokens differ")
	}
	if d.Report.Records != 1 || d.Report.Windowed != 1 || d.Report.Longest != len(want)-1 || d.Report.Scored != len(want)-1 {
		t.Errorf("%+v of %d tokens", d.Report, len(want))
	}
}

func TestRealVocabulariesTokenizeALongTextAsAWhole(t *testing.T) {
	text := sharedtest.Read(t, "data/text/wiki.test.raw")[:400<<10]
	entries, err := os.ReadDir(sharedtest.Path(t, "data/vocabs"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "ggml-vocab-") || !strings.HasSuffix(e.Name(), ".gguf") {
			continue
		}
		t.Run(e.Name(), func(t *testing.T) {
			t.Parallel()
			tok := realTokenizer(t, "data/vocabs/"+e.Name())
			var got []int32
			p := prose{tok: ForTokenizer(tok), windows: windows{seq: 1 << 16, bos: -1}}
			pieces := 0
			p.windows.emit = func(ex Example) { got = append(got, ex.IDs[min(len(got), 1):]...) }
			for from := 0; from < len(text); from += 1 << 14 {
				p.pending = append(p.pending, text[from:min(from+1<<14, len(text))]...)
				if at := p.cut(); at > 0 {
					pieces++
					p.tokenize(string(p.pending[:at]))
					p.pending = slices.Clone(p.pending[at:])
				}
			}
			p.tokenize(string(p.pending))
			p.windows.flush()
			want := tok.Encode(string(text), tokenizer.EncodeOptions{})
			if bos := p.tok.BOS(); bos >= 0 {
				want = append([]int32{bos}, want...)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%d tokens in %d pieces, %d of the whole", len(got), pieces, len(want))
			}
			if pieces < len(text)>>15 {
				t.Errorf("only %d pieces of %d bytes", pieces, len(text))
			}
		})
	}
}

func TestCharactersAndLineEndsAcrossPiecesStayWhole(t *testing.T) {
	text := strings.Repeat("é🌍\r\n", 5)
	tok := newFake()
	want, err := Read(strings.NewReader(text), "x.txt", tok, Options{Seq: 1000})
	if err != nil {
		t.Fatal(err)
	}
	if got := tok.text(ids(want)); got != "<s>"+strings.ReplaceAll(text, "\r\n", "\n")+"</s>" {
		t.Errorf("%q", got)
	}
	long := strings.Repeat("a\r\n", 1<<18) + "b\xff"
	_, err = Read(iotest.HalfReader(strings.NewReader(long)), "x.txt", tok, Options{Seq: 1000})
	if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), fmt.Sprintf("x.txt:%d: invalid dataset: byte %d of it is 0xff", 1+1<<18, len(long))) {
		t.Error(err)
	}
}

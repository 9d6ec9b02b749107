package records

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	parquetgo "github.com/parquet-go/parquet-go"

	"qtool/internal/records/jsontext"
	"qtool/internal/sharedtest"
)

type questionAnswer struct {
	Question string `json:"question" parquet:"question"`
	Answer   string `json:"answer" parquet:"answer"`
}

// gsm8k is real data, some 4 MB of it.
func gsm8k(b *testing.B) []byte { return sharedtest.Read(b, "data/sft/gsm8k-train.jsonl") }

func benchmark(b *testing.B, name string, content []byte, size int64) {
	b.SetBytes(size)
	b.ReportAllocs()
	r := Reader{}
	begin, n := sharedtest.CPUTime(), 0
	defer func() { reportCPU(b, begin, int64(n)*size) }()
	for ; b.Loop(); n++ {
		report, err := r.ReadStream(bytes.NewReader(content), name, func(*Record) error { return nil })
		if err != nil || report.Records() < 7000 {
			b.Fatal(report, err)
		}
	}
}

// reportCPU gives the speed by the time of processors, which other work beside does not
// change as much.
func reportCPU(b *testing.B, begin time.Duration, bytes int64) {
	if spent := sharedtest.CPUTime() - begin; spent > 0 {
		b.ReportMetric(float64(bytes)/1e6/spent.Seconds(), "MB/cpu-s")
	}
}

func BenchmarkJSONLines(b *testing.B) {
	content := gsm8k(b)
	benchmark(b, "d.jsonl", content, int64(len(content)))
}

// BenchmarkEncodingJSON is a reader that leaves all to the standard library, line by line.
func BenchmarkEncodingJSON(b *testing.B) {
	content := gsm8k(b)
	b.SetBytes(int64(len(content)))
	b.ReportAllocs()
	begin, n := sharedtest.CPUTime(), 0
	defer func() { reportCPU(b, begin, int64(n*len(content))) }()
	for ; b.Loop(); n++ {
		for line := range bytes.Lines(content) {
			var o Object
			if err := json.Unmarshal(line, &o); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// rewritten are the records in other containers.
func rewritten(b *testing.B) (rows []questionAnswer, size int64) {
	for line := range bytes.Lines(gsm8k(b)) {
		var r questionAnswer
		if err := json.Unmarshal(line, &r); err != nil {
			b.Fatal(err)
		}
		rows = append(rows, r)
		size += int64(len(line))
	}
	return rows, size
}

func BenchmarkJSONArray(b *testing.B) {
	rows, _ := rewritten(b)
	content, err := json.MarshalIndent(rows, "", " ")
	if err != nil {
		b.Fatal(err)
	}
	benchmark(b, "d.json", content, int64(len(content)))
}

func BenchmarkCSV(b *testing.B) {
	rows, _ := rewritten(b)
	content := []byte("question,answer\n")
	quoted := func(s string) {
		content = append(append(append(content, '"'), bytes.ReplaceAll([]byte(s), []byte(`"`), []byte(`""`))...), '"')
	}
	for _, r := range rows {
		quoted(r.Question)
		content = append(content, ',')
		quoted(r.Answer)
		content = append(content, '\n')
	}
	benchmark(b, "d.csv", content, int64(len(content)))
}

// Parquet is counted by the bytes of the same records as JSON lines.
func BenchmarkParquet(b *testing.B) {
	rows, size := rewritten(b)
	for name, option := range map[string]parquetgo.WriterOption{
		"plain": parquetgo.Compression(&parquetgo.Uncompressed), "snappy": parquetgo.Compression(&parquetgo.Snappy), "zstd": parquetgo.Compression(&parquetgo.Zstd),
	} {
		var out bytes.Buffer
		if err := parquetgo.Write(&out, rows, option); err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) { benchmark(b, "d.parquet", out.Bytes(), size) })
	}
}

func BenchmarkCompressed(b *testing.B) {
	content := gsm8k(b)
	for name, packed := range map[string][]byte{"gzip": gzipped(b, content), "zstd": zstdPacked(b, content)} {
		b.Run(name, func(b *testing.B) { benchmark(b, "d.jsonl", packed, int64(len(content))) })
	}
}

func BenchmarkObject(b *testing.B) {
	for _, n := range []int{100, 1000, 10000} {
		line := fmt.Appendf(nil, `{"text":"%s","id":7}`, bytes.Repeat([]byte("words and 'more' words. "), n/24))
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.SetBytes(int64(len(line)))
			o, p := Object{}, jsontext.Parser{}
			for b.Loop() {
				if err := p.Object(line, o); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

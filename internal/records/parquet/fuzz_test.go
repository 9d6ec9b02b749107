package parquet

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"testing"

	peer "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
)

func seeds(t testing.TB) [][]byte {
	var all [][]byte
	for _, codec := range []compress.Codec{&peer.Uncompressed, &peer.Snappy, &peer.Gzip, &peer.Zstd} {
		for version := 1; version <= 2; version++ {
			all = append(all, written(t, sample(40), peer.Compression(codec), peer.DataPageVersion(version), peer.PageBufferSize(200)))
		}
	}
	return all
}

// read goes through all of b. Where it can be read it has as many rows as it says.
func read(t *testing.T, b []byte) {
	t.Helper()
	f, err := Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return
	}
	rows := 0
	err = f.Read(func(int, [][]byte, error) error {
		if rows++; rows > 1<<16 {
			return errEnded // millions of nulls take a few bytes
		}
		return nil
	})
	var want int64
	for _, g := range f.meta.RowGroups {
		want += g.NumRows
	}
	if err == nil && int64(rows) != want {
		t.Errorf("%d rows, expected %d", rows, want)
	}
}

func FuzzRead(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b)
	}
	f.Fuzz(read)
}

// Bytes are damaged in pages and footers alike: an error or other values, no panic, and no
// memory but that of the bounds.
func TestDamagedFilesNeverPanicAndStayWithinTheirMemory(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var before, after runtime.MemStats
	for _, whole := range seeds(t) {
		runtime.ReadMemStats(&before)
		const tries = 400
		for range tries {
			b := bytes.Clone(whole)
			for range 1 + rnd.IntN(4) {
				at := rnd.IntN(len(b))
				if rnd.IntN(2) == 0 { // in the footer, which is short
					at = len(b) - 1 - rnd.IntN(min(len(b), 3000))
				}
				b[at] = byte(rnd.IntN(256))
			}
			read(t, b)
			read(t, b[:rnd.IntN(len(b))])
		}
		runtime.ReadMemStats(&after)
		if each := (after.TotalAlloc - before.TotalAlloc) / tries; each > 40<<20 {
			t.Errorf("%d MiB are allocated for a file of %d bytes", each>>20, len(whole))
		}
	}
}

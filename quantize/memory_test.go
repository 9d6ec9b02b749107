package quantize_test

import (
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"

	"qtool/gguf"
	"qtool/quantize"
)

// sparseModel writes a GGUF file with one F32 tensor of zeros, which takes no place on
// most disks.
func sparseModel(t *testing.T, columns, rows int) string {
	t.Helper()
	text := func(b []byte, s string) []byte {
		return append(binary.LittleEndian.AppendUint64(b, uint64(len(s))), s...)
	}
	b := []byte("GGUF")
	b = binary.LittleEndian.AppendUint32(b, 3)
	b = binary.LittleEndian.AppendUint64(b, 1) // tensors
	b = binary.LittleEndian.AppendUint64(b, 0) // keys
	b = text(b, "output.weight")
	b = binary.LittleEndian.AppendUint32(b, 2)
	b = binary.LittleEndian.AppendUint64(b, uint64(columns))
	b = binary.LittleEndian.AppendUint64(b, uint64(rows))
	b = binary.LittleEndian.AppendUint32(b, uint32(gguf.F32))
	b = binary.LittleEndian.AppendUint64(b, 0)
	b = append(b, make([]byte, -len(b)&31)...)
	path := filepath.Join(t.TempDir(), "sparse.gguf")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, int64(len(b))+4*int64(columns)*int64(rows)); err != nil {
		t.Skip("no room for a sparse file: ", err)
	}
	return path
}

// goMemory is what the Go runtime holds, which is everything but mapped files.
func goMemory() int64 {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64() - s[1].Value.Uint64())
}

func TestMemoryDoesNotGrowWithATensor(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("files are not sparse here")
	}
	rows := 1 << 17 // 2 GB
	if testing.Short() {
		rows /= 16
	}
	f, err := gguf.Open(sparseModel(t, 4096, rows))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	debug.FreeOSMemory()
	before, peak := goMemory(), int64(0)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for tick := time.NewTicker(5 * time.Millisecond); ; {
			select {
			case <-tick.C:
				peak = max(peak, goMemory())
			case <-stop:
				return
			}
		}
	}()
	p := planOf(t, f, quantize.Options{FileType: "Q8_0"})
	err = gguf.Write(t.Context(), io.Discard, p.Model())
	close(stop)
	<-done
	if err != nil {
		t.Fatal(err)
	}
	const limit = 100 << 20 // a third of what is promised
	if grown := peak - before; grown > limit {
		t.Errorf("writing %d MB took %d MB, expected at most %d", p.ToBytes()>>20, grown>>20, limit>>20)
	} else {
		t.Logf("%d MB of source took %d MB of memory", p.FromBytes()>>20, grown>>20)
	}
}

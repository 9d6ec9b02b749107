package kernel_test

import (
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
	"unsafe"

	"qtool/gguf"
	"qtool/internal/kernel"
	"qtool/quantize"
)

// beforeForbiddenPage copies data to where the byte after it cannot be read, as
// at the end of a mapped file.
func beforeForbiddenPage(t *testing.T, data []byte) []byte {
	t.Helper()
	page := os.Getpagesize()
	size := (len(data) + page - 1) / page * page
	m, err := syscall.Mmap(-1, 0, size+page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Skipf("no mapping: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Munmap(m) })
	if err := syscall.Mprotect(m[size:], syscall.PROT_NONE); err != nil {
		t.Skipf("no protection: %v", err)
	}
	copied := m[size-len(data) : size : size]
	copy(copied, data)
	return copied
}

func floatsBeforeForbiddenPage(t *testing.T, n int) []float32 {
	b := beforeForbiddenPage(t, make([]byte, 4*n))
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), n)
}

func TestNothingIsReadBeyondTheEndOfAMappedFile(t *testing.T) {
	for _, tier := range kernel.Tiers() {
		undo, err := kernel.UseTier(tier)
		if err != nil {
			t.Fatal(err)
		}
		defer undo()
		for _, precision := range []kernel.Precision{kernel.Float32, kernel.Auto} {
			p := kernel.NewPool(2)
			defer p.Close()
			p.SetPrecision(precision)
			for _, typ := range decodedTypes() {
				codec := codecOf(t, typ)
				const rows, cols = 19, 512
				rng := rand.New(rand.NewPCG(25, 26))
				data := beforeForbiddenPage(t, randomRows(rng, typ, rows, cols, true))
				multiplyAtTheEnd(t, p, kernel.EncodedMatrix(data, rows, cols, len(data)/rows, codec.DecodeRow).OfType(typ))
			}
			for _, shape := range [][2]int{{16, 48}, {19, 16}, {7, 61}, {33, 3}} {
				rows, cols := shape[0], shape[1]
				multiplyAtTheEnd(t, p, kernel.Float32Matrix(floatsBeforeForbiddenPage(t, rows*cols), rows, cols))
			}
		}
	}
}

// multiplyAtTheEnd runs every product of w with operands that end where memory does.
func multiplyAtTheEnd(t *testing.T, p *kernel.Pool, w kernel.Matrix) {
	for _, tokens := range []int{1, 5, 30} {
		x, y := floatsBeforeForbiddenPage(t, tokens*w.Cols), floatsBeforeForbiddenPage(t, tokens*w.Rows)
		kernel.Forward(p, y, x, tokens, w)
		kernel.Backward(p, x, y, tokens, w)
		kernel.AddOuter(p, floatsBeforeForbiddenPage(t, w.Rows*w.Cols), y, x, tokens, w.Rows, w.Cols)
		kernel.MatVec(p, y[len(y)-w.Rows:], x[len(x)-w.Cols:], w)
		kernel.Dot(x, x)
		kernel.Axpy(y, 0.5, y)
		kernel.SwiGLU(x, x, x)
		kernel.GeGLU(x, x, x)
		kernel.RoundedGeGLU(x, x, x)
		kernel.Exp(y, y, kernel.Highest(y))
	}
}

func TestEncodersStayInsideRowsThatEndWhereMemoryDoes(t *testing.T) {
	rng := rand.New(rand.NewPCG(27, 28))
	for _, tier := range kernel.Tiers() {
		undo, err := kernel.UseTier(tier)
		if err != nil {
			t.Fatal(err)
		}
		defer undo()
		for typ := range gguf.Type(64) {
			codec, err := quantize.LookupEncoder(typ)
			if err != nil {
				continue
			}
			for _, blocks := range []int{1, 3, 19} {
				x := floatsBeforeForbiddenPage(t, blocks*typ.BlockElements())
				importance := floatsBeforeForbiddenPage(t, len(x))
				for i := range x {
					x[i], importance[i] = float32(rng.NormFloat64()), float32(rng.ExpFloat64())
				}
				out := beforeForbiddenPage(t, make([]byte, blocks*typ.BlockBytes()))
				codec.EncodeRow(out, x, nil)
				codec.EncodeRow(out, x, importance)
				kernel.Magnitude(x)
			}
		}
	}
}

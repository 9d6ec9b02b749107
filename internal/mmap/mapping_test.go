package mmap

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"unsafe"

	"qtool/internal/panics"
)

// mapBytes maps a file with n bytes, no two pages of them alike.
func mapBytes(t *testing.T, n int) (*Mapping, []byte) {
	t.Helper()
	content := make([]byte, n)
	for i := range content {
		content[i] = byte(i + i>>8 + i>>16)
	}
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	m, err := Map(f, int64(n))
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m, content
}

func TestAMappingIsTheFile(t *testing.T) {
	for _, n := range []int{0, 1, 4095, 4096, 100_000} {
		m, want := mapBytes(t, n)
		if !bytes.Equal(m.Bytes(), want) || !m.Intact() {
			t.Errorf("%d bytes differ", n)
		}
		if err := iotest.TestReader(io.NewSectionReader(m, 0, int64(n)), want); err != nil {
			t.Error(err)
		}
	}
}

func TestWhatIsCachedIsThatOfTheFile(t *testing.T) {
	m, want := mapBytes(t, 100_000)
	for _, off := range []int64{math.MinInt64, -1, 0, 1, 4096, 99_999, 100_000, 100_001, math.MaxInt64} {
		for _, n := range []int{0, 1, 5000, 100_000, 100_001} {
			p := make([]byte, n)
			inside := off >= 0 && off <= int64(len(want)) && n <= len(want)-int(off)
			if m.ReadCached(p, off) && (!inside || !bytes.Equal(p, want[off:int(off)+n])) {
				t.Errorf("%d bytes at %d differ, or do not exist", n, off)
			}
		}
	}
}

func TestHintsChangeNothingAndMayBeWrong(t *testing.T) {
	m, want := mapBytes(t, 100_000)
	for _, off := range []int64{math.MinInt64, -5, 0, 1, 4096, 99_999, 100_000, math.MaxInt64} {
		for _, n := range []int64{math.MinInt64, -1, 0, 1, 5000, math.MaxInt64} {
			m.WillNeed(off, n)
			m.DontNeed(off, n)
		}
	}
	if !bytes.Equal(m.Bytes(), want) {
		t.Error("the content changed")
	}
}

func TestAClosedMappingGivesNothing(t *testing.T) {
	m, _ := mapBytes(t, 5000)
	for range 2 {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
	if m.Bytes() != nil || m.ReadCached(make([]byte, 1), 0) {
		t.Error("still there")
	}
	if _, err := m.ReadAt(make([]byte, 1), 0); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
	m.WillNeed(0, 5000)
	m.DontNeed(0, 5000)
}

func TestAFileShorterThanExpectedIsNotMapped(t *testing.T) {
	m, _ := mapBytes(t, 5000)
	if _, err := Map(m.file, 5001); !errors.Is(err, ErrShrunk) {
		t.Error(err)
	}
	if _, err := Map(m.file, -1); err == nil {
		t.Error("mapped less than nothing")
	}
}

func TestAFileThatShrinksIsAnErrorNotAFault(t *testing.T) {
	m, _ := mapBytes(t, 1<<20)
	if err := os.Truncate(m.file.Name(), 1000); err != nil {
		t.Skip(err) // a mapped file cannot be cut on every platform
	}
	if m.Intact() {
		t.Error("not noticed")
	}
	p := make([]byte, 1000)
	if n, err := m.ReadAt(p, 0); n != len(p) {
		t.Errorf("what is left could not be read: %v", err)
	}
	if _, err := m.ReadAt(p, 1<<19); !errors.Is(err, ErrShrunk) {
		t.Error(err)
	}
	if m.ReadCached(p, 500) {
		t.Error("read what is gone")
	}
	// The same if the cut comes between the check and the copy: the check is
	// shown another file that is long enough.
	other, _ := mapBytes(t, 1<<20)
	m.file = other.file
	if n, err := m.ReadAt(p, 1<<19); n != 0 || !errors.Is(err, ErrShrunk) {
		t.Error(n, err)
	}
}

func TestANegativeOffsetIsAnError(t *testing.T) {
	m, _ := mapBytes(t, 10)
	if _, err := m.ReadAt(make([]byte, 1), -1); err == nil {
		t.Error("accepted")
	}
}

// touch reads every page of b, and returns the panic of that.
func touch(b []byte) (r any) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() { r = recover() }()
	sum := byte(0)
	for i := 0; i < len(b); i += 4096 {
		sum += b[i]
	}
	runtime.KeepAlive(sum)
	return nil
}

func TestAFaultInAViewIsAnErrorThatNamesTheFileEvenOnceItIsClosed(t *testing.T) {
	m, _ := mapBytes(t, 1<<20)
	if err := os.Truncate(m.file.Name(), 1000); err != nil {
		t.Skip(err)
	}
	r := touch(m.Bytes())
	if r == nil {
		t.Fatal("no fault")
	}
	m.Close()
	m.file.Close()
	for _, r := range []any{r, panics.Of(r)} {
		if err := Lost(r); !errors.Is(err, ErrShrunk) || !strings.Contains(err.Error(), strconv.Quote(m.file.Name())+" at offset 4096") {
			t.Error(err)
		}
	}
}

func TestOtherPanicsAreNotFaultsOfFiles(t *testing.T) {
	m, _ := mapBytes(t, 1<<20)
	var none *int
	for _, f := range []func(){
		func() { panic("a text") },
		func() { panic(io.EOF) },
		func() { *none = 1 },
		func() { _ = m.Bytes()[len(m.Bytes()):][0] },
	} {
		func() {
			defer func() {
				if r := recover(); r == nil || Lost(r) != nil {
					t.Error(r, Lost(r))
				}
			}()
			f()
		}()
	}
}

func TestAnAddressBelongsToTheLastFileThatLayThere(t *testing.T) {
	var r registry
	memory := make([]byte, 4096)
	at := uintptr(unsafe.Pointer(&memory[0]))
	r.add("first", memory)
	r.add("second", memory[1000:2000])
	for off, want := range map[uintptr]string{0: "", 999: "", 1000: "second", 1999: "second", 2000: ""} {
		name, place, ok := r.find(at + off)
		if name != want || ok != (want != "") || ok && place != int64(off-1000) {
			t.Errorf("at %d: %q, %d", off, name, place)
		}
	}
}

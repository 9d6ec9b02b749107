package gguf

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"qtool/internal/atomicfile"
)

// crashTarget names the file that a second process, this same test binary,
// begins to write and never finishes.
const crashTarget = "GGUF_TEST_CRASH_TARGET"

func TestMain(m *testing.M) {
	if path := os.Getenv(crashTarget); path != "" {
		writeHalf(path)
	}
	os.Exit(m.Run())
}

func writeHalf(path string) {
	m := floats(1<<20, "t")
	m.Tensors()[0].Data = halfWay{m.Tensors()[0].Data}
	WriteFile(context.Background(), path, m)
	os.Exit(0)
}

// halfWay is data whose second half never comes.
type halfWay struct{ io.ReaderAt }

func (h halfWay) ReadAt(p []byte, off int64) (int, error) {
	if off > 2<<20 {
		fmt.Println("half", nil)
		time.Sleep(time.Minute)
	}
	return h.ReaderAt.ReadAt(p, off)
}

func TestAKilledProcessLeavesTheOldFileOrNone(t *testing.T) {
	for _, old := range []string{"", "old"} {
		dir := t.TempDir()
		path := filepath.Join(dir, "m.gguf")
		if old != "" {
			if err := os.WriteFile(path, []byte(old), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		killHalfWay(t, path)
		if b, err := os.ReadFile(path); string(b) != old || old == "" && !os.IsNotExist(err) {
			t.Errorf("found %d bytes, %v", len(b), err)
		}
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if e.Name() != "m.gguf" && (!strings.HasPrefix(e.Name(), ".") || !strings.HasSuffix(e.Name(), atomicfile.Suffix)) {
				t.Errorf("%s could be taken for a model", e.Name())
			}
		}
	}
}

func killHalfWay(t *testing.T, path string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Skip(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), crashTarget+"="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skip(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	cmd.Process.Kill() // SIGKILL: nothing in the process can react
	cmd.Wait()
	if line != "half <nil>\n" {
		t.Fatalf("the process said %q, %v", line, err)
	}
}

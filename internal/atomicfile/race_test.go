package atomicfile

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// What the processes of a race are told: what to write, and which of them they are.
const (
	raceTarget = "ATOMICFILE_TEST_TARGET"
	raceSet    = "ATOMICFILE_TEST_SET"
	raceSelf   = "ATOMICFILE_TEST_SELF"
	raceRounds = "ATOMICFILE_TEST_ROUNDS"
)

func TestMain(m *testing.M) {
	target, set := os.Getenv(raceTarget), os.Getenv(raceSet)
	if target == "" && set == "" {
		os.Exit(m.Run())
	}
	self, _ := strconv.Atoi(os.Getenv(raceSelf))
	rounds, _ := strconv.Atoi(os.Getenv(raceRounds))
	for round := range rounds {
		var err error
		if target != "" {
			err = writeWhole(target, wholeContent(self, round))
		} else {
			err = writeSet(set, wholeContent(self, round))
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	os.Exit(0)
}

// wholeContent is text of a length and with a beginning that tell whether it is whole.
func wholeContent(self, round int) []byte {
	return fmt.Appendf(nil, "%04d%s", self*300+round, strings.Repeat("x", self*300+round))
}

func isWhole(b []byte) bool {
	if len(b) < 4 {
		return false
	}
	n, err := strconv.Atoi(string(b[:4]))
	return err == nil && len(b) == n+4
}

func writeWhole(path string, b []byte) error {
	f, err := Create(path)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.Write(b); err != nil {
		return err
	}
	return f.Commit()
}

// writeSet writes three files of the same content.
func writeSet(dir string, b []byte) error {
	var files []*File
	for i := range 3 {
		f, err := Create(setName(dir, i))
		if err != nil {
			return err
		}
		defer f.Abort()
		if _, err := f.Write(b); err != nil {
			return err
		}
		files = append(files, f)
	}
	return CommitSet(files[0], files[1:]...)
}

func setName(dir string, i int) string { return filepath.Join(dir, fmt.Sprintf("set-%d", i)) }

// race runs processes that each write their own contents again and again, and calls
// watch while they do. It fails if one of them does.
func race(t *testing.T, env string, watch func()) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Skip(err)
	}
	processes, rounds := 6, 100
	if testing.Short() {
		rounds = 20
	}
	done := make(chan error, processes)
	for i := range processes {
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), env, fmt.Sprintf("%s=%d", raceSelf, i), fmt.Sprintf("%s=%d", raceRounds, rounds))
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := cmd.Start(); err != nil {
			t.Skip(err)
		}
		go func() {
			err := cmd.Wait()
			if err != nil {
				err = fmt.Errorf("process %d: %w: %s", i, err, said.String())
			}
			done <- err
		}()
	}
	for left := processes; left > 0; {
		watch()
		select {
		case err := <-done:
			left--
			if err != nil {
				t.Error(err)
			}
		default:
		}
	}
}

func TestProcessesThatWriteOneFileAtOnceAllSucceed(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.gguf")
	race(t, raceTarget+"="+path, func() {
		b, err := os.ReadFile(path)
		if err == nil && !isWhole(b) || err != nil && !os.IsNotExist(err) {
			t.Fatalf("found %d bytes, %v", len(b), err)
		}
	})
	if got := folder(t, dir); got != "m.gguf" {
		t.Errorf("left behind: %s", got)
	}
}

func TestProcessesThatWriteOneSetAtOnceNeverMixTheirFiles(t *testing.T) {
	dir := t.TempDir()
	race(t, raceSet+"="+dir, func() {})
	if got := folder(t, dir); got != "set-0 set-1 set-2" {
		t.Errorf("left behind: %s", got)
	}
	first := content(setName(dir, 0))
	for i := range 3 {
		if got := content(setName(dir, i)); got != first || !isWhole([]byte(got)) {
			t.Errorf("file %d is of another set than the first", i)
		}
	}
}

func TestAFileThatANeighbourTakesForStaleWhenItIsCreatedIsMadeAgain(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m")
	for name, neighbour := range map[string]func(string){
		"removed":  func(temp string) { os.Remove(temp) },
		"replaced": func(temp string) { os.Remove(temp); os.WriteFile(temp, []byte("theirs"), 0o644) },
	} {
		defer Replace(&interrupted{System: Disk(), times: 3, after: neighbour})()
		if err := create(t, path, "new "+name).Commit(); err != nil || content(path) != "new "+name {
			t.Errorf("%s: %q, %v", name, content(path), err)
		}
	}
}

// interrupted calls after when a file has been created and is not yet locked.
type interrupted struct {
	System
	times int
	after func(temp string)
}

func (s *interrupted) Create(name string) (Handle, error) {
	h, err := s.System.Create(name)
	if err == nil && s.times > 0 {
		s.times--
		s.after(name)
	}
	return h, err
}

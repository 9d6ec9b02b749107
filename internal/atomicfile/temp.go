package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
)

// Suffix ends the temporary names, which look like ".model.gguf.1f3a9c02.partial".
// Such a file stays behind only if the process is killed, until the next one creates
// the same file.
const Suffix = ".partial"

func tempName(target string) string {
	dir, base := filepath.Split(target)
	return fmt.Sprintf("%s.%s.%08x%s", dir, base, rand.Uint32(), Suffix)
}

// beginTemp creates a temporary file for target in place of stale ones.
func beginTemp(target string) (Handle, error) {
	removeStale(system, target)
	h, err := createTemp(system, target)
	if err != nil {
		return nil, explain(target, folderError(filepath.Dir(target), err))
	}
	return h, nil
}

// createTemp creates and locks a temporary file. Between the two another process may
// take it for stale and remove it; then it tries again.
func createTemp(s System, target string) (Handle, error) {
	const attempts = 100
	for range attempts {
		h, err := s.Create(tempName(target))
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if !h.Lock() && hasItsName(h) {
			return h, nil
		}
		_ = h.Close() // whoever has the lock removes it
	}
	return nil, fmt.Errorf("%d temporary names were taken or removed by other processes", attempts)
}

// hasItsName reports whether h is still the file of its name. With the lock it stays so.
func hasItsName(h Handle) bool {
	open, err := h.Stat()
	if err != nil {
		return true // nothing says that it was removed
	}
	named, err := os.Lstat(h.Name())
	return err == nil && os.SameFile(open, named)
}

// discard closes and removes a temporary file. What cannot be removed is stale from then on.
func discard(s System, h Handle) {
	_ = h.Close()
	_ = s.Remove(h.Name())
}

// removeStale removes what killed processes left of the same target.
func removeStale(s System, target string) {
	dir, base := filepath.Split(target)
	if dir == "" {
		dir = "."
	}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		middle, ours := strings.CutPrefix(e.Name(), "."+base+".")
		middle, temporary := strings.CutSuffix(middle, Suffix)
		if ours && temporary && len(middle) == 8 && e.Type().IsRegular() {
			removeUnlocked(s, filepath.Join(dir, e.Name()))
		}
	}
}

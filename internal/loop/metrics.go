package loop

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"qtool/internal/atomicfile"
	"qtool/internal/input"
)

// Metrics appends events to a file of JSON lines.
type Metrics struct{ log *atomicfile.Log }

// OpenMetrics opens path, keeping the events of steps up to keep: those behind a
// checkpoint that the run goes on from never happened. keep 0 starts afresh.
func OpenMetrics(path string, keep int) (*Metrics, error) {
	kept, err := eventsUpTo(path, keep)
	if err != nil {
		return nil, err
	}
	out, err := atomicfile.Create(path)
	if err != nil {
		return nil, err
	}
	defer out.Abort()
	if _, err := out.Write(kept); err != nil {
		return nil, fmt.Errorf("writing %s: %w", path, err)
	}
	if err := out.Commit(); err != nil {
		return nil, err
	}
	log, err := atomicfile.Append(path)
	if err != nil {
		return nil, err
	}
	return &Metrics{log}, nil
}

// maxMetrics is far more than the events of any run.
const maxMetrics = 4 << 30

func eventsUpTo(path string, step int) ([]byte, error) {
	old, err := input.ReadFile(path, maxMetrics)
	if errors.Is(err, fs.ErrNotExist) || step == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading metrics: %w", err)
	}
	var kept bytes.Buffer
	for lines := bufio.NewScanner(bytes.NewReader(old)); lines.Scan(); {
		var e struct {
			Step int `json:"step"`
		}
		// A line that does not parse was cut off when the run was killed.
		if json.Unmarshal(lines.Bytes(), &e) == nil && e.Step <= step {
			kept.Write(lines.Bytes())
			kept.WriteByte('\n')
		}
	}
	return kept.Bytes(), nil
}

// Write appends e as one line, or nothing if it fails; a later Write may succeed.
func (m *Metrics) Write(e Event) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	_, err = m.log.Write(append(line, '\n'))
	return err
}

// Close closes the file.
func (m *Metrics) Close() error { return m.log.Close() }

package records

import (
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"

	"qtool/internal/usage"
)

// Stdin is the path that means standard input.
const Stdin = "-"

// maxWeight is the most often that a record can be asked for in one epoch.
const maxWeight = 1000

// Source is one place that records come from, as a user names it.
type Source struct {
	Path   string  // a file, a folder, or [Stdin]
	Weight float64 // how often its records are seen in an epoch, more than 0
}

// ParseSource reads PATH or PATH:WEIGHT. A file that really has such a name wins.
func ParseSource(value string) (Source, error) {
	if value == "" {
		return Source{}, usage.Errorf("the name of the data is empty; give a file, a folder, or \"-\" for standard input")
	}
	path, number, ok := cutWeight(value)
	if !ok {
		return Source{value, 1}, nil
	}
	if _, err := os.Stat(value); err == nil {
		return Source{value, 1}, nil
	}
	weight, err := strconv.ParseFloat(number, 64)
	if err != nil || !(weight > 0 && weight <= maxWeight) || weight < 1.0/maxWeight {
		return Source{}, usage.Errorf("%q: the weight %s says how often the records of %q are seen in an epoch; expected a number from %g to %d, such as 2 or 0.5",
			value, number, path, 1.0/maxWeight, maxWeight)
	}
	return Source{path, weight}, nil
}

// cutWeight cuts value at its last colon if a number follows. The colon of a Windows
// drive, as in C:2, is none of these.
func cutWeight(value string) (path, number string, ok bool) {
	at := strings.LastIndexByte(value, ':')
	if at <= 0 || runtime.GOOS == "windows" && at == 1 {
		return value, "", false
	}
	path, number = value[:at], value[at+1:]
	w, err := strconv.ParseFloat(number, 64)
	if err != nil && !math.IsInf(w, 0) || strings.ContainsAny(number, "_xXpP") {
		return value, "", false
	}
	return path, number, true
}

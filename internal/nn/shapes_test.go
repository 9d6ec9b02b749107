package nn

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var makesTensor = regexp.MustCompile(`\.(newVar|roundedVar|zeroVar)\(|\.vars\.take\(`)

func TestTheShapeOfATensorStandsWhereItIsMade(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") || file == "tape.go" { // which has these methods
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(text), "\n") {
			if _, comment, _ := strings.Cut(line, "// "); makesTensor.MatchString(line) && !strings.HasPrefix(comment, "[") && !strings.HasPrefix(comment, "as ") {
				t.Errorf("%s:%d: no shape stands beside: %s", file, i+1, strings.TrimSpace(line))
			}
		}
	}
}

package modeldoc

import (
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write docs/models.md")

func TestThePageOfModelsIsCurrent(t *testing.T) {
	const path = "../../docs/models.md"
	if *update {
		if err := os.WriteFile(path, []byte(Models()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != Models() {
		t.Error("docs/models.md is not what the table of architectures says; go test ./internal/modeldoc -update writes it")
	}
}

package chat

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The cases were rendered by Jinja2 3.1.6 (sandboxed, trim_blocks, lstrip_blocks,
// loop controls, tojson as transformers has it). Without text, Jinja2 fails.
func TestExpressionsAndStatementsAreThoseOfJinja2(t *testing.T) {
	var golden struct {
		Data  json.RawMessage
		Cases []struct {
			Source string
			Text   *string
		}
	}
	raw, err := os.ReadFile("testdata/jinja.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &golden); err != nil {
		t.Fatal(err)
	}
	for _, c := range golden.Cases {
		template, err := New(c.Source, Options{})
		if err != nil {
			if c.Text != nil {
				t.Errorf("%s: %v", c.Source, err)
			}
			continue
		}
		vars, err := fromJSON(golden.Data)
		if err != nil {
			t.Fatal(err)
		}
		text, err := template.render(vars.AsDict().Data, 1000, nil)
		switch {
		case c.Text == nil && err == nil:
			t.Errorf("%s: %q, where Jinja2 fails", c.Source, text)
		case c.Text != nil && err != nil:
			t.Errorf("%s: %v", c.Source, err)
		case c.Text != nil && *c.Text != text:
			t.Errorf("%s: %s", c.Source, cmp.Diff(*c.Text, text))
		}
	}
}

package dataset

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"qtool/internal/records"
)

func TestExamplesAreRepeatedAsOftenAsTheirSourceSays(t *testing.T) {
	plain := []Example{{IDs: []int32{1, 2}}, {IDs: []int32{3, 4}}}
	if got := Repeated(plain, 1); len(got) != 2 || &got[0] != &plain[0] {
		t.Errorf("%v", got)
	}
	const n = 2000
	var all []Example
	for i := range n {
		all = append(all, Example{IDs: []int32{int32(i), 0}, Repeat: 2.25})
		all = append(all, Example{IDs: []int32{int32(i), 1}, Repeat: 0.5, Record: int32(i/4*4 + 1)})
		all = append(all, Example{IDs: []int32{int32(i), 2}})
	}
	got := Repeated(all, 7)
	var count [3]int
	half := map[int32]bool{}
	for _, e := range got {
		count[e.IDs[1]]++
		if e.IDs[1] == 1 {
			half[e.IDs[0]] = true
		}
	}
	if count[0] < 4400 || count[0] > 4600 || count[1] < 900 || count[1] > 1100 || count[2] != n {
		t.Errorf("%v of %d", count, n)
	}
	again, other := Repeated(all, 7), Repeated(all, 8)
	same := func(a, b []Example) bool {
		for i := range a {
			if i >= len(b) || &a[i].IDs[0] != &b[i].IDs[0] {
				return false
			}
		}
		return len(a) == len(b)
	}
	if !same(got, again) || same(got, other) {
		t.Error("not drawn by seed")
	}
}

func TestSourcesAreReadTogetherEachWithItsWeight(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	set, err := records.Find([]records.Source{
		{Path: write("a.jsonl", "{\"text\":\"a\"}\n{\"text\":\"b\"}\n"), Weight: 2},
		{Path: write("t.txt", "one"), Weight: 1},
		{Path: write("u.txt", "two"), Weight: 3},
		{Path: records.Stdin, Weight: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	f := newFake()
	data, _, err := Load(set, strings.NewReader("prompt,completion\nc,d\n"), f, Options{Seq: 100})
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, e := range Repeated(data.Examples, 1) {
		said = append(said, f.text(e.IDs))
	}
	want := "<s>a</s> <s>a</s> <s>b</s> <s>b</s> <s>one</s> <s>two</s> <s>two</s> <s>two</s> <s>cd</s>"
	if got := strings.Join(said, " "); got != want || data.Report.Records != 5 || len(data.Files) != 4 {
		t.Errorf("%s, %+v", got, data.Report)
	}
}

package dataset

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const longText = "abcdefghijklmnopqrst"

func longRecords() string {
	return fmt.Sprintf(`{"text":"%s"}
{"prompt":"%s","completion":"yz"}
{"prompt":"pq","completion":"%s"}
{"text":"short"}
{"messages":[{"role":"user","content":"%s"},{"role":"assistant","content":"a"},{"role":"user","content":"q"},{"role":"assistant","content":"b"}]}
`, longText, longText, longText, longText)
}

func TestLongRecordsBecomeWhatThePolicySays(t *testing.T) {
	const tooLong = "4 examples longer than 12 tokens were left out (x.jsonl:1: 21 tokens, x.jsonl:2: 23 tokens, x.jsonl:3: 23 tokens, x.jsonl:5: 42 tokens); " +
		"raise --seq to 42 to learn all, or cut what is long with --long truncate-left, truncate-right or split"
	lost := func(n int) []string {
		return []string{fmt.Sprintf("%d examples lost tokens of answers when cut; raise --seq to 42 to learn them whole", n)}
	}
	for policy, c := range map[string]struct{ want, warnings []string }{
		"skip":           {[]string{"<s>[[short</s>]]"}, []string{tooLong}},
		"truncate-right": {[]string{"<s>[[abcdefghijkl]]", "<s>pq[[abcdefghij]]", "<s>[[short</s>]]"}, lost(4)},
		"truncate-left": {[]string{"<s>j[[klmnopqrst</s>]]", "<s>lmnopqrst[[yz</s>]]", "<s>j[[klmnopqrst</s>]]", "<s>[[short</s>]]",
			"<s>" + user + "q" + answer + "[[b<|im_end|>]]"}, lost(3)},
		"split": {[]string{"<s>[[abcdefghijkl]]", "<s>l[[mnopqrst</s>]]", "<s>lmnopqrst[[yz</s>]]", "<s>pq[[abcdefghij]]", "<s>j[[klmnopqrst</s>]]", "<s>[[short</s>]]",
			"<s>t" + answer + "[[a<|im_end|>]]", "<s>\nq" + answer + "[[b<|im_end|>]]"}, nil},
	} {
		p, err := ParseLong(policy)
		if err != nil {
			t.Fatal(err)
		}
		f := newFake()
		d := read(t, "x.jsonl", longRecords(), f, Options{Seq: 12, Long: p})
		if diff := cmp.Diff(c.want, shown(f, d)); diff != "" {
			t.Errorf("%s: %s", policy, diff)
		}
		if diff := cmp.Diff(c.warnings, d.Report.Warnings); diff != "" {
			t.Errorf("%s: %s", policy, diff)
		}
	}
}

func TestCuttingAtTheLeftKeepsTheSystemMessage(t *testing.T) {
	f := newFake()
	const record = `{"messages":[{"role":"system","content":"%s"},{"role":"user","content":"%s"},{"role":"assistant","content":"a"},{"role":"user","content":"q"},{"role":"assistant","content":"b"}]}`
	for system, want := range map[string]string{
		"s":                     "<s><|im_start|>system\ns<|im_end|>\n" + user + "q" + answer + "[[b<|im_end|>]]",
		strings.Repeat("s", 30): "<s>" + user + "q" + answer + "[[b<|im_end|>]]",
	} {
		d := read(t, "x.jsonl", fmt.Sprintf(record, system, longText), f, Options{Seq: 30, Long: LongTruncateLeft})
		if diff := cmp.Diff([]string{want}, shown(f, d)); diff != "" {
			t.Error(diff)
		}
	}
}

func TestRefusingLongRecordsIsAPolicy(t *testing.T) {
	_, err := Read(strings.NewReader(longRecords()), "x.jsonl", newFake(), Options{Seq: 12, Long: LongRefuse, Template: chatML})
	if !errors.Is(err, ErrTooLong) || !strings.Contains(err.Error(), "4 records are too long") {
		t.Error(err)
	}
	// Where nothing is left, skipping refuses too.
	_, err = Read(strings.NewReader(`{"text":"`+longText+`"}`), "x.jsonl", newFake(), Options{Seq: 12})
	if !errors.Is(err, ErrTooLong) {
		t.Error(err)
	}
	if _, err := ParseLong("cut"); err == nil || !strings.Contains(err.Error(), "truncate-left") {
		t.Error(err)
	}
}

func TestSplitExamplesScoreEveryTargetOnce(t *testing.T) {
	f := newFake()
	for _, bos := range []int32{fakeBOS, -1} {
		for seq := 2; seq < 40; seq++ {
			ex := pair(t, f, "some prompt", longText+longText)
			want := f.scored(ex)
			got := ""
			for _, w := range ex.split(seq, bos) {
				if w.Len() > seq {
					t.Fatalf("a window of %d", w.Len())
				}
				got += f.scored(w)
			}
			if got != want {
				t.Fatalf("seq %d: scored %q\nexpected %q", seq, got, want)
			}
		}
	}
}

func TestLabelsAndWeightsSurviveCutting(t *testing.T) {
	ex := NewExample([]int32{1, 2, 3, 4, 5, 6}, []int32{Unscored, 30, 40, Unscored, 60, 70}, []float32{0, 1, 2, 0, 1, 1})
	cut, ok := ex.cutLeft(4, -1, messageStarts{marks: func(int32) bool { return false }})
	if !ok || !slices.Equal(cut.Tokens(), []int32{3, 4, 5, 6}) || !slices.Equal(cut.AppendTargets(nil), []int32{40, Unscored, 60, 70}) || !slices.Equal(cut.AppendWeights(nil), []float32{2, 0, 1, 1}) {
		t.Errorf("%+v", cut)
	}
	var targets []int32
	for _, w := range ex.split(3, 9) {
		targets = append(targets, w.AppendTargets(nil)...)
	}
	if diff := cmp.Diff([]int32{Unscored, 30, 40, Unscored, Unscored, 60, Unscored, 70}, targets); diff != "" {
		t.Error(diff)
	}
}

package model

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"qtool/gguf"
)

// hinted is tensor data that notes what is said about it.
type hinted struct {
	gguf.Memory
	name string
	said *[]string
}

func (h hinted) note(what string, off, n int64) {
	*h.said = append(*h.said, fmt.Sprintf("%s %s %d+%d", what, h.name, off, n))
}

var _ interface {
	gguf.Adviser
	gguf.PartAdviser
} = hinted{}

func (h hinted) WillNeed()                 { h.note("need", 0, int64(len(h.Memory))) }
func (h hinted) DontNeed()                 { h.note("drop", 0, int64(len(h.Memory))) }
func (h hinted) WillNeedPart(off, n int64) { h.note("need", off, n) }
func (h hinted) DontNeedPart(off, n int64) { h.note("drop", off, n) }
func (h hinted) tensor(shape ...int) *gguf.Tensor {
	return &gguf.Tensor{Name: h.name, Type: gguf.I8, Shape: shape, Data: h}
}

// Two blocks of 10 bytes and four experts of 4, and a head of 5.
func TestOnlyTheExpertsThatTokensChoseAreHeld(t *testing.T) {
	var said []string
	r := &residency{sections: make([]section, 3)}
	for b := range 2 {
		for name, shape := range map[string][]int{fmt.Sprintf("blk.%d.dense", b): {10}, fmt.Sprintf("blk.%d.ffn_up_exps.weight", b): {2, 2, 4}} {
			n := 1
			for _, d := range shape {
				n *= d
			}
			r.sections[b].add(hinted{make([]byte, n), name, &said}.tensor(shape...))
		}
	}
	r.sections[2].add(hinted{make([]byte, 5), "head", &said}.tensor(5))
	check := func(what string, bytes int64, want ...string) {
		t.Helper()
		slices.Sort(said)
		slices.Sort(want)
		if !slices.Equal(said, want) || r.bytes != bytes {
			t.Errorf("%s: %d bytes held; said\n%s\nwant %d\n%s", what, r.bytes, strings.Join(said, "\n"), bytes, strings.Join(want, "\n"))
		}
		said = nil
	}
	if whole := r.sections[0].whole(); whole != 26 {
		t.Errorf("a block has %d bytes", whole)
	}
	r.limit = 34
	r.enter(2, 0, true, false)
	check("embedding", 5, "need blk.0.dense 0+10")
	r.enter(0, 1, true, false)
	check("first block", 15, "need blk.1.dense 0+10")
	r.choose(0, []int32{0, 3, 3, 5, 5}, true)
	check("experts 0 and 2", 23, "need blk.0.ffn_up_exps.weight 0+4", "need blk.0.ffn_up_exps.weight 8+4")
	r.enter(1, 2, true, false)
	check("second block", 33)
	r.choose(1, []int32{0, 0, 2, 2, 2}, true)
	check("expert 1", 32, "drop head 0+5", "need blk.1.ffn_up_exps.weight 4+4")
	r.enter(2, 1, true, false)
	check("head", 19, "drop blk.0.dense 0+10", "drop blk.0.ffn_up_exps.weight 0+16")
	r.enter(1, 0, true, true)
	check("second block back, the first comes", 19, "need blk.0.dense 0+10", "need blk.0.ffn_up_exps.weight 0+4", "need blk.0.ffn_up_exps.weight 8+4")
	r.enter(1, 2, true, false)
	check("computed again", 19)
	r.enter(0, -1, true, true)
	check("first block back", 32, "drop head 0+5", "need blk.0.ffn_up_exps.weight 0+4", "need blk.0.ffn_up_exps.weight 8+4")

	r.limit = 20
	r.enter(0, 1, true, true)
	check("less room", 18, "drop blk.1.dense 0+10", "drop blk.1.ffn_up_exps.weight 0+16", "need blk.1.dense 0+10", "need blk.1.ffn_up_exps.weight 4+4")
	r.choose(0, []int32{0, 0, 0, 0, 2}, true)
	check("another expert instead of two", 18, "need blk.0.ffn_up_exps.weight 12+4", "drop blk.0.ffn_up_exps.weight 0+4")
}

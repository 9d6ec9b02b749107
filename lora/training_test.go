package lora_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"qtool/gguf"
	"qtool/lora"
)

func TestARecordedTrainingIsReadAsItWas(t *testing.T) {
	full := lora.Training{
		Version: "v1", Data: []string{"a.jsonl", "b.txt"}, DataFiles: 2, DataSHA256: "aa", EvalData: []string{"c"}, EvalSHA256: "cc", HeldOut: 3,
		Seed: 1 << 63, Steps: 7, Tokens: 1 << 40, Examples: 9, Seq: 64, RowsPerStep: 8, LearningRate: 2e-4, Schedule: "cosine",
		Rank: 16, Targets: []string{"attn_q"}, Experts: "top:2", Loss: 1.5, HeldOutLoss: 2.5,
		Template: "model", TemplateSHA256: "dd", Init: "old.gguf", InitSHA256: "ee",
	}
	for _, want := range []lora.Training{full, {Version: "v1", Seed: 0, Steps: 1}} {
		md := &gguf.Metadata{}
		full.Record(md) // of an earlier training, of which nothing may stay
		want.Record(md)
		got, ok := lora.RecordedTraining(md)
		if diff := cmp.Diff(want, got); diff != "" || !ok {
			t.Error(ok, diff)
		}
	}
	if _, ok := lora.RecordedTraining(nil); ok {
		t.Error("without metadata, a training")
	}
	md := &gguf.Metadata{}
	md.Set("qtool.train.steps", "seven")
	md.Set("qtool.train.unknown", uint32(1))
	if got, ok := lora.RecordedTraining(md); ok || got.Steps != 0 {
		t.Errorf("of another type: %+v", got)
	}
}

func TestTheHashOfOneFileIsItsOwn(t *testing.T) {
	if got := lora.HashOfHashes([]string{"abc"}); got != "abc" {
		t.Error(got)
	}
	if lora.HashOfHashes([]string{"a", "b"}) == lora.HashOfHashes([]string{"b", "a"}) {
		t.Error("the order of files does not count")
	}
}

package train_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"qtool/fixtures"
	"qtool/fixtures/vocabulary"
	"qtool/lora"
	"qtool/train"
)

// quick is a job of two steps on a tiny model, in a folder of its own.
func quick(t *testing.T, data ...string) *train.Job {
	t.Helper()
	dir := t.TempDir()
	v, err := vocabulary.Train(nil, 259)
	if err != nil {
		t.Fatal(err)
	}
	j := train.NewJob()
	j.Base, j.Model, j.Adapter = fixtures.TinyLlama(1, fixtures.Shape{Layers: 1, Vocabulary: v}), "tiny", filepath.Join(dir, "a.gguf")
	j.Rank, j.Targets, j.Seq, j.Config.Steps, j.EvalSplit, j.Config.Batch = 2, []string{"attn_q"}, 96, 2, 0, 1
	for i := 0; i < len(data); i += 2 {
		path := filepath.Join(dir, data[i])
		if err := os.WriteFile(path, []byte(data[i+1]), 0o666); err != nil {
			t.Fatal(err)
		}
		j.Data = append(j.Data, path)
	}
	return j
}

func runJob(t *testing.T, j *train.Job) (lora.Training, []byte) {
	t.Helper()
	if _, err := j.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	a, err := lora.Open(j.Adapter)
	if err != nil {
		t.Fatal(err)
	}
	made, ok := lora.RecordedTraining(a.Extra)
	if !ok {
		t.Fatal("the adapter says nothing of its training")
	}
	b, err := os.ReadFile(j.Adapter)
	if err != nil {
		t.Fatal(err)
	}
	if name := filepath.Dir(filepath.Dir(j.Adapter)); bytes.Contains(b, []byte(name)) {
		t.Errorf("it names folders of %s", name)
	}
	return made, b
}

func sumOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

const (
	tokenRows = `{"input_ids":[5,9,33,2,60,7,7,1,12,48]}` + "\n" + `{"input_ids":[3,1,4,1,5,9,2,6]}` + "\n"
	talk      = `{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Ho"}]}` + "\n"
)

func TestAnAdapterSaysHowItWasTrained(t *testing.T) {
	j := quick(t, "rows.jsonl", tokenRows, "chat.jsonl", talk)
	j.EvalSplit, j.Config.Seed = 0.5, 7
	made, first := runJob(t, j)
	if made.HeldOutLoss == 0 || made.HeldOut == 0 || made.Loss == 0 || made.Tokens == 0 || made.Examples == 0 || made.Version == "" {
		t.Errorf("%+v", made)
	}
	if !slices.Equal(made.Data, []string{"rows.jsonl", "chat.jsonl"}) || made.DataFiles != 2 || made.DataSHA256 != lora.HashOfHashes([]string{sumOf(tokenRows), sumOf(talk)}) {
		t.Errorf("data: %+v", made)
	}
	if made.Seed != 7 || made.Steps != 2 || made.Rank != 2 || !slices.Equal(made.Targets, []string{"attn_q"}) || made.LearningRate != j.Config.Rate || made.Schedule != "cosine" {
		t.Errorf("settings: %+v", made)
	}
	if made.Template != "chatml" || len(made.TemplateSHA256) != 64 {
		t.Errorf("template: %+v", made)
	}

	// The same run elsewhere, and one that is resumed after its last step, have the same bytes.
	again := quick(t, "rows.jsonl", tokenRows, "chat.jsonl", talk)
	again.EvalSplit, again.Config.Seed, again.RunDir = 0.5, 7, t.TempDir()
	for _, resume := range []bool{false, true} {
		again.Resume = resume
		if _, second := runJob(t, again); !bytes.Equal(first, second) {
			t.Errorf("with resume %v, another file", resume)
		}
	}
}

func TestOnlyWhatIsTrueOfTheLastTrainingIsRecorded(t *testing.T) {
	j := quick(t, "chat.jsonl", talk+strings.Replace(talk, "Hi", "Hey", 1)+strings.Replace(talk, "Hi", "Yo", 1))
	j.EvalSplit = 0.5
	before, _ := runJob(t, j)
	if before.HeldOutLoss == 0 || before.Template == "" || before.Init != "" {
		t.Fatalf("%+v", before)
	}
	on := quick(t)
	on.Init, on.Data, on.Stdin = j.Adapter, []string{"-"}, strings.NewReader(tokenRows)
	after, _ := runJob(t, on)
	if after.HeldOutLoss != 0 || after.Template != "" || after.TemplateSHA256 != "" || after.Init != "a.gguf" || len(after.InitSHA256) != 64 {
		t.Errorf("%+v", after)
	}
	if !slices.Equal(after.Data, []string{"-"}) || after.DataSHA256 != sumOf(tokenRows) {
		t.Errorf("of standard input: %+v", after)
	}
}

func TestOfManyFilesTheFirstAreNamed(t *testing.T) {
	var files []string
	for i := range lora.MostDataNames + 8 {
		files = append(files, "rows"+string(rune('a'+i%26))+string(rune('a'+i/26))+".jsonl", tokenRows)
	}
	made, _ := runJob(t, quick(t, files...))
	if len(made.Data) != lora.MostDataNames || made.DataFiles != lora.MostDataNames+8 {
		t.Errorf("%d names of %d files", len(made.Data), made.DataFiles)
	}
}

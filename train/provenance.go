package train

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/chat"
	"qtool/internal/input"
	"qtool/internal/records"
	"qtool/internal/version"
	"qtool/lora"
)

// identifyInputs records which data and which adapter the run begins with, while they are
// what was read.
func (f *tuning) identifyInputs(ctx context.Context) (err error) {
	if f.Full != "" {
		return nil // a model says nothing of its training
	}
	t := &f.training
	if len(f.Data) == 0 {
		sum := sha256.Sum256([]byte(fixtures.FineTuneJSONL))
		t.Data, t.DataFiles, t.DataSHA256 = []string{"embedded"}, 1, hex.EncodeToString(sum[:])
	} else {
		t.DataFiles = len(f.set.Train)
		if t.Data, t.DataSHA256, err = f.identifyFiles(ctx, f.set.Train); err != nil {
			return err
		}
		if t.EvalData, t.EvalSHA256, err = f.identifyFiles(ctx, f.set.Valid); err != nil {
			return err
		}
	}
	if f.Init == "" {
		return nil
	}
	init, err := gguf.Open(f.Init)
	if err != nil {
		return err
	}
	defer init.Close()
	id, err := lora.Identify(ctx, init, nil)
	t.Init, t.InitSHA256 = recordedName(f.Init), id.SHA256
	return err
}

// identifyFiles names files of data as an adapter does, and hashes them.
func (f *tuning) identifyFiles(ctx context.Context, files []records.File) (names []string, hash string, err error) {
	var sums []string
	for _, file := range files {
		var sum string
		if file.Path == records.Stdin {
			sum = hex.EncodeToString(f.stdinHash.Sum(nil))
		} else if sum, err = hashOfFile(ctx, file.Path); err != nil {
			return nil, "", fmt.Errorf("hashing the data: %w", err)
		}
		if sums = append(sums, sum); len(names) < lora.MostDataNames {
			names = append(names, recordedName(file.Path))
		}
	}
	return names, lora.HashOfHashes(sums), nil
}

// recordedName is the name under which an adapter mentions a file: without its folders, which
// are nobody's business.
func recordedName(path string) string { return strings.ToValidUTF8(filepath.Base(path), "\ufffd") }

func hashOfFile(ctx context.Context, path string) (string, error) {
	in, err := input.Open(path)
	if err != nil {
		return "", err
	}
	defer in.Close()
	hash := sha256.New()
	for chunk := make([]byte, 1<<20); ; {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		n, err := in.Read(chunk)
		hash.Write(chunk[:n])
		if err == io.EOF {
			return hex.EncodeToString(hash.Sum(nil)), nil
		}
		if err != nil {
			return "", err
		}
	}
}

// recordTraining writes into the adapter how it was trained.
func (f *tuning) recordTraining(context.Context) error {
	if f.adapter == nil {
		return nil
	}
	t, r, c := &f.training, &f.report, &f.Config
	t.Version = version.String()
	t.HeldOut = r.Evaluated.Examples
	t.Seed, t.Steps, t.Tokens = c.Seed, f.session.Step(), uint64(r.Plan.TotalTokens)
	t.Examples, t.Seq, t.RowsPerStep = r.Records.Examples, f.Seq, r.Plan.RowsPerStep
	t.LearningRate, t.Schedule = c.Rate, c.Schedule
	for _, p := range f.adapter.Pairs {
		t.Rank = max(t.Rank, p.Rank)
	}
	t.Targets = r.Targets
	if f.Init == "" && f.Experts != "" && f.Experts != "all" {
		t.Experts = f.Experts
	}
	t.Loss = f.session.LastLoss()
	if r.After.Loss != nil {
		t.HeldOutLoss = *r.After.Loss
	}
	if r.Records.Template != "" && f.template != nil {
		t.Template = f.templateName()
		sum := sha256.Sum256([]byte(f.template.Source()))
		t.TemplateSHA256 = hex.EncodeToString(sum[:])
	}
	t.Record(f.adapter.Extra)
	return nil
}

// templateName is how an adapter names the template that conversations went through.
func (f *tuning) templateName() string {
	switch {
	case f.ChatTemplate != "":
		return recordedName(f.ChatTemplate)
	case strings.TrimSpace(f.tok.Vocab().ChatTemplate) != "":
		return "model"
	}
	return chat.DefaultName
}

package infer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"qtool/gguf"
	"qtool/internal/arch"
	"qtool/internal/input"
	"qtool/internal/model"
	"qtool/quantize/imatrix"
)

// ErrOtherImportance is in the chain of the error about a saved collection of another
// model, text or setting.
var ErrOtherImportance = errors.New("another collection")

// What a saved collection says beside the imatrix that it is.
const (
	keyCollection = "qtool.imatrix.collection" // its identity
	keyNext       = "qtool.imatrix.next_chunk"
	keyRun        = "qtool.imatrix.chunks_run"
	keyScored     = "qtool.imatrix.scored_tokens"
	keyNLL        = "qtool.imatrix.nll" // sum, sum of squares
)

// Model is the collection so far: an imatrix that [ResumeImportance] can continue from.
// id is its identity.
func (run *Importance) Model(id string) gguf.Model {
	m := run.Matrix.Model()
	md := m.Metadata()
	md.Set(keyCollection, id)
	md.Set(keyNext, uint32(run.Next))
	md.Set(keyRun, uint32(run.chunks))
	md.Set(keyScored, uint64(run.nll.count))
	md.Set(keyNLL, []float64{run.nll.sum, run.nll.squares})
	return m
}

// ImportanceBytes is about how many bytes the importance of all weights of src takes.
func ImportanceBytes(src gguf.Model, opt ImportanceOptions) int64 {
	const header = 64 << 10
	n := int64(header)
	for _, t := range src.Tensors() {
		if len(t.Shape) < 2 || !opt.Output && arch.LayerOf(t.Name) < 0 {
			continue
		}
		experts := 1
		if len(t.Shape) > 2 {
			experts = t.Shape[2]
		}
		n += 4 * int64(experts) * int64(t.Shape[0]+1)
	}
	return n
}

// ResumeImportance reads a collection that was saved. It fails with
// [ErrOtherImportance] if that has another identity.
func ResumeImportance(src gguf.Model, id string) (*Importance, error) {
	md := src.Metadata()
	found, err := gguf.Or(md.Str(keyCollection))("")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", model.ErrInvalid, err)
	}
	if found != id {
		return nil, ErrOtherImportance
	}
	run := &Importance{}
	exact := input.Limit{Most: 1 << 53, Why: "sums are exact up to there"}
	if run.Matrix, err = imatrix.FromModel(src); err != nil {
		return nil, err
	}
	for _, field := range []struct {
		key  string
		into *int
		most input.Limit
	}{{keyNext, &run.Next, input.MostInt32()}, {keyRun, &run.chunks, input.MostInt32()}, {keyScored, &run.nll.count, exact}} {
		if *field.into, err = md.Int(field.key); err == nil {
			_, err = input.Count(field.key, *field.into, 0, field.most)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", model.ErrInvalid, err)
		}
	}
	v, _ := md.Get(keyNLL)
	nll, ok := v.([]float64)
	if !ok || len(nll) != 2 || run.Matrix.ChunkSize == 0 {
		return nil, fmt.Errorf("%w: the state of the collection is damaged", model.ErrInvalid)
	}
	run.nll.sum, run.nll.squares = nll[0], nll[1]
	return run, nil
}

// probe is how much of each tensor goes into an identity.
const probe = 4096

// ImportanceID is the identity of a collection that has not begun: what model, text and
// settings it is made of, and what was merged into it before. Of the model's tensors, of which
// src are those in the file, it looks at the beginnings only, of pairs on them at all.
func (s *Session) ImportanceID(ctx context.Context, src gguf.Model, tokens []int32, run *Importance, opt ImportanceOptions) (string, error) {
	hash := sha256.New()
	for _, t := range src.Tensors() {
		fmt.Fprintf(hash, "%q %v %v\n", t.Name, t.Type, t.Shape)
		b := make([]byte, min(probe, t.Size()))
		if n, err := t.Data.ReadAt(b, 0); n < len(b) {
			return "", fmt.Errorf("reading tensor %q: %w", t.Name, err)
		}
		hash.Write(b)
	}
	for _, t := range s.Decoder.Targets() {
		if p := t.Linear.Pair; p != nil {
			fmt.Fprintf(hash, "%q %d %g\n%x %x\n", t.Tensor, p.Rank, p.Scale, p.A.Data, p.B.Data)
		}
	}
	fmt.Fprintln(hash, tokens, opt.First, opt.Output)
	if err := gguf.Write(ctx, hash, run.Matrix.Model()); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

package peft

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"qtool/internal/atomicfile"
	"qtool/internal/convert"
	"qtool/safetensors"
)

// The files of an adapter in the form of the PEFT library.
const (
	peftConfig  = "adapter_config.json"
	peftWeights = "adapter_model.safetensors"
)

// Adapter is a LoRA adapter as the PEFT library stores it: adapter_config.json and
// tensors such as base_model.model.MODULE.lora_A.weight [rank, in] and .lora_B.weight
// [out, rank].
//
// A pair on a parameter that is a stack of matrices has lora_A [experts · rank, in], one expert
// after the other, and lora_B [out, rank · experts], in which the columns of the
// experts take turns. Of several such parameters in a module all but one have as many
// .base_layer before lora_A as lie outside of them; what tells them apart is their shape.
type Adapter struct {
	Config  map[string]any
	Tensors []*safetensors.Tensor
	file    *safetensors.File
}

// Open reads the configuration of an adapter and the header of its weights. The
// caller closes it.
func Open(dir string) (*Adapter, error) {
	p, err := open(dir)
	if err != nil {
		return nil, fmt.Errorf("reading the adapter %s: %w", dir, err)
	}
	return p, nil
}

func open(dir string) (*Adapter, error) {
	fields, err := convert.ReadJSON(filepath.Join(dir, peftConfig))
	if os.IsNotExist(err) {
		return nil, fmt.Errorf("%w: it holds no %s, so it is no PEFT adapter: %w", ErrInvalid, peftConfig, err)
	}
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, peftWeights)
	if _, err := os.Stat(path); err != nil {
		if _, old := os.Stat(filepath.Join(dir, "adapter_model.bin")); old == nil {
			return nil, refuse("its weights are in adapter_model.bin; save them as %s", peftWeights)
		}
		return nil, fmt.Errorf("%w: it holds no %s: %w", ErrInvalid, peftWeights, fs.ErrNotExist)
	}
	f, err := safetensors.Open(path)
	if err != nil {
		return nil, err
	}
	return &Adapter{fields, f.Tensors(), f}, nil
}

// Unchanged fails if the file of an adapter that was opened is not what it was then.
func (p *Adapter) Unchanged() error {
	if p.file == nil {
		return nil
	}
	return p.file.Unchanged()
}

// Close releases the file of an adapter that was opened.
func (p *Adapter) Close() error {
	if p.file == nil {
		return nil
	}
	return p.file.Close()
}

// Write makes the two files in dir, which must exist: both or, after an error, none.
// Files that were there before stay until then.
func (p *Adapter) Write(ctx context.Context, dir string) error {
	text, err := json.MarshalIndent(p.Config, "", "  ")
	if err != nil {
		return fmt.Errorf("writing %s: %w", peftConfig, err)
	}
	weights, err := beginFile(filepath.Join(dir, peftWeights), func(w io.Writer) error {
		return safetensors.Write(ctx, w, p.Tensors, map[string]string{"format": "pt"})
	})
	if err != nil {
		return err
	}
	defer weights.Abort()
	config, err := beginFile(filepath.Join(dir, peftConfig), func(w io.Writer) error {
		_, err := w.Write(append(text, '\n'))
		return err
	})
	if err != nil {
		return err
	}
	return atomicfile.CommitSet(config, weights)
}

// beginFile writes a file that has yet to be committed.
func beginFile(path string, write func(io.Writer) error) (*atomicfile.File, error) {
	f, err := atomicfile.Create(path)
	if err != nil {
		return nil, err
	}
	if err := write(f); err != nil {
		f.Abort()
		return nil, fmt.Errorf("writing %s: %w", path, err)
	}
	return f, nil
}

package peft

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"qtool/internal/atomicfile"
	"qtool/internal/convert"
	"qtool/internal/torchfile"
	"qtool/safetensors"
)

// Form is whose folder an adapter is in.
type Form int

// The forms.
const (
	PEFT Form = iota
	MLX       // of mlx-lm
)

// String names the library.
func (f Form) String() string { return [...]string{"PEFT", "mlx-lm"}[f] }

// The files of an adapter. Both libraries call the configuration alike.
const (
	adapterConfig = "adapter_config.json"
	peftWeights   = "adapter_model.safetensors"
	torchWeights  = "adapter_model.bin" // of PEFT before 0.5
	mlxWeights    = "adapters.safetensors"
)

// weights is the file that Write makes, besides the configuration.
func (f Form) weights() string { return [...]string{peftWeights, mlxWeights}[f] }

// Files are the names of the files that [Adapter.Write] makes.
func (f Form) Files() []string { return []string{adapterConfig, f.weights()} }

// Adapter is a LoRA adapter in a folder.
//
// PEFT has tensors such as base_model.model.MODULE.lora_A.weight [rank, in] and .lora_B.weight
// [out, rank]. A pair on a parameter that is a stack of matrices has lora_A [experts · rank, in],
// one expert after the other, and lora_B [out, rank · experts], in which the columns of the
// experts take turns. Of several such parameters in a module all but one have as many
// .base_layer before lora_A as lie outside of them; what tells them apart is their shape.
//
// mlx-lm has MODULE.lora_a [in, rank] and .lora_b [rank, out], of a stack of experts lora_a
// [experts, rank, in] and lora_b [experts, out, rank], and one scale for all.
type Adapter struct {
	Form    Form
	Config  map[string]any
	Tensors []*safetensors.Tensor
	// Metadata is the text beside the tensors; nil is none.
	Metadata map[string]string
	// File is the one that the tensors are in, "" if the adapter was not opened.
	File string

	file interface {
		io.Closer
		Unchanged() error
	}
}

// IsFolder reports whether path is a folder that says to hold an adapter.
func IsFolder(path string) bool {
	_, err := os.Stat(filepath.Join(path, adapterConfig))
	return err == nil
}

// Open reads the configuration of an adapter and the names and shapes of its weights. The form is
// that whose weights the folder holds. The caller closes it.
func Open(dir string) (*Adapter, error) {
	p, err := open(dir)
	if err != nil {
		return nil, fmt.Errorf("reading the adapter %s: %w", dir, err)
	}
	return p, nil
}

func open(dir string) (*Adapter, error) {
	fields, err := convert.ReadJSON(filepath.Join(dir, adapterConfig))
	if os.IsNotExist(err) {
		return nil, invalid("it holds no %s, so it is no adapter of PEFT or mlx-lm", adapterConfig)
	}
	if err != nil {
		return nil, err
	}
	p := &Adapter{Config: fields}
	for _, name := range []string{peftWeights, mlxWeights, torchWeights} {
		p.File = filepath.Join(dir, name)
		if _, err := os.Stat(p.File); err != nil {
			continue
		}
		if name == mlxWeights {
			p.Form = MLX
		}
		if name == torchWeights {
			return p, p.openTorch()
		}
		f, err := safetensors.Open(p.File)
		if err != nil {
			return nil, err
		}
		p.Tensors, p.Metadata, p.file = f.Tensors(), f.Metadata, f
		return p, nil
	}
	return nil, invalid("it holds none of %s, %s (PEFT) and %s (mlx-lm)", peftWeights, torchWeights, mlxWeights)
}

// openTorch reads the form that PEFT wrote before safetensors.
func (p *Adapter) openTorch() error {
	f, err := torchfile.Open(p.File)
	if err != nil {
		return err
	}
	p.Tensors, p.file = f.Tensors(), f
	return nil
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
		return fmt.Errorf("writing %s: %w", adapterConfig, err)
	}
	weights, err := beginFile(filepath.Join(dir, p.Form.weights()), func(w io.Writer) error {
		return safetensors.Write(ctx, w, p.Tensors, p.Metadata)
	})
	if err != nil {
		return err
	}
	defer weights.Abort()
	config, err := beginFile(filepath.Join(dir, adapterConfig), func(w io.Writer) error {
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

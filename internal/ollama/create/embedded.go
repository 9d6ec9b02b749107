package create

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/atomicfile"
	"qtool/internal/ollama/server"
)

// runEmbedded is Run with the embedded model, which is in a file as long as that takes.
func (j *Job) runEmbedded(ctx context.Context, client *server.Client) (r *Report, err error) {
	m, err := fixtures.Base()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(os.TempDir(), fmt.Sprintf("qtool-embedded-%d.gguf", os.Getpid()))
	if err := gguf.WriteFile(ctx, path, m); err != nil {
		return nil, fmt.Errorf("the embedded model: %w", err)
	}
	defer func() { err = errors.Join(err, atomicfile.Remove(path)) }()
	file := *j
	file.Model = path
	return file.Run(ctx, client)
}

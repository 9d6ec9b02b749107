package infer_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"qtool/gguf"
	"qtool/internal/infer"
	"qtool/internal/kernel/product"
	"qtool/internal/model"
	"qtool/internal/sharedtest"
)

func TestImportanceFitsTheWeightsOfEveryArchitecture(t *testing.T) {
	paths, _ := filepath.Glob(filepath.Join(sharedtest.Path(t, "golden/archs"), "*.gguf"))
	pool := product.NewPool(2)
	defer pool.Close()
	for _, path := range paths {
		if strings.HasSuffix(path, ".lora.gguf") {
			continue
		}
		t.Run(filepath.Base(path), func(t *testing.T) {
			f, err := gguf.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			d, err := model.Load(f, model.Options{})
			if errors.Is(err, model.ErrUnsupported) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			m := collect(t, infer.NewSession(d, nil, pool), sharedtest.Tokens(t), 16, infer.ImportanceOptions{Output: true}).Matrix
			for _, e := range m.Entries() {
				w, ok := f.Tensor(e.Name)
				if !ok {
					t.Errorf("%s is no tensor", e.Name)
					continue
				}
				want := w.Shape[0]
				if len(w.Shape) > 2 {
					want *= w.Shape[2]
				}
				if len(e.Sums) != want {
					t.Errorf("%s: %d values for shape %v", e.Name, len(e.Sums), w.Shape)
				}
			}
			if m.Len() == 0 {
				t.Error("nothing was collected")
			}
		})
	}
}

package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"qtool/gguf"
	"qtool/internal/adapt"
	"qtool/internal/budget"
	"qtool/internal/infer"
	"qtool/internal/kernel/product"
	"qtool/internal/model"
	"qtool/internal/source"
	"qtool/internal/tokenizer"
)

// loaded is a model ready to run.
type loaded struct {
	file    source.Model
	decoder *model.Decoder
	adapter *adapt.Adapter // attached to the decoder; nil without one
	pool    *product.Pool
	memory  *budget.Budget // what there was when the file was open

	tokens    *tokenizer.Tokenizer
	tokensErr error // why tokens is nil
}

func adapterFlag() cli.Flag {
	return inputFlag(&cli.StringFlag{Name: "lora", Usage: "run with the LoRA adapter `A` (a .gguf file)"})
}

// loadForRun opens a model and makes it ready, with the adapter at
// adapterPath unless that is "". check, unless nil, is called before the weights are
// loaded, when a text can be cut into tokens. The caller closes what it gets.
func loadForRun(c *cli.Context, con *console, from source.Source, adapterPath string, check func(*loaded) error) (l *loaded, err error) {
	var a *adapt.Adapter
	if adapterPath, err = withOwnAdapter(con, from.Path, adapterPath); err != nil {
		return nil, err
	}
	if adapterPath != "" {
		if a, err = adapt.Open(adapterPath); err != nil {
			return nil, fmt.Errorf("adapter: %w", err)
		}
	}
	from.Adapters = source.KeepAdapters // a is the model's own
	return loadWith(c, con, from, a, "adapter "+adapterPath, check)
}

// loadWith is loadForRun with an adapter that is open, and how to call it; nil is none.
func loadWith(c *cli.Context, con *console, from source.Source, a *adapt.Adapter, called string, check func(*loaded) error) (l *loaded, err error) {
	l = &loaded{adapter: a}
	if l.file, err = source.Open(from); err != nil {
		return nil, err
	}
	l.memory = budget.New(c.Command.Name, c.Bool("force"), con.sayText)
	if err := l.load(from.Path, check); err != nil {
		l.file.Close()
		return nil, err
	}
	if l.adapter != nil {
		if err := l.adapter.Attach(l.decoder); err != nil {
			l.file.Close()
			return nil, fmt.Errorf("%s: %w", called, err)
		}
	}
	l.pool = product.NewPool(c.Int("threads"))
	return l, nil
}

// withOwnAdapter is the adapter to run a model with: the one that the user names, or the one
// that Ollama runs the model with.
func withOwnAdapter(con *console, path, named string) (string, error) {
	own, err := source.Adapters(path)
	switch {
	case err != nil:
		return "", err
	case len(own) == 0:
		return named, nil
	case len(own) == 1 && named == "":
		con.say("%s: running with the adapter that it has: %s", path, own[0])
		return own[0], nil
	}
	return "", usagef("%s has %d adapter(s) of its own, and only one can be run with: give its weights %s as MODEL, and with --lora one adapter, such as %s",
		path, len(own), source.Paths(path)[0], own[0])
}

func (l *loaded) load(path string, check func(*loaded) error) (err error) {
	if l.tokens, err = loadTokenizer(l.file); err != nil {
		l.tokensErr = fmt.Errorf("%s: %w", path, err)
	}
	if check != nil {
		if err := check(l); err != nil {
			return err
		}
	}
	if err := l.memory.CheckLoading(l.file, path); err != nil {
		return err
	}
	if l.decoder, err = model.Load(l.file, model.Options{}); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// checkText cuts a text into tokens and asks check whether they are enough for a model of
// that context. What is wrong with the model itself is told when it is loaded.
func (l *loaded) checkText(text string, opt tokenizer.EncodeOptions, check func(tokens, context int) error) ([]int32, error) {
	tok, err := l.tokenizer()
	if err != nil {
		return nil, nil
	}
	ids := tok.Encode(text, opt)
	context, err := model.ContextLength(l.file)
	if err != nil {
		return ids, nil
	}
	return ids, check(len(ids), context)
}

func loadTokenizer(m gguf.Model) (*tokenizer.Tokenizer, error) {
	v, err := tokenizer.VocabFromMetadata(m.Metadata())
	if err != nil {
		return nil, err
	}
	return tokenizer.New(v)
}

// tokenizer is the model's own, or the reason why it has none that can be used.
func (l *loaded) tokenizer() (*tokenizer.Tokenizer, error) { return l.tokens, l.tokensErr }

func (l *loaded) session() *infer.Session { return infer.NewSession(l.decoder, l.tokens, l.pool) }

// Close releases the files and the threads.
func (l *loaded) Close() error {
	l.pool.Close()
	return l.file.Close()
}

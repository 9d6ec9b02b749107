package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"qtool/gguf"
	"qtool/internal/adapt"
	"qtool/internal/adapters"
	"qtool/internal/budget"
	"qtool/internal/infer"
	"qtool/internal/kernel/product"
	"qtool/internal/model"
	"qtool/internal/shell"
	"qtool/internal/source"
	"qtool/internal/tokenizer"
)

// loaded is a model ready to run.
type loaded struct {
	file     source.Model
	decoder  *model.Decoder
	adapters *adapters.Set // attached to the decoder by loadForRun
	pool     *product.Pool
	memory   *budget.Budget // what there was when the file was open

	tokens    *tokenizer.Tokenizer
	tokensErr error // why tokens is nil
}

// loadForRun opens a model and makes it ready, with the adapters that it has of its own and
// those that args name, each ADAPTER[:SCALE]. check, unless nil, is called before the weights
// are loaded, when a text can be cut into tokens. The caller closes what it gets.
func loadForRun(c *cli.Context, con *console, from source.Source, args []string, check func(*loaded) error) (l *loaded, err error) {
	list, err := openAdapters(con, from.Path, args)
	if err != nil {
		return nil, err
	}
	from.Adapters = source.KeepAdapters // they are in the list
	if l, err = loadWith(c, con, from, nil, "", check); err != nil {
		return nil, err
	}
	if err = warnOfForeign(c, con, l.file, from.Path, list); err == nil {
		l.adapters, err = adapters.Attach(l.decoder, list...)
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// openAdapters opens the adapters with which Ollama runs the model at path, if any, and those
// that the user names.
func openAdapters(con *console, path string, args []string) (list []*adapters.Adapter, err error) {
	own, err := source.Adapters(path)
	if err != nil {
		return nil, err
	}
	for _, file := range own {
		con.say("%s: running with the adapter that it has: %s", path, file)
	}
	scaled := make([]scaledAdapter, 0, len(own)+len(args))
	for _, file := range own {
		scaled = append(scaled, scaledAdapter{file, 1})
	}
	for _, arg := range args {
		s, err := parseScaled(arg)
		if err != nil {
			return nil, err
		}
		scaled = append(scaled, s)
	}
	for _, s := range scaled {
		a, err := adapters.Open(s.path, s.scale)
		if err != nil {
			return nil, err
		}
		list = append(list, a)
	}
	return list, nil
}

// warnOfForeign says of each adapter that was trained on another base than m which both are.
func warnOfForeign(c *cli.Context, con *console, m gguf.Model, path string, list []*adapters.Adapter) error {
	if len(list) == 0 {
		return nil
	}
	base, err := adapters.NewBase(m)
	if err != nil {
		return err
	}
	for _, a := range list {
		f, err := base.Compare(c.Context, a)
		switch {
		case err != nil:
			return err
		case f == nil:
		case f.Model:
			con.say("warning: %s; what it does here: %s", f.Text, shell.Line("qtool", "lora", "verify", shell.Path(a.Path), "--model", shell.Path(path)))
		default:
			con.sayText(f.Text)
		}
	}
	return nil
}

// loadWith opens a model and makes it ready with an adapter that is open, which is called so;
// nil is none.
func loadWith(c *cli.Context, con *console, from source.Source, a *adapt.Adapter, called string, check func(*loaded) error) (l *loaded, err error) {
	l = new(loaded)
	if l.file, err = source.Open(from); err != nil {
		return nil, err
	}
	l.memory = budget.New(c.Command.Name, c.Bool("force"), con.sayText)
	if err := l.load(from.Path, check); err != nil {
		l.file.Close()
		return nil, err
	}
	if a != nil {
		if err := a.Attach(l.decoder); err != nil {
			l.file.Close()
			return nil, fmt.Errorf("%s: %w", called, err)
		}
	}
	l.pool = product.NewPool(c.Int("threads"))
	return l, nil
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

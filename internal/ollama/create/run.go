package create

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"qtool/internal/atomicfile"
	"qtool/internal/ollama"
	"qtool/internal/ollama/server"
	"qtool/internal/outputs"
	"qtool/internal/source"
)

// ErrAdapterLost is in the chain of the error about a server that made a model without
// the adapter that it was given.
//
//lint:ignore ST1005 Ollama is a name
var ErrAdapterLost = errors.New("Ollama left the adapter out")

// run is a job at work.
type run struct {
	*Job
	ctx    context.Context
	client *server.Client
	base   *base
	report Report
	tags   []server.Tag
}

// Run makes the model, with the server of client; only [Store] needs none.
func (j *Job) Run(ctx context.Context, client *server.Client) (*Report, error) {
	if err := j.check(); err != nil {
		return nil, err
	}
	if j.Model == source.Embedded {
		return j.runEmbedded(ctx, client)
	}
	b, err := j.openBase()
	if err != nil {
		return nil, err
	}
	r := &run{Job: j, ctx: ctx, client: client, base: b, report: Report{Name: j.Name.String(), Via: j.Via}}
	if b.missing != nil { // so they were not compared with it
		for _, path := range j.Adapters {
			if _, err := j.openAdapter(path); err != nil {
				return nil, err
			}
		}
	}
	if j.Via == Store {
		err = r.store()
	} else {
		err = r.withServer()
	}
	if err != nil {
		return nil, err
	}
	return &r.report, nil
}

// withServer asks the server what it is and has, and takes a way that it accepts.
func (r *run) withServer() (err error) {
	if r.report.Version, err = r.client.Version(r.ctx); err != nil {
		return err
	}
	r.report.Server = r.client.String()
	if r.tags, err = r.client.Tags(r.ctx); err != nil {
		return err
	}
	r.report.Replaced = r.tag(r.Name) != nil
	switch {
	case len(r.Adapters) == 0:
		return r.create(Auto)
	case r.Via != Auto:
		return r.by(r.Via)
	case r.Merge == nil:
		if len(r.Adapters) > 1 {
			//lint:ignore ST1005 Ollama is a name
			return fmt.Errorf("Ollama takes one adapter with a model, and %d are given%s", len(r.Adapters), r.instead())
		}
		if err = r.by(Adapter); err != nil && refusesAdapters(err) {
			err = fmt.Errorf("%w; if this server takes no adapters any more, write the model into its store with --via store", err)
		}
		return err
	case len(r.Adapters) > 1 || dropsAdapters(r.report.Version):
		return r.by(Merge)
	}
	if err = r.by(Adapter); err != nil && refusesAdapters(err) {
		r.Observer.note("%v: merging the adapter into the base instead", err)
		return r.by(Merge)
	}
	return err
}

// by takes one way.
func (r *run) by(via Via) error {
	r.report.Via = via
	if via == Merge {
		return r.merge()
	}
	return r.create(Adapter)
}

// adaptersEnd is the first version that, by a public report, makes no models with adapters.
var adaptersEnd = [3]int{0, 34, 1}

// dropsAdapters reports whether a version is one that takes no adapters. Builds without a
// version, 0.0.0, may.
func dropsAdapters(version string) bool {
	number, _, _ := strings.Cut(strings.TrimPrefix(version, "v"), "-")
	fields := strings.Split(number, ".")
	if len(fields) != len(adaptersEnd) {
		return false
	}
	for i, f := range fields {
		n, err := strconv.Atoi(f)
		if err != nil || n < adaptersEnd[i] {
			return false
		}
		if n > adaptersEnd[i] {
			return true
		}
	}
	return true
}

// refusesAdapters reports whether an error may be about adapters as such. A server that
// cannot be reached, or could not take a blob, refuses nothing.
func refusesAdapters(err error) bool {
	e := (*server.Error)(nil)
	return errors.Is(err, ErrAdapterLost) || errors.As(err, &e) && strings.HasPrefix(e.Doing, "creating ")
}

// tag is what the server has under a name; nil if it has nothing.
func (r *run) tag(name ollama.Name) *server.Tag {
	for i := range r.tags {
		if n, err := ollama.ParseName(r.tags[i].Name); err == nil && n.Compare(name) == 0 {
			return &r.tags[i]
		}
	}
	return nil
}

// create has the server make the model of the base, with the adapter if via is [Adapter].
func (r *run) create(via Via) error {
	q := r.request()
	if err := r.setBase(q); err != nil {
		return err
	}
	if via == Adapter {
		digest, err := r.upload(r.Adapters[0])
		if err != nil {
			return err
		}
		q.Adapters = map[string]string{"adapter.gguf": digest}
	}
	if err := r.send(q); err != nil {
		return err
	}
	return r.confirm(via == Adapter)
}

// request is what the job asks for beside weights.
func (r *run) request() *server.Request {
	return &server.Request{Model: r.Name.String(), Template: r.Template, System: r.System, Licenses: r.Licenses, Parameters: r.Parameters}
}

// setBase names the base if the server has it, and sends it if not.
func (r *run) setBase(q *server.Request) error {
	b := r.base
	var name ollama.Name
	if b.missing != nil || b.stored != nil {
		var err error
		if name, err = ollama.ParseName(strings.TrimPrefix(b.name, ollama.Scheme)); err != nil {
			return err
		}
	}
	if b.missing != nil {
		if r.tag(name) == nil {
			return b.missing
		}
		r.Observer.note("%s is not readable here, so adapters were not compared with it; the server has it", b.name)
		q.From = name.String()
		return nil
	}
	if b.stored != nil {
		if tag := r.tag(name); tag != nil && tag.Digest == b.stored.Digest {
			q.From = name.String()
			return nil
		}
		r.Observer.note("the server at %s has another %s or none: it gets the one of this machine", r.client, b.name)
		if err := r.inherit(q); err != nil {
			return err
		}
	}
	return r.uploadFiles(q, b.files, b.blobNames())
}

// inherit gives the request what the stored base has beside its weights.
func (r *run) inherit(q *server.Request) error {
	t, c := r.base.texts, r.base.stored
	if q.Template == "" {
		q.Template = t.Template
	}
	if q.System == "" {
		q.System = t.System
	}
	q.Licenses = append(append([]string{}, t.Licenses...), q.Licenses...)
	params, err := mergeParameters(t.Params, q.Parameters)
	if err != nil {
		return fmt.Errorf("the parameters of %s: %w", r.base.name, err)
	}
	q.Parameters, q.Renderer, q.Parser = params, c.Config.Renderer, c.Config.Parser
	return nil
}

// uploadFiles sends GGUF files to make the model of.
func (r *run) uploadFiles(q *server.Request, paths, names []string) error {
	q.Files = map[string]string{}
	for i, path := range paths {
		digest, err := r.upload(path)
		if err != nil {
			return err
		}
		q.Files[names[i]] = digest
	}
	return nil
}

// upload sends a file, unless the server has it.
func (r *run) upload(path string) (digest string, err error) {
	blob, err := r.digest(path)
	if err != nil {
		return "", err
	}
	bar := r.Observer.begin(blob.Size, "bytes", "sending "+filepath.Base(path))
	defer bar.Done()
	sent, err := r.client.Upload(r.ctx, blob, server.Watch{Sent: bar.Set, Note: func(text string) { bar.Note("%s", text) }})
	if err == nil && !sent {
		bar.Note("%s: the server has it already", path)
	}
	return blob.Digest, err
}

// digest reads a file for its digest.
func (r *run) digest(path string) (server.Blob, error) {
	size, err := sizeOf(path)
	if err != nil {
		return server.Blob{}, err
	}
	bar := r.Observer.begin(size, "bytes", "reading "+filepath.Base(path))
	defer bar.Done()
	var done int64
	digest, n, err := ollama.Digest(r.ctx, path, func(n int64) { done += n; bar.Set(done) })
	return server.Blob{Path: path, Digest: digest, Size: n}, err
}

// send asks for the model and waits until it is made.
func (r *run) send(q *server.Request) error {
	bar := r.Observer.begin(1, "models", "creating "+q.Model)
	defer bar.Done()
	return r.client.Create(r.ctx, *q, server.Watch{
		Status: func(text string) { bar.Remark("%s", text); bar.Set(0) }, Note: func(text string) { bar.Note("%s", text) },
	})
}

// confirm looks at what the server has made: one that knows no adapters any more may make
// a model without, and not say a word.
func (r *run) confirm(adapter bool) error {
	shown, err := r.client.Show(r.ctx, r.Name.String())
	if err != nil {
		return err
	}
	if adapter && !shown.HasAdapter() {
		return fmt.Errorf("%w (version %s): %s is the base alone now; remove it with: ollama rm %[3]s", ErrAdapterLost, r.report.Version, r.Name)
	}
	return nil
}

// merge has the adapters merged into the base and the server make a model of the result.
func (r *run) merge() (err error) {
	q := r.request()
	if r.base.missing != nil {
		return r.base.missing
	}
	if r.base.stored != nil {
		if err := r.inherit(q); err != nil {
			return err
		}
	}
	out := filepath.Join(filepath.Dir(r.Adapters[0]), "."+r.Name.Model+"-"+r.Name.Tag+".merging.gguf")
	if err := outputs.Check(append(append([]string{}, r.base.files...), r.Adapters...), out); err != nil {
		return err
	}
	defer func() {
		if removing := atomicfile.Remove(out); err == nil {
			err = removing
		}
	}()
	if err := r.Merge(r.ctx, r.Model, r.Adapters, out); err != nil {
		return err
	}
	if err := r.uploadFiles(q, []string{out}, []string{"model.gguf"}); err != nil {
		return err
	}
	if err := r.send(q); err != nil {
		return err
	}
	return r.confirm(false)
}

package dataset

import (
	"errors"
	"fmt"

	"qtool/internal/chat"
	"qtool/internal/records"
)

// builder collects examples under the rules for length.
type builder struct {
	opts      *Options
	parser    parser
	enc       encoder
	data      Data
	tally     tally
	prose     *prose // the plain text at hand
	proseFrom int    // its first example
	tooLong   TooLongError
	at        place // of the record at hand
}

func newBuilder(o *Options, forms []form, tok Tokenizer) *builder {
	return &builder{opts: o, parser: parser{opts: o, forms: forms}, enc: encoder{tok, o}, tooLong: TooLongError{Seq: o.Seq, Context: o.Context}}
}

// add takes one record. With SkipBad, one that cannot be used is counted.
func (b *builder) add(r *records.Record) error {
	kept := len(b.data.Examples)
	err := b.skip(b.take(r.At, object(r.Fields), r.Strings))
	b.repeat(kept, r.Weight)
	return err
}

// repeat notes how often the examples from an index on are to be seen.
func (b *builder) repeat(from int, weight float64) {
	if weight == 1 {
		return
	}
	for i := range b.data.Examples[from:] {
		b.data.Examples[from+i].Repeat = float32(weight)
	}
}

// unread counts a record that could not be read at all, or used.
func (b *builder) unread(err error) {
	b.tally.Bad++
	name(&b.tally.BadAt, err.Error())
}

// skip passes an error on, unless it is about one record and such are to be skipped.
func (b *builder) skip(err error) error {
	if !b.opts.SkipBad || !errors.Is(err, ErrFormat) && !errors.Is(err, chat.ErrUnsupported) && !errors.Is(err, chat.ErrTemplate) {
		return err
	}
	b.unread(err)
	return nil
}

func (b *builder) take(at place, o object, strings bool) error {
	b.at = at
	rec, err := b.parser.parse(at, o, strings)
	if err != nil {
		return err
	}
	if _, ids := rec.record.(tokenRecord); !ids {
		if err := b.needVocabulary(at); err != nil {
			return err
		}
	}
	var n notices
	examples, err := rec.tokenize(&b.enc, &n)
	switch {
	case errors.Is(err, chat.ErrUnsupported), errors.Is(err, chat.ErrTemplate): // the record may be right
		return fmt.Errorf("%s: %w", at, err)
	case err != nil:
		return &FormatError{Where: at.String(), Err: err}
	}
	b.count(at, rec, &n)
	_, isText := rec.record.(textRecord)
	c, isChat := rec.record.(chatRecord)
	starts := messageStarts{b.enc.tok.Restarts, isChat && c.Messages[0].Role == "system"}
	kept := len(b.data.Examples)
	for _, ex := range examples {
		b.fit(at, ex, isText, starts)
	}
	if len(examples) == 0 {
		b.tally.Skipped++
	}
	if made := b.data.Examples[kept:]; len(made) > 1 && !isText {
		for i := range made {
			made[i].Record = int32(b.tally.Records)
		}
	}
	return nil
}

// count counts a record that was tokenized.
func (b *builder) count(at place, rec parsed, n *notices) {
	t := &b.tally
	t.Records++
	count(&t.Forms, rec.form, 1)
	t.Borders += n.borders
	t.Separate += n.alone
	if n.empty > 0 {
		t.Empty += n.empty
		name(&t.EmptyAt, at.String())
	}
	if n.unmarked {
		t.unmark++
	}
	if n.templated {
		t.Templated++
		if rec.form != "messages" && rec.form != "sharegpt" {
			t.pairs++
		}
	}
	for _, k := range b.parser.unused {
		t.passOver(k, 1)
	}
	for _, note := range n.notes {
		t.note(note.Code, said{note.Text, at.String(), 1})
	}
}

// fit keeps an example, or what the policy for long ones makes of it.
func (b *builder) fit(at place, ex Example, isText bool, starts messageStarts) {
	t, seq, bos := &b.tally, b.opts.Seq, b.enc.tok.BOS()
	length := ex.Len()
	t.Longest = max(t.Longest, length)
	if length <= seq {
		b.keep(ex)
		return
	}
	policy := b.opts.long(isText)
	switch policy {
	case LongSkip, LongRefuse:
		if policy == LongSkip {
			t.TooLong++
			name(&t.TooLongAt, fmt.Sprintf("%s: %d tokens", at, length))
		}
		b.tooLong.add(at, length)
	case LongSplit:
		t.Windowed++
		for _, w := range ex.split(seq, bos) {
			b.keep(w)
		}
	default:
		cut, ok := ex.cut(seq)
		if policy == LongTruncateLeft {
			cut, ok = ex.cutLeft(seq, bos, starts)
		}
		t.Truncated++
		if !ok || cut.CountScored() < ex.CountScored() {
			t.AnswersCut++
		}
		if !ok {
			t.Skipped++
			return
		}
		b.keep(cut)
	}
}

func (b *builder) needVocabulary(at place) error {
	if b.enc.tok != Untokenized(b.enc.tok.Size()) {
		return nil
	}
	return &FormatError{Where: at.String(), Err: errors.New(`the model has no vocabulary, so text cannot be tokenized; only records of {"input_ids","labels"} can be used`)}
}

func (b *builder) windows() windows {
	return windows{seq: b.opts.Seq, bos: b.enc.tok.BOS(), emit: b.keep}
}

// continueProse takes the next piece of a plain text file, which is one record, no
// markup, and always cut into windows.
func (b *builder) continueProse(r *records.Record) error {
	if b.prose == nil {
		if err := b.needVocabulary(r.At); err != nil {
			return err
		}
		if b.opts.TrainOn.mode == learnAfter {
			return bad(r.At, "a plain text has no answers to find with --train-on %v; give the data as records", b.opts.TrainOn)
		}
		b.prose = &prose{tok: b.enc.tok, windows: b.windows()}
		b.proseFrom, b.at = len(b.data.Examples), r.At
	}
	b.prose.add(r.Text)
	if r.Last {
		b.endProse()
		b.repeat(b.proseFrom, r.Weight)
	}
	return nil
}

// endProse ends the plain text.
func (b *builder) endProse() {
	tokens, t := b.prose.end(), &b.tally
	n := b.prose.windows.emitted
	b.prose = nil
	switch {
	case tokens == 0:
		return
	case n == 0:
		t.Skipped++
	case n > 1:
		t.Windowed++
	}
	t.Records++
	t.Prose++
	count(&t.Forms, "plain-text", 1)
	t.Longest = max(t.Longest, tokens-1)
}

func (b *builder) keep(ex Example) {
	t := &b.tally
	t.Examples++
	t.Tokens += ex.Len()
	t.Scored += ex.CountScored()
	if ex.Weighted() {
		t.Weighted++
	}
	b.data.Examples = append(b.data.Examples, ex)
	if b.opts.KeepPlaces {
		b.data.Places = append(b.data.Places, b.at)
	}
}

// compact moves the tokens of all examples into one array, so that they take no more
// memory than they need.
func (b *builder) compact() {
	total := 0
	for i := range b.data.Examples {
		total += len(b.data.Examples[i].IDs)
	}
	all := make([]int32, 0, total)
	for i := range b.data.Examples {
		ex := &b.data.Examples[i]
		from := len(all)
		all = append(all, ex.IDs...)
		ex.IDs = all[from:len(all):len(all)]
	}
}

// append adds what was made of the records that follow.
func (b *builder) append(o *builder) {
	for i := range o.data.Examples {
		if ex := &o.data.Examples[i]; ex.Record > 0 {
			ex.Record += int32(b.tally.Records)
		}
	}
	b.data.Examples = append(b.data.Examples, o.data.Examples...)
	b.data.Places = append(b.data.Places, o.data.Places...)
	b.tally.add(&o.tally)
	b.tooLong.join(&o.tooLong)
}

// mostShown is among how many examples the one to show is chosen.
const mostShown = 16

// finish closes the data, or says why they cannot be trained on.
func (b *builder) finish(name string) (*Data, error) {
	switch {
	case b.opts.long(false) == LongRefuse && b.tooLong.Records > 0, b.tooLong.Records > 0 && len(b.data.Examples) == 0:
		return nil, &b.tooLong
	case b.tally.Records == 0 && b.tally.Bad == 0:
		return nil, records.Empty(name)
	case b.tally.Records == 0:
		return nil, fmt.Errorf("%s: %w: none of its %d records can be used: %s", name, ErrEmpty, b.tally.Bad, b.tally.BadAt[0])
	case len(b.data.Examples) == 0:
		return nil, fmt.Errorf("%s: %w: none of its %d records has a token to score", name, ErrEmpty, b.tally.Records)
	}
	b.tally.finish(b.opts, b.enc.tok)
	shortest := &b.data.Examples[0]
	for i := range b.data.Examples[:min(mostShown, len(b.data.Examples))] {
		if ex := &b.data.Examples[i]; ex.Len() < shortest.Len() {
			shortest = ex
		}
	}
	b.tally.Shown = Show(shortest, b.enc.tok)
	b.data.Report = b.tally.Report
	return &b.data, nil
}

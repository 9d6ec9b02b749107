package gguf

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"

	"qtool/internal/panics"
	"qtool/internal/printable"
)

// HashError says what in a file is not as it was written. It matches [ErrFormat].
type HashError struct {
	Tensor string // the tensor that differs, or ""
	Key    string // the metadata key that differs, or ""
	Reason string
}

func (e *HashError) Error() string {
	what := "the file"
	switch {
	case e.Tensor != "":
		what = "tensor " + printable.Quote(e.Tensor)
	case e.Key != "":
		what = "metadata key " + printable.Quote(e.Key)
	}
	return fmt.Sprintf("%s %s", what, e.Reason)
}

// Unwrap makes errors.Is(err, ErrFormat) true.
func (e *HashError) Unwrap() error { return ErrFormat }

// HashReport compares a model with the hashes in its metadata.
type HashReport struct {
	// Damage is what differs although the hashes are of this file: damaged, or changed by
	// a program that kept names, types and shapes.
	Damage []*HashError
	// Rewritten says that the hashes are of other tensors, so that they prove nothing:
	// another program made this file and copied them.
	Rewritten bool
	// Added and Removed are keys that another program added or removed.
	Added, Removed []string
}

// Err is the first damage, nil without any.
func (r *HashReport) Err() error {
	switch len(r.Damage) {
	case 0:
		return nil
	case 1:
		return r.Damage[0]
	}
	return fmt.Errorf("%w; so do %d more", r.Damage[0], len(r.Damage)-1)
}

// CheckHashes reads all of m and compares it with the hashes in its metadata. Errors about
// what differs match [ErrFormat] and are or wrap a [*HashError]; a model without hashes
// gives [ErrMissing]. A file that was rewritten, or that has other keys, is an error too; see
// [ExamineHashes] for who allows that.
func CheckHashes(ctx context.Context, m Model) error {
	if !Hashed(m) {
		return fmt.Errorf("it has no hashes to compare with: %w", ErrMissing)
	}
	r, err := ExamineHashes(ctx, m)
	switch {
	case err != nil:
		return err
	case r.Rewritten:
		return &HashError{Reason: "has other tensors than those that its hashes are of"}
	case len(r.Damage) > 0:
		return r.Err()
	case len(r.Added) > 0:
		return &HashError{Key: r.Added[0], Reason: "was not there when the hashes were made"}
	case len(r.Removed) > 0:
		return &HashError{Key: r.Removed[0], Reason: "was there when the hashes were made"}
	}
	return nil
}

// ExamineHashes reads all of m, on as many threads as there are processors, and compares
// it with the hashes in its metadata.
func ExamineHashes(ctx context.Context, m Model) (*HashReport, error) {
	sums, err := hashTensors(ctx, m.Tensors())
	if err != nil {
		return nil, err
	}
	return CompareHashes(ctx, m, sums)
}

// hashTensors hashes several tensors at once.
func hashTensors(ctx context.Context, tensors []*Tensor) ([]string, error) {
	sums, errs := make([]string, len(tensors)), make([]error, len(tensors))
	var next atomic.Int64
	panics.Parallel(min(runtime.GOMAXPROCS(0), len(tensors)), func() {
		defer next.Store(int64(len(tensors))) // the others stop where this one does
		for i := int(next.Add(1)) - 1; i < len(tensors); i = int(next.Add(1)) - 1 {
			if sums[i], errs[i] = tensors[i].SHA256(ctx); errs[i] != nil {
				return
			}
			tensors[i].DontNeed()
		}
	})
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return sums, nil
}

// SHA256 is the hash of the tensor's bytes, in hexadecimal.
func (t *Tensor) SHA256(ctx context.Context) (string, error) {
	return sumOf(ctx, t.Name, t.Data, t.Size())
}

// sumOf hashes size bytes of data.
func sumOf(ctx context.Context, name string, data io.ReaderAt, size int64) (string, error) {
	const chunk = 256 << 10
	h, buf := sha256.New(), make([]byte, min(chunk, size))
	for off := int64(0); off < size; {
		if err := context.Cause(ctx); err != nil {
			return "", err
		}
		n, err := data.ReadAt(buf[:min(chunk, size-off)], off)
		if n == 0 {
			return "", fmt.Errorf("reading tensor %s: got %d of %d bytes: %w", printable.Quote(name), off, size, errors.Join(err, io.ErrUnexpectedEOF))
		}
		h.Write(buf[:n])
		off += int64(n)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// CompareHashes compares m, whose tensors have the given [Tensor.SHA256], with the hashes
// in its metadata.
func CompareHashes(ctx context.Context, m Model, sums []string) (*HashReport, error) {
	c := &hashComparison{ctx: ctx, m: m, sums: sums, report: &HashReport{}}
	if err := c.readLines(); err != nil {
		c.report.Damage = append(c.report.Damage, err)
		return c.report, nil
	}
	metadata, err := c.compareMetadata()
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(metadata, func(e *HashError) bool { return IsHashKey(e.Key) }) {
		c.report.Damage = metadata // who copies hashes leaves them as they are
		return c.report, nil
	}
	tensors, err := c.compareTensors()
	if err != nil {
		return nil, err
	}
	if c.rewritten(len(metadata), len(tensors)) {
		c.report.Rewritten = true
		return c.report, nil
	}
	for _, i := range c.added {
		tensors = append(tensors, &HashError{Tensor: c.m.Tensors()[i].Name, Reason: "is damaged in the header: no tensor was written under this name; get an undamaged copy"})
	}
	for _, l := range c.missing {
		tensors = append(tensors, &HashError{Tensor: l.name, Reason: "is missing: the header is damaged; get an undamaged copy"})
	}
	c.report.Damage = append(metadata, tensors...)
	if f, ok := m.(*File); ok {
		c.report.Damage = append(c.report.Damage, f.unhashed()...)
	}
	return c.report, nil
}

// rewritten tells what another program made from damage: it gives tensors another type, or
// leaves tensors out, and then either changes metadata too or no other tensor. One tensor in
// place of one other is a name that was damaged.
func (c *hashComparison) rewritten(metadata, tensors int) bool {
	if c.changed > 0 {
		return true
	}
	if metadata == 0 && len(c.added) == 1 && len(c.missing) == 1 {
		return false
	}
	return len(c.added)+len(c.missing) > 0 && (metadata > 0 || tensors == 0)
}

// unhashed compares with what is written what no hash is of: the version, places and padding.
func (f *File) unhashed() (damage []*HashError) {
	if f.version != version {
		damage = append(damage, &HashError{Reason: fmt.Sprintf("says that its version is %d, those with hashes have %d: it is damaged", f.version, version)})
	}
	for _, p := range f.padding {
		if p.misplaced != "" {
			damage = append(damage, &HashError{Tensor: p.misplaced, Reason: "is damaged in the header: its data do not begin where those before it end"})
		}
		for _, g := range p.gaps {
			if off, ok := firstSet(p.r, g); ok {
				damage = append(damage, &HashError{Reason: fmt.Sprintf("is damaged: byte %d is padding and is not 0", off)})
			}
		}
	}
	return damage
}

// firstSet finds the first byte of a gap that is not 0.
func firstSet(file io.ReaderAt, gap extent) (off int64, found bool) {
	r := bufio.NewReader(io.NewSectionReader(file, gap.off, gap.size))
	for off = gap.off; ; off++ {
		b, err := r.ReadByte()
		if err != nil {
			return 0, false
		}
		if b != 0 {
			return off, true
		}
	}
}

// hashComparison is one call of [CompareHashes].
type hashComparison struct {
	ctx    context.Context
	m      Model
	sums   []string
	report *HashReport

	lines   []tensorLine
	changed int          // tensors that are there with another type or shape, and other data
	added   []int        // tensors without a line
	missing []tensorLine // without a tensor
}

// readLines reads the lines of tensors and makes sure that those of keys are some.
func (c *hashComparison) readLines() *HashError {
	md := c.m.Metadata()
	for _, key := range []string{keyHashTensors, keyHashMetadata} {
		if _, err := md.Strings(key); err != nil {
			return &HashError{Key: key, Reason: "is missing or not an array of strings, so that the hashes are incomplete"}
		}
	}
	damaged := func(key string, i int, line string) *HashError {
		return &HashError{Key: key, Reason: fmt.Sprintf("is damaged: line %d is %s", i+1, printable.Quote(line))}
	}
	tensors, _ := md.Strings(keyHashTensors)
	for i, line := range tensors {
		l, ok := parseTensorLine(line)
		if !ok {
			return damaged(keyHashTensors, i, line)
		}
		c.lines = append(c.lines, l)
	}
	keys, _ := md.Strings(keyHashMetadata)
	for i, line := range keys {
		if sum, _, ok := strings.Cut(line, " "); !ok || len(sum) != len(noSum) {
			return damaged(keyHashMetadata, i, line)
		}
	}
	return nil
}

const differs = "is not as it was written: it is damaged, or another program changed it and kept the hashes; get an undamaged copy"

// compareMetadata lists the keys whose values or names differ.
func (c *hashComparison) compareMetadata() (damage []*HashError, err error) {
	want, _ := c.m.Metadata().Strings(keyHashMetadata)
	lines, err := metadataLines(c.m.Metadata())
	if err != nil {
		return nil, err
	}
	found := map[string]string{} // key to hash
	for _, l := range lines {
		sum, key, _ := strings.Cut(l, " ")
		found[key] = sum
	}
	removed := map[string]string{} // hash to key
	for _, l := range want {
		sum, key, _ := strings.Cut(l, " ")
		switch there, ok := found[key]; {
		case !ok:
			removed[sum] = key
			c.report.Removed = append(c.report.Removed, key)
		case there != sum:
			damage = append(damage, &HashError{Key: key, Reason: differs})
		}
		delete(found, key)
	}
	for _, kv := range c.m.Metadata().All() {
		sum, added := found[kv.Key]
		if !added {
			continue
		}
		c.report.Added = append(c.report.Added, kv.Key)
		switch was, ok := removed[sum]; {
		case ok && len(was) == len(kv.Key):
			damage = append(damage, &HashError{Key: kv.Key, Reason: fmt.Sprintf("is damaged: its value is that of %s, which is missing", printable.Quote(was))})
		case kv.Key == keyHashTensors:
			damage = append(damage, &HashError{Key: keyHashMetadata, Reason: "is damaged: it lacks a hash of " + keyHashTensors})
		}
	}
	return damage, nil
}

// compareTensors lists the tensors whose data or places in the header differ.
func (c *hashComparison) compareTensors() (damage []*HashError, err error) {
	byName := map[string]tensorLine{}
	for _, l := range c.lines {
		byName[l.name] = l
	}
	for i, t := range c.m.Tensors() {
		l, ok := byName[t.Name]
		delete(byName, t.Name)
		if !ok {
			c.added = append(c.added, i)
			continue
		}
		if l.describes(t) {
			if c.sums[i] != l.sum {
				damage = append(damage, &HashError{Tensor: t.Name, Reason: differs})
			}
			continue
		}
		found, err := c.compareHeader(t, l)
		if err != nil {
			return nil, err
		}
		if found != nil {
			damage = append(damage, found)
		}
	}
	for _, l := range c.lines {
		if _, ok := byName[l.name]; ok {
			c.missing = append(c.missing, l)
		}
	}
	return append(damage, c.renamed()...), nil
}

// compareHeader compares a tensor of another type, shape or size than its line says. If the
// bytes at its place are those of the line, the header is damaged; else it counts as changed.
func (c *hashComparison) compareHeader(t *Tensor, l tensorLine) (*HashError, error) {
	same, err := c.holds(t, l)
	if err != nil {
		return nil, err
	}
	if l.typ != t.Type.String() || l.shape != shapeText(t.Shape) {
		if !same {
			c.changed++
			return nil, nil
		}
		return &HashError{Tensor: t.Name, Reason: fmt.Sprintf("is damaged in the header: its data are those of %s of shape %s, found %v of shape %s; get an undamaged copy",
			l.typ, l.shape, t.Type, shapeText(t.Shape))}, nil
	}
	// The size of an unknown type is not in the file: what is read includes padding.
	if _, padded := firstSet(t.Data, extent{l.bytes, t.Size() - l.bytes}); !same || padded {
		return &HashError{Tensor: t.Name, Reason: differs}, nil
	}
	return nil, nil
}

// renamed finds damaged names: the data of a tensor without a line are those of a line
// without a tensor.
func (c *hashComparison) renamed() (damage []*HashError) {
	bySum := map[string]int{}
	for i, l := range c.missing {
		bySum[l.sum] = i
	}
	var added []int
	found := map[int]bool{}
	for _, i := range c.added {
		t := c.m.Tensors()[i]
		k, ok := bySum[c.sums[i]]
		if !ok || found[k] || !c.missing[k].describes(t) {
			added = append(added, i)
			continue
		}
		found[k] = true
		damage = append(damage, &HashError{Tensor: t.Name, Reason: fmt.Sprintf("is damaged in the header: its data are those of %s; get an undamaged copy", printable.Quote(c.missing[k].name))})
	}
	var missing []tensorLine
	for k, l := range c.missing {
		if !found[k] {
			missing = append(missing, l)
		}
	}
	c.added, c.missing = added, missing
	return damage
}

// holds reports whether the bytes where t begins are those that l is about.
func (c *hashComparison) holds(t *Tensor, l tensorLine) (bool, error) {
	data := t.Data
	switch d := t.Data.(type) {
	case *mapped:
		data = &mapped{d.m, extent{d.off, l.bytes}}
	case *io.SectionReader:
		r, off, _ := d.Outer()
		data = io.NewSectionReader(r, off, l.bytes)
	}
	sum, err := sumOf(c.ctx, t.Name, data, l.bytes)
	if err != nil {
		return false, context.Cause(c.ctx) // it does not reach so far
	}
	return sum == l.sum, nil
}

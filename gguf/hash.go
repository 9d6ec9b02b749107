package gguf

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"slices"
	"strconv"
	"strings"

	"qtool/internal/printable"
)

// The metadata of a file can hold hashes of all else in it. Each is an array of lines:
//
//	qtool.sha256.tensors   SHA-256 of the data, bytes, type, shape, name
//	                       "9f86… 8192 Q4_0 32x256 blk.0.ffn_up.weight"
//	qtool.sha256.metadata  SHA-256 of type and value as in the file, key
//	                       "60ac… general.architecture"
//
// The keys of shards and qtool.sha256.metadata itself have no line. Names, types and
// shapes are there to tell a file that was damaged from one that another program made of
// it with other tensors, copying metadata that it does not know.
const (
	keyHashTensors  = "qtool.sha256.tensors"
	keyHashMetadata = "qtool.sha256.metadata"
)

// WithHashes records hashes of all tensors and metadata in the file, which [CheckHashes]
// compares. The keys come last and replace those that are there. Only [WriteFile] can: what
// is in the header is known at the end.
func WithHashes() WriteOption { return func(o *writeOptions) { o.hashes = true } }

// Hashed reports whether hashes are in the metadata.
func Hashed(m Model) bool {
	return m.Metadata().Has(keyHashTensors) || m.Metadata().Has(keyHashMetadata)
}

// DropHashes removes the hashes from md, for who changes what they are of.
func DropHashes(md *Metadata) {
	md.Delete(keyHashTensors)
	md.Delete(keyHashMetadata)
}

// IsHashKey reports whether key holds hashes.
func IsHashKey(key string) bool { return key == keyHashTensors || key == keyHashMetadata }

// HashCounts tells how many tensors and keys the hashes in md are of; 0, 0 if there are none.
func HashCounts(md *Metadata) (tensors, keys int) {
	t, _ := md.Strings(keyHashTensors)
	k, _ := md.Strings(keyHashMetadata)
	return len(t), len(k)
}

// hashedMetadata is md with hashes: sums are those of the tensors.
func hashedMetadata(md *Metadata, tensors []*Tensor, sums []string) (*Metadata, error) {
	md = md.Clone()
	lines := make([]string, len(tensors))
	for i, t := range tensors {
		lines[i] = tensorLine{sums[i], t.Size(), t.Type.String(), shapeText(t.Shape), t.Name}.String()
	}
	md.Set(keyHashTensors, lines)
	lines, err := metadataLines(md)
	if err != nil {
		return nil, err
	}
	md.Set(keyHashMetadata, lines)
	return md, nil
}

// withHashes prepares the keys of hashes, which are not known yet, or drops those that are
// of other tensors or keys than the file will have.
func (o *writeOptions) withHashes(md *Metadata, tensors []*Tensor) (*Metadata, error) {
	if o.hashes {
		md = md.Clone()
		DropHashes(md)
		return hashedMetadata(md, tensors, slices.Repeat([]string{noSum}, len(tensors)))
	}
	if !md.Has(keyHashTensors) && !md.Has(keyHashMetadata) || hashesFit(md, tensors) {
		return md, nil
	}
	md = md.Clone()
	DropHashes(md)
	return md, nil
}

// hashesFit reports whether the hashes in md can be of these tensors: the list of tensors
// and every key, in whatever order, are those that were hashed.
func hashesFit(md *Metadata, tensors []*Tensor) bool {
	lines, err := md.Strings(keyHashTensors)
	if err != nil || len(lines) != len(tensors) {
		return false
	}
	for i, t := range tensors {
		l, ok := parseTensorLine(lines[i])
		if !ok || l.name != t.Name || !l.describes(t) {
			return false
		}
	}
	want, err := md.Strings(keyHashMetadata)
	if err != nil {
		return false
	}
	found, err := metadataLines(md)
	return err == nil && slices.Equal(slices.Sorted(slices.Values(found)), slices.Sorted(slices.Values(want)))
}

// noSum has the length of a hash.
var noSum = strings.Repeat("0", 2*sha256.Size)

// tensorLine is a line of qtool.sha256.tensors.
type tensorLine struct {
	sum   string
	bytes int64
	typ   string
	shape string
	name  string
}

func (l tensorLine) String() string {
	return fmt.Sprintf("%s %d %s %s %s", l.sum, l.bytes, l.typ, l.shape, l.name)
}

// parseTensorLine reads a line; the name, which may hold anything, is the rest of it.
func parseTensorLine(s string) (l tensorLine, ok bool) {
	fields := strings.SplitN(s, " ", 5)
	if len(fields) < 5 || len(fields[0]) != len(noSum) {
		return l, false
	}
	bytes, err := strconv.ParseInt(fields[1], 10, 64)
	return tensorLine{fields[0], bytes, fields[2], fields[3], fields[4]}, err == nil && bytes >= 0
}

// describes reports whether t has the type, shape and size of the line.
func (l tensorLine) describes(t *Tensor) bool {
	return l.typ == t.Type.String() && l.shape == shapeText(t.Shape) && l.bytes == t.Size()
}

func shapeText(shape []int) string {
	texts := make([]string, len(shape))
	for i, n := range shape {
		texts[i] = strconv.Itoa(n)
	}
	return strings.Join(texts, "x")
}

// metadataLines are the lines of qtool.sha256.metadata for md.
func metadataLines(md *Metadata) ([]string, error) {
	var lines []string
	for _, kv := range md.All() {
		switch kv.Key {
		case keyHashMetadata, keySplitNo, keySplitCount, keySplitTensors:
			continue
		}
		sum, err := valueSum(kv)
		if err != nil {
			return nil, err
		}
		lines = append(lines, sum+" "+kv.Key)
	}
	return lines, nil
}

// SHA256 is a hash of the keys that include chooses: of their names, types and values,
// whatever their order.
func (md *Metadata) SHA256(include func(key string) bool) (string, error) {
	var lines []string
	for _, kv := range md.All() {
		if !include(kv.Key) {
			continue
		}
		sum, err := valueSum(kv)
		if err != nil {
			return "", err
		}
		lines = append(lines, sum+" "+kv.Key+"\n")
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "")))
	return hex.EncodeToString(sum[:]), nil
}

// valueSum is the hash of a value as it is written, its type before it.
func valueSum(kv KV) (string, error) {
	t, err := valueTypeOf(kv.Value)
	if err != nil {
		return "", fmt.Errorf("metadata key %s: %w", printable.Quote(kv.Key), err)
	}
	b, err := appendValue(binary.LittleEndian.AppendUint32(nil, uint32(t)), t, kv.Value, 1)
	if err != nil {
		return "", fmt.Errorf("metadata key %s: %w", printable.Quote(kv.Key), err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// hashingWriter writes an image and hashes its tensors in the order of their places: a part
// waits for those before it, once it is written.
type hashingWriter struct {
	dst io.WriterAt
	*inOrder
	sums *tensorSums
}

func newHashingWriter(dst io.WriterAt, im *image) *hashingWriter {
	sums := &tensorSums{im: im, hash: sha256.New()}
	return &hashingWriter{dst, newInOrder(sums), sums}
}

// WriteAt writes b and hashes what tensors have of it.
func (w *hashingWriter) WriteAt(b []byte, off int64) (int, error) {
	if n, err := w.dst.WriteAt(b, off); err != nil {
		return n, err
	}
	return w.inOrder.WriteAt(b, off)
}

// hashedImage writes im to dst and, if asked to, keeps the hashes of its tensors.
func (w *writer) hashedImage(dst io.WriterAt, im *image, hashes bool) error {
	if !hashes {
		return w.image(dst, im)
	}
	h := newHashingWriter(dst, im)
	if err := w.image(h, im); err != nil {
		return err
	}
	w.sums = append(w.sums, h.sums.sums...)
	return nil
}

// writeHashes replaces the header of the first shard by one with the hashes of all tensors
// of the model, which has the same length.
func (s *shard) writeHashes(dst io.WriterAt, all []*Tensor, sums []string) error {
	md, err := hashedMetadata(s.md, all, sums)
	if err != nil {
		return err
	}
	im, err := layOut(md, s.tensors)
	if err != nil {
		return err
	}
	_, err = dst.WriteAt(im.header, 0)
	return err
}

// tensorSums takes the bytes of an image in order.
type tensorSums struct {
	im   *image
	at   int64
	hash hash.Hash // of the tensor len(sums)
	sums []string
}

func (s *tensorSums) Write(b []byte) (int, error) {
	all := len(b)
	for i := len(s.sums); i < len(s.im.tensors); i = len(s.sums) {
		start, size := s.im.starts[i], s.im.sizes[i]
		gap := min(int64(len(b)), max(0, start-s.at))
		b, s.at = b[gap:], s.at+gap
		if s.at < start {
			break
		}
		take := min(int64(len(b)), start+size-s.at)
		s.hash.Write(b[:take])
		b, s.at = b[take:], s.at+take
		if s.at < start+size {
			break
		}
		s.sums = append(s.sums, hex.EncodeToString(s.hash.Sum(nil)))
		s.hash.Reset()
	}
	s.at += int64(len(b))
	return all, nil
}

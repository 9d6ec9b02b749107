package safetensors

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"
)

// jsonReader reads JSON token by token, because the usual decoders let a
// repeated key silently win over the first.
type jsonReader struct {
	path string
	base int64 // offset of the JSON in the file
	text []byte
	dec  *json.Decoder
}

func newJSONReader(path string, base int64, text []byte) *jsonReader {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	return &jsonReader{path, base, text, dec}
}

func (j *jsonReader) errorf(reading, format string, args ...any) error {
	return &FormatError{j.path, j.base + j.dec.InputOffset(), reading, fmt.Sprintf(format, args...)}
}

func (j *jsonReader) token(reading string) (json.Token, error) {
	t, err := j.dec.Token()
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return nil, j.errorf(reading, "the JSON ends too early")
	case err != nil:
		return nil, j.errorf(reading, "%v", err)
	}
	return t, nil
}

func (j *jsonReader) delim(reading string, want json.Delim, what string) error {
	t, err := j.token(reading)
	if err != nil {
		return err
	}
	if t != want {
		return j.errorf(reading, "expected %s, found %s", what, describe(t))
	}
	return nil
}

// object reads an object, calling member for each key with the reader before
// the value. A key that comes twice is refused.
func (j *jsonReader) object(reading string, member func(key string) error) error {
	if err := j.delim(reading, '{', "an object"); err != nil {
		return err
	}
	seen := map[string]bool{}
	for j.dec.More() {
		t, err := j.token(reading)
		if err != nil {
			return err
		}
		key := t.(string) // the decoder lets nothing else stand for a key
		if seen[key] {
			return j.errorf(reading, "the key %q comes twice", key)
		}
		seen[key] = true
		if err := member(key); err != nil {
			return err
		}
	}
	return j.delim(reading, '}', "the end of the object")
}

func (j *jsonReader) str(reading string) (string, error) {
	t, err := j.token(reading)
	if err != nil {
		return "", err
	}
	s, ok := t.(string)
	if !ok {
		return "", j.errorf(reading, "expected a string, found %s", describe(t))
	}
	return s, nil
}

// integers reads an array of non-negative integers.
func (j *jsonReader) integers(reading string) ([]int64, error) {
	if err := j.delim(reading, '[', "an array of integers"); err != nil {
		return nil, err
	}
	out := []int64{}
	for j.dec.More() {
		t, err := j.token(reading)
		if err != nil {
			return nil, err
		}
		n, ok := t.(json.Number)
		if !ok {
			return nil, j.errorf(reading, "expected an integer, found %s", describe(t))
		}
		v, err := strconv.ParseUint(string(n), 10, 63)
		if err != nil {
			return nil, j.errorf(reading, "expected an integer from 0 to 2^63-1, found %s", n)
		}
		out = append(out, int64(v))
	}
	return out, j.delim(reading, ']', "the end of the array")
}

// skip passes over one value of any kind.
func (j *jsonReader) skip(reading string) error {
	var v json.RawMessage
	if err := j.dec.Decode(&v); err != nil {
		return j.errorf(reading, "%v", err)
	}
	return nil
}

// end checks that only white space follows.
func (j *jsonReader) end(reading string) error {
	rest := j.text[j.dec.InputOffset():]
	if trimmed := bytes.TrimLeft(rest, " \t\r\n"); len(trimmed) > 0 {
		return j.errorf(reading, "expected only spaces after the object, found %q", trimmed[:min(16, len(trimmed))])
	}
	return nil
}

func (j *jsonReader) validUTF8(reading string) error {
	if !utf8.Valid(j.text) {
		return j.errorf(reading, "the JSON is not valid UTF-8")
	}
	return nil
}

func describe(t json.Token) string {
	switch v := t.(type) {
	case nil:
		return "null"
	case json.Delim:
		return strconv.Quote(v.String())
	case string:
		if len(v) > 64 {
			v = v[:64] + "…"
		}
		return strconv.Quote(v)
	}
	return fmt.Sprint(t)
}

package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"maps"
	"slices"
	"testing"
)

// jsonChanges is the number of operations of [program.json].
const jsonChanges = 7

// tamperedJSON makes changes in a JSON text: in its values, then anywhere in its bytes.
func (p *program) tamperedJSON(b []byte) []byte {
	var v any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return p.rawAll(b)
	}
	for p.more() {
		op := p.pick(jsonChanges + 1)
		if op == jsonChanges {
			return p.rawAll(marshalled(v))
		}
		v = p.json(v, op)
	}
	return marshalled(v)
}

func marshalled(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// json makes one change in v or in something that it contains.
func (p *program) json(v any, op int) any {
	switch x := v.(type) {
	case map[string]any:
		if keys := slices.Sorted(maps.Keys(x)); len(keys) > 0 && p.pick(8) > 0 {
			k := one(p, keys)
			switch op {
			case 0:
				delete(x, k)
			case 1:
				x[one(p, words)] = x[k]
			case 2: // the values of two keys, exchanged
				other := one(p, keys)
				x[k], x[other] = x[other], x[k]
			default:
				x[k] = p.json(x[k], op)
			}
			return x
		}
	case []any:
		if len(x) > 0 && p.pick(8) > 0 {
			i := p.pick(len(x))
			switch op {
			case 0:
				return slices.Delete(x, i, i+1)
			case 1:
				return append(x, x[i])
			case 2:
				return x[:i]
			}
			x[i] = p.json(x[i], op)
			return x
		}
	case json.Number:
		if n, err := x.Int64(); err == nil && op < 5 {
			return json.Number(one(p, []string{"-1", "1e400", "0.5", "-0", "9223372036854775807", "18446744073709551616", "1e18"}))
		} else if err == nil {
			return int64(p.number(uint64(n)))
		}
	}
	switch op {
	case 3:
		return []any{v, v}
	case 4:
		return map[string]any{one(p, words): v}
	case 5:
		return one(p, []any{nil, true, "", -1, 0, []any{}, map[string]any{}, json.Number("1e999")})
	}
	return one(p, words)
}

// tamperedSafetensors makes changes in the header of a safetensors file, or anywhere.
func (p *program) tamperedSafetensors(b []byte) []byte {
	if p.pick(4) == 0 {
		return p.rawAll(b)
	}
	n := binary.LittleEndian.Uint64(b)
	header := p.tamperedJSON(b[8 : 8+n])
	return append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...), b[8+n:]...)
}

func TestProgramsOfNothingChangeNothing(t *testing.T) {
	for _, m := range fuzzModels() {
		if whole := encoded(m); !bytes.Equal(whole, (&program{}).tampered(forge(m))) {
			t.Error("a model is put together as another file than it was")
		}
	}
	if b := []byte(`{"a":[1,2.5,"x",null]}`); !bytes.Equal(b, (&program{}).tamperedJSON(b)) {
		t.Error("JSON is put together as another text than it was")
	}
}

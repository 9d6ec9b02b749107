package torchfile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	"qtool/internal/printable"
	"qtool/safetensors"
)

// What a pickle is made of here, besides string, int64, float64, bool and nil.
type (
	tuple  []any
	list   struct{ items []any }
	dict   struct{ items []item }
	item   struct{ key, value any }
	markOf struct{}
	// storage is a run of elements in an entry of the zip.
	storage struct {
		key      string
		dtype    safetensors.DType
		elements int64
	}
	// tensor is elements of a storage.
	tensor struct {
		storage *storage
		offset  int64
		shape   []int
		strides []int64
	}
	// global is a name that the pickle may use.
	global struct {
		name  string
		dtype safetensors.DType // of a storage
		kind  globalKind
	}
	globalKind int
)

const (
	storageType globalKind = iota
	orderedDict
	rebuildTensor
	rebuildParameter
)

// globals are the names that a dictionary of tensors needs.
var globals = map[string]*global{
	"collections.OrderedDict":         {kind: orderedDict},
	"torch._utils._rebuild_tensor_v2": {kind: rebuildTensor},
	"torch._utils._rebuild_parameter": {kind: rebuildParameter},
	"torch.FloatStorage":              {dtype: safetensors.F32},
	"torch.HalfStorage":               {dtype: safetensors.F16},
	"torch.BFloat16Storage":           {dtype: safetensors.BF16},
	"torch.DoubleStorage":             {dtype: safetensors.F64},
	"torch.Float8_e4m3fnStorage":      {dtype: safetensors.F8_E4M3},
	"torch.Float8_e5m2Storage":        {dtype: safetensors.F8_E5M2},
	"torch.CharStorage":               {dtype: safetensors.I8},
	"torch.ByteStorage":               {dtype: safetensors.U8},
	"torch.ShortStorage":              {dtype: safetensors.I16},
	"torch.IntStorage":                {dtype: safetensors.I32},
	"torch.LongStorage":               {dtype: safetensors.I64},
	"torch.BoolStorage":               {dtype: safetensors.BOOL},
}

func init() {
	for name, g := range globals {
		g.name = name
	}
}

// kindOf calls a value by its kind, for errors.
func kindOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case string:
		return "a string"
	case int64:
		return "an integer"
	case float64:
		return "a number"
	case bool:
		return "a boolean"
	case tuple:
		return "a tuple"
	case *list:
		return "a list"
	case *dict:
		return "a dictionary"
	case *tensor:
		return "a tensor"
	case *storage:
		return "a storage"
	case *global:
		return v.name
	}
	return "a mark"
}

// The limits of a pickle: deep stacks and long names do not occur.
const (
	maxStack = 1 << 17
	maxAxes  = 8
)

// machine runs the opcodes of a pickle.
type machine struct {
	text  []byte
	at    int
	stack []any
	memo  map[uint32]any
}

// unpickle gives the value of a pickle.
func unpickle(text []byte) (v any, err error) {
	m := &machine{text: text, memo: map[uint32]any{}}
	for {
		at := m.at
		op, err := m.take(1)
		if err != nil {
			return nil, err
		}
		if op[0] == '.' {
			break
		}
		if err := m.step(op[0]); err != nil {
			return nil, fmt.Errorf("%w (opcode %#02x at byte %d)", err, op[0], at)
		}
		if len(m.stack) > maxStack {
			return nil, refuse("its stack has more than %d values", maxStack)
		}
	}
	if len(m.stack) != 1 {
		return nil, invalid("it ends with %d values, not one", len(m.stack))
	}
	if m.at != len(text) {
		return nil, invalid("%d bytes follow its end", len(text)-m.at)
	}
	return m.stack[0], nil
}

func (m *machine) take(n int) ([]byte, error) {
	if n < 0 || n > len(m.text)-m.at {
		return nil, invalid("it ends within an opcode, at byte %d of %d", m.at, len(m.text))
	}
	b := m.text[m.at:][:n]
	m.at += n
	return b, nil
}

// number takes a little-endian integer of n bytes without sign.
func (m *machine) number(n int) (uint64, error) {
	b, err := m.take(n)
	if err != nil {
		return 0, err
	}
	var full [8]byte
	copy(full[:], b)
	return binary.LittleEndian.Uint64(full[:]), nil
}

// counted takes bytes after their number, which has n bytes.
func (m *machine) counted(n int) ([]byte, error) {
	length, err := m.number(n)
	if err != nil {
		return nil, err
	}
	if length > uint64(len(m.text)) {
		return nil, invalid("it claims %d bytes, and has %d", length, len(m.text))
	}
	return m.take(int(length))
}

func (m *machine) line() (string, error) {
	n := bytes.IndexByte(m.text[m.at:], '\n')
	if n < 0 {
		return "", invalid("a line has no end")
	}
	b, _ := m.take(n + 1)
	return string(b[:n]), nil
}

func (m *machine) push(v any) { m.stack = append(m.stack, v) }

func (m *machine) pop() (any, error) {
	if len(m.stack) == 0 {
		return nil, invalid("its stack is empty")
	}
	v := m.stack[len(m.stack)-1]
	m.stack = m.stack[:len(m.stack)-1]
	if v == (markOf{}) {
		return nil, invalid("it uses a mark as a value")
	}
	return v, nil
}

// popped takes the last n values.
func (m *machine) popped(n int) ([]any, error) {
	out := make([]any, n)
	for i := n - 1; i >= 0; i-- {
		v, err := m.pop()
		if err != nil {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}

// marked takes the values after the last mark, and the mark.
func (m *machine) marked() ([]any, error) {
	for i := len(m.stack) - 1; i >= 0; i-- {
		if m.stack[i] == (markOf{}) {
			out := append([]any(nil), m.stack[i+1:]...)
			m.stack = m.stack[:i]
			return out, nil
		}
	}
	return nil, invalid("it has no mark")
}

// top is the last value, which stays.
func (m *machine) top() (any, error) {
	v, err := m.pop()
	if err == nil {
		m.push(v)
	}
	return v, err
}

// step runs one opcode, whose byte is taken.
func (m *machine) step(op byte) error {
	switch op {
	case 0x80: // PROTO
		v, err := m.number(1)
		if err == nil && (v < 2 || v > 5) {
			err = refuse("its protocol is %d; 2 to 5 are read", v)
		}
		return err
	case 0x95: // FRAME: how much follows, which matters to streams alone
		_, err := m.take(8)
		return err
	case '(':
		m.push(markOf{})
	case '}':
		m.push(&dict{})
	case ']':
		m.push(&list{})
	case ')':
		m.push(tuple(nil))
	case 'N':
		m.push(nil)
	case 0x88, 0x89: // NEWTRUE, NEWFALSE
		m.push(op == 0x88)
	case 'X', 'T', 'U', 0x8c, 0x8d: // strings
		b, err := m.counted(map[byte]int{'X': 4, 'T': 4, 'U': 1, 0x8c: 1, 0x8d: 8}[op])
		if err != nil {
			return err
		}
		m.push(string(b))
	case 'J', 'K', 'M', 'G', 0x8a:
		return m.pushNumber(op)
	case 't', 0x85, 0x86, 0x87:
		values, err := m.tupleOf(op)
		if err != nil {
			return err
		}
		m.push(tuple(values))
	case 'q', 'r', 0x94, 'h', 'j':
		return m.remember(op)
	case 'c', 0x93:
		return m.pushGlobal(op)
	case 'Q':
		return m.persistent()
	case 'R':
		return m.reduce()
	case 'b':
		return m.build()
	case 's', 'u', 'a', 'e':
		return m.fill(op)
	default:
		return refuse("its pickle does something that a dictionary of tensors does not need")
	}
	return nil
}

func (m *machine) pushNumber(op byte) error {
	switch op {
	case 'J': // 4 bytes with sign
		v, err := m.number(4)
		m.push(int64(int32(v)))
		return err
	case 'K', 'M': // 1, 2 bytes
		v, err := m.number(map[byte]int{'K': 1, 'M': 2}[op])
		m.push(int64(v))
		return err
	case 'G': // 8 bytes, big-endian
		b, err := m.take(8)
		if err == nil {
			m.push(math.Float64frombits(binary.BigEndian.Uint64(b)))
		}
		return err
	}
	b, err := m.counted(1) // LONG1, in two's complement
	if err != nil {
		return err
	}
	if len(b) > 8 {
		return refuse("it has an integer of %d bytes", len(b))
	}
	var full [8]byte
	if n := copy(full[:], b); n > 0 && n < 8 && b[n-1] > 0x7f {
		for i := n; i < 8; i++ {
			full[i] = 0xff
		}
	}
	m.push(int64(binary.LittleEndian.Uint64(full[:])))
	return nil
}

func (m *machine) tupleOf(op byte) ([]any, error) {
	if op == 't' {
		return m.marked()
	}
	return m.popped(int(op - 0x84))
}

// remember puts the last value into the memo, or takes one out of it.
func (m *machine) remember(op byte) error {
	index := uint64(len(m.memo))
	if op != 0x94 {
		var err error
		if index, err = m.number(map[byte]int{'q': 1, 'h': 1, 'r': 4, 'j': 4}[op]); err != nil {
			return err
		}
	}
	if op == 'h' || op == 'j' {
		v, ok := m.memo[uint32(index)]
		if !ok {
			return invalid("it takes value %d of its memo, which is not there", index)
		}
		m.push(v)
		return nil
	}
	v, err := m.top()
	m.memo[uint32(index)] = v
	return err
}

func (m *machine) pushGlobal(op byte) error {
	var module, name string
	if op == 'c' {
		var err error
		if module, err = m.line(); err != nil {
			return err
		}
		if name, err = m.line(); err != nil {
			return err
		}
	} else {
		values, err := m.popped(2)
		if err != nil {
			return err
		}
		var ok, okName bool
		module, ok = values[0].(string)
		if name, okName = values[1].(string); !ok || !okName {
			return invalid("a global's name is %s", kindOf(values[0]))
		}
	}
	g := globals[module+"."+name]
	if g == nil {
		return refuse("its pickle asks for %s, which is not executed: it is more than a dictionary of tensors", printable.Quote(module+"."+name))
	}
	m.push(g)
	return nil
}

// persistent makes a storage of ("storage", type, key, location, elements).
func (m *machine) persistent() error {
	v, err := m.pop()
	if err != nil {
		return err
	}
	id, _ := v.(tuple)
	if len(id) != 5 || id[0] != "storage" {
		return invalid("a persistent value is no storage")
	}
	typ, isType := id[1].(*global)
	key, isKey := id[2].(string)
	n, isCount := id[4].(int64)
	if !isType || typ.kind != storageType || !isKey || !isCount {
		return invalid("a storage is described by %s, %s, %s", kindOf(id[1]), kindOf(id[2]), kindOf(id[4]))
	}
	m.push(&storage{key, typ.dtype, n})
	return nil
}

// reduce calls a global with a tuple.
func (m *machine) reduce() error {
	values, err := m.popped(2)
	if err != nil {
		return err
	}
	g, isGlobal := values[0].(*global)
	args, isTuple := values[1].(tuple)
	if !isGlobal || !isTuple {
		return invalid("it calls %s with %s", kindOf(values[0]), kindOf(values[1]))
	}
	switch g.kind {
	case orderedDict:
		if len(args) > 0 {
			return refuse("it makes an OrderedDict of arguments")
		}
		m.push(&dict{})
		return nil
	case rebuildParameter:
		if len(args) > 0 {
			if t, ok := args[0].(*tensor); ok {
				m.push(t)
				return nil
			}
		}
	case rebuildTensor:
		if t := tensorOf(args); t != nil {
			m.push(t)
			return nil
		}
	}
	return invalid("it calls %s with arguments that do not fit", g.name)
}

// tensorOf makes one of (storage, offset, shape, strides, …); nil if that is not what args are.
func tensorOf(args tuple) *tensor {
	if len(args) < 4 {
		return nil
	}
	s, isStorage := args[0].(*storage)
	offset, isOffset := args[1].(int64)
	shape, isShape := args[2].(tuple)
	strides, isStrides := args[3].(tuple)
	if !isStorage || !isOffset || !isShape || !isStrides || len(shape) != len(strides) || len(shape) > maxAxes {
		return nil
	}
	t := &tensor{storage: s, offset: offset}
	for i := range shape {
		n, isSize := shape[i].(int64)
		step, isStep := strides[i].(int64)
		if !isSize || !isStep || n < 0 || n > math.MaxInt32 {
			return nil
		}
		t.shape, t.strides = append(t.shape, int(n)), append(t.strides, step)
	}
	return t
}

// build drops the attributes of a dictionary, such as the _metadata of a state_dict.
func (m *machine) build() error {
	if _, err := m.pop(); err != nil {
		return err
	}
	v, err := m.top()
	if err != nil {
		return err
	}
	if _, ok := v.(*dict); !ok {
		return refuse("it sets the state of %s", kindOf(v))
	}
	return nil
}

// fill adds values to a dictionary or a list.
func (m *machine) fill(op byte) error {
	values, err := m.filling(op)
	if err != nil {
		return err
	}
	into, err := m.top()
	if err != nil {
		return err
	}
	if op == 'a' || op == 'e' {
		l, ok := into.(*list)
		if !ok {
			return invalid("it appends to %s", kindOf(into))
		}
		l.items = append(l.items, values...)
		return nil
	}
	d, ok := into.(*dict)
	if !ok || len(values)%2 != 0 {
		return invalid("it sets items of %s, %d values", kindOf(into), len(values))
	}
	for i := 0; i < len(values); i += 2 {
		d.items = append(d.items, item{values[i], values[i+1]})
	}
	return nil
}

func (m *machine) filling(op byte) ([]any, error) {
	switch op {
	case 'a':
		return m.popped(1)
	case 's':
		return m.popped(2)
	}
	return m.marked()
}

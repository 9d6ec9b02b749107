package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"qtool/gguf"
)

// forged is a GGUF file taken apart, which may be put together again with anything in
// it, valid or not.
type forged struct {
	version uint32
	order   interface {
		binary.ByteOrder
		binary.AppendByteOrder
	}
	keys    []gguf.KV
	tensors []forgedTensor
	// How many more keys and tensors the header tells than there are.
	moreKeys, moreTensors uint64
}

type forgedTensor struct {
	name  string
	typ   uint32
	shape []uint64
	data  []byte
	shift uint64 // of the offset, from where the data is
}

func forge(m gguf.Model) *forged {
	f := &forged{version: 3, order: binary.LittleEndian, keys: slices.Clone(m.Metadata().All())}
	for _, t := range m.Tensors() {
		x := forgedTensor{name: t.Name, typ: uint32(t.Type)}
		for _, n := range t.Shape {
			x.shape = append(x.shape, uint64(n))
		}
		b, err := t.Bytes()
		if err != nil {
			panic(err)
		}
		x.data = slices.Clone(b)
		f.tensors = append(f.tensors, x)
	}
	return f
}

// takenApart reads a file that a command made.
func takenApart(t testing.TB, b []byte) *forged {
	t.Helper()
	f, err := gguf.Parse(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return forge(f)
}

// clone copies a taken-apart file so far that changes do not meet the original.
func (f *forged) clone() *forged {
	c := *f
	c.keys = slices.Clone(f.keys)
	c.tensors = slices.Clone(f.tensors)
	for i := range c.tensors {
		c.tensors[i].data = slices.Clone(c.tensors[i].data)
	}
	return &c
}

// alignment is what a reader would take.
func (f *forged) alignment() int {
	for _, kv := range f.keys {
		if n, ok := kv.Value.(uint32); ok && kv.Key == "general.alignment" && n > 0 && n <= 4096 {
			return int(n)
		}
	}
	return 32
}

func (f *forged) bytes() []byte {
	b := f.order.AppendUint32([]byte("GGUF"), f.version)
	b = f.count(b, uint64(len(f.tensors))+f.moreTensors)
	b = f.count(b, uint64(len(f.keys))+f.moreKeys)
	for _, kv := range f.keys {
		b = f.str(b, kv.Key)
		v := reflect.ValueOf(kv.Value)
		b = f.value(f.order.AppendUint32(b, typeNumber(v.Type())), v)
	}
	offset, align := uint64(0), uint64(f.alignment())
	for _, t := range f.tensors {
		b = f.order.AppendUint32(f.str(b, t.name), uint32(len(t.shape)))
		for _, n := range t.shape {
			b = f.count(b, n)
		}
		b = f.order.AppendUint64(f.order.AppendUint32(b, t.typ), offset+t.shift)
		offset += (uint64(len(t.data)) + align - 1) / align * align
	}
	pad := func() { b = append(b, make([]byte, (int(align)-len(b)%int(align))%int(align))...) }
	pad()
	for _, t := range f.tensors {
		b = append(b, t.data...)
		pad()
	}
	return b
}

// count appends a number that version 1 keeps in 32 bits.
func (f *forged) count(b []byte, n uint64) []byte {
	if f.version == 1 {
		return f.order.AppendUint32(b, uint32(n))
	}
	return f.order.AppendUint64(b, n)
}

func (f *forged) str(b []byte, s string) []byte { return append(f.count(b, uint64(len(s))), s...) }

func (f *forged) value(b []byte, v reflect.Value) []byte {
	switch v.Kind() {
	case reflect.Interface: // an element of gguf.Arrays
		return f.value(b, v.Elem())
	case reflect.String:
		return f.str(b, v.String())
	case reflect.Slice:
		b = f.count(f.order.AppendUint32(b, typeNumber(v.Type().Elem())), uint64(v.Len()))
		for i := range v.Len() {
			b = f.value(b, v.Index(i))
		}
		return b
	}
	b, err := binary.Append(b, f.order, v.Interface())
	if err != nil {
		panic(err)
	}
	return b
}

func typeNumber(t reflect.Type) uint32 {
	if t.Kind() == reflect.Slice || t.Kind() == reflect.Interface {
		return uint32(gguf.TypeArray)
	}
	for v, n := range map[gguf.Value]gguf.ValueType{
		uint8(0): gguf.TypeUint8, int8(0): gguf.TypeInt8, uint16(0): gguf.TypeUint16, int16(0): gguf.TypeInt16, uint32(0): gguf.TypeUint32, int32(0): gguf.TypeInt32,
		float32(0): gguf.TypeFloat32, false: gguf.TypeBool, "": gguf.TypeString, uint64(0): gguf.TypeUint64, int64(0): gguf.TypeInt64, float64(0): gguf.TypeFloat64,
	} {
		if reflect.TypeOf(v) == t {
			return uint32(n)
		}
	}
	panic(fmt.Sprintf("no type of GGUF is %v", t))
}

// forgeries is the number of operations of [forged.change].
const forgeries = 15

// change makes one change to the file's parts.
func (f *forged) change(p *program, op int) {
	if op < 6 && len(f.keys) > 0 {
		f.changeKey(p, op, p.pick(len(f.keys)))
	} else if op < 13 && len(f.tensors) > 0 {
		f.changeTensor(p, op, p.pick(len(f.tensors)))
	} else if op == 13 {
		f.moreKeys, f.moreTensors = p.number(0), p.number(0)
	} else {
		f.version = uint32(p.number(3))
		if p.pick(2) == 1 {
			f.order = binary.BigEndian
		}
	}
}

func (f *forged) changeKey(p *program, op, i int) {
	kv := &f.keys[i]
	switch op {
	case 0: // another value of the same type
		kv.Value = changedValue(p, kv.Value)
	case 1:
		kv.Value = someValue(p)
	case 2:
		f.keys = slices.Delete(f.keys, i, i+1)
	case 3:
		f.keys = append(f.keys, *kv)
	case 4:
		kv.Key = one(p, words)
	case 5: // a key that other architectures have
		arch, _ := f.keys[0].Value.(string)
		key := strings.Replace(one(p, foreignKeys), "ARCH", arch, 1)
		f.keys = append(f.keys, gguf.KV{Key: key, Value: someValue(p)})
	}
}

// foreignKeys are metadata that a file may have.
var foreignKeys = []string{
	"general.alignment", "general.file_type", "general.type", "general.base_model.count", "split.count", "split.no", "split.tensors.count", "adapter.type", "adapter.lora.alpha",
	"adapter.alora.invocation_tokens", "imatrix.chunk_count", "imatrix.chunk_size", "imatrix.datasets", "qtool.merge_only", "quantize.imatrix.file",
	"tokenizer.ggml.model", "tokenizer.ggml.pre", "tokenizer.ggml.tokens", "tokenizer.ggml.scores", "tokenizer.ggml.token_type", "tokenizer.ggml.merges",
	"tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.add_bos_token", "tokenizer.ggml.precompiled_charsmap", "tokenizer.chat_template",
	"ARCH.block_count", "ARCH.context_length", "ARCH.expert_count", "ARCH.expert_used_count", "ARCH.expert_group_count", "ARCH.expert_group_used_count", "ARCH.expert_shared_count",
	"ARCH.expert_weights_scale", "ARCH.expert_weights_norm", "ARCH.expert_gating_func", "ARCH.leading_dense_block_count", "ARCH.nextn_predict_layers",
	"ARCH.attention.sliding_window", "ARCH.attention.sliding_window_pattern", "ARCH.attention.key_length", "ARCH.attention.value_length", "ARCH.attention.q_lora_rank", "ARCH.attention.kv_lora_rank",
	"ARCH.attention.key_length_mla", "ARCH.attention.scale", "ARCH.attention.head_count", "ARCH.attention.head_count_kv", "ARCH.attention.causal", "ARCH.feed_forward_length", "ARCH.vocab_size",
	"ARCH.attn_logit_softcapping", "ARCH.final_logit_softcapping", "ARCH.logit_scale", "ARCH.residual_scale", "ARCH.embedding_scale",
	"ARCH.rope.dimension_count", "ARCH.rope.freq_base", "ARCH.rope.scaling.type", "ARCH.rope.scaling.factor", "ARCH.rope.scaling.original_context_length", "ARCH.rope.scaling.attn_factor", "ARCH.n_zero_experts",
}

// changedValue keeps the type of a value, and of an array.
func changedValue(p *program, old gguf.Value) gguf.Value {
	v := reflect.ValueOf(old)
	if v.Kind() != reflect.Slice {
		return scalarOf(p, v).Interface()
	}
	n := v.Len()
	array := reflect.MakeSlice(v.Type(), n, n)
	reflect.Copy(array, v)
	switch p.pick(3) {
	case 0:
		array = array.Slice(0, p.pick(n+1))
	case 1:
		array = reflect.AppendSlice(array, v)
	case 2:
		if n > 0 && v.Type().Elem().Kind() != reflect.Interface {
			i := p.pick(n)
			array.Index(i).Set(scalarOf(p, v.Index(i)))
		}
	}
	return array.Interface()
}

// scalarOf is another value of v's type.
func scalarOf(p *program, v reflect.Value) reflect.Value {
	x := reflect.New(v.Type()).Elem()
	switch {
	case v.CanUint():
		x.SetUint(p.number(v.Uint()))
	case v.CanInt():
		x.SetInt(int64(p.number(uint64(v.Int()))))
	case v.CanFloat():
		x.SetFloat(p.float())
	case v.Kind() == reflect.Bool:
		x.SetBool(!v.Bool())
	case v.Kind() == reflect.String:
		x.SetString(one(p, words))
	}
	return x
}

// someValue is of any type.
func someValue(p *program) gguf.Value {
	n := p.number(4)
	switch p.pick(14) {
	case 0:
		return uint8(n)
	case 1:
		return int8(n)
	case 2:
		return uint16(n)
	case 3:
		return int16(n)
	case 4:
		return uint32(n)
	case 5:
		return int32(n)
	case 6:
		return uint64(n)
	case 7:
		return int64(n)
	case 8:
		return float32(p.float())
	case 9:
		return p.float()
	case 10:
		return n%2 == 1
	case 11:
		return []string{one(p, words), one(p, words)}
	case 12:
		return slices.Repeat([]uint32{uint32(n)}, p.pick(9))
	}
	return one(p, words)
}

func (f *forged) changeTensor(p *program, op, i int) {
	t := &f.tensors[i]
	switch op {
	case 6: // an extent
		if len(t.shape) > 0 {
			d := p.pick(len(t.shape))
			t.shape = slices.Clone(t.shape)
			t.shape[d] = p.number(t.shape[d])
			t.fit()
		}
	case 7: // the number of extents
		if p.pick(2) == 0 {
			t.shape = slices.Clone(t.shape[:p.pick(len(t.shape)+1)])
		} else {
			t.shape = append(slices.Clone(t.shape), slices.Repeat([]uint64{p.number(1)}, 1+p.pick(4))...)
		}
		t.fit()
	case 8:
		t.typ = uint32(p.pick(44))
		if p.pick(8) == 7 {
			t.typ = uint32(p.number(0))
		}
		t.fit()
	case 9:
		t.shift = p.number(0)
	case 10: // another name
		if p.pick(2) == 0 {
			t.name = one(p, words)
		} else {
			j := p.pick(len(f.tensors))
			t.name, f.tensors[j].name = f.tensors[j].name, t.name
		}
	case 11:
		if p.pick(2) == 0 {
			f.tensors = slices.Delete(f.tensors, i, i+1)
		} else {
			f.tensors = append(f.tensors, *t)
		}
	case 12: // values
		if len(t.data) >= 4 {
			at := p.pick(len(t.data) - 3)
			binary.LittleEndian.PutUint32(t.data[at:], one(p, []uint32{0x7fc00000, 0x7f800000, 0xff7fffff, 0x7c007c00, 0x7e007e00, 0, 0xffffffff, uint32(p.bits(4))}))
		}
	}
}

// fit gives the tensor as many bytes as its shape wants, unless that is very many.
func (t *forgedTensor) fit() {
	typ := gguf.Type(t.typ)
	if !typ.Known() {
		return
	}
	size := float64(typ.BlockBytes()) / float64(typ.BlockElements())
	for _, n := range t.shape {
		size *= float64(n)
	}
	if size > 1<<20 {
		return
	}
	whole := make([]byte, int(math.Ceil(size)))
	copy(whole, t.data)
	t.data = whole
}

// tampered makes the changes of a program in a GGUF file: in its parts, then anywhere.
func (p *program) tampered(f *forged) []byte {
	for p.more() {
		op := p.pick(forgeries + 1)
		if op == forgeries {
			return p.rawAll(f.bytes())
		}
		f.change(p, op)
	}
	return f.bytes()
}

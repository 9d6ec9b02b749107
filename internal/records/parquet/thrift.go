package parquet

import (
	"encoding/binary"
	"errors"

	"github.com/parquet-go/parquet-go/encoding/thrift"
)

// The compact protocol of Thrift: a struct is a sequence of fields, each a byte with a step
// of its number and a type, then its value; a zero byte ends it.
const (
	typeTrue = 1 + iota
	typeFalse
	typeByte
	typeInt16
	typeInt32
	typeInt64
	typeDouble
	typeBinary
	typeList
	typeSet
	typeMap
	typeStruct
)

const maxThriftDepth = 32

var (
	errShort  = errors.New("it ends too early")
	errThrift = errors.New("it is not in Thrift's compact protocol")
)

// measure passes over one struct without storing anything.
type measure struct {
	b       []byte
	at      int
	structs int // elements of lists that are structs
}

// structLength is the length of the struct that b begins with, and how many structs its
// lists hold. It returns errShort if b may go on.
func structLength(b []byte) (length, structs int, err error) {
	m := measure{b: b}
	err = m.structure(0)
	return m.at, m.structs, err
}

func (m *measure) skip(n uint64) error {
	if n > uint64(len(m.b)-m.at) {
		m.at = len(m.b)
		return errShort
	}
	m.at += int(n)
	return nil
}

func (m *measure) byte() (byte, error) {
	if m.at >= len(m.b) {
		return 0, errShort
	}
	m.at++
	return m.b[m.at-1], nil
}

func (m *measure) uvarint() (uint64, error) {
	v, n := binary.Uvarint(m.b[m.at:])
	switch {
	case n == 0:
		return 0, errShort
	case n < 0:
		return 0, errThrift
	}
	m.at += n
	return v, nil
}

func (m *measure) structure(depth int) error {
	if depth > maxThriftDepth {
		return errThrift
	}
	for {
		head, err := m.byte()
		if err != nil || head == 0 {
			return err
		}
		if head>>4 == 0 {
			if _, err := m.uvarint(); err != nil {
				return err
			}
		}
		if kind := head & 15; kind != typeTrue && kind != typeFalse {
			if err := m.value(kind, depth); err != nil {
				return err
			}
		}
	}
}

func (m *measure) value(kind byte, depth int) error {
	switch kind {
	case typeTrue, typeFalse, typeByte: // as elements, booleans have a byte
		return m.skip(1)
	case typeInt16, typeInt32, typeInt64:
		_, err := m.uvarint()
		return err
	case typeDouble:
		return m.skip(8)
	case typeBinary:
		n, err := m.uvarint()
		if err != nil {
			return err
		}
		return m.skip(n)
	case typeList, typeSet:
		return m.list(depth)
	case typeMap:
		return m.mapping(depth)
	case typeStruct:
		return m.structure(depth + 1)
	}
	return errThrift
}

func (m *measure) list(depth int) error {
	head, err := m.byte()
	if err != nil {
		return err
	}
	n := uint64(head >> 4)
	if n == 15 {
		if n, err = m.uvarint(); err != nil {
			return err
		}
	}
	return m.elements(n, depth, head&15)
}

func (m *measure) mapping(depth int) error {
	n, err := m.uvarint()
	if err != nil || n == 0 {
		return err
	}
	kinds, err := m.byte()
	if err != nil {
		return err
	}
	return m.elements(n, depth, kinds>>4, kinds&15)
}

// elements passes over n groups of values, each of at least a byte.
func (m *measure) elements(n uint64, depth int, kinds ...byte) error {
	if n > uint64(len(m.b)-m.at) {
		return errShort
	}
	for range n {
		for _, kind := range kinds {
			if kind == typeStruct {
				m.structs++
			}
			if err := m.value(kind, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// decode reads v, a pointer to a struct of package format, from b, which was measured.
func decode(b []byte, v any) (err error) {
	defer func() {
		if r := recover(); r != nil { // the library's, for types that do not fit
			err = errThrift
		}
	}()
	var protocol thrift.CompactProtocol
	return thrift.NewDecoder(protocol.NewReaderFromBytes(b)).Decode(v)
}

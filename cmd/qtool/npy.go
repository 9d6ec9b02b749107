package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"qtool/internal/atomicfile"
)

// npyWriter writes float32 rows to a NumPy file, format version 1.0:
//
//	"\x93NUMPY" 1 0, uint16 length, header as a Python literal padded with blanks
//	so that the data, little-endian, begins at a multiple of 64
type npyWriter struct {
	path    string
	file    *atomicfile.File
	w       *bufio.Writer
	scratch []byte
}

// createNPY begins an array of the given shape in C order.
func createNPY(path string, shape []int) (*npyWriter, error) {
	file, err := atomicfile.Create(path)
	if err != nil {
		return nil, err
	}
	if err := file.Reserve(npySize(shape)); err != nil {
		file.Abort()
		return nil, fmt.Errorf("writing %s: %w", path, err)
	}
	n := &npyWriter{path: path, file: file, w: bufio.NewWriterSize(file, 1<<16)}
	header := npyHeader(shape)
	n.w.WriteString("\x93NUMPY\x01\x00") // errors stay with the bufio.Writer
	n.w.Write(binary.LittleEndian.AppendUint16(nil, uint16(len(header))))
	n.w.WriteString(header)
	return n, nil
}

// npyPreamble is the length of what is before the header.
const npyPreamble = 10

func npyHeader(shape []int) string {
	tuple := strings.ReplaceAll(strings.Trim(fmt.Sprint(shape), "[]"), " ", ", ")
	header := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%s,), }", tuple)
	return header + strings.Repeat(" ", 63-(npyPreamble+len(header))%64) + "\n"
}

// npySize is the number of bytes of the file.
func npySize(shape []int) int64 {
	n := int64(4)
	for _, d := range shape {
		n *= int64(d)
	}
	return npyPreamble + int64(len(npyHeader(shape))) + n
}

// Write appends a row.
func (n *npyWriter) Write(row []float32) error {
	n.scratch = n.scratch[:0]
	for _, v := range row {
		n.scratch = binary.LittleEndian.AppendUint32(n.scratch, math.Float32bits(v))
	}
	_, err := n.w.Write(n.scratch)
	return n.explain(err)
}

func (n *npyWriter) explain(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("writing %s: %w", n.path, err)
}

// Commit gives the file its name.
func (n *npyWriter) Commit() error {
	if err := n.w.Flush(); err != nil {
		return n.explain(err)
	}
	return n.file.Commit()
}

// Abort drops the file unless it was committed.
func (n *npyWriter) Abort() { n.file.Abort() }

package main

import "fmt"

// An offset is where a field is in a struct of the package that the assembly belongs to, by
// the name that go_asm.h gives it: Type_field. The compiler writes that file, so fields may
// move.
type offset string

// plus is n bytes further.
func (o offset) plus(n int) offset {
	if n == 0 {
		return o
	}
	return offset(fmt.Sprintf("(%s+%d)", o, n))
}

// of is the field of the struct that a register points at, or of the element there of an array
// whose elements are as far apart as those of the field.
func (o offset) of(register string) string { return fmt.Sprintf("%s(%s)", o, register) }

// in is what lies at the address in a register.
func in(register string) string { return "(" + register + ")" }

// at is what lies some bytes after the address in a register.
func at(register string, bytes int) string { return fmt.Sprintf("%d(%s)", bytes, register) }

// indexed is what lies index times some bytes after base.
func indexed(base, index string, times int) string {
	return fmt.Sprintf("(%s)(%s*%d)", base, index, times)
}

// times is index times some bytes, to follow an address.
func times(index string, bytes int) string { return fmt.Sprintf("(%s*%d)", index, bytes) }

// static is a constant of the file.
func static(name string) string { return name + "<>(SB)" }

// stack is the register of a function's frame.
const stack = "SP"

// numbered is a vector register, of the kind X, Y, Z or V.
func numbered(kind string, i int) string { return fmt.Sprint(kind, i) }

// The first 128, 256 or 512 bits of a vector register of amd64.
func xmm(i int) string { return numbered("X", i) }
func ymm(i int) string { return numbered("Y", i) }
func zmm(i int) string { return numbered("Z", i) }

// number is an integer operand.
func number(n int) string { return fmt.Sprint("$", n) }

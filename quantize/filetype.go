package quantize

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"qtool/gguf"
)

// fileType is one of llama-quantize's file types: a base type for most tensors,
// which the rules of mix.go refine.
type fileType struct {
	name string
	id   uint32 // general.file_type
	base gguf.Type
}

// copies is true of the file type that keeps all types, so that its id is the source's.
func (f fileType) copies() bool { return f.name == "COPY" }

var fileTypes = []fileType{
	{"F32", 0, gguf.F32}, {"F16", 1, gguf.F16}, {"BF16", 32, gguf.BF16},
	{"Q8_0", 7, gguf.Q8_0},
	{"Q5_1", 9, gguf.Q5_1}, {"Q5_0", 8, gguf.Q5_0},
	{"Q4_1", 3, gguf.Q4_1}, {"Q4_0", 2, gguf.Q4_0},
	{"Q6_K", 18, gguf.Q6_K},
	{"Q5_K_M", 17, gguf.Q5_K}, {"Q5_K_S", 16, gguf.Q5_K},
	{"Q4_K_M", 15, gguf.Q4_K}, {"Q4_K_S", 14, gguf.Q4_K},
	{"Q3_K_L", 13, gguf.Q3_K}, {"Q3_K_M", 12, gguf.Q3_K}, {"Q3_K_S", 11, gguf.Q3_K},
	{"Q2_K", 10, gguf.Q2_K}, {"Q2_K_S", 21, gguf.Q2_K},
	{"IQ4_XS", 30, gguf.IQ4_XS}, {"IQ4_NL", 25, gguf.IQ4_NL},
	{"IQ3_M", 27, gguf.IQ3_S}, {"IQ3_S", 26, gguf.IQ3_S}, {"IQ3_XS", 22, gguf.IQ3_S}, {"IQ3_XXS", 23, gguf.IQ3_XXS},
	{"IQ2_M", 29, gguf.IQ2_S}, {"IQ2_S", 28, gguf.IQ2_XS}, {"IQ2_XS", 20, gguf.IQ2_XS}, {"IQ2_XXS", 19, gguf.IQ2_XXS},
	{"IQ1_M", 31, gguf.IQ1_M}, {"IQ1_S", 24, gguf.IQ1_S},
	{"TQ2_0", 37, gguf.TQ2_0}, {"TQ1_0", 36, gguf.TQ1_0},
	{"MXFP4_MOE", 38, gguf.MXFP4}, {"Q2_0", 41, gguf.Q2_0}, {"Q1_0", 40, gguf.Q1_0},
	{"COPY", 0, gguf.F32},
}

// fileTypeAliases are the short names that llama-quantize accepts.
var fileTypeAliases = map[string]string{"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}

// FileTypes lists the names that [Options] accepts as FileType, largest files first, and
// COPY, which keeps the types of the source.
func FileTypes() []string {
	var names []string
	for _, f := range fileTypes {
		names = append(names, f.name)
	}
	return names
}

// FileTypeName is the name of a number of general.file_type, "" if it has none.
func FileTypeName(number int) string {
	for _, f := range fileTypes {
		if !f.copies() && int(f.id) == number {
			return f.name
		}
	}
	return ""
}

// findFileType finds a file type by name in any case, or by its number.
func findFileType(name string) (fileType, error) {
	upper := strings.ToUpper(name)
	if full, ok := fileTypeAliases[upper]; ok {
		upper = full
	}
	for _, f := range fileTypes {
		if f.name == upper || !f.copies() && strconv.Itoa(int(f.id)) == name {
			return f, nil
		}
	}
	return fileType{}, fmt.Errorf("%w: no file type is named %q; choose one of %s",
		ErrUnknownType, name, strings.Join(FileTypes(), ", "))
}

// guessedFileType marks, as in llama.cpp, a file type that no metadata gives.
const guessedFileType = 1024

// typicalFileTypes are the file types that llama.cpp takes the types of most tensors
// for, where they do not have the same name.
var typicalFileTypes = map[gguf.Type]string{
	gguf.Q3_K: "Q3_K_M", gguf.Q4_K: "Q4_K_M", gguf.Q5_K: "Q5_K_M",
}

// fileTypeOf is what md says, or else a guess from the type that most tensors have; of
// several, the one that has so many first.
func fileTypeOf(md *gguf.Metadata, tensors []*gguf.Tensor, storedAs func(*gguf.Tensor) gguf.Type) uint32 {
	if n, err := md.Int("general.file_type"); err == nil && n >= 0 && n <= math.MaxUint32 {
		return uint32(n)
	}
	counts := map[gguf.Type]int{}
	most := gguf.F32
	for _, t := range tensors {
		typ := storedAs(t)
		if counts[typ]++; counts[typ] > counts[most] {
			most = typ
		}
	}
	return typicalFileType(most).id | guessedFileType
}

// typicalFileType is what llama.cpp takes a file for if most of it is of type t.
func typicalFileType(t gguf.Type) fileType {
	name, ok := typicalFileTypes[t]
	if !ok {
		name = t.String()
	}
	f, err := findFileType(name)
	if err != nil {
		f, _ = findFileType("F32")
	}
	return f
}

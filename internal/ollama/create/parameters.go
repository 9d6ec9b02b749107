package create

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"qtool/internal/printable"
	"qtool/internal/usage"
)

// kind is the kind of a parameter's value.
type kind int

const (
	integer kind = iota
	number
	boolean
	texts // may be given several times
)

// parameters are those that Ollama knows.
var parameters = map[string]kind{
	"num_ctx": integer, "num_batch": integer, "num_gpu": integer, "main_gpu": integer, "num_thread": integer, "use_mmap": boolean,
	"num_keep": integer, "seed": integer, "num_predict": integer, "top_k": integer, "repeat_last_n": integer, "draft_num_predict": integer,
	"top_p": number, "min_p": number, "typical_p": number, "temperature": number,
	"repeat_penalty": number, "presence_penalty": number, "frequency_penalty": number, "stop": texts,
}

// ParseParameters reads NAME=VALUE, as PARAMETER of a Modelfile has them. An error matches
// [usage.Err].
func ParseParameters(list []string) (map[string]any, error) {
	all := map[string]any{}
	for _, p := range list {
		name, value, ok := strings.Cut(p, "=")
		k, known := parameters[name]
		if !ok || !known {
			return nil, usage.Errorf("--parameter %s: expected NAME=VALUE, of the names %s", printable.Quote(p), strings.Join(slices.Sorted(maps.Keys(parameters)), ", "))
		}
		v, err := k.parse(value)
		if err != nil {
			return nil, usage.Errorf("--parameter %s: %s is no %s", printable.Quote(p), printable.Quote(value), k)
		}
		if before, again := all[name]; again {
			stops, several := before.([]string)
			if !several {
				return nil, usage.Errorf("--parameter %s is given twice", name)
			}
			v = append(stops, value)
		}
		all[name] = v
	}
	return all, nil
}

func (k kind) parse(s string) (any, error) {
	switch k {
	case integer:
		return strconv.Atoi(s)
	case number:
		f, err := strconv.ParseFloat(s, 32)
		if err == nil && f-f != 0 { // NaN and infinities are no JSON
			err = strconv.ErrRange
		}
		return f, err
	case boolean:
		return strconv.ParseBool(s)
	}
	return []string{s}, nil
}

func (k kind) String() string {
	return [...]string{"integer", "number", "boolean", "text"}[k]
}

package peft

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"qtool/internal/printable"
)

// peftScales is what adapter_config.json says of ranks and scales.
type peftScales struct {
	alpha      float64
	rootOfRank bool // the scale is alpha / √rank
	alphas     patterns[float64]
	// old says that stacks [experts, out, in] have the halves of their pairs exchanged, as
	// PEFT before 0.19.1 had them.
	old bool
}

// notPairs are fields that make an adapter more than pairs on weights, and what that is.
// fan_in_fan_out is none of them: a layer that stores its weight as [in, out] has the same halves.
var notPairs = []struct{ field, means string }{
	{"use_dora", "it is DoRA, which also scales every row of the changed weights"},
	{"modules_to_save", "it holds whole weights that were trained"},
	{"trainable_token_indices", "it holds new rows of the embedding"},
	{"lora_bias", "its pairs have biases"},
	{"layer_replication", "it is for a model whose layers are repeated"},
	{"alora_invocation_tokens", "it is an activated LoRA, which works only after its invocation tokens"},
	{"use_qalora", "its A is on groups of columns"}, {"use_bdlora", "its halves are blocks on a diagonal"},
	{"arrow_config", "it chooses between several adapters"}, {"velora_config", "its pairs are of another kind"},
	{"kasa_config", "its pairs are of another kind"}, {"monteclora_config", "its pairs are of another kind"},
}

// wayOut is for what neither an adapter in GGUF nor qtool lora merge, which adds pairs, can express.
const wayOut = "GGUF has no place for that, and qtool lora merge adds pairs alone: merge it with the library that made it (PEFT: merge_and_unload, then save_pretrained; mlx-lm: mlx_lm.fuse), and give that folder to qtool quantize"

// readScales checks that the adapter adds scale · B · A to weights, and nothing else.
func readScales(fields map[string]any) (*peftScales, error) {
	c := &reader{fields: fields}
	if kind := c.text("peft_type", ""); kind != "LORA" {
		return nil, refuse("its peft_type is %q; LORA is converted", kind)
	}
	for _, not := range notPairs {
		if v := fields[not.field]; !isNothing(v) {
			return nil, refuse("%s (%s of %s); %s", not.means, not.field, adapterConfig, wayOut)
		}
	}
	if bias := c.text("bias", "none"); bias != "none" {
		return nil, refuse("it changes biases (bias %q of %s); %s", bias, adapterConfig, wayOut)
	}
	if begin, ok := fields["init_lora_weights"].(string); ok {
		for _, changes := range []string{"pissa", "olora", "corda", "loftq", "lora_ga"} {
			if strings.HasPrefix(strings.ToLower(begin), changes) {
				return nil, refuse("its beginning (init_lora_weights %q) changed the weights of the base, so that it does not fit the original; let PEFT save it as an ordinary one (save_pretrained with path_initial_model_for_weight_conversion)", begin)
			}
		}
	}
	s := &peftScales{alpha: c.number("lora_alpha", 8), rootOfRank: c.boolean("use_rslora")}
	alphas := &reader{where: ", alpha_pattern", fields: field(c, "alpha_pattern", "an object", map[string]any(nil))}
	values := map[string]float64{}
	for key := range alphas.fields {
		values[key] = alphas.number(key, 0)
	}
	var err error
	if s.alphas, err = newPatterns(values); err != nil {
		return nil, err
	}
	if alphas.err != nil {
		return nil, alphas.err
	}
	s.old = before0191(c.text("peft_version", ""))
	return s, c.err
}

// reader reads fields of adapter_config.json. The first value of a wrong type is kept in
// err.
type reader struct {
	where  string // the field inside the file
	fields map[string]any
	err    error
}

// field is the value of a key, def where there is none.
func field[V any](r *reader, key, want string, def V) V {
	switch v := r.fields[key].(type) {
	case nil:
	case V:
		return v
	default:
		if r.err == nil {
			r.err = invalid("reading %s%s: field %q: expected %s, found %s", adapterConfig, r.where, key, want, printable.Text(fmt.Sprint(v)))
		}
	}
	return def
}

func (r *reader) text(key, def string) string { return field(r, key, "a string", def) }
func (r *reader) boolean(key string) bool     { return field(r, key, "true or false", false) }

func (r *reader) number(key string, def float64) float64 {
	n := field(r, key, "a number", json.Number(""))
	if n == "" {
		return def
	}
	f, err := n.Float64()
	if err != nil && r.err == nil {
		r.err = invalid("reading %s%s: field %q: expected a number, found %s", adapterConfig, r.where, key, printable.Text(n.String()))
	}
	return f
}

// isNothing reports whether a field is as good as not there.
func isNothing(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case bool:
		return !v
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

// before0191 reports whether a version is known and lower.
func before0191(version string) bool {
	parts := strings.SplitN(version, ".", 3)
	var numbers [3]int
	for i, p := range parts {
		digits := p[:len(p)-len(strings.TrimLeft(p, "0123456789"))]
		n, err := strconv.Atoi(digits)
		if err != nil {
			return false
		}
		numbers[i] = n
	}
	return len(parts) > 1 && slices.Compare(numbers[:], []int{0, 19, 1}) < 0
}

// scale sets that of a pair on what PEFT may call by one of names: alpha/over.
func (s *peftScales) scale(p *pair, names []string) error {
	p.alpha, p.over = s.alpha, float64(p.rank)
	for _, name := range names {
		if alpha, ok := s.alphas.find(name); ok {
			p.alpha = alpha
			break
		}
	}
	if s.rootOfRank {
		p.over = math.Sqrt(p.over)
	}
	if p.alpha == 0 || math.IsInf(p.alpha, 0) || math.IsNaN(p.alpha) {
		return invalid("the alpha of %q is %g", names[0], p.alpha)
	}
	return nil
}

// patterns are values for names, which end in a key or match it as a regular expression.
type patterns[V any] struct {
	ends    map[string]V
	regexes []regexValue[V]
}

type regexValue[V any] struct {
	regex *regexp.Regexp
	value V
}

var plainName = regexp.MustCompile(`^[\w.\-]*$`)

func newPatterns[V any](values map[string]V) (patterns[V], error) {
	p := patterns[V]{ends: map[string]V{}}
	var keys []string
	for key, v := range values {
		if plainName.MatchString(key) {
			p.ends[key] = v
		} else {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		regex, err := regexp.Compile(`^(.*\.)?(` + key + `)$`)
		if err != nil {
			return p, refuse("a pattern of %s, %q, is not understood: %v", adapterConfig, key, err)
		}
		p.regexes = append(p.regexes, regexValue[V]{regex, values[key]})
	}
	return p, nil
}

// find gives the value of the longest key that name ends in, else of the first
// expression that matches.
func (p *patterns[V]) find(name string) (v V, ok bool) {
	for end := name; ; {
		if v, ok := p.ends[end]; ok {
			return v, true
		}
		_, rest, found := strings.Cut(end, ".")
		if !found {
			break
		}
		end = rest
	}
	for _, r := range p.regexes {
		if r.regex.MatchString(name) {
			return r.value, true
		}
	}
	return v, false
}

// peftName takes apart the name of a tensor: the module, the half, and how many layers
// lie around its pair. half is "" of the base's own weights, which do not matter.
func peftName(name string) (module, half string, depth int, err error) {
	module = strings.TrimPrefix(name, "base_model.model.")
	for end, h := range map[string]string{
		".lora_A.weight": "A", ".lora_B.weight": "B", ".lora_A.default.weight": "A", ".lora_B.default.weight": "B",
		".lora_embedding_A": "embedding A", ".lora_embedding_B": "embedding B", ".base_layer.weight": "",
	} {
		if m, ok := strings.CutSuffix(module, end); ok {
			for strings.HasSuffix(m, ".base_layer") {
				m, depth = strings.TrimSuffix(m, ".base_layer"), depth+1
			}
			return m, h, depth, nil
		}
	}
	switch {
	case strings.Contains(name, "lora_magnitude_vector"):
		err = refuse("the tensor %q is a magnitude of DoRA, which is no pair; %s", name, wayOut)
	case strings.HasSuffix(name, ".bias"):
		err = refuse("the tensor %q changes a bias; %s", name, wayOut)
	default:
		err = refuse("the tensor %q is no half of a LoRA pair: a whole weight that was trained (modules_to_save), or a vocabulary that grew; %s", name, wayOut)
	}
	return "", "", 0, err
}

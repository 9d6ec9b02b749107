package lora

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"qtool/gguf"
)

// Training says how an adapter was trained, as its file records it under keys qtool.*. All of it
// follows from the base, the data and the settings, never from the time or place of the run,
// so that the same run gives the same file. Zero values are not recorded, but for those of
// Seed, Steps, Tokens and LearningRate.
type Training struct {
	Version string // of qtool, such as "v1.2.0"

	// Data are the names of the files that were learned, without their folders, in the order in
	// which they were read: "embedded" is the data that qtool carries, "-" standard input. Only
	// the first [MostDataNames] are named; DataFiles counts all.
	Data      []string
	DataFiles int
	// DataSHA256 is the SHA-256 of the bytes of the file, in hexadecimal; of several files that
	// which [HashOfHashes] makes of theirs.
	DataSHA256 string
	// EvalData and EvalSHA256 are the same of files that were held out as a whole. HeldOut is
	// the number of examples that were evaluated.
	EvalData   []string
	EvalSHA256 string
	HeldOut    int

	Seed         uint64
	Steps        int    // optimizer steps
	Tokens       uint64 // gone through in all steps, those that are not learned included
	Examples     int    // to learn
	Seq          int    // most tokens in a row
	RowsPerStep  int    // batch size times accumulation
	LearningRate float64
	Schedule     string // of the learning rate, such as "cosine"

	Rank    int      // of the pairs, the largest if they differ; their alpha is [Adapter.Alpha]
	Targets []string // short names of the weights that have pairs, such as "attn_q"
	Experts string   // that have pairs, such as "top:2", if not all were asked for

	Loss        float64 // mean loss per learned token in the last step
	HeldOutLoss float64 // mean loss per scored token over what was held out, after the last step

	// Template is the chat template that examples went through: "model" is the base's own, else
	// the name of one that is built in, or of a file without its folder. TemplateSHA256 is that
	// of its text.
	Template, TemplateSHA256 string
	// Init is the file name of the adapter that the training began with, and InitSHA256 that
	// of its tensors, as in [Base].
	Init, InitSHA256 string
}

// MostDataNames is how many files of data an adapter names.
const MostDataNames = 32

// keyVersion is that of [Training.Version]; prefixTraining begins the keys of all else.
const (
	keyVersion     = "qtool.version"
	prefixTraining = "qtool.train."
)

// HashOfHashes is the SHA-256 that stands for several files: of their SHA-256s in hexadecimal,
// a line each. That of one file is its own, and that of none is empty.
func HashOfHashes(sums []string) string {
	if len(sums) < 2 {
		return strings.Join(sums, "")
	}
	sum := sha256.Sum256([]byte(strings.Join(sums, "\n") + "\n"))
	return hex.EncodeToString(sum[:])
}

// Record replaces the keys qtool.version and qtool.train.* of an adapter's metadata.
func (t Training) Record(extra *gguf.Metadata) {
	var old []string
	for _, kv := range extra.All() {
		if strings.HasPrefix(kv.Key, prefixTraining) {
			old = append(old, kv.Key)
		}
	}
	for _, key := range old {
		extra.Delete(key)
	}
	extra.Set(keyVersion, t.Version)
	for _, field := range t.fields() {
		if field.present() {
			extra.Set(prefixTraining+field.key, field.value())
		}
	}
}

// RecordedTraining is what an adapter's metadata say of its training; not ok if they say
// nothing. What has another type than [Training.Record] writes is passed over.
func RecordedTraining(extra *gguf.Metadata) (t Training, ok bool) {
	if extra == nil {
		return t, false
	}
	if version, err := extra.Str(keyVersion); err == nil {
		t.Version, ok = version, true
	}
	for _, field := range t.fields() {
		if v, there := extra.Get(prefixTraining + field.key); there && field.set(v) {
			ok = true
		}
	}
	return t, ok
}

// trainingField is one key and the field that it stands for.
type trainingField struct {
	key     string
	present func() bool
	value   func() gguf.Value
	set     func(gguf.Value) bool
}

// fields lists the keys in the order of the file.
func (t *Training) fields() []trainingField {
	return []trainingField{
		listField("data", &t.Data), countField("data_files", &t.DataFiles), textField("data_sha256", &t.DataSHA256),
		listField("eval_data", &t.EvalData), textField("eval_sha256", &t.EvalSHA256), countField("held_out_examples", &t.HeldOut),
		always(valueField("seed", &t.Seed)), always(countField("steps", &t.Steps)), always(valueField("tokens", &t.Tokens)),
		countField("examples", &t.Examples), countField("seq", &t.Seq), countField("rows_per_step", &t.RowsPerStep),
		always(valueField("learning_rate", &t.LearningRate)), textField("schedule", &t.Schedule),
		countField("rank", &t.Rank), listField("targets", &t.Targets), textField("experts", &t.Experts),
		valueField("loss", &t.Loss), valueField("held_out_loss", &t.HeldOutLoss),
		textField("template", &t.Template), textField("template_sha256", &t.TemplateSHA256),
		textField("init", &t.Init), textField("init_sha256", &t.InitSHA256),
	}
}

// valueField is a field whose Go type is its type in the file.
func valueField[T comparable](key string, v *T) trainingField {
	var zero T
	return trainingField{key, func() bool { return *v != zero }, func() gguf.Value { return *v }, func(from gguf.Value) (ok bool) {
		if got, is := from.(T); is {
			*v, ok = got, true
		}
		return ok
	}}
}

func textField(key string, v *string) trainingField { return valueField(key, v) }

// countField is a count, stored as uint32.
func countField(key string, v *int) trainingField {
	return trainingField{key, func() bool { return *v > 0 }, func() gguf.Value { return uint32(*v) }, func(from gguf.Value) (ok bool) {
		if got, is := from.(uint32); is {
			*v, ok = int(got), true
		}
		return ok
	}}
}

func listField(key string, v *[]string) trainingField {
	return trainingField{key, func() bool { return len(*v) > 0 }, func() gguf.Value { return *v }, func(from gguf.Value) (ok bool) {
		if got, is := from.([]string); is {
			*v, ok = got, true
		}
		return ok
	}}
}

// always is a field that is recorded also if it is zero.
func always(f trainingField) trainingField {
	f.present = func() bool { return true }
	return f
}

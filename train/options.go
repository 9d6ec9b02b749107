package train

import (
	"io"
	"slices"

	"qtool/gguf"
	"qtool/internal/dataset"
	"qtool/internal/loop"
	"qtool/internal/usage"
	"qtool/train/run"
)

var (
	// ErrUsage is in the chain of every error about options that make no sense. Texts name
	// options as the flags of qtool finetune that set them.
	ErrUsage = usage.Err
	// ErrCheckpoint is in the chain of every error about a checkpoint that cannot continue
	// the run.
	ErrCheckpoint = loop.ErrCheckpoint
	// ErrDiverged is in the chain of the error of a run that found no way on.
	ErrDiverged = loop.ErrDiverged
)

// Schedules are the names that [run.Config.Schedule] takes.
var Schedules = loop.Schedules

// Job is a fine-tuning run that has yet to be done. [NewJob] makes one that works without
// thought.
type Job struct {
	// Model is the path of the base, a GGUF file or a Hugging Face folder. Base, if not
	// nil, is one that is open already, and stays open; Model is then only its name.
	// Without either it is the small one that the package carries.
	Model string
	Base  gguf.Model
	Pre   string // the pre-tokenizer of a folder; "" to find it
	// Data are the paths of the data, files and folders, each perhaps with a weight: the
	// records of a.jsonl:2 are seen twice in an epoch. None is what suits the base that the
	// package carries, and goes with that alone. Stdin is what "-" stands for.
	Data  []string
	Stdin io.Reader

	// Adapter or Full is the file to write: an adapter, or the model, all of whose weights
	// are trained.
	Adapter, Full string

	// Init is the path of an adapter to start from. Without it a new one is made:
	Init    string
	Rank    int
	Alpha   float32
	Targets []string // as in [lora.Select]; none is all that inference honours
	// Experts are those that get pairs: "all", "top:N" of each layer by use on the data, or
	// numbers such as "1,5,7"; "" is "all", also for a base without experts.
	Experts   string
	MergeOnly bool // train also what llama.cpp would not honour

	Config  run.Config
	Seq     int // most tokens in a row; 0: chosen from the data, at most DefaultSeq
	Threads int // 0 is as many as the program may use

	Packing   Packing // several examples in a row
	EvalSplit float64 // part of the data to hold out, where there is no evaluation file
	DataOptions
	// Keys of JSON records; "" are the usual ones.
	TextField, PromptField, CompletionField string
	Truncate                                bool // cut records that are longer than Seq
	SplitText                               bool // cut longer texts into several

	Sample string // a prompt that is answered before and after

	// RunDir is where checkpoints and metrics.jsonl are kept; "" is nowhere. Resume goes
	// on from the checkpoint there.
	RunDir string
	Resume bool
	// MaxResident is the memory in bytes that the program may hold, the part of the base
	// that is read included; 0 is what is available.
	MaxResident int64
	Force       bool // start although memory is too small

	Observer Observer
}

// DefaultSeq bounds the length of rows where a job does not say, besides the base's context:
// attention costs grow with its square.
const DefaultSeq = 2048

// NewJob is a job with defaults for everything but its files. The length of rows, packing
// and the number of epochs are chosen from the data, so that these make enough optimizer
// steps, if there is a way.
func NewJob() *Job {
	j := &Job{Rank: 16, Alpha: 32, Config: run.DefaultConfig(), EvalSplit: 0.05}
	j.Config.Epochs = 0
	return j
}

// UseDemo sets what suits the base and the data that the package carries.
func (j *Job) UseDemo() {
	j.Config.Rate, j.Config.Batch, j.Config.Epochs, j.Seq, j.Packing = 3e-3, 4, 4, 128, PackingOn
}

// Check finds contradictions that need no file. [Job.Run] calls it.
func (j *Job) Check() error {
	switch {
	case j.Adapter == "" && j.Full == "":
		return usage.Errorf("--adapter OUT.gguf says where to write the result")
	case j.Adapter != "" && j.Full != "":
		return usage.Errorf("--adapter trains pairs, --full all weights: give one of them")
	case len(j.Data) == 0 && !j.demo():
		return usage.Errorf("--data says what to learn from, a file or a folder: only the small model that is used without --model brings its own")
	case j.Full != "" && j.Init != "":
		return usage.Errorf("--full trains no pairs: --init-adapter does not go with it")
	}
	return j.checkRun()
}

// checkRun is Check without the result.
func (j *Job) checkRun() error {
	switch {
	case !slices.Contains([]Packing{PackingAuto, PackingOn, PackingOff}, j.Packing):
		return usage.Errorf("--packing %q is not one of on, off", string(j.Packing))
	case j.Resume && j.RunDir == "":
		return usage.Errorf("--resume needs --run-dir, where the checkpoint is")
	case j.Seq < 0 || j.Seq == 1:
		return usage.Errorf("--seq %d: a row needs at least 2 tokens", j.Seq)
	case !(j.EvalSplit >= 0 && j.EvalSplit < 1):
		return usage.Errorf("--eval-split %g: expected a part of the data, from 0 to below 1", j.EvalSplit)
	case j.Full == "" && j.Init == "" && (j.Rank < 1 || j.Rank > 1<<16):
		return usage.Errorf("--rank %d: expected at least 1", j.Rank)
	case j.Full == "" && j.Init == "" && !(j.Alpha > 0):
		return usage.Errorf("--alpha %g: expected a positive number", j.Alpha)
	}
	if err := j.DataOptions.options(new(dataset.Options)); err != nil {
		return err
	}
	c := j.Config
	if c.Epochs == 0 {
		c.Epochs = loop.DefaultEpochs // until the data are known
	}
	if err := loop.Check(&c); err != nil {
		return usage.Errorf("%w", err)
	}
	return nil
}

// demo reports whether base and data are those that the package carries.
func (j *Job) demo() bool { return j.Model == "" && j.Base == nil && len(j.Data) == 0 }

// output is the file to write.
func (j *Job) output() string {
	if j.Full != "" {
		return j.Full
	}
	return j.Adapter
}

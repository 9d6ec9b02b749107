package run

// Config is what decides the course of a run. Two runs with equal Config, base
// and data give the same weights, bit for bit, on any number of threads.
type Config struct {
	Rate        float64 `json:"lr"`
	Schedule    string  `json:"lr_schedule"`
	Warmup      float64 `json:"warmup"` // below 1 a fraction of the run, else steps
	WeightDecay float64 `json:"weight_decay"`
	Beta1       float64 `json:"beta1"`
	Beta2       float64 `json:"beta2"`
	Epsilon     float64 `json:"epsilon"`
	Clip        float64 `json:"clip"` // largest gradient norm; 0 is none

	// Coefficients of the routers' auxiliary losses, added up over the layers; 0 is off.
	RouterBalance float64 `json:"router_aux_loss"`
	RouterZ       float64 `json:"router_z_loss"`

	// LabelSmoothing is how much of a target's probability is spread over all tokens, from 0
	// to below 1; the loss of steps has it, that of evaluations does not.
	LabelSmoothing float64 `json:"label_smoothing,omitempty"`
	// NEFTune is the alpha of NEFTune: in steps, uniform noise up to alpha/√(tokens·width) of
	// each document is added to its embeddings; 0 is none.
	NEFTune float64 `json:"neftune_alpha,omitempty"`

	Batch     int `json:"batch"`      // rows that are computed together
	GradAccum int `json:"grad_accum"` // batches whose gradients make one step
	// LengthBuckets puts rows of similar lengths into a batch. Batches are not padded, so that
	// this saves nothing; steps over rows of one length have gradients of similar noise.
	LengthBuckets bool `json:"length_buckets,omitempty"`

	Epochs int `json:"epochs"` // 0: a job chooses it from the data
	Steps  int `json:"steps"`  // overrides Epochs unless 0

	Checkpointing bool   `json:"checkpointing"` // recompute blocks to save memory
	Seed          uint64 `json:"seed"`
	Optimizer     string `json:"optimizer,omitempty"` // "" is "adamw"
	Precision     string `json:"precision"`

	EvalEvery  int `json:"-"` // steps between evaluations; 0 is only first and last
	EvalTokens int `json:"-"` // about so many held-out tokens are evaluated; 0 is all
	SaveEvery  int `json:"-"` // steps between checkpoints
}

// Packing says whether a row has several examples, which do not see each other.
type Packing string

// The ways to pack rows.
const (
	PackingAuto Packing = ""    // as it suits the data
	PackingOn   Packing = "on"  // as many as there is room for
	PackingOff  Packing = "off" // one example in a row
)

// DefaultConfig works without thought for LoRA.
func DefaultConfig() Config {
	return Config{
		Rate: 2e-4, Schedule: "cosine", Warmup: 0.03, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8, Clip: 1,
		Batch: 1, GradAccum: 1, Epochs: 3, Seed: 42, Precision: "auto", EvalTokens: 16384, SaveEvery: 25,
	}
}

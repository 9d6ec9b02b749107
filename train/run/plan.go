package run

// Plan says before the run what it will do. Memory is nil until
// it is predicted; the speed is 0 until it is measured.
type Plan struct {
	Architecture    string  `json:"architecture"`
	Parameters      int     `json:"trained_parameters"`
	Tensors         int     `json:"trained_tensors"`
	TrainRows       int     `json:"train_rows"`
	EvalRows        int     `json:"eval_rows"`
	EpochTokens     int     `json:"tokens_per_epoch"`
	EpochScored     int     `json:"scored_tokens_per_epoch"`
	Steps           int     `json:"steps"`
	RowsPerStep     int     `json:"rows_per_step"`
	TotalTokens     int     `json:"tokens"`
	MemoryBytes     int64   `json:"peak_memory_bytes"` // Memory.Total
	Memory          *Memory `json:"memory_bytes,omitempty"`
	TokensPerSecond float64 `json:"tokens_per_second"`
	Seconds         float64 `json:"seconds"`
}

// Estimate is what a run would take, told by shapes alone.
type Estimate struct {
	Architecture string `json:"architecture"`
	Layers       int    `json:"layers"`
	Trained      int64  `json:"trained_parameters"`
	Seq          int    `json:"tokens_per_row"`
	StepTokens   int    `json:"tokens_per_step"`
	Memory       Memory `json:"memory_bytes"`
	LargestBlock int64  `json:"largest_block_bytes"` // of the base, which is in memory at once

	BaseBytes       int64 `json:"base_bytes"`
	ResultBytes     int64 `json:"result_bytes"`     // the adapter, or the model of trained weights
	CheckpointBytes int64 `json:"checkpoint_bytes"` // twice, while one replaces another
	DiskBytes       int64 `json:"disk_bytes"`

	// ReadBytes is what a step reads of the base: forward and back, and of experts
	// those that tokens choose if the router spreads them evenly.
	ReadBytes     float64 `json:"read_bytes_per_step"`
	FLOPsPerToken float64 `json:"flops_per_token"`
	// OptimizerBytes is what a step reads and writes once the gradients are computed.
	OptimizerBytes int64 `json:"-"`
}

// Memory is what a run takes at its peak, in bytes, and of what that is made. The
// base is not part of it: it is mapped, and the system may drop and read again
// what it needs room for.
type Memory struct {
	Activations int64 `json:"activations"` // results and their gradients, as many as exist at once
	Scratch     int64 `json:"scratch"`     // packed operands, and what each thread works in
	Parameters  int64 `json:"parameters"`
	Gradients   int64 `json:"gradients"`
	Moments     int64 `json:"moments"`   // of the optimizer
	LastGood    int64 `json:"last_good"` // the copy that a rollback takes
	Data        int64 `json:"data"`
	Copied      int64 `json:"copied_base"` // of the base, what is converted on loading
	Program     int64 `json:"program"`     // what else lives: vocabulary, metadata, the runtime
	Total       int64 `json:"total"`
	MappedBase  int64 `json:"mapped_base"` // not in Total

	// Rehearsal is address space that predicting took; the memory behind it was not
	// touched.
	Rehearsal int64 `json:"-"`
	AtLeast   bool  `json:"-"` // it is more: the rehearsal was given up
}

// AddUp sets Total to the sum of the parts.
func (m *Memory) AddUp() {
	m.Total = m.Activations + m.Scratch + m.Parameters + m.Gradients + m.Moments + m.LastGood + m.Data + m.Copied + m.Program
}

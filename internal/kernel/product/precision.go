package product

// Precision is how frozen weights are multiplied.
type Precision int

const (
	// Float32 multiplies everything in float32.
	Float32 Precision = iota
	// Auto multiplies encoded weights and what is [Matrix.Roundable] in bfloat16,
	// adding up in float32, where the tier does that faster. What else is stored
	// as float32 stays float32.
	Auto
)

// SetPrecision chooses the precision of the products that follow; a new pool
// has Float32. It must not be called while they run.
func (p *Pool) SetPrecision(precision Precision) { p.precision = precision }

// Precision names what encoded weights are multiplied in: "bf16" or "f32".
func (p *Pool) Precision() string { return p.ofEncoded().way.String() }

// Rounds reports whether the pool multiplies encoded weights in bfloat16, so that rows
// may be kept as [Batch.RoundedRows].
func (p *Pool) Rounds() bool { return p.ofEncoded().way == inBFloat16 }

// ofEncoded multiplies encoded weights.
func (p *Pool) ofEncoded() *multiplier {
	return active().multiplierOf(Matrix{roundable: true}, p.precision)
}

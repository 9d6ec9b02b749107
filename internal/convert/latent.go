package convert

import (
	"io"
	"sync"

	"qtool/internal/arch"
)

// latentDims are the sizes of attention over latents.
type latentDims struct {
	qRank, kvRank int // of the latents; qRank 0: queries have none
	plain, value  int // of a head: the part that does not rotate, the value
}

// readLatents reads the sizes of attention over latents. The head that rotates
// is only a part there, and all heads share one latent.
func (d *dims) readLatents(c *config) {
	d.latent = latentDims{
		qRank: c.count("q_lora_rank"), kvRank: c.required("kv_lora_rank"),
		plain: c.required("qk_nope_head_dim"), value: c.required("v_head_dim"),
	}
	d.headDim, d.headsKV, d.explicitHeadDim = c.required("qk_rope_head_dim"), 1, false
}

// latentKeys adds the keys of attention over latents, which is stored so that
// scores are taken against the latents.
func latentKeys(w *metadataWriter, _ *config, d *dims) {
	l := d.latent
	if l.qRank > 0 {
		w.uint(arch.KeyAttentionQLoraRank, l.qRank)
	}
	w.uint(arch.KeyAttentionKVLoraRank, l.kvRank)
	w.uint(arch.KeyAttentionKeyLength, l.kvRank+d.rotated)
	w.uint(arch.KeyAttentionValueLength, l.kvRank)
	w.uint(arch.KeyAttentionKeyLengthMLA, l.plain+d.rotated)
	w.uint(arch.KeyAttentionValueLengthMLA, l.value)
	rotation(w, nil, d)
}

// latentAttention adds the tensors. kv_b_proj holds the rows of each head's key,
// then those of its value; the former are transposed.
func (f *family) latentAttention(b *block, d *dims) {
	l := d.latent
	key, both := l.plain+d.rotated, l.plain+l.value
	if l.qRank > 0 {
		b.linear("attn_q_a", "self_attn.q_a_proj", d.embed, l.qRank, noBias)
		b.norm("attn_q_a_norm", "self_attn.q_a_layernorm", l.qRank, 0)
		b.linear("attn_q_b", "self_attn.q_b_proj", l.qRank, d.heads*key, noBias)
	} else {
		b.linear("attn_q", "self_attn.q_proj", d.embed, d.heads*key, noBias)
	}
	b.linear("attn_kv_a_mqa", "self_attn.kv_a_proj_with_mqa", d.embed, l.kvRank+d.rotated, noBias)
	b.norm("attn_kv_a_norm", "self_attn.kv_a_layernorm", l.kvRank, 0)
	up := recipe{sources: []string{b.from("self_attn.kv_b_proj") + ".weight"}, sourceShape: []int{d.heads * both, l.kvRank}}
	keys, values := up, up
	keys.name, keys.shape = b.name+"attn_k_b.weight", []int{l.plain, l.kvRank, d.heads}
	keys.cut, keys.transposed = cut{groupRows: both, step: 1}, true
	values.name, values.shape = b.name+"attn_v_b.weight", []int{l.kvRank, l.value, d.heads}
	values.cut = cut{groupRows: both, first: l.plain, step: 1}
	b.add(&keys)
	b.add(&values)
	b.linear("attn_output", "self_attn.o_proj", d.heads*l.value, d.embed, noBias)
}

// transposed is tensor data whose matrices are those of another with rows and
// columns exchanged. It keeps the matrix that was read last, until all is read.
type transposed struct {
	of            io.ReaderAt
	rows, columns int // of a matrix of the result
	matrices      int
	itemBytes     int

	mu   sync.Mutex
	last int // the matrix in data, -1 if none
	data []byte
}

// Size is the number of bytes of the result.
func (t *transposed) Size() int64 { return int64(t.matrices) * t.matrixBytes() }

func (t *transposed) matrixBytes() int64 {
	return int64(t.rows) * int64(t.columns) * int64(t.itemBytes)
}

// ReadAt computes the bytes that p asks for.
func (t *transposed) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= t.Size() {
		return 0, io.EOF
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	read := 0
	for read < len(p) {
		at := off + int64(read)
		if at >= t.Size() {
			return read, io.EOF
		}
		if err := t.load(int(at / t.matrixBytes())); err != nil {
			return read, err
		}
		read += copy(p[read:], t.data[at%t.matrixBytes():])
		if at = off + int64(read); at == t.Size() {
			t.data = nil // who reads in order is done
		}
	}
	return read, nil
}

// load puts a matrix into data.
func (t *transposed) load(matrix int) error {
	if t.data != nil && t.last == matrix {
		return nil
	}
	from := make([]byte, t.matrixBytes())
	if _, err := readFull(t.of, from, int64(matrix)*t.matrixBytes()); err != nil {
		return err
	}
	if t.data == nil {
		t.data = make([]byte, t.matrixBytes())
	}
	n := t.itemBytes
	for r := range t.rows {
		for c := range t.columns {
			copy(t.data[(r*t.columns+c)*n:][:n], from[(c*t.rows+r)*n:])
		}
	}
	t.last = matrix
	return nil
}

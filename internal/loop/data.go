package loop

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"

	"qtool/internal/dataset"
)

// Arrangement says how examples become rows.
type Arrangement struct {
	Seq       int
	Packing   bool    // several examples to a row of up to Seq positions
	EvalSplit float64 // fraction to hold out, where there is no evaluation file
	Seed      uint64
}

// Arrange splits off the held-out examples and lays both parts out in rows.
// eval may be nil.
func (a Arrangement) Arrange(train, eval *dataset.Data) (rows, heldOut []dataset.Row) {
	learn, hold := train.Examples, []dataset.Example(nil)
	if eval != nil {
		hold = eval.Examples
	} else if a.EvalSplit > 0 {
		learn, hold = dataset.Split(learn, a.EvalSplit, a.Seed)
	}
	if !a.Packing {
		return dataset.Rows(learn), dataset.Rows(hold)
	}
	return dataset.Pack(learn, a.Seq, a.Seed), dataset.Pack(hold, a.Seq, a.Seed)
}

// firstTokens is the beginning of rows with at most limit tokens, but at least
// one row; 0 is no limit.
func firstTokens(rows []dataset.Row, limit int) []dataset.Row {
	tokens := 0
	for i, r := range rows {
		if tokens += r.Len(); limit > 0 && i > 0 && tokens > limit {
			return rows[:i]
		}
	}
	return rows
}

// Fingerprint is a hash of rows: equal exactly if all tokens, targets, weights and
// document borders are.
func Fingerprint(rows []dataset.Row) string {
	h := sha256.New()
	var b dataset.Batch
	for _, r := range rows {
		b.Set(r)
		binary.Write(h, binary.LittleEndian, [2]int64{int64(len(b.Tokens)), int64(len(b.Docs))})
		binary.Write(h, binary.LittleEndian, b.Tokens)
		binary.Write(h, binary.LittleEndian, b.Targets)
		binary.Write(h, binary.LittleEndian, b.Weights)
		for _, d := range b.Docs {
			binary.Write(h, binary.LittleEndian, int64(d))
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

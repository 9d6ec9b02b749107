package loop

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"

	"qtool/internal/dataset"
)

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

package loop

import "qtool/internal/atomicfile"

// checkpoints is how many checkpoints exist at once: the newest, and the one before it,
// or while one is written that and the unfinished one.
const checkpoints = 2

// CheckpointBytes is about what a checkpoint takes on the disk: weights and what the
// optimizer remembers of them, as they are and as they were when they were last known to
// be good.
func (r *Run) CheckpointBytes() int64 {
	const header, perParam = 1 << 16, 1 << 10
	return header + perParam*int64(len(r.Params)) + r.trained.elements()*r.trained.cost.checkpoint
}

// ReserveSpace holds disk space for the checkpoints to come, so that a disk which fills
// up meanwhile does not keep them from being written. there is how many of them exist.
func (r *Run) ReserveSpace(there int) error {
	for range checkpoints - min(there, checkpoints) {
		held, err := atomicfile.Reserve(r.CheckpointPath, r.CheckpointBytes())
		if err != nil {
			return err
		}
		r.reserved = append(r.reserved, held)
	}
	return nil
}

// releaseSpace gives back what was held for one checkpoint.
func (r *Run) releaseSpace() {
	if n := len(r.reserved); n > 0 {
		r.reserved[n-1].Release()
		r.reserved = r.reserved[:n-1]
	}
}

// Close gives back the disk space that is still held.
func (r *Run) Close() {
	for len(r.reserved) > 0 {
		r.releaseSpace()
	}
}

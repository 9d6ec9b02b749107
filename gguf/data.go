package gguf

// What a tensor's data may offer besides ReadAt. Data that implements one of these says so
// where it is declared (var _ Viewer = …), so that a method with another name or signature
// does not compile instead of never being called.

// Viewer is data that may lie in memory as it is.
type Viewer interface {
	// Bytes is all of the data without a copy; nil if it cannot be had so now. It must not
	// be written to, and is gone when the file is closed.
	Bytes() []byte
}

// Adviser is data that can use the advice that all of it is about to be read, or will not
// be read soon. Advice changes no result.
type Adviser interface {
	WillNeed()
	DontNeed()
}

// PartAdviser is an [Adviser] for n bytes at off.
type PartAdviser interface {
	WillNeedPart(off, n int64)
	DontNeedPart(off, n int64)
}

// CachedReader is data that can tell whether reading it means waiting for a disk.
type CachedReader interface {
	// ReadCached fills p with the bytes from off on and reports whether it could without
	// waiting; if not, p holds nothing of use.
	ReadCached(p []byte, off int64) bool
}

// Package mmap shows a file's content as read-only memory, so that tensors of
// a model larger than memory are paged in as they are used.
//
// It imports golang.org/x/sys and the standard library only. It knows nothing
// of file formats and never writes. Where a platform has no mapping, [Map]
// fails with [errors.ErrUnsupported] and the caller reads the file instead.
package mmap

// Package faulty has systems for tests of what is written to disks: [Failing], in which
// a chosen call fails, and [Recorder], which remembers every call and makes the folder
// that a crash after any of them would leave.
//
// It imports the standard library and internal/atomicfile. Only tests import it.
package faulty

// Package input opens the files that a program reads. What a file is, how large it is and
// what it claims to hold is decided by whoever made it, so none of it is trusted: only
// regular files are opened, no more is read than the reader allows, counts are compared
// with what the file can hold, and a file remembers what it was, so that a result made from
// one that was changed meanwhile is noticed.
package input

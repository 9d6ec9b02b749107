// Package printable makes text that came from a file fit to be shown.
//
// A name, a template or a line of data may hold anything, also what moves the cursor
// of a terminal, rewrites what it showed before or turns the direction of writing.
// Errors quote such text where they are made (%q or [Quote]), tables show it with
// [Text], and whatever both forgot is escaped by the [Writer] that all output of the
// program goes through.
package printable

// Package parquet reads the rows of a Parquet file as JSON values.
//
//	"PAR1"
//	row group 0:  column chunk 0: [dictionary page] data page, data page, …
//	              column chunk 1: …
//	row group 1:  …
//	footer:       schema, and where each chunk begins
//	length of the footer, "PAR1"
//
// Columns are the leaves of the schema. A column has triples of a repetition level, a
// definition level and a value; from them lists and nulls are put together again, see
// assemble.go. Pages are read one at a time for each column.
//
// The structures of footer and page headers are those of github.com/parquet-go/parquet-go,
// read with its Thrift decoder after this package counted what they claim to hold. Pages are
// decoded here: the library's decoders make room for whatever a page claims, and hand out
// values by the page; these give one value after another, so that a claim costs nothing.
package parquet

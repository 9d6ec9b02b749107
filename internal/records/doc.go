// Package records reads data sets: from what a user names (files, folders, standard input)
// to one record after another, each with the place where it stands.
//
//	source.go   PATH and PATH:WEIGHT
//	find.go     the files of a folder, and which of them are for evaluation
//	reader.go   the files in order, bad records, what was found
//	stream.go   opening, decompressing
//	detect.go   what a file is, by content first and by the ending of its name second
//	refuse.go   the kinds of files that are known and not read
//	lines.go, values.go, csv.go, table.go, text.go   one for each container
//	jsontext    one JSON object: checked, and taken into its fields
//	parquet     rows of a Parquet file as JSON objects
//
// What a record means is not decided here. Files come from anywhere: whatever they hold
// gives records or an error with a place, and never takes memory out of proportion; no
// more than one record is held at a time.
package records

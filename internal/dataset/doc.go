// Package dataset turns files of text and records into rows of tokens to train
// on: reading, tokenizing, marking what is scored, packing, splitting and the
// order of epochs. It imports chat and a tokenizer; it never sees a model, and
// never computes a loss.
//
//	file -> records -> examples -> split -> rows -> order
//	        reader.go  encode.go   split.go pack.go sampler.go
//	        record.go  example.go
//
// What is scored, by kind of record:
//
//	plain text file            everything; cut into windows of Options.Seq
//	{"text"}                   everything
//	{"prompt","completion"}    the completion; the prompt is read but not scored
//	{"messages":[…]}           what the assistant wrote, with its end-of-turn marker
//	{"input_ids","labels"}     where the label is not -100
//
// Texts, completions and conversations start with BOS if the tokenizer adds one
// and the text has none; texts and completions end with a scored EOS.
//
// A record that does not fit Options.Seq is an error that names it, before any
// training: cutting ([Options].Truncate) or windows ([Options].SplitText) are for
// the user to choose. Records of several kinds may stand in one file.
package dataset

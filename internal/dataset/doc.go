// Package dataset turns files of text and records into rows of tokens to train
// on: reading, tokenizing, marking what is scored, packing, splitting and the
// order of epochs. It imports chat and a tokenizer; it never sees a model, and
// never computes a loss.
//
//	file -> records -> examples -> split -> rows -> order
//	        form.go    encode.go   split.go pack.go sampler.go
//	        keys.go    turns.go
//	                   long.go
//
// What is scored, by kind of record (see docs/data.md for all forms):
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
// What is read and what is scored after it are tokenized each by itself, because that is
// how inference meets them: the prompt is complete before the first token of the answer
// is drawn. A key of a record that its form does not read is counted, or refused if it
// changes what the record means.
//
// Records of several forms may stand in one file. Those that do not fit Options.Seq are
// treated as Options.Long says.
package dataset

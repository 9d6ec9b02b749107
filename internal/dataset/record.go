package dataset

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"qtool/internal/chat"
)

// record is one entry of a file in the form it was written.
type record interface {
	// tokenize gives the examples of the record, none if nothing of it is learned.
	tokenize(*encoder, *notices) ([]Example, error)
	// texts are what it holds as text.
	texts() []string
}

type (
	// textRecord is learned whole.
	textRecord struct {
		text   string
		weight float32
	}
	// pairRecord is a prompt, which is read, and a completion, which is learned.
	pairRecord struct {
		prompt, completion string
		weight             float32
	}
	// chatRecord is a conversation; weights are those of its messages, 0 where they are
	// only read.
	chatRecord struct {
		chat.Conversation
		weight  float32 // of the record
		weights []float32
		empty   int // answers that are not learned because there is nothing in them
	}
	// tokenRecord has its padding removed; ids and labels have the same length.
	tokenRecord struct {
		ids, labels []int32
		weight      float32
	}
)

func (r textRecord) texts() []string { return []string{r.text} }
func (r pairRecord) texts() []string { return []string{r.prompt, r.completion} }
func (tokenRecord) texts() []string  { return nil }
func (r chatRecord) texts() (all []string) {
	for _, m := range r.Messages {
		all = append(all, m.Content)
	}
	return all
}

func parseText(_ *parser, f *fields, keys []string) (record, error) {
	text, err := value[string](f, keys[0], "a string")
	if err != nil {
		return nil, err
	}
	weight, _, err := f.weight()
	return textRecord{text, weight}, err
}

// parseTokens reads {"input_ids","labels","attention_mask"}, the last two
// optional. Positions that the mask hides at either end are padding.
func parseTokens(_ *parser, f *fields, keys []string) (record, error) {
	ids, err := value[[]int32](f, keys[0], "an array of token ids")
	if err != nil {
		return nil, err
	}
	labels, err := aligned(f, "labels", len(ids))
	if err != nil {
		return nil, err
	}
	if labels == nil {
		labels = slices.Clone(ids)
	}
	mask, err := aligned(f, "attention_mask", len(ids))
	if err != nil {
		return nil, err
	}
	start, end := 0, len(ids)
	if mask != nil {
		for start < end && mask[start] == 0 {
			start++
		}
		for end > start && mask[end-1] == 0 {
			end--
		}
		if slices.Contains(mask[start:end], 0) {
			return nil, errors.New(`"attention_mask" hides tokens in the middle; expected padding at the ends only`)
		}
	}
	weight, _, err := f.weight()
	return tokenRecord{ids[start:end], labels[start:end], weight}, err
}

// aligned reads an optional array that has one entry for each token.
func aligned(f *fields, key string, n int) ([]int32, error) {
	v, ok, err := optional[[]int32](f, key, "an array of integers")
	if ok && len(v) != n {
		err = fmt.Errorf(`%q has the length %d, "input_ids" %d; expected the same`, key, len(v), n)
	}
	return v, err
}

func refusePreference(*parser, *fields, []string) (record, error) {
	return nil, errors.New(`"chosen" and "rejected" are preference data, for DPO, which cannot be trained yet; to learn the preferred answers alone, name them with --prompt-field and --completion-field or --messages-field`)
}

// refuseKTO refuses answers with a verdict of good or bad.
func refuseKTO(f *fields) error {
	raw := string(f.object["label"])
	if f.strings {
		raw = strings.ToLower(strings.Trim(raw, `"`))
	}
	if raw != "true" && raw != "false" {
		return nil
	}
	return errors.New(`"label" says whether the answer is good, for KTO, which cannot be trained yet; leave out the bad answers and the label`)
}

package dataset

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"qtool/internal/chat"
)

// prompted is a record of one question and its answer, whatever its keys are called.
type prompted struct {
	question, answer string
	raw              string // the prompt where there is no template
}

// parsePrompt reads a prompt and a completion: two strings, or two lists of messages.
func parsePrompt(p *parser, f *fields, keys []string) (record, error) {
	if isList(f.object[keys[0]]) || isList(f.object[keys[1]]) {
		return parseMessageLists(p, f, keys)
	}
	return p.prompted(f, keys, "")
}

// parseQuestion reads a question and an answer. Without a template a line break stands
// between them.
func parseQuestion(p *parser, f *fields, keys []string) (record, error) {
	return p.prompted(f, keys, "\n")
}

func isList(raw json.RawMessage) bool { return bytes.HasPrefix(raw, []byte("[")) }

// prompted reads a question and its answer; without a template, between stands between them.
func (p *parser) prompted(f *fields, keys []string, between string) (record, error) {
	var r prompted
	var err error
	if r.question, err = value[string](f, keys[0], "a string"); err != nil {
		return nil, err
	}
	if r.answer, err = value[string](f, keys[1], "a string"); err != nil {
		return nil, err
	}
	r.raw = r.question + between
	return p.exchange(f, r)
}

// parseInstruction reads an instruction, what it is about, and the answer: Alpaca's
// {"instruction","input","output"} and Dolly's {"instruction","context","response"}.
func parseInstruction(p *parser, f *fields, keys []string) (record, error) {
	instruction, err := value[string](f, keys[0], "a string")
	if err != nil {
		return nil, err
	}
	about, err := f.text("input")
	if err != nil {
		return nil, err
	}
	if about == "" {
		if about, err = f.text("context"); err != nil {
			return nil, err
		}
	}
	r := prompted{question: instruction}
	if !p.opts.TemplatePairs {
		system, err := f.text(p.opts.systemField())
		if err != nil {
			return nil, err
		}
		r.raw = alpacaPrompt(system, instruction, about)
	}
	if about != "" {
		r.question += "\n\n" + about
	}
	if r.answer, err = value[string](f, keys[1], "a string"); err != nil {
		return nil, err
	}
	return p.exchange(f, r)
}

// alpacaPrompt is the prompt that Alpaca was trained with. A system message stands in the
// place of its first paragraph.
func alpacaPrompt(system, instruction, about string) string {
	if about != "" {
		about = "### Input:\n" + about + "\n\n"
	}
	switch {
	case system != "":
	case about == "":
		system = "Below is an instruction that describes a task. Write a response that appropriately completes the request."
	default:
		system = "Below is an instruction that describes a task, paired with an input that provides further context. Write a response that appropriately completes the request."
	}
	return system + "\n\n### Instruction:\n" + instruction + "\n\n" + about + "### Response:\n"
}

// exchange makes a record of r: a conversation, or a pair of texts where there is no
// template for it.
func (p *parser) exchange(f *fields, r prompted) (record, error) {
	if !p.opts.TemplatePairs {
		weight, _, err := f.weight()
		return pairRecord{r.raw, r.answer, weight}, err
	}
	history, _, err := optional[[][2]string](f, "history", "an array of questions and answers")
	if err != nil {
		return nil, err
	}
	b := &dialog{p: p}
	if err := b.begin(f); err != nil {
		return nil, err
	}
	for _, h := range append(history, [2]string{r.question, r.answer}) {
		b.add(chat.Message{Role: "user", Content: h[0]}, 0)
		b.add(chat.Message{Role: "assistant", Content: h[1]}, b.weight)
	}
	return b.record()
}

// parseMessageLists reads a prompt that is a list of messages, and a completion that is
// one or a text; only the completion is learned.
func parseMessageLists(p *parser, f *fields, keys []string) (record, error) {
	b := &dialog{p: p}
	if err := b.begin(f); err != nil {
		return nil, err
	}
	for i, role := range []string{"user", "assistant"} {
		key := keys[i]
		if !isList(f.object[key]) {
			text, err := value[string](f, key, "a string or an array of messages")
			if err != nil {
				return nil, err
			}
			b.add(chat.Message{Role: role, Content: text}, b.weight)
			continue
		}
		messages, err := value[[]object](f, key, "a string or an array of messages")
		if err != nil {
			return nil, err
		}
		if err := b.addAll(messages, i == 1); err != nil {
			return nil, fmt.Errorf("%q: %w", key, err)
		}
	}
	if n := len(b.Messages); n == 0 || b.Messages[n-1].Role != "assistant" {
		return nil, errors.New("the completion does not end with a message of the assistant")
	}
	return b.record()
}

// blankText is whether there is nothing in an answer.
func blankText(s string) bool { return strings.TrimSpace(s) == "" }

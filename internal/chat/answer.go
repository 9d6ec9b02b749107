package chat

import (
	"regexp"
	"strings"
)

// Answer is the message that a model generated after a prompt, for the history of a
// conversation. Reasoning is taken apart from the content where the template asks for it by a key
// of its own; elsewhere it stays in the content, in the tags in which it was generated, and the
// template does with it what it does.
func (t *Template) Answer(prompt, text string) Message {
	m := Message{Role: "assistant", Content: text}
	if harmonyChannel.MatchString(text) {
		m.Reasoning, m.Content = harmony(text)
		return m
	}
	opening := endsOpen.FindString(prompt[max(0, len(prompt)-200):])
	if opening != "" && endOfThinking.MatchString(opening) {
		opening = ""
	}
	reasoning, content, ok := splitReasoning(opening + text)
	switch {
	case ok && t.lowered.asksReasoning():
		m.Reasoning, m.Content = reasoning, content
	case ok:
		m.Content = opening + text
	}
	return m
}

// asksReasoning is whether the template reads reasoning from a key of a message.
func (l *lowered) asksReasoning() bool {
	for _, key := range reasoningKeys {
		if l.keys[key] {
			return true
		}
	}
	return false
}

var startsOpen = regexp.MustCompile(`^\s*(` + thinkMarker + `)`)

// splitReasoning splits an answer that begins with a block of reasoning. One that was cut off
// inside of it is all reasoning.
func splitReasoning(text string) (reasoning, content string, ok bool) {
	open := startsOpen.FindStringSubmatchIndex(text)
	if open == nil || endOfThinking.MatchString(text[open[2]:open[3]]) {
		return "", text, false
	}
	inner := text[open[1]:]
	end := endOfThinking.FindStringIndex(inner)
	if end == nil {
		return strings.TrimFunc(inner, isSpace), "", true
	}
	return strings.TrimFunc(inner[:end[0]], isSpace), strings.TrimLeftFunc(inner[end[1]:], isSpace), true
}

// The form of gpt-oss: <|channel|>NAME<|message|>TEXT, with <|end|><|start|>assistant between
// messages; the channel "final" is the answer.
var (
	harmonyChannel = regexp.MustCompile(`<\|channel\|>([a-z]+)[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>`)
	harmonyEnd     = regexp.MustCompile(`<\|(?:end|start|return|call)\|>`)
)

func harmony(text string) (reasoning, content string) {
	all := harmonyChannel.FindAllStringSubmatchIndex(text, -1)
	for i, at := range all {
		body := text[at[1]:]
		if i+1 < len(all) {
			body = text[at[1]:all[i+1][0]]
		}
		if end := harmonyEnd.FindStringIndex(body); end != nil {
			body = body[:end[0]]
		}
		if text[at[2]:at[3]] == "final" {
			content += body
		} else {
			reasoning += body
		}
	}
	return reasoning, content
}

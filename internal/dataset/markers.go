package dataset

import (
	"regexp"
	"slices"
	"strings"

	"qtool/internal/chat"
)

// looksMarkup matches what templates write to mark roles and turns.
var looksMarkup = regexp.MustCompile(`<[^<>\s]{1,40}>`)

// warnOfMarkers names the markers of the template that the vocabulary spells.
func (t *tally) warnOfMarkers(o *Options, tok Tokenizer, warn func(int, string, ...any)) {
	if t.Template == "" {
		return
	}
	text, err := o.Template.Render(chat.Conversation{Messages: []chat.Message{
		{Role: "user", Content: "question"}, {Role: "assistant", Content: "answer"}, {Role: "user", Content: "question"},
	}}, true)
	if err != nil {
		return // some records went through it: it wants another kind of conversation
	}
	var spelled []string
	for _, m := range looksMarkup.FindAllString(text, -1) {
		if ids, _ := tok.Encode(m, true); len(ids) != 1 && !slices.Contains(spelled, m) {
			spelled = append(spelled, m)
		}
	}
	warn(len(spelled), "the chat template writes %s, which the vocabulary has no token for: each is spelled in several tokens that the model must learn; check that the template is this model's, or give another with --chat-template", strings.Join(spelled, ", "))
}

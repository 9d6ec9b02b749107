package run

// Records is what was read of the data.
type Records struct {
	Records  int            `json:"records"`         // as read
	Forms    map[string]int `json:"forms,omitempty"` // records by form
	Examples int            `json:"examples"`        // to train on
	Tokens   int            `json:"tokens"`          // positions over all examples
	Scored   int            `json:"scored_tokens"`   // positions that count
	Longest  int            `json:"longest"`         // positions of the longest example, before cutting

	Truncated  int `json:"truncated"`             // examples that were cut
	AnswersCut int `json:"answers_cut,omitempty"` // those of them that lost tokens to learn
	Windowed   int `json:"windowed"`              // records cut into windows
	Prose      int `json:"plain_texts"`           // records that are plain text, which may be cut anywhere
	TooLong    int `json:"too_long,omitempty"`    // examples left out because they are longer than a sequence
	Skipped    int `json:"skipped"`               // records without anything to learn, or with nothing of it before the cut
	Empty      int `json:"empty_answers,omitempty"`
	Bad        int `json:"bad,omitempty"` // records that could not be used, where those are skipped

	Borders   int `json:"borders,omitempty"`   // answers that one text with the prompt would tokenize otherwise
	Separate  int `json:"separate,omitempty"`  // answers beyond the first of a conversation that are examples of their own
	Weighted  int `json:"weighted,omitempty"`  // examples with losses that do not count once
	Templated int `json:"templated,omitempty"` // records that went through the chat template

	UnusedKeys map[string]int `json:"unused_keys,omitempty"` // records by key that says nothing to learn
	TooLongAt  []string       `json:"too_long_at,omitempty"` // the first of them
	EmptyAt    []string       `json:"empty_answers_at,omitempty"`
	BadAt      []string       `json:"bad_at,omitempty"` // with the reason

	Template string   `json:"template,omitempty"` // that conversations went through
	Notes    []string `json:"notes,omitempty"`    // what was decided
	Warnings []string `json:"warnings,omitempty"` // what is probably not meant
	Shown    []Token  `json:"example,omitempty"`  // one example
}

// Token is one token of an example as it is shown.
type Token struct {
	Text   string  `json:"text"`
	ID     int32   `json:"id"`
	Scored bool    `json:"scored"`
	Weight float32 `json:"weight,omitempty"` // of a scored token, if it is not 1
}

package dataset

import (
	"fmt"
	"strings"
)

// TrainOn is what of a record is learned; the zero value is every answer.
type TrainOn struct {
	mode   learnMode
	marker string
}

type learnMode int

const (
	learnAnswers learnMode = iota // all messages of the assistant, completions
	learnLast                     // the last message of the assistant
	learnAll                      // the whole text, prompts too
	learnAfter                    // what follows the last marker in the whole text
)

// ParseTrainOn reads assistant, last, all or after:MARKER, where MARKER may have \n, \t
// and \\.
func ParseTrainOn(s string) (TrainOn, error) {
	modes := map[string]learnMode{"": learnAnswers, "assistant": learnAnswers, "last": learnLast, "all": learnAll}
	if mode, ok := modes[s]; ok {
		return TrainOn{mode: mode}, nil
	}
	marker, ok := strings.CutPrefix(s, "after:")
	marker = strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\t`, "\t", `\r`, "\r").Replace(marker)
	if !ok || marker == "" {
		return TrainOn{}, fmt.Errorf("%q does not say what to train on; expected assistant, last, all or after:MARKER", s)
	}
	return TrainOn{learnAfter, marker}, nil
}

func (t TrainOn) String() string {
	switch t.mode {
	case learnLast:
		return "last"
	case learnAll:
		return "all"
	case learnAfter:
		return fmt.Sprintf("after:%q", t.marker)
	}
	return "assistant"
}

// whole is whether records are learned as one text.
func (t TrainOn) whole() bool { return t.mode == learnAll || t.mode == learnAfter }

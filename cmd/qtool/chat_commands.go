package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"qtool/internal/adapters"
	"qtool/internal/dialogue"
	"qtool/internal/printable"
)

// errChatOver ends a chat.
var errChatOver = errors.New("over")

// chatHelp lists the commands of a chat.
const chatHelp = `   /reset            begin a new conversation; the system message stays
   /system TEXT      set the system message; without TEXT, take it away
   /lora             list the adapters and their strengths
   /lora 0.5         run with the adapter at half its strength; 0 is the base
   /lora 2 0.5       the same for the second of several
   /help             list the commands
   /exit             end the chat
`

// command does what a line that begins with a slash asks for.
func (s *chatting) command(in dialogue.Input) error {
	if in.Args != "" && in.Command != "system" && in.Command != "lora" {
		return usagef("/%s takes no argument", in.Command)
	}
	switch in.Command {
	case "help", "?":
		s.con.say("%s", strings.TrimSuffix(chatHelp, "\n"))
	case "exit", "quit", "bye":
		return errChatOver
	case "reset", "clear":
		s.talk.Reset()
		s.con.say("a new conversation")
	case "system":
		return s.system(in.Args)
	case "lora":
		return s.lora(strings.Fields(in.Args))
	default:
		return usagef("there is no command %s; /help lists them, and a message that begins with a slash is written with two", printable.Quote("/"+in.Command))
	}
	return nil
}

// system sets the system message.
func (s *chatting) system(text string) error {
	before := s.talk.System()
	shown, err := s.talk.SetSystem(text)
	switch {
	case err != nil:
		return fmt.Errorf("/system: %w", err)
	case !shown:
		s.con.say("warning: the template leaves the system message out")
	case text == "" && before == "":
		s.con.say("there is no system message")
	case text == "":
		s.con.say("the system message is taken away; %s", s.again())
	default:
		s.con.say("the system message is set; %s", s.again())
	}
	return nil
}

// again says what becomes of the cache.
func (s *chatting) again() string {
	if s.reader.Len() == 0 {
		return "nothing was computed yet"
	}
	return "the conversation is computed again from there with the next message"
}

// lora lists the adapters, or sets the strength of one.
func (s *chatting) lora(args []string) error {
	list := s.adapters.List
	switch {
	case len(list) == 0:
		return usagef("/lora: the model runs without adapters; begin the chat with --lora A.gguf, or A.gguf:0 to switch it on later")
	case len(args) == 0:
		for i, a := range list {
			s.con.say("%d  %s  %g", i+1, printable.Text(a.Path), a.Strength)
		}
		return nil
	case len(args) > 2:
		return usagef("/lora takes a strength, or the number of an adapter and a strength")
	case len(args) == 1 && len(list) > 1:
		return usagef("/lora: there are %d adapters; say which, as in /lora 1 %s", len(list), args[0])
	}
	n, err := 1, error(nil)
	if len(args) == 2 {
		if n, err = strconv.Atoi(args[0]); err != nil || n < 1 || n > len(list) {
			return usagef("/lora: %s is not the number of an adapter; they are 1 to %d", printable.Quote(args[0]), len(list))
		}
	}
	text := args[len(args)-1]
	strength, err := strconv.ParseFloat(text, 32)
	if err != nil || math.IsNaN(strength) || math.IsInf(strength, 0) {
		return usagef("/lora: %s is not a strength; expected a number such as 0.5", printable.Quote(text))
	}
	return s.setStrength(list[n-1], float32(strength))
}

// setStrength switches an adapter; what was computed with the other strength is forgotten.
func (s *chatting) setStrength(a *adapters.Adapter, strength float32) error {
	before := a.Strength
	a.Strength = strength
	if err := s.adapters.Apply(); err != nil {
		a.Strength = before
		return errors.Join(err, s.adapters.Apply())
	}
	forgotten := s.reader.Len()
	s.reader.Reset()
	again := "nothing was computed yet"
	if forgotten > 0 {
		again = fmt.Sprintf("the %s of the conversation are computed again with the next message", printable.Count(forgotten, "token"))
	}
	s.con.say("%s at strength %g; %s", printable.Text(a.Path), strength, again)
	return nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"github.com/urfave/cli/v2"

	"qtool/internal/budget"
	"qtool/internal/chat"
	"qtool/internal/dialogue"
	"qtool/internal/infer"
	"qtool/internal/kernel/product"
	"qtool/internal/printable"
	"qtool/internal/usage"
)

// mostChatContext is how long the context of a chat is where the user does not say and the
// model's is longer: that of some models takes more memory than their weights.
const mostChatContext = 8192

func chatCommand() *cli.Command {
	return &cli.Command{
		Name:  "chat",
		Usage: "talk with a model",
		UsageText: `qtool chat MODEL [--lora A[:SCALE]]… [flags]

qtool chat model.gguf --lora mine.gguf
qtool chat ollama:qwen3:0.6b --system "Be brief." --temp 0.6
qtool chat embedded --lora out.gguf
qtool chat model.gguf --quiet < questions.txt > answers.txt`,
		Description: `A line is a message. One that ends with \ goes on in the next line, and what
stands between """ and """ is one message of several lines; so is text that
is pasted. Lines that begin with / are commands, and // begins a message with
a slash:

` + chatHelp + `
Ctrl-C ends an answer, which stays in the conversation as far as it came, and
at the prompt the program. Ctrl-D ends the program too.

Standard input may be a file or another program: a message a line, answers to
stdout, nothing but them. A message that fails, or an unknown command, then
ends the program.

Messages are written by the template that the adapter was trained with, where
it says so, or by the model's own. Only what is new of a conversation is
computed; where the template rewrites what was said, such as by dropping
thoughts, from there on. When the context is full, the oldest questions and
answers are forgotten until half of it is free, and a line says so; the
system message stays.

Each answer is drawn with --seed anew, as by qtool generate --chat.`,
		Flags: slices.Concat([]cli.Flag{
			modelFlag(&cli.StringFlag{Name: "model", Aliases: []string{"m"}, Usage: "the `MODEL`, if it is no argument"}),
			adapterFlag(),
		}, templateFlags(), samplingFlags(-1), []cli.Flag{
			&cli.IntFlag{Name: "context", Aliases: []string{"c", "ctx-size"}, Usage: "remember `N` tokens", DefaultText: fmt.Sprintf("the model's, at most %d", mostChatContext)},
			noEscapeFlag("--system and --stop"),
			preFlag(),
			threadsFlag(),
			forceFlag(),
			&cli.BoolFlag{Name: "json", Usage: "print one JSON object a line for each answer"},
		}),
		Action: runChat,
	}
}

func runChat(c *cli.Context) error {
	path, err := chatModel(c)
	if err != nil {
		return err
	}
	s := &chatting{c: c, con: newConsole(c)}
	if s.opt, err = generateOptions(c); err != nil {
		return err
	}
	from, err := modelSource(c, path)
	if err != nil {
		return err
	}
	if s.loaded, err = loadForRun(c, s.con, from, c.StringSlice("lora"), nil); err != nil {
		return err
	}
	defer s.Close()
	if s.talk, err = newDialogue(c, s.con, s.loaded, path, &s.opt); err != nil {
		return err
	}
	if err := s.makeReader(); err != nil {
		return err
	}
	return s.run()
}

// chatModel is MODEL, as an argument or with --model.
func chatModel(c *cli.Context) (string, error) {
	if !c.IsSet("model") {
		args, err := arguments(c, "MODEL")
		if err != nil {
			return "", err
		}
		return args[0], nil
	}
	_, err := arguments(c)
	return c.String("model"), err
}

// chatting is a chat at work.
type chatting struct {
	c   *cli.Context
	con *console
	*loaded
	opt infer.GenerateOptions

	talk   *dialogue.Dialogue
	reader *infer.Reader
	lines  lines
}

// makeReader takes the context, if it fits in memory.
func (s *chatting) makeReader() error {
	n, most := s.c.Int("context"), s.decoder.Context
	switch {
	case !s.c.IsSet("context"):
		if n = min(most, mostChatContext); n < most {
			s.con.say("context: %d tokens of the %d that the model can read; --context N takes more", n, most)
		}
	case n < 2 || n > most:
		return usagef("chat: --context %d: expected 2 to %d, which the model can read", n, most)
	}
	err := checkRunning(s.memory, s.c.Int("threads"), running{
		size: n, smaller: windowsBelow(n),
		needs: func(pool *product.Pool, n int, most int64) infer.Memory {
			return infer.NewSession(s.decoder, s.tokens, pool).GenerateMemory(n-1, 1, most)
		},
		advice: "with --context %d", otherwise: budget.ModelTooLarge,
	})
	s.reader = s.session().NewReader(n)
	return err
}

// run answers messages until there are no more.
func (s *chatting) run() error {
	if s.lines = newLines(s.c.Context, s.con); s.lines.live() {
		s.con.say("/help lists the commands; Ctrl-C ends an answer, Ctrl-D the chat")
	}
	for {
		in, err := dialogue.Next(s.lines.next)
		switch {
		case err == io.EOF:
			return nil
		case errors.Is(err, dialogue.ErrInput):
			return usage.Errorf("chat: %w", err)
		case err != nil:
			return err
		case in.Command != "":
			err = s.command(in)
		default:
			err = s.answer(in.Text)
		}
		switch {
		case err == errChatOver:
			return nil
		case err != nil && s.lines.live() && isAboutMessage(err):
			s.con.say("%v", err)
		case err != nil:
			return err
		}
	}
}

// isAboutMessage is whether an error is about a message or a command, so that others may follow.
func isAboutMessage(err error) bool {
	for _, kind := range []error{usage.Err, dialogue.ErrTooLong, chat.ErrConversation, chat.ErrTemplate, chat.ErrUnsupported} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// answerReport is the JSON of an answer.
type answerReport struct {
	Message string `json:"message"`
	generateReport
	Remembered int `json:"remembered_tokens"`
	Forgotten  int `json:"forgotten_exchanges"`
}

// answer answers a message.
func (s *chatting) answer(message string) error {
	turn, err := s.talk.Ask(message, s.reader.Context(), s.room())
	if err != nil {
		return err
	}
	if turn.Forgotten > 0 {
		s.con.say("the context of %d tokens is full: the oldest %s forgotten; /reset begins anew, and --context N makes it larger",
			s.reader.Context(), isOrAre(turn.Forgotten, "question with its answer", "questions with their answers"))
	}
	g, err := s.generate(turn)
	if interrupted := errors.Is(err, context.Canceled) && s.c.Context.Err() == nil; interrupted && g.Text == "" {
		s.con.say("interrupted; the message is taken back")
		return nil
	} else if interrupted {
		s.con.say("interrupted; the answer stays in the conversation as far as it came")
	} else if err != nil {
		return err
	}
	s.talk.Keep(turn, g.Text)
	s.sayHow(g)
	if s.con.json {
		r := answerReport{message, describeGeneration(turn.Text, g), g.Remembered, turn.Forgotten}
		if err := s.con.printJSONLine(r); err != nil {
			return err
		}
	}
	return s.file.Unchanged()
}

// room is how many tokens an answer should find free.
func (s *chatting) room() int {
	room := s.reader.Context() / 4
	if s.opt.MaxTokens >= 0 {
		room = min(room, s.opt.MaxTokens)
	}
	return room
}

// generate prints the answer to a turn as it comes. On a terminal Ctrl-C ends it.
func (s *chatting) generate(turn *dialogue.Turn) (infer.Generation, error) {
	ctx, stop := context.WithCancel(s.c.Context)
	defer stop()
	if s.lines.live() {
		defer interruptsOf(s.c.Context).next(stop)()
	}
	if s.con.json {
		return s.reader.Generate(ctx, turn.Tokens, s.opt, nil)
	}
	began := false
	g, err := streamTo(ctx, s.con, func(ctx context.Context, emit func(string)) (infer.Generation, error) {
		return s.reader.Generate(ctx, turn.Tokens, s.opt, func(text string) {
			if !began { // blanks before the answer are the model's habit
				text = strings.TrimLeftFunc(text, unicode.IsSpace)
			}
			if text != "" {
				began = true
				emit(text)
			}
		})
	})
	_, writeErr := fmt.Fprintln(s.con.out)
	return g, errors.Join(err, writeErr)
}

// sayHow says what is to be said of an answer besides its text.
func (s *chatting) sayHow(g infer.Generation) {
	switch g.Reason {
	case infer.StopContext:
		s.con.say("the context of %d tokens is full, and the answer is cut off there", s.reader.Context())
	case infer.StopLimit:
		s.con.say("the answer is cut off after %s (--max-tokens)", printable.Count(len(g.Tokens), "token"))
	}
	s.con.detailGeneration(g)
}

func isOrAre(n int, one, many string) string {
	if n == 1 {
		return one + " is"
	}
	return fmt.Sprintf("%d %s are", n, many)
}

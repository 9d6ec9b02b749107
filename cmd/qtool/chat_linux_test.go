package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"qtool/fixtures"
	"qtool/fixtures/vocabulary"
	"qtool/gguf"
	"qtool/internal/panics"
)

// onTerminal is a process that a user sits at.
type onTerminal struct {
	*process
	keys *os.File // the terminal's other side

	mu    sync.Mutex
	shown bytes.Buffer
}

// startOnTerminal starts the program on a terminal of its own.
func startOnTerminal(t *testing.T, args ...string) *onTerminal {
	t.Helper()
	keys, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no terminals to be had: ", err)
	}
	t.Cleanup(func() { keys.Close() })
	if err := unix.IoctlSetPointerInt(int(keys.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(keys.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no terminals to be had: ", err)
	}
	defer terminal.Close()
	p := &onTerminal{keys: keys}
	p.process = start(t, func(c *exec.Cmd) {
		c.Stdin, c.Stdout, c.Stderr = terminal, terminal, terminal
		c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	}, args...)
	panics.Go(func() {
		b := make([]byte, 4096)
		for {
			n, err := keys.Read(b)
			p.mu.Lock()
			p.shown.Write(b[:n])
			p.mu.Unlock()
			if err != nil {
				return
			}
		}
	})
	return p
}

// screen is all that was shown so far, without what steers the terminal.
func (p *onTerminal) screen() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.NewReplacer("\r", "", "\x1b[?2004h", "", "\x1b[?2004l", "").Replace(p.shown.String())
}

func (p *onTerminal) shows(text string) {
	p.t.Helper()
	await(p.t, fmt.Sprintf("%q", text), func() bool { return strings.Contains(p.screen(), text) })
}

func (p *onTerminal) press(keys string) {
	p.t.Helper()
	if _, err := p.keys.WriteString(keys); err != nil {
		p.t.Error(err)
	}
}

// say presses keys at the prompt, waits for the next prompt and returns what was shown.
func (p *onTerminal) say(keys string) string {
	p.t.Helper()
	const prompt = "\n> "
	await(p.t, "a prompt", func() bool { return strings.HasSuffix(p.screen(), prompt) })
	before := len(p.screen())
	p.press(keys)
	await(p.t, fmt.Sprintf("the prompt after %q", keys), func() bool {
		shown := p.screen()[before:]
		return len(shown) > len(prompt) && strings.HasSuffix(shown, prompt)
	})
	return p.screen()[before:]
}

func TestAChatOnATerminal(t *testing.T) {
	p := startOnTerminal(t, "chat", "embedded", "--temp", "0", "--threads", "1")
	p.shows("/help lists the commands")
	for _, c := range []struct{ keys, shows string }{
		{"What colour is the skx\x7fy?\r", "\nThe sky is blue.\n"}, // with a key that corrects
		{"/nonsense\r", "there is no command \"/nonsense\""},
		{"\x1b[A\x1b[A\r", "\nThe sky is blue.\n"}, // what was typed before
		{"\x1b[200~/etc/passwd\nis a file\x1b[201~\r", ". is a file\n"},
		{"What colour \\\ris the sky?\r", ". is the sky?\n"},
		{"\"\"\"What colour\ris the sky?\"\"\"\r", ". is the sky?"},
	} {
		if shown := p.say(c.keys); !strings.Contains(shown, c.shows) || strings.Contains(shown, "/etc") && strings.Contains(shown, "no command") {
			t.Errorf("%q is answered with %q, want %q", c.keys, shown, c.shows)
		}
	}
	p.press("\x04")
	if code := p.end(); code != exitDone {
		t.Errorf("ended with %d\n%s", code, p.screen())
	}
}

// endlessModel writes a model that answers for a long time.
func endlessModel(t *testing.T) string {
	t.Helper()
	v, err := vocabulary.Train(nil, 259)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "m.gguf")
	if err := gguf.WriteFile(t.Context(), path, fixtures.TinyLlama(1, fixtures.Shape{Vocabulary: v, Context: 1 << 20})); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCtrlCEndsAnAnswerAndThenTheChat(t *testing.T) {
	const ctrlC = "\x03"
	m := endlessModel(t)
	for name, end := range map[string]func(p *onTerminal){
		"at the prompt":                          func(p *onTerminal) { p.press(ctrlC) },
		"at the end of input, by another signal": func(p *onTerminal) { p.send(syscall.SIGTERM) },
	} {
		p := startOnTerminal(t, "chat", m, "--chat-template", "none", "--temp", "0", "--context", "100000", "--threads", "1")
		await(t, "the prompt", func() bool { return strings.HasSuffix(p.screen(), "\n> ") })
		p.press("a\r")
		await(t, "an answer", func() bool { return len(p.screen()) > 400 })
		p.press(ctrlC)
		p.shows("interrupted; the answer stays in the conversation")
		await(t, "the prompt", func() bool { return strings.HasSuffix(p.screen(), "\n> ") })
		end(p)
		if code := p.end(); code != exitInterrupted {
			t.Errorf("%s: ended with %d\n%.2000s", name, code, p.screen())
		}
	}
	// Where nobody sits, the first one ends the program.
	out, stdout, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	p := start(t, func(c *exec.Cmd) { c.Stdin, c.Stdout = strings.NewReader("a\n"), stdout },
		"chat", m, "--chat-template", "none", "--temp", "0", "--context", "100000", "--threads", "1")
	stdout.Close()
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	p.send(os.Interrupt)
	if code := p.end(); code != exitInterrupted {
		t.Errorf("not on a terminal: ended with %d\n%s", code, p.stderr.String())
	}
}

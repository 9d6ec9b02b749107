package shell

import (
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
)

var hard = []string{
	"plain.gguf", "with space", "", "it's", `a"b`, `back\slash`, `end\`, "-dash", "~", "*", "$HOME", "`id`", "a;b", "a&b", "(x)", "!", "#", "a=b", "%PATH%",
	"ü", "a\nb", "tab\there", "\x1b[31mred", "\xff\xfe", "bell\a1", "\u202eright", "{a,b}", "a|b", ">x", "ollama:qwen3:0.6b",
}

func TestAShellReadsEveryWordAsItIs(t *testing.T) {
	for _, program := range []string{"bash", "zsh", "dash"} {
		path, err := exec.LookPath(program)
		if err != nil || runtime.GOOS == "windows" {
			t.Log("without", program)
			continue
		}
		words := slices.Clone(hard)
		if program == "dash" { // has no $'…' yet
			words = slices.DeleteFunc(words, func(w string) bool { return strings.HasPrefix(quotePOSIX(w), "$'") })
		}
		line := lineOf("linux", append([]string{"printf", `%s\0`}, words...))
		out, err := exec.Command(path, "-c", line).Output()
		if err != nil {
			t.Fatal(program, err, line)
		}
		if got := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"); !slices.Equal(got, words) {
			t.Errorf("%s reads %q\nof %s", program, got, line)
		}
	}
}

func TestNothingInALineSteersATerminal(t *testing.T) {
	for _, w := range hard {
		for _, system := range []string{"linux", "darwin"} {
			if line := lineOf(system, []string{w}); strings.ContainsAny(line, "\n\t\x1b\a\u202e") {
				t.Errorf("%q: %q", w, line)
			}
		}
	}
}

func TestWordsForWindowsHaveOneMeaningInItsShells(t *testing.T) {
	for word, want := range map[string]string{
		`C:\data\mine.gguf`:       `C:\data\mine.gguf`,
		`C:\my data\mine.gguf`:    `"C:\my data\mine.gguf"`,
		`C:\my data\`:             `"C:\my data\\"`,
		`a&b`:                     `"a&b"`,
		`it's (x)`:                `"it's (x)"`,
		`a,b`:                     `"a,b"`, // PowerShell makes an array of it
		`@x`:                      `"@x"`,
		`$it's`:                   `'$it''s'`,
		`a"b\"c`:                  `"a\"b\\\"c"`,
		``:                        `""`,
		`\\server\share\m.gguf`:   `\\server\share\m.gguf`,
		`\\server\a share\m.gguf`: `"\\server\a share\m.gguf"`,
	} {
		if got := lineOf("windows", []string{word}); got != want {
			t.Errorf("%s: %s, want %s", word, got, want)
		}
	}
}

func TestAPathIsNoFlag(t *testing.T) {
	if got := Path("-x.gguf"); got == "-x.gguf" || !strings.HasSuffix(got, "-x.gguf") {
		t.Error(got)
	}
	if got := Path("x-y"); got != "x-y" {
		t.Error(got)
	}
}

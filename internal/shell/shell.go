// Package shell writes command lines that can be pasted into a shell.
package shell

import (
	"fmt"
	"runtime"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Line is a command line of this system that runs words[0] with the other words as its
// arguments, as they are. On Windows it is one for cmd and PowerShell alike where there is
// such a line, else for PowerShell.
func Line(words ...string) string { return lineOf(runtime.GOOS, words) }

// Path is path for a place in a command line where what begins with "-" could be taken for a
// flag.
func Path(path string) string {
	if !strings.HasPrefix(path, "-") {
		return path
	}
	if runtime.GOOS == "windows" {
		return `.\` + path
	}
	return "./" + path
}

func lineOf(system string, words []string) string {
	quote := quotePOSIX
	if system == "windows" {
		quote = quoteWindows
	}
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = quote(w)
	}
	return strings.Join(quoted, " ")
}

// plain reports whether a word needs no quotes in any of the shells.
func plain(word, marks string) bool {
	return word != "" && !strings.ContainsFunc(word, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune(marks, r))
	})
}

// quotePOSIX quotes a word for sh, bash and zsh. One with characters that a terminal does not
// show is written in $'…', which sh has since POSIX 2024, and bash and zsh always had.
func quotePOSIX(word string) string {
	switch {
	case plain(word, "_-./:,+@%"):
		return word
	case utf8.ValidString(word) && !strings.ContainsFunc(word, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	var b strings.Builder
	b.WriteString("$'")
	for i := 0; i < len(word); {
		r, n := utf8.DecodeRuneInString(word[i:])
		switch {
		case r == '\'' || r == '\\':
			b.WriteString(`\` + string(r))
		case unicode.IsPrint(r) && (r != utf8.RuneError || n > 1):
			b.WriteString(word[i : i+n])
		default: // three digits, so that a digit which follows is not taken for one
			for _, c := range []byte(word[i : i+n]) {
				fmt.Fprintf(&b, `\%03o`, c)
			}
		}
		i += n
	}
	return b.String() + "'"
}

// quoteWindows quotes a word for cmd and PowerShell, in double quotes. These keep $ and ` for
// cmd alone and % for PowerShell alone, so that a word with $ or ` gets single quotes, which
// only PowerShell knows. No file name of Windows has double quotes; in other words they are
// written as programs there read them.
func quoteWindows(word string) string {
	switch {
	case plain(word, `_-./\:+`):
		return word
	case strings.ContainsAny(word, "$`"):
		return "'" + strings.ReplaceAll(word, "'", "''") + "'"
	}
	var b strings.Builder
	b.WriteByte('"')
	slashes := 0 // that end what is written
	for _, c := range []byte(word) {
		switch c {
		case '\\':
			slashes++
		case '"':
			b.WriteString(strings.Repeat(`\`, slashes+1))
			slashes = 0
		default:
			slashes = 0
		}
		b.WriteByte(c)
	}
	b.WriteString(strings.Repeat(`\`, slashes)) // else the last would quote the quote
	return b.String() + `"`
}

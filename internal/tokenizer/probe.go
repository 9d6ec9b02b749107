package tokenizer

// probe is a text, in parts that are cut on their own, on which no two of the
// known pre-tokenizers agree if they differ at all. Where a folder's own one
// cuts it as a known one does, they are taken for the same.
var probe = []string{
	// contractions in either case, with and without letters after them
	"I'm you're he's SHE'S they'LL we'Ve it'D don't 'Tis 'rest o'clock 'twas 'lland x'd'T",
	// numbers by length, beside letters and signs, and of other scripts
	"7 42 365 1024 65536 1234567 12345678 a1b22c333d4444 3.14 1,000,000 v2.0-rc10 $99 -5 +7 #123  45   6",
	"\u0663\u0664\u0665\u0666 \u2167 \u00bd \u00b2\u00b3 \u0967\u0968\u0969\u096a 12\u00bd34",
	// words by case and script
	"camelCase PascalCase XMLHttpRequest iPhone ALLCAPS aB ABc aBC Q \u00e9COLE \u00c9cole caf\u00e9S \u041f\u0440\u0438\u0432\u0435\u0442\u041c\u0418\u0420\u0443 \u01c5ab \u02b0\u00aa\u00ba stra\u00dfeX",
	// marks on letters and without one
	"cafe\u0301 n\u0303o \u0939\u093f\u0928\u094d\u0926\u0940 \u0643\u064e\u062a\u064e\u0628\u064e \u0301x 1\u0301 .\u0301y A\u0301B \u1780\u17b6\u1793\u17cb",
	// scripts without blanks between words
	"\u4e2d\u6587abc\u6f22\u5b57\u30ab\u30bf\u30ab\u30ca\u3072\u3089\u304c\u306a\ud55c\uad6d\uc5b4\u3131\u3142 \u3105\u3106 \u9fa5\u9fa6\u3400 \u0e44\u0e17\u0e22\u4e2d12\u6587",
	"\u4f60\u597d\uff0c\u4e16\u754c\uff01\uff1f\u300c\u5f15\u300d\u300a\u66f8\u300b\u3010\u6ce8\u3011\u3002\u3001\uff1b\uff08x\uff09 \uff01 \u300a \uff5e",
	// line ends and blanks
	"a\nb\n\nc \n d\r\ne\r\n\r\nf\t\tg\t h   i    j \n\n  k\n\t\nl  \r m",
	"   one  two\u00a0three \u3000four\u2003five\n   six",
	"trailing \t ", "trailing\n\n", "\n \n\n  \n", "    ", " \t\n x",
	// punctuation alone, before words, after words, before line ends
	"!!! ??? ... ---- ==== <= >= != a/b//c /*d*/ (e) [f] {g} `h` \"i\" #j @k $l ^m |n ~o _p_ \\q %r &s +t *u ;v :w .x ,y !z",
	"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ don''t ''a'' $+<=>^|` x.y.z a_b word!\nnext word?!\n\nnext /\n//\n;/ -\r\n= \n,a .B",
	"\u2018one\u2019 \u201ctwo\u201d \u2013three\u2014four \u2026 \u00bffive? \u00abseis\u00bb \u060c\u061f \u0964",
	// symbols and pictures
	"\U0001F642\U0001F642 \U0001F469\u200d\U0001F467 \u2705ok \u2192 a\u2192b \u20ac5 5\u20ac \u00a9\u2122 x\u00d7y \u2211n \u00b0C \ufe0f",
	// what is neither
	"\u200bz \ufeffw \u00adv \x00 \x1f",
}

package records

import (
	"bytes"
	"encoding/binary"
	"regexp"
	"strings"
)

// foreign is a kind of file that is known and not read.
type foreign struct {
	name  string
	wayIn string // how its content can be read
	is    func(head []byte) bool
}

// Ways to make a file of each sort readable.
const (
	asText    = "extract its text into a .txt or .md file"
	asRecords = "write its records as JSON lines"
	asTable   = "export it as CSV or Parquet"
	unpack    = "unpack it, and give the files in it"
	noRecords = "give the file that holds the records"
	asUTF8    = "convert it: iconv -f UTF-16 -t UTF-8"
)

// foreigners are in the order in which they are tried.
var foreigners = []foreign{
	{"a Git LFS pointer, not the file it stands for", "fetch the file with git lfs pull, or download it", starts("version https://git-lfs.github.com/spec/")},
	{"a PDF", asText, starts("%PDF-")},
	{"PostScript", asText, starts("%!PS")},
	{"RTF", asText, starts(`{\rtf`)},
	{"an encrypted Parquet file", "write it without encryption", binaryAnd(starts("PARE"))},
	{"a GGUF model", noRecords, binaryAnd(starts("GGUF"))},
	{"safetensors, the weights of a model", noRecords, isSafetensors},
	{"an Arrow or Feather file", `save it as Parquet, in Python: datasets.load_from_disk(FOLDER).to_parquet(FILE)`, isArrow},
	{"an SQLite database", asTable, starts("SQLite format 3\x00")},
	{"a Python pickle", asRecords + "; a pickle can run any program when it is opened", isPickle},
	{"a Word, Excel or PowerPoint file of the old kind", asText, starts("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")},
	{"an Excel workbook (xlsx)", asTable, zipWith("xl/")},
	{"a PowerPoint file (pptx)", asText, zipWith("ppt/")},
	{"a Word document (docx)", asText, zipWith("word/")},
	{"an EPUB book", asText, zipWith("mimetypeapplication/epub+zip")},
	{"an OpenDocument file", asText, zipWith("mimetypeapplication/vnd.oasis")},
	{"a PyTorch file", asRecords, zipWith("data.pkl")},
	{"NumPy arrays (npz)", asRecords, zipWith(".npy")},
	{"a zip archive", unpack, starts("PK\x03\x04", "PK\x05\x06")},
	{"a tar archive", unpack, func(b []byte) bool { return len(b) > 262 && string(b[257:262]) == "ustar" }},
	{"a 7-zip archive", unpack, starts("7z\xbc\xaf\x27\x1c")},
	{"a RAR archive", unpack, starts("Rar!\x1a\x07")},
	{"compressed with xz", "decompress it with xz -d, or compress it with gzip or zstd", starts("\xfd7zXZ\x00")},
	{"compressed with bzip2", "decompress it with bunzip2, or compress it with gzip or zstd", isBzip2},
	{"compressed with lz4", "decompress it with lz4 -d, or compress it with gzip or zstd", starts("\x04\x22\x4d\x18")},
	{"compressed with compress", "decompress it with uncompress", starts("\x1f\x9d\x90")},
	{"compressed twice", "decompress it once", func(b []byte) bool { return bytes.HasPrefix(b, []byte{0x1f, 0x8b, 8}) || isZstd(b[:min(4, len(b))]) }},
	{"a NumPy array", asRecords, starts("\x93NUMPY")},
	{"HDF5", asRecords, starts("\x89HDF\r\n\x1a\n")},
	{"Avro", asRecords, starts("Obj\x01")},
	{"ORC", asRecords, binaryAnd(starts("ORC"))},
	{"an image", noRecords, isImage},
	{"sound or video", noRecords, isSound},
	{"a program", noRecords, isProgram},
	{"text in UTF-32", "convert it: iconv -f UTF-32 -t UTF-8", starts("\xff\xfe\x00\x00", "\x00\x00\xfe\xff")},
	{"text in UTF-16", asUTF8, isUTF16},
	{"an HTML page", asText + "; a download without permission gives such a page too", isHTML},
	{"XML", asRecords, func(b []byte) bool { return hasPrefixFold(blankCut(b), "<?xml") }},
	{"binary data of an unknown kind", asRecords, binaryIn},
}

// foreignEndings are kinds that content does not give away.
var foreignEndings = map[string]foreign{
	".yaml": {name: "YAML", wayIn: asRecords}, ".yml": {name: "YAML", wayIn: asRecords}, ".toml": {name: "TOML", wayIn: asRecords},
	".html": {name: "an HTML page", wayIn: asText}, ".htm": {name: "an HTML page", wayIn: asText}, ".xml": {name: "XML", wayIn: asRecords},
	".ipynb": {name: "a Jupyter notebook", wayIn: asText}, ".pkl": {name: "a Python pickle", wayIn: asRecords}, ".pickle": {name: "a Python pickle", wayIn: asRecords},
	".pdf": {name: "a PDF", wayIn: asText}, ".docx": {name: "a Word document (docx)", wayIn: asText}, ".xlsx": {name: "an Excel workbook (xlsx)", wayIn: asTable},
}

// refuse is the error about a file that is known and not read.
func (s *stream) refuse(head []byte) error {
	if isParquet(head) {
		return nil
	}
	for _, f := range foreigners {
		if f.is(head) {
			return s.refusal(f)
		}
	}
	if f, ok := foreignEndings[ending(s.path)]; ok && len(head) > 0 {
		return s.refusal(f)
	}
	return nil
}

func (s *stream) refusal(f foreign) error {
	what := "it is "
	if s.compression != "" {
		what = "it holds, in " + s.compression + ", what is "
	}
	return fatal{Bad(Place{Path: s.path}, "%s%s; expected JSON lines, JSON, CSV, Parquet or text: %s", what, f.name, f.wayIn)}
}

func starts(magics ...string) func([]byte) bool {
	return func(head []byte) bool {
		for _, m := range magics {
			if bytes.HasPrefix(head, []byte(m)) {
				return true
			}
		}
		return false
	}
}

// zipWith knows zip archives by the names of what lies in them.
func zipWith(names ...string) func([]byte) bool {
	return func(head []byte) bool {
		if !bytes.HasPrefix(head, []byte("PK\x03\x04")) {
			return false
		}
		for _, n := range names {
			if bytes.Contains(head, []byte(n)) {
				return true
			}
		}
		return false
	}
}

func hasPrefixFold(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && strings.EqualFold(string(b[:len(prefix)]), prefix)
}

func blankCut(b []byte) []byte { return bytes.TrimLeft(bytes.TrimPrefix(b, bom), " \t\r\n") }

// htmlBegins matches what only whole pages begin with, after comments and a declaration;
// Markdown may begin with other elements.
var htmlBegins = regexp.MustCompile(`(?is)^(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)\b`)

func isHTML(head []byte) bool { return htmlBegins.Match(blankCut(head)) }

func isSafetensors(b []byte) bool {
	if len(b) < 10 || b[8] != '{' {
		return false
	}
	n := binary.LittleEndian.Uint64(b)
	return n >= 2 && n < 1<<32 && (b[9] == '"' || b[9] == '}')
}

// isArrow knows Arrow files, Feather files, and the streams that datasets are saved as.
func isArrow(b []byte) bool {
	stream := len(b) >= 8 && binary.LittleEndian.Uint32(b) == 0xffffffff && binary.LittleEndian.Uint32(b[4:]) < 1<<24
	return stream || binaryAnd(starts("ARROW1\x00\x00", "FEA1"))(b)
}

// isPickle knows the protocols from 2 on: the older ones are text without a mark.
func isPickle(b []byte) bool { return len(b) >= 2 && b[0] == 0x80 && 2 <= b[1] && b[1] <= 5 }

func isBzip2(b []byte) bool {
	return len(b) >= 10 && string(b[:3]) == "BZh" && (string(b[4:10]) == "1AY&SY" || string(b[4:10]) == "\x17rE8P\x90")
}

func isImage(b []byte) bool {
	return starts("\x89PNG\r\n\x1a\n", "\xff\xd8\xff", "GIF87a", "GIF89a", "II*\x00", "MM\x00*")(b) ||
		len(b) >= 12 && (string(b[:4]) == "RIFF" && string(b[8:12]) == "WEBP" || string(b[4:8]) == "ftyp" && starts("avif", "heic", "mif1")(b[8:])) ||
		len(b) > 14 && string(b[:2]) == "BM" && binaryIn(b[:14])
}

func isSound(b []byte) bool {
	return binaryIn(b) && (starts("ID3", "\xff\xfb", "\xff\xf3", "fLaC\x00", "OggS\x00", "\x1aE\xdf\xa3")(b) ||
		len(b) >= 12 && (string(b[:4]) == "RIFF" && starts("WAVE", "AVI ")(b[8:]) || string(b[4:8]) == "ftyp"))
}

func isProgram(b []byte) bool {
	return starts("\x7fELF", "\xcf\xfa\xed\xfe", "\xca\xfe\xba\xbe")(b) || starts("MZ")(b) && binaryIn(b)
}

// isUTF16 knows the byte order mark, and without it text of which most every second byte
// is zero.
func isUTF16(b []byte) bool {
	if starts("\xff\xfe", "\xfe\xff")(b) {
		return true
	}
	b = b[:min(len(b)&^1, 1<<10)]
	var zeros [2]int
	for i, c := range b {
		if c == 0 {
			zeros[i%2]++
		}
	}
	half := len(b) / 2
	return len(b) >= 4 && (zeros[0] == 0 && zeros[1]*4 > half*3 || zeros[1] == 0 && zeros[0]*4 > half*3)
}

// binaryIn is whether b, the beginning of a file, is no text: text has no NUL.
func binaryIn(b []byte) bool { return bytes.IndexByte(b, 0) >= 0 }

// binaryAnd is for marks that a text may begin with too.
func binaryAnd(is func([]byte) bool) func([]byte) bool {
	return func(head []byte) bool { return is(head) && binaryIn(head) }
}

// isParquet knows the mark, after which no text follows.
func isParquet(head []byte) bool { return bytes.HasPrefix(head, []byte("PAR1")) && binaryIn(head) }

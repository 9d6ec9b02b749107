package records

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"unicode/utf16"
)

func zipOf(t *testing.T, names ...string) []byte {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, n := range names {
		f, err := w.Create(n)
		if err != nil {
			t.Fatal(err)
		}
		f.Write([]byte("content"))
	}
	w.Close()
	return out.Bytes()
}

func tarOf(t *testing.T) []byte {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	err := w.WriteHeader(&tar.Header{Name: "a.jsonl", Size: 1, Mode: 0o600})
	w.Write([]byte("x"))
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func utf16Of(s string, order binary.AppendByteOrder) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = order.AppendUint16(b, u)
	}
	return b
}

func TestForeignFilesAreRefusedByNameWhateverTheyAreCalled(t *testing.T) {
	with := func(head string, zeros int) []byte { return append([]byte(head), make([]byte, zeros)...) }
	for says, contents := range map[string][][]byte{
		"a PDF":                    {[]byte("%PDF-1.7\n%\xe2\xe3")},
		"PostScript":               {[]byte("%!PS-Adobe-3.0")},
		"RTF":                      {[]byte(`{\rtf1\ansi`)},
		"a Git LFS pointer":        {[]byte("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")},
		"an HTML page":             {[]byte("<!DOCTYPE html>\n<html>"), []byte("\ufeff \n<!-- a -->\n<HTML lang=en>"), []byte("<?xml version='1.0'?><html xmlns=''>")},
		"XML":                      {[]byte("<?xml version='1.0'?>\n<records/>")},
		"a Word document (docx)":   {zipOf(t, "[Content_Types].xml", "word/document.xml")},
		"an Excel workbook (xlsx)": {zipOf(t, "[Content_Types].xml", "xl/workbook.xml")},
		"a PowerPoint file (pptx)": {zipOf(t, "ppt/presentation.xml")},
		"a PyTorch file":           {zipOf(t, "archive/data.pkl")},
		"NumPy arrays (npz)":       {zipOf(t, "a.npy")},
		"a zip archive":            {zipOf(t, "a.jsonl"), zipOf(t)},
		"a tar archive":            {tarOf(t)},
		"an image":                 {with("\x89PNG\r\n\x1a\n", 8), with("\xff\xd8\xff\xe0", 8), []byte("GIF89a.."), with("BM\x10", 20), []byte("RIFF....WEBPVP8 ")},
		"sound or video":           {with("ID3\x04", 8), with("RIFF....WAVEfmt ", 8), with("\x00\x00\x00\x18ftypmp42", 8), with("OggS", 8)},
		"an SQLite database":       {with("SQLite format 3", 90)},
		"an Arrow or Feather file": {with("ARROW1", 8), with("\xff\xff\xff\xff\x10\x01", 8), with("FEA1", 8)},
		"a Python pickle":          {[]byte("\x80\x04\x95....")},
		"safetensors":              {append(binary.LittleEndian.AppendUint64(nil, 20), `{"a":{"dtype":"F32"}}`...)},
		"a GGUF model":             {with("GGUF\x03", 20)},
		"a NumPy array":            {with("\x93NUMPY\x01", 8)},
		"HDF5":                     {with("\x89HDF\r\n\x1a\n", 8)},
		"an encrypted Parquet":     {with("PARE", 8)},
		"Avro":                     {with("Obj\x01", 8)},
		"ORC":                      {with("ORC", 8)},
		"a program":                {with("\x7fELF", 8), with("MZ\x90", 8)},
		"with xz":                  {with("\xfd7zXZ", 8)},
		"with bzip2":               {[]byte("BZh91AY&SY....")},
		"with lz4":                 {with("\x04\x22\x4d\x18", 8)},
		"a 7-zip archive":          {with("7z\xbc\xaf\x27\x1c", 8)},
		"a RAR archive":            {with("Rar!\x1a\x07", 8)},
		"in UTF-16":                {utf16Of("\ufeff{\"a\":1}", binary.LittleEndian), utf16Of("\ufefftext", binary.BigEndian), utf16Of("{\"prompt\":1}", binary.LittleEndian), utf16Of("hello world", binary.BigEndian)},
		"in UTF-32":                {with("\xff\xfe\x00\x00", 8)},
		"binary data":              {[]byte("\x01\x02\x00\x05\x00ab"), with("hello", 1)},
		"a Word, Excel or Power":   {[]byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1....")},
	} {
		for i, content := range contents {
			for _, name := range []string{"d.jsonl", "d.txt", "d.csv", "d"} {
				_, _, err := readAll(Reader{SkipBad: true}, name, content)
				if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), name+": invalid dataset: it is ") || !strings.Contains(err.Error(), says) {
					t.Errorf("%s %d as %s: %v", says, i, name, err)
				}
			}
			_, _, err := readAll(Reader{}, "d.gz", gzipped(t, content))
			if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "it holds, in gzip, what is ") || !strings.Contains(err.Error(), says) {
				t.Errorf("%s %d in gzip: %v", says, i, err)
			}
		}
	}
	for _, name := range []string{"a.yaml", "a.yml.gz", "a.html", "a.ipynb", "a.pdf", "a.toml"} {
		if _, _, err := readAll(Reader{}, name, []byte("text: none")); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), name+": invalid dataset: it is ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFilesWithoutRecordsAreNoError(t *testing.T) {
	for _, c := range []struct{ name, content string }{
		{"d.jsonl", ""}, {"d.txt", " \n\r\n"}, {"d.json", "[]"}, {"d.txt", "\ufeff"}, {"d.csv", "a,b\n"}, {"d.jsonl", "\n\n"},
	} {
		all, report, err := readAll(Reader{}, c.name, []byte(c.content))
		if err != nil || report.Records() != 0 || len(all) > 1 {
			t.Errorf("%s %q: %v, %+v, %v", c.name, c.content, all, report, err)
		}
	}
}

package parquet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	peer "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"

	"qtool/internal/sharedtest"
)

type message struct {
	Role    string  `parquet:"role" json:"role"`
	Content *string `parquet:"content,optional" json:"content"`
}

type row struct {
	Text     string    `parquet:"text" json:"text"`
	Dict     string    `parquet:"dict,dict" json:"dict"`
	Messages []message `parquet:"messages,list" json:"messages"`
	Bare     []int32   `parquet:"bare" json:"bare"`
	Weight   *float64  `parquet:"weight,optional" json:"weight"`
	Small    float32   `parquet:"small" json:"small"`
	Flag     bool      `parquet:"flag" json:"flag"`
	Ids      []int64   `parquet:"ids,list" json:"ids"`
	Meta     struct {
		Source string `parquet:"source" json:"source"`
		Year   *int32 `parquet:"year,optional" json:"year"`
	} `parquet:"meta,optional" json:"meta"`
	Delta   int32   `parquet:"delta,delta" json:"delta"`
	Delta64 int64   `parquet:"delta64,delta" json:"delta64"`
	Suffix  string  `parquet:"suffix,delta" json:"suffix"`
	Split   float64 `parquet:"split,split" json:"split"`
	Big     uint64  `parquet:"big" json:"big"`
}

func text(s string) *string { return &s }

// sample are n rows with empty lists, nulls, repeated and long values.
func sample(n int) []row {
	rows := make([]row, n)
	for i := range rows {
		r := &rows[i]
		r.Text = strings.Repeat("größe\n\"", i%7) + fmt.Sprint(i)
		r.Dict = fmt.Sprint("kind", i%3)
		r.Messages, r.Bare, r.Ids = []message{}, []int32{}, []int64{}
		for k := range i % 4 {
			m := message{Role: "user"}
			if k%2 == 0 {
				m.Content = text(fmt.Sprint("content ", i, k))
			}
			r.Messages = append(r.Messages, m)
			r.Bare = append(r.Bare, int32(-k))
		}
		for k := range i % 100 {
			r.Ids = append(r.Ids, int64(k)<<40)
		}
		if i%5 != 0 {
			w := float64(i) / 8
			r.Weight = &w
			y := int32(i)
			r.Meta.Year = &y
		}
		r.Small, r.Flag = float32(i)/3, i%3 == 1
		r.Meta.Source = fmt.Sprint("s", i)
		r.Delta, r.Delta64 = int32(i*i-1000), int64(i)*-1e12
		r.Suffix = fmt.Sprintf("https://example.org/%d/page", i/10)
		r.Split, r.Big = float64(i)*math.Pi, math.MaxUint64-uint64(i)
	}
	return rows
}

// written is rows as a file with row groups of 150 rows.
func written(t testing.TB, rows []row, options ...peer.WriterOption) []byte {
	t.Helper()
	var out bytes.Buffer
	w := peer.NewGenericWriter[row](&out, options...)
	for len(rows) > 0 {
		n := min(150, len(rows))
		_, err := w.Write(rows[:n])
		if err := errors.Join(err, w.Flush()); err != nil {
			t.Fatal(err)
		}
		rows = rows[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// objects are the rows of a file as JSON objects.
func objects(b []byte) ([]any, error) {
	f, err := Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, err
	}
	names := f.Names()
	var all []any
	err = f.Read(func(row int, fields [][]byte, err error) error {
		if err != nil {
			return fmt.Errorf("row %d: %w", row, err)
		}
		o := map[string]any{}
		for i, name := range names {
			d := json.NewDecoder(bytes.NewReader(fields[i]))
			d.UseNumber()
			var v any
			if err := d.Decode(&v); err != nil {
				return err
			}
			o[name] = v
		}
		all = append(all, o)
		return nil
	})
	return all, err
}

// asJSON is v through encoding/json.
func asJSON(t *testing.T, v any) []any {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var all []any
	if err := d.Decode(&all); err != nil {
		t.Fatal(err)
	}
	return all
}

// sameNumbers compares numbers by value: they may be written in two ways.
var sameNumbers = cmp.Comparer(func(a, b json.Number) bool {
	x, _ := a.Float64()
	y, _ := b.Float64()
	return a == b || x == y
})

func TestEveryCodecPageVersionAndSizeGivesTheRowsThatWereWritten(t *testing.T) {
	rows := sample(170)
	want := asJSON(t, rows)
	for name, codec := range map[string]compress.Codec{"none": &peer.Uncompressed, "snappy": &peer.Snappy, "gzip": &peer.Gzip, "zstd": &peer.Zstd} {
		for version := 1; version <= 2; version++ {
			for _, page := range []int{64, 1000, 1 << 20} {
				b := written(t, rows, peer.Compression(codec), peer.DataPageVersion(version), peer.PageBufferSize(page))
				got, err := objects(b)
				if err != nil {
					t.Fatalf("%s, version %d, pages of %d: %v", name, version, page, err)
				}
				if diff := cmp.Diff(want, got, sameNumbers); diff != "" {
					t.Fatalf("%s, version %d, pages of %d: %.2000s", name, version, page, diff)
				}
			}
		}
	}
}

func TestLogicalTypesAreWrittenAsPeopleWriteThem(t *testing.T) {
	type kinds struct {
		Day   int32     `parquet:"day,date"`
		Stamp time.Time `parquet:"stamp,timestamp(microsecond)"`
		Price int64     `parquet:"price,decimal(2:18)"`
		ID    [16]byte  `parquet:"id,uuid"`
		JSON  string    `parquet:"json,json"`
		NaN   float64   `parquet:"nan"`
		Raw   []byte    `parquet:"raw"`
	}
	var out bytes.Buffer
	k := kinds{19723, time.Date(2024, 1, 2, 3, 4, 5, 6000, time.UTC), -5, [16]byte{1, 2, 15: 255}, `{"a":[1]}`, math.NaN(), []byte("old text")}
	if err := peer.Write(&out, []kinds{k}); err != nil {
		t.Fatal(err)
	}
	got, err := objects(out.Bytes())
	want := []any{map[string]any{
		"day": "2024-01-01", "stamp": "2024-01-02T03:04:05.000006Z", "price": json.Number("-0.05"), "id": "01020000-0000-0000-0000-0000000000ff",
		"json": `{"a":[1]}`, "nan": nil, "raw": "old text",
	}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestListsAreListsHoweverTheyAreWritten(t *testing.T) {
	text := peer.String()
	v := func(s string, rep, def int) peer.Value { return peer.ValueOf(s).Level(rep, def, 0) }
	null := func(rep, def int) peer.Value { return peer.Value{}.Level(rep, def, 0) }
	for name, c := range map[string]struct {
		node peer.Node
		row  peer.Row
		want string
	}{
		"a repeated leaf":       {peer.Repeated(text), peer.Row{v("x", 0, 1), v("y", 1, 1)}, `["x","y"]`},
		"a repeated leaf, none": {peer.Repeated(text), peer.Row{null(0, 0)}, `[]`},
		"a list":                {peer.Optional(peer.List(peer.Optional(text))), peer.Row{v("x", 0, 3), null(1, 2)}, `["x",null]`},
		"an empty list":         {peer.Optional(peer.List(peer.Optional(text))), peer.Row{null(0, 1)}, `[]`},
		"no list":               {peer.Optional(peer.List(peer.Optional(text))), peer.Row{null(0, 0)}, `null`},
		"a list of lists":       {peer.List(peer.List(text)), peer.Row{v("x", 0, 2), v("y", 2, 2), null(1, 1), v("z", 1, 2)}, `[["x","y"],[],["z"]]`},
		"a repeated group":      {peer.Repeated(peer.Group{"b": text}), peer.Row{v("x", 0, 1), v("y", 1, 1)}, `[{"b":"x"},{"b":"y"}]`},
		"a map":                 {peer.Map(peer.String(), peer.Leaf(peer.Int32Type)), peer.Row{v("k", 0, 1), peer.ValueOf(int32(7)).Level(0, 1, 1)}, `[{"key":"k","value":7}]`},
	} {
		var out bytes.Buffer
		w := peer.NewWriter(&out, peer.NewSchema("s", peer.Group{"a": c.node}))
		_, err := w.WriteRows([]peer.Row{c.row})
		if err := errors.Join(err, w.Close()); err != nil {
			t.Fatal(name, err)
		}
		f, err := Open(bytes.NewReader(out.Bytes()), int64(out.Len()))
		if err != nil {
			t.Fatal(name, err)
		}
		err = f.Read(func(_ int, fields [][]byte, err error) error {
			if string(fields[0]) != c.want {
				t.Errorf("%s: %s, expected %s", name, fields[0], c.want)
			}
			return err
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBytesThatAreNoTextAreBadRows(t *testing.T) {
	type image struct {
		Text  string `parquet:"text"`
		Image []byte `parquet:"image"`
	}
	var out bytes.Buffer
	if err := peer.Write(&out, []image{{"a", []byte("ok")}, {"b", []byte("\x89PNG\xff")}, {"c", nil}}); err != nil {
		t.Fatal(err)
	}
	f, err := Open(bytes.NewReader(out.Bytes()), int64(out.Len()))
	if err != nil {
		t.Fatal(err)
	}
	good, bad := 0, 0
	err = f.Read(func(row int, _ [][]byte, err error) error {
		if err == nil {
			good++
		} else if bad++; row != 2 || !strings.Contains(err.Error(), `column "image" holds bytes that are not UTF-8`) {
			t.Errorf("row %d: %v", row, err)
		}
		return nil
	})
	if err != nil || good != 2 || bad != 1 {
		t.Errorf("%d good, %d bad, %v", good, bad, err)
	}
}

// The peer reads the file with its own decoders.
func TestTheRealFileHasTheRowsThatThePeerReads(t *testing.T) {
	b := sharedtest.Read(t, "data/sft/litgpt_deita_subset_test_sft.parquet")
	got, err := objects(b)
	if err != nil {
		t.Fatal(err)
	}
	r := peer.NewReader(bytes.NewReader(b))
	defer r.Close()
	var want []any
	for range got {
		row := map[string]any{}
		if err := r.Read(&row); err != nil {
			t.Fatal(err)
		}
		want = append(want, row)
	}
	plain := asJSON(t, want)
	if diff := cmp.Diff(plain, got, sameNumbers); diff != "" || len(got) != int(r.NumRows()) || len(got) == 0 {
		t.Errorf("%d rows, %d: %.2000s", len(got), r.NumRows(), diff)
	}
}

package chat

import (
	"fmt"
	"strings"
	"time"

	"github.com/ardanlabs/jinja"
)

// globals are the functions that a template finds: those of Jinja2, and those
// that transformers adds.
var globals = map[string]function{
	"range": rangeOf, "namespace": namespace, "dict": dictOf, "raise_exception": raise, "strftime_now": strftimeNow,
	"joiner": joiner, "cycler": cycler,
}

func rangeOf(r *run, args []jinja.Value, _ kwargs) (jinja.Value, error) {
	var n [3]int
	for i, a := range args {
		var ok bool
		if i > 2 {
			return a, failure("range takes at most 3 arguments")
		}
		if n[i], ok = integerOf(a); !ok {
			return a, failure("range takes whole numbers, not %s", typeName(a))
		}
	}
	start, stop, step := n[0], n[1], n[2]
	switch len(args) {
	case 0:
		return jinja.None(), failure("range takes at least 1 argument")
	case 1:
		start, stop, step = 0, n[0], 1
	case 2:
		step = 1
	}
	if step == 0 {
		return jinja.None(), failure("the step of range is 0")
	}
	count := 0
	if step > 0 && stop > start {
		count = (stop-start-1)/step + 1
	} else if step < 0 && stop < start {
		count = (start-stop-1)/-step + 1
	}
	if count > maxRange {
		return jinja.None(), exceeded(fmt.Sprintf("it asks for a range of %d numbers", count))
	}
	items := make([]jinja.Value, count)
	for i := range items {
		items[i] = jinja.NewInt(int64(start + i*step))
	}
	return r.newList(items)
}

func namespace(r *run, args []jinja.Value, _ kwargs) (jinja.Value, error) {
	v, err := mergeDicts(r, args...)
	if err == nil {
		r.namespaces[v.AsDict()] = true
	}
	return v, err
}

func dictOf(r *run, args []jinja.Value, _ kwargs) (jinja.Value, error) { return mergeDicts(r, args...) }

func raise(r *run, args []jinja.Value, kw kwargs) (jinja.Value, error) {
	message, err := r.text(argument(args, kw, 0, "message", jinja.NewString("no reason given")))
	if err != nil {
		return jinja.None(), err
	}
	return jinja.None(), refusal{message}
}

func strftimeNow(r *run, args []jinja.Value, kw kwargs) (jinja.Value, error) {
	format, err := textArgument(args, kw, 0, "format")
	if err != nil {
		return jinja.None(), err
	}
	if err := r.charge(20 * int64(len(format))); err != nil {
		return jinja.None(), err
	}
	return jinja.NewString(strftime(r.t.now, format)), nil
}

// strftime writes a time by C's format.
func strftime(now time.Time, format string) string {
	var w strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			w.WriteByte(format[i])
			continue
		}
		i++
		unpadded := format[i] == '-' && i+1 < len(format)
		if unpadded {
			i++
		}
		text, ok := timeField(now, format[i])
		if !ok {
			text = "%" + string(format[i])
		}
		if unpadded {
			if text = strings.TrimLeft(text, "0 "); text == "" {
				text = "0"
			}
		}
		w.WriteString(text)
	}
	return w.String()
}

// timeLayouts are the fields that Go writes as C does.
var timeLayouts = map[byte]string{
	'Y': "2006", 'y': "06", 'm': "01", 'd': "02", 'e': "_2", 'H': "15", 'I': "03", 'M': "04", 'S': "05", 'p': "PM", 'B': "January",
	'b': "Jan", 'h': "Jan", 'A': "Monday", 'a': "Mon", 'Z': "MST", 'z': "-0700", 'F': "2006-01-02", 'T': "15:04:05", 'R': "15:04",
	'D': "01/02/06", 'x': "01/02/06", 'X': "15:04:05", 'c': "Mon Jan _2 15:04:05 2006", 'j': "002", 'f': "000000",
}

func timeField(now time.Time, field byte) (string, bool) {
	switch field {
	case '%':
		return "%", true
	case 'n':
		return "\n", true
	case 't':
		return "\t", true
	case 's':
		return fmt.Sprint(now.Unix()), true
	case 'f':
		return fmt.Sprintf("%06d", now.Nanosecond()/1000), true
	case 'u':
		return fmt.Sprint((int(now.Weekday())+6)%7 + 1), true
	case 'w':
		return fmt.Sprint(int(now.Weekday())), true
	}
	layout, ok := timeLayouts[field]
	return now.Format(layout), ok
}

func joiner(r *run, args []jinja.Value, kw kwargs) (jinja.Value, error) {
	sep, used := argument(args, kw, 0, "sep", jinja.NewString(", ")), false
	return jinja.NewCallable("joiner", func([]jinja.Value, map[string]jinja.Value) (jinja.Value, error) {
		if !used {
			used = true
			return jinja.NewString(""), nil
		}
		return sep, nil
	}), r.charge(100)
}

func cycler(r *run, args []jinja.Value, _ kwargs) (jinja.Value, error) {
	if len(args) == 0 {
		return jinja.None(), failure("cycler takes at least one item")
	}
	v, at := jinja.NewDict(), 0
	d := v.AsDict()
	move := func(name string, to func() int) {
		d.Set(name, jinja.NewCallable(name, func([]jinja.Value, map[string]jinja.Value) (jinja.Value, error) {
			now := args[at]
			at = to()
			d.Set("current", args[at])
			return now, nil
		}))
	}
	d.Set("current", args[0])
	move("next", func() int { return (at + 1) % len(args) })
	move("reset", func() int { return 0 })
	return v, r.charge(500)
}

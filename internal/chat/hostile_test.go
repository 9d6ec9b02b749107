package chat

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

// runaways are templates that would take for ever, or all memory. Some double a
// value in every step, some nest, some recurse.
var runaways = map[string]string{
	"long range":             "{% for i in range(10**9) %}x{% endfor %}",
	"nested ranges":          "{% for i in range(99999) %}{% for j in range(99999) %}{% for k in range(99999) %}x{% endfor %}{% endfor %}{% endfor %}",
	"empty loops":            "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
	"loop of long text":      "{% for i in range(99999) %}" + strings.Repeat("long text ", 10000) + "{% endfor %}",
	"loop of branches":       "{% for i in range(99999) %}" + strings.Repeat("{% if i == 7 %}a{% elif i == 8 %}b{% endif %}", 10000) + "{% endfor %}",
	"multiplied text":        "{{ 'a' * 10**12 }}",
	"multiplied list":        "{{ ([1] * 10**12) | length }}",
	"multiplied twice":       "{{ ('a' * 10**7) * 10**7 }}",
	"doubling by ~":          "{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}",
	"doubling by +":          "{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x }}",
	"doubling a list":        "{% set ns = namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x | length }}",
	"doubling by join":       "{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(99) %}{% set ns.x = [ns.x, ns.x] | join %}{% endfor %}",
	"join":                   "{{ range(99999) | join('" + strings.Repeat("a", 100000) + "') }}",
	"replace":                "{{ ('a' * 9999999) | replace('a', 'b' * 9999999) }}",
	"replace of nothing":     "{{ ('a' * 9999999).replace('', 'b' * 9999999) }}",
	"padding":                "{{ 'a'.ljust(10**12) }}{{ 'a' | center(10**12) }}",
	"indent":                 "{{ ('a\n' * 999999) | indent(10**9) }}",
	"format width":           "{{ '%999999999d' % 1 }}",
	"format width in braces": "{{ '{:999999999d}'.format(1) }}",
	"batch":                  "{{ [1] | batch(10**9, 0) }}",
	"shared lists":           "{% set ns = namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
	"shared lists compared":  "{% set ns = namespace(x=[1], y=[1]) %}{% for i in range(99) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ ns.x == ns.y }}",
	"shared dicts as JSON":   "{% set ns = namespace(x={}) %}{% for i in range(99) %}{% set ns.x = {'a': ns.x, 'b': ns.x} %}{% endfor %}{{ ns.x | tojson }}",
	"deep lists":             "{% set ns = namespace(x=[]) %}{% for i in range(99999) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}",
	"list in itself":         "{% set x = [1] %}{{ x.append(x) }}{{ x }}",
	"dict in itself":         "{% set x = {} %}{{ x.update({'a': x}) }}{{ x }}",
	"dict in itself, later":  "{% set x = {} %}{{ x.setdefault('a', [x]) }}{{ x }}",
	"namespace in itself":    "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}",
	"list that grows":        "{% set x = [1] %}{% for i in range(99999) %}{% for y in x %}{{ x.append(1) }}{% endfor %}{% endfor %}",
	"macro in itself":        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
	"macro in itself twice":  "{% macro m(n) %}{% if n %}{{ m(n-1) }}{{ m(n-1) }}{% endif %}{% endmacro %}{{ m(90) }}",
	"macros in a circle":     "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}",
	"caller in itself":       "{% macro m() %}{{ caller() }}{% endmacro %}{% macro n() %}{% call m() %}{{ n() }}{% endcall %}{% endmacro %}{{ n() }}",
	"output of macros":       "{% macro m() %}" + strings.Repeat("x", 10000) + "{% endmacro %}{% for i in range(99999) %}{{ m() }}{% endfor %}",
	"power":                  "{{ 10**10**10**10 }}",
	"power of 1":             "{{ 1**(10**18) }}{{ (-1)**(10**18) }}{{ 2**(10**18) }}",
	"search":                 "{% set s = 'a' * 9999999 %}{% for i in range(99999) %}{{ 'b' in s }}{% endfor %}",
	"count":                  "{% set s = 'a' * 9999999 %}{% for i in range(99999) %}{{ s.count('b') }}{% endfor %}",
	"search in a list":       "{% set s = range(99999) %}{% for i in range(99999) %}{{ 'b' in s }}{% endfor %}",
	"comparing texts":        "{% set s = 'a' * 9999999 %}{% set t = 'a' * 9999999 %}{% for i in range(99999) %}{{ s == t }}{% endfor %}",
	"sorting":                "{% for i in range(99999) %}{{ range(99999) | sort | first }}{% endfor %}",
	"length":                 "{% set s = 'ä' * 4999999 %}{% for i in range(99999) %}{{ s | length }}{% endfor %}",
	"item of a text":         "{% set s = 'ä' * 4999999 %}{% for i in range(99999) %}{{ s[4] }}{% endfor %}",
	"end of a text":          "{% set s = 'ä' * 4999999 %}{% for i in range(99999) %}{{ s | last }}{% endfor %}",
	"letters":                "{% set s = 'a' * 9999999 %}{% for i in range(99999) %}{{ s.isdigit() or s.isalpha() }}{% endfor %}",
	"startswith":             "{% set s = 'a' * 9999999 %}{% for i in range(99999) %}{{ s.startswith(s) }}{% endfor %}",
	"stripping":              "{% set s = 'a' * 9999999 %}{% for i in range(99999) %}{{ s.strip('ab') }}{% endfor %}",
	"truth of words":         "{% set s = 'a ' * 4999999 %}{% for i in range(99999) %}{{ s | wordcount }}{% endfor %}",
	"upper test":             "{% set s = 'A' * 9999999 %}{% for i in range(99999) %}{{ s is upper }}{% endfor %}",
	"numbers of texts":       "{% set s = '1' * 9999999 %}{% for i in range(99999) %}{{ s | int }}{{ s | float }}{% endfor %}",
	"sums":                   "{% set s = [1] * 999999 %}{% for i in range(99999) %}{{ s | sum }}{% endfor %}",
	"map of filters":         "{% for i in range(99999) %}{{ range(99999) | map('string') | list | length }}{% endfor %}",
	"select":                 "{% for i in range(99999) %}{{ range(99999) | select('odd') | list | length }}{% endfor %}",
	"attribute paths":        "{{ range(99999) | map(attribute='" + strings.Repeat("a.", 50000) + "a') | list }}",
	"JSON indent":            "{% set ns = namespace(x=[]) %}{% for i in range(400) %}{% set ns.x = [ns.x] %}{% endfor %}{% for i in range(99999) %}{{ ns.x | tojson(indent=100) }}{% endfor %}",
	"any of many affixes":    "{% set s = ['b'] * 999999 %}{% for i in range(99999) %}{{ 'a'.startswith(s) }}{% endfor %}",
	"dict of long keys":      "{% set s = 'a' * 9999999 %}{% set d = {} %}{% for i in range(99999) %}{{ d.get(s) }}{{ d[s] }}{{ s in d }}{% endfor %}",
	"iterating a dict":       "{% for i in range(99999) %}{% for k in d %}{% endfor %}{% endfor %}{% for i in range(99999) %}{% for j in 'abc' * 99999 %}{% endfor %}{% endfor %}",
	"cycle":                  "{% for i in range(99999) %}{% for j in range(99999) %}{{ loop.cycle('a', 'b') }}{% endfor %}{% endfor %}",
	"text of a large value":  "{% set s = [1] * 999999 %}{% for i in range(99999) %}{% if s ~ '' %}{% endif %}{% endfor %}",
	"slices":                 "{% set s = [1] * 999999 %}{% for i in range(99999) %}{{ s[::-1] | length }}{% endfor %}",
	"splitting":              "{% set s = 'a ' * 999999 %}{% for i in range(99999) %}{{ s.split() | length }}{% endfor %}",
	"refusal too long":       "{{ raise_exception('a' * 10**9) }}",
}

func TestARunawayTemplateIsStoppedSoon(t *testing.T) {
	for name, source := range runaways {
		t.Run(name, func(t *testing.T) {
			template, err := New(source, Options{})
			if err != nil {
				if !errors.Is(err, ErrTemplate) {
					t.Error(err)
				}
				return
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			goroutines, start := runtime.NumGoroutine(), time.Now()
			text, err := template.Render(Conversation{Messages: []Message{{Role: "user", Content: "a"}}}, true)
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			if len(text) > baseBytes {
				t.Errorf("%d bytes of output", len(text))
			}
			if err == nil && took > 2*time.Second || took > 10*time.Second {
				t.Errorf("it took %v: %v", took, err)
			}
			if made := after.TotalAlloc - before.TotalAlloc; made > 8<<30 {
				t.Errorf("%d MB were allocated", made>>20)
			}
			if n := runtime.NumGoroutine(); n > goroutines {
				t.Errorf("%d goroutines are left", n-goroutines)
			}
			if err != nil && len(err.Error()) > 4000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			t.Logf("%v, %d MB, %.150v", took, (after.TotalAlloc-before.TotalAlloc)>>20, err)
		})
	}
}

func TestNothingButTheDataCanBeReached(t *testing.T) {
	for _, expression := range []string{
		"''.__class__", "''.__class__.__mro__[1].__subclasses__()", "messages.__class__", "messages[0].__class__.__base__", "().__class__",
		"self", "self._TemplateReference__context", "self.__init__.__globals__", "cycler.__init__.__globals__.os.popen('id').read()",
		"joiner.__init__.__globals__", "namespace.__init__.__globals__", "lipsum.__globals__", "lipsum.__globals__['os']", "url_for.__globals__",
		"config", "config.items()", "request", "request.application.__globals__", "get_flashed_messages.__globals__", "open('/etc/passwd').read()",
		"range.__class__", "range.__self__", "raise_exception.__globals__", "''['__class__']", "''|attr('__class__')", "''|attr('\\x5f\\x5fclass\\x5f\\x5f')",
		"'{0.__class__}'.format('')", "'{a.__class__}'.format(a='')", "'{0[__class__]}'.format('')", "'%(a)s' % {'a': 1}", "''.format_map({})",
		"messages|map(attribute='__class__')|list", "messages|map('attr', '__class__')|list",
		"dict.__base__", "dict.mro()", "environment", "loop.__class__", "caller.__globals__", "namespace().__dict__", "env.PATH", "environ", "os.environ", "import os",
		"[].append.__self__", "''.join.__call__", "messages.append.__func__", "strftime_now.__globals__", "strftime_now('%' * 5)", "x.__getattribute__('a')", "v_attr", "attr", "t1",
	} {
		template, err := New("{{ "+expression+" }}", Options{})
		if err != nil {
			continue
		}
		text, err := template.Render(Conversation{Messages: []Message{{Role: "user", Content: "a"}}}, true)
		if err == nil && strings.Trim(text, "%[](), Undefiul") != "" && !strings.Contains(text, "<function") {
			t.Errorf("%s: %q", expression, text)
		}
	}
}

func TestOtherTemplatesAndFilesAreRefusedByName(t *testing.T) {
	for _, source := range []string{
		"{% include '/etc/passwd' %}", "{% import 'a' as b %}", "{% from 'a' import b %}", "{% extends 'a' %}", "{% block a %}{% endblock %}",
	} {
		_, err := New(source, Options{})
		if !errors.Is(err, ErrTemplate) || !strings.Contains(err.Error(), "other templates") {
			t.Errorf("%s: %v", source, err)
		}
	}
}

// Deep nesting must not exhaust the stack, long sources must not take long.
func TestMonstrousSourcesAreRefused(t *testing.T) {
	const n = 100000
	for name, source := range map[string]string{
		"parentheses": "{{ " + strings.Repeat("(", n) + "1" + strings.Repeat(")", n) + " }}",
		"open":        "{{ " + strings.Repeat("(", n),
		"brackets":    "{{ " + strings.Repeat("[", n) + " }}",
		"braces":      "{{ " + strings.Repeat("{1:", n) + " }}",
		"not":         "{{ " + strings.Repeat("not ", n) + "1 }}",
		"minus":       "{{ " + strings.Repeat("-", n) + "1 }}",
		"sum":         "{{ 1" + strings.Repeat("+1", n) + " }}",
		"power":       "{{ 1" + strings.Repeat("**1", n) + " }}",
		"or":          "{{ 1" + strings.Repeat(" or 1", n) + " }}",
		"if":          "{{ 1" + strings.Repeat(" if 1 else 1", n/2) + " }}",
		"attributes":  "{{ a" + strings.Repeat(".a", n) + " }}",
		"items":       "{{ a" + strings.Repeat("[0]", n) + " }}",
		"calls":       "{{ a" + strings.Repeat("()", n) + " }}",
		"filters":     "{{ a" + strings.Repeat("|e", n) + " }}",
		"tests":       "{{ a" + strings.Repeat(" is a", n) + " }}",
		"ifs":         strings.Repeat("{% if 1 %}", n),
		"fors":        strings.Repeat("{% for a in b %}", n/2),
		"elifs":       "{% if 1 %}" + strings.Repeat("{% elif 1 %}", n/2),
		"targets":     "{% set " + strings.Repeat("(", n) + "a" + strings.Repeat(")", n) + " = 1 %}",
		"size":        strings.Repeat("a", maxSource+1),
		"raw":         "{% raw %}" + strings.Repeat("{%", n),
		"comment":     "{#" + strings.Repeat("{#", n),
	} {
		start := time.Now()
		_, err := New(source, Options{})
		if !errors.Is(err, ErrTemplate) {
			t.Errorf("%s: %v", name, err)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%s: %v", name, took)
		}
		if err != nil && len(err.Error()) > 1000 {
			t.Errorf("%s: an error of %d bytes", name, len(fmt.Sprint(err)))
		}
	}
}

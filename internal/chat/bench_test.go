package chat

import (
	"fmt"
	"strings"
	"testing"
)

// talk is a plain conversation of n questions and answers.
func talk(n int) Conversation {
	c := Conversation{Messages: []Message{{Role: "system", Content: "You are a helpful assistant."}}}
	for i := range n {
		c.Messages = append(c.Messages,
			Message{Role: "user", Content: fmt.Sprintf("Question %d: %s", i, strings.Repeat("what about this and that? ", 8))},
			Message{Role: "assistant", Content: fmt.Sprintf("Answer %d: %s", i, strings.Repeat("it is so for several reasons. ", 20))})
	}
	return c
}

var benchTemplates = []string{"chatml", "Qwen-Qwen2.5-7B-Instruct.jinja", "meta-llama-Llama-3.2-3B-Instruct.jinja", "Qwen-Qwen3-0.6B.jinja", "openai-gpt-oss-120b.jinja"}

func benchTemplate(b *testing.B, name string) *Template {
	if t, ok := Named(name, Options{}); ok {
		return t
	}
	return realTemplate(b, name, nil)
}

func BenchmarkRender(b *testing.B) {
	for _, name := range benchTemplates {
		t, c := benchTemplate(b, name), talk(3)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := t.Render(c, false); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSequences reports records per second for conversations of so many
// questions and answers.
func BenchmarkSequences(b *testing.B) {
	for _, name := range benchTemplates {
		for _, n := range []int{1, 3, 50, 500} {
			t, c := benchTemplate(b, name), talk(n)
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				for b.Loop() {
					if _, err := t.Sequences(c, everything); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
			})
		}
	}
}

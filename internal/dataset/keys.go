package dataset

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// unusedKey is a key of a record that its form does not read.
type unusedKey struct {
	key   string
	known bool // to be about the record and not of it
}

// meaningful are keys that change what a record says, or what of it is learned. Where the
// form of a record does not read one, the record is refused.
var meaningful = []string{
	"system", "system_prompt", "input", "context", "history", "prefix", "suffix", "partial", "documents",
	"tools", "functions", "tool_calls", "function_call", "chat_template", "chat_template_kwargs",
	"reasoning", "reasoning_content", "thinking",
	"image", "images", "audio", "audios", "video", "videos",
	"weight", "weights", "train", "training", "train_detail", "mask", "masks", "loss_mask", "assistant_masks", "completion_mask",
	"labels", "attention_mask", "position_ids",
}

// meaningfulInMessage are such keys of messages.
var meaningfulInMessage = append([]string{"refusal", "channel", "recipient", "tools", "label", "content_type", "thinking_blocks"}, meaningful...)

// metadata are keys known to say something about a record.
var metadata = strings.Fields(`_id annotations author authors category categories chars conversation_hash conversation_id
	created created_at dataset date difficulty domain extra finish_reason generator hash id ids idx index info key
	lang language length level license md5 message_id meta metadata model models n_tokens name num_tokens num_turns
	origin prompt_id quality rating redacted score scores sha1 sha256 source sources special_tokens_mask split stats
	subset subject tag tags task time timestamp title token_count token_type_ids topic topics toxicity turn turns type
	uid updated_at url uuid version`)

// contents are keys of forms: where another form was read, they may hold what the user
// wants learned.
var contents = []string{
	"prompt", "completion", "instruction", "output", "response", "question", "answer", "query", "text",
	"messages", "conversations", "conversation", "input_ids",
}

// checkKeys notes the keys of a record that its form did not read. Those that change its
// meaning are an error.
func (p *parser) checkKeys(f *fields, read form, r record) error {
	for _, key := range f.unread() {
		known := slices.Contains(metadata, key)
		switch {
		case known:
		case slices.Contains(meaningful, key) && !sayNothing(key, f.object[key]):
			return fmt.Errorf("%q is nothing that a record of the form %s (%v) can have; leave it out, give the record in a form that has it, or pass --ignore-key %[1]s if it may be passed over", key, read.name, read)
		case slices.Contains(contents, key):
			if known = repeats(r, f.object[key]); !known && !p.alsoFits(f.object, key) {
				return fmt.Errorf("%q stands beside the form %s (%v), which does not read it; name the form with --format and the keys with --prompt-field and so on, or pass --ignore-key %[1]s if it may be passed over", key, read.name, read)
			}
		}
		p.passOver(key, known)
	}
	return nil
}

// withoutIgnored is an object without the keys that the user said may be passed over.
func (p *parser) withoutIgnored(o object) object {
	rest := o
	for _, key := range p.opts.IgnoreKeys {
		if _, there := o[key]; !there {
			continue
		}
		if len(rest) == len(o) {
			rest = maps.Clone(o)
		}
		delete(rest, key)
		p.passOver(key, true)
	}
	return rest
}

// passOver notes a key that is not used, once for a record.
func (p *parser) passOver(key string, known bool) {
	if k := (unusedKey{shortKey(key), known}); !slices.Contains(p.unused, k) {
		p.unused = append(p.unused, k)
	}
}

// sayNothing is whether a value of a meaningful key is what records without it mean.
func sayNothing(key string, raw json.RawMessage) bool {
	return string(raw) == "false" && key != "train" && key != "training"
}

// alsoFits is whether key belongs to a form that o has whole: it is then another writing
// of the same record.
func (p *parser) alsoFits(o object, key string) bool {
	return slices.ContainsFunc(usual, func(f form) bool { return slices.Contains(f.keys, key) && f.fits(o) })
}

// repeats is whether raw is a text that the record holds anyway.
func repeats(r record, raw json.RawMessage) bool {
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return false
	}
	for _, t := range r.texts() {
		if strings.Contains(t, text) {
			return true
		}
	}
	return false
}

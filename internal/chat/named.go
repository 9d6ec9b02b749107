package chat

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// chatMLSource is the format for models that have no template of their own:
//
//	<|im_start|>role\ncontent<|im_end|>\n
const chatMLSource = `{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + (m.content or '') + '<|im_end|>\n' }}{% endfor %}` +
	`{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}`

// systemFirst takes a system message at the beginning apart, for formats that put
// it somewhere else.
const systemFirst = `{% set system = messages[0].content if messages and messages[0].role == 'system' else '' %}` +
	`{% set rest = messages[1:] if messages and messages[0].role == 'system' else messages %}`

// alternating refuses what a format of questions and answers cannot write.
const alternating = `{% if m.role not in ('user', 'assistant') %}{{ raise_exception('this format has no messages of the role ' + m.role) }}{% endif %}`

// DefaultName is the name of the template that [ChatML] gives.
const DefaultName = "chatml"

// named are formats of well-known families, by the names that --chat-template
// takes. They write plain conversations.
var named = map[string]string{
	DefaultName: chatMLSource,
	"llama2": systemFirst + `{% for m in rest %}` + alternating +
		`{% if m.role == 'user' %}{{ bos_token + '[INST] ' + ('<<SYS>>\n' + system + '\n<</SYS>>\n\n' if loop.first and system else '') + m.content + ' [/INST]' }}` +
		`{% else %}{{ ' ' + m.content + ' ' + eos_token }}{% endif %}{% endfor %}`,
	"llama3": `{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content + '<|eot_id|>' }}{% endfor %}` +
		`{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}`,
	"gemma": `{{ bos_token }}` + systemFirst + `{% for m in rest %}` + alternating +
		`{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else 'user') + '\n' + (system + '\n\n' if loop.first and system else '') + m.content + '<end_of_turn>\n' }}` +
		`{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}`,
	"mistral": `{{ bos_token }}` + systemFirst + `{% for m in rest %}` + alternating +
		`{% if m.role == 'user' %}{{ '[INST] ' + (system + '\n\n' if loop.first and system else '') + m.content + ' [/INST]' }}` +
		`{% else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}`,
	"phi3": `{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}`,
	"zephyr": `{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + eos_token + '\n' }}{% endfor %}` +
		`{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}`,
	"vicuna": systemFirst + `{{ bos_token + (system or 'A chat between a curious user and an artificial intelligence assistant. ` +
		`The assistant gives helpful, detailed, and polite answers to the user\'s questions.') + ' ' }}{% for m in rest %}` + alternating +
		`{% if m.role == 'user' %}{{ 'USER: ' + m.content + ' ' }}{% else %}{{ 'ASSISTANT: ' + m.content + eos_token }}{% endif %}{% endfor %}` +
		`{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}`,
	"alpaca": systemFirst + `{{ bos_token + (system or 'Below is an instruction that describes a task. ` +
		`Write a response that appropriately completes the request.') + '\n\n' }}{% for m in rest %}` + alternating +
		`{% if m.role == 'user' %}{{ '### Instruction:\n' + m.content + '\n\n' }}{% else %}{{ '### Response:\n' + m.content + eos_token + '\n\n' }}{% endif %}` +
		`{% endfor %}{% if add_generation_prompt %}{{ '### Response:\n' }}{% endif %}`,
	"command-r": `{{ bos_token }}{% for m in messages %}{{ '<|START_OF_TURN_TOKEN|><|' + {'assistant': 'CHATBOT'}.get(m.role, m.role | upper) + '_TOKEN|>' + m.content + '<|END_OF_TURN_TOKEN|>' }}` +
		`{% endfor %}{% if add_generation_prompt %}{{ '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' }}{% endif %}`,
	"deepseek": `{{ bos_token }}` + systemFirst + `{{ system }}{% for m in rest %}` + alternating +
		`{% if m.role == 'user' %}{{ '<｜User｜>' + m.content }}{% else %}{{ '<｜Assistant｜>' + m.content + eos_token }}{% endif %}{% endfor %}` +
		`{% if add_generation_prompt %}{{ '<｜Assistant｜>' }}{% endif %}`,
}

// Names are the names of the templates that are built in.
func Names() []string { return slices.Sorted(maps.Keys(named)) }

// Named returns a template that is built in, and whether there is one of the name.
func Named(name string, o Options) (*Template, bool) {
	source, ok := named[name]
	if !ok {
		return nil, false
	}
	o.Name = name + " (built in)"
	return must(source, o), true
}

// ChatML is the format for models that have no template of their own.
func ChatML(o Options) *Template {
	o.Name = "ChatML (the model has no template)"
	return must(chatMLSource, o)
}

// must compiles a source of ours.
func must(source string, o Options) *Template {
	t, err := New(source, o)
	if err != nil {
		panic(fmt.Sprintf("a template that is built in: %v", err))
	}
	return t
}

// ForModel returns the template to use with a model: source is its own template
// ("" if it has none, which gives [ChatML]). What is returned for an invalid
// template fails when it is used, so that only those who have conversations meet
// the error.
func ForModel(source string, o Options) *Template {
	if strings.TrimSpace(source) == "" {
		return ChatML(o)
	}
	if o.Name == "" {
		o.Name = "the model's template"
	}
	t, err := New(source, o)
	if err != nil {
		return &Template{name: o.Name + " (invalid)", source: source, broken: err}
	}
	return t
}

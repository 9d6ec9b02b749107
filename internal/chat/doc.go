// Package chat renders conversations to the text a model was trained to continue,
// and says which text of it the assistant generated. It never tokenizes and never
// reads files.
//
// # Templates
//
// A template is Jinja, as models bring it. It is evaluated by
// github.com/ardanlabs/jinja, which only this package imports. Between the two is
// a front end, because the library differs from Jinja2 in many small things and
// has no bounds: lex, parse and lower turn a template into a small dialect of
// Jinja, in which every operator, attribute, filter, test and output is a call of
// a function of this package. Those functions compute as Python does, reach
// nothing but the data, and count what they cost against bounds on steps and
// memory that grow with the conversation. Loops and macros are counted before they
// run, by the size of their bodies, so a template cannot run away and nothing has
// to be stopped from outside.
//
// What Jinja2 has and chat templates do not use is refused by name: inheritance,
// includes and imports, recursive loops, arguments spread with *.
//
// # What was generated
//
// [Template.Sequences] finds the text of each answer by rendering: what inference
// sees before message i is the rendering of the messages before it with
// add_generation_prompt; what the model generates is what the rendering up to and
// with message i adds to that. The marker that ends a turn is found by putting
// sentinels in place of contents; it is part of what is learned, and what the
// template writes after it is not. Answers that a template shows otherwise later,
// such as without their reasoning, are learned each in a sequence of its own.
package chat

// Package chat renders conversations to the text a model was trained to
// continue, and says which bytes of it the assistant wrote. It imports the
// standard library only; it never tokenizes and never reads files.
//
// ChatML is the only format so far. A model that has a template of another kind
// is refused with [ErrUnsupported] when a conversation is rendered.
package chat

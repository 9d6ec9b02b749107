// Package sensitivity measures how much a model's predictions depend on its weights.
//
// It may import internal/model, internal/nn and quantize. It changes no weights,
// and says nothing of what to do with what it finds.
package sensitivity

package model

import (
	"strings"

	"qtool/gguf"
	"qtool/internal/arch"
)

// SettingsSHA256 is a hash of all metadata of m that can decide what is computed: the
// architecture, and the keys under its name but the context, which is not always the
// file's. A key that says nothing yet counts too, since what a hash covers must not change
// with what later versions of this package read.
func SettingsSHA256(m gguf.Model) (string, error) {
	name, err := arch.Name(m)
	if err != nil {
		return "", err
	}
	return m.Metadata().SHA256(func(key string) bool {
		return key == arch.KeyArchitecture || strings.HasPrefix(key, name+".") && key != name+"."+arch.KeyContextLength
	})
}

package model

import (
	"strings"

	"qtool/gguf"
)

const keyArchitecture = "general.architecture"

// SettingsSHA256 is a hash of all metadata of m that can decide what is computed: the
// architecture, and the keys under its name but the context, which is not always the
// file's. A key that says nothing yet counts too, since what a hash covers must not change
// with what later versions of this package read.
func SettingsSHA256(m gguf.Model) (string, error) {
	md := m.Metadata()
	arch, err := md.Str(keyArchitecture)
	if err != nil {
		return "", err
	}
	return md.SHA256(func(key string) bool {
		return key == keyArchitecture || strings.HasPrefix(key, arch+".") && key != arch+".context_length"
	})
}

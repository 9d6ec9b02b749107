package peft

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"strings"

	"qtool/gguf"
	"qtool/internal/arch"
)

// storedKey is the key of the metadata of the weights' file under which a folder keeps the
// metadata of the GGUF that it was made of: a GGUF without tensors, in base64. So the record of
// the base and of the training comes back, and the architecture is known without a model.
const storedKey = "qtool.gguf"

// Keys of an adapter that the conversion itself decides.
const (
	keyType        = "general.type"
	keyAdapterType = "adapter.type"
	keyAlpha       = "adapter.lora.alpha"
	keyMergeOnly   = "qtool.merge_only"
	keyInvocation  = "adapter.alora.invocation_tokens"
)

var decided = []string{keyType, keyAdapterType, keyAlpha, keyMergeOnly, arch.KeyArchitecture}

// The base of an adapter, as llama.cpp's converter writes it.
const (
	keyBaseCount        = "general.base_model.count"
	keyBaseName         = "general.base_model.0.name"
	keyBaseOrganization = "general.base_model.0.organization"
	keyBaseURL          = "general.base_model.0.repo_url"
	hub                 = "https://huggingface.co/"
)

// storedText is the metadata of an adapter as the text that a folder keeps.
func storedText(md *gguf.Metadata) (string, error) {
	kept := md.Clone()
	gguf.DropHashes(kept) // they are of that file
	var b bytes.Buffer
	if err := gguf.Write(context.Background(), &b, gguf.Assemble(kept, nil)); err != nil {
		return "", fmt.Errorf("keeping the metadata: %w", err)
	}
	return base64.StdEncoding.EncodeToString(b.Bytes()), nil
}

// stored is the metadata of the GGUF that the folder was made of; nil if it does not say.
func (p *Adapter) stored() (*gguf.Metadata, error) {
	text, ok := p.Metadata[storedKey]
	if !ok {
		return nil, nil
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, invalid("its metadata %q are not base64: %v", storedKey, err)
	}
	f, err := gguf.Parse(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, invalid("its metadata %q: %v", storedKey, err)
	}
	return f.Metadata(), nil
}

// Architecture is the general.architecture of the model that the adapter is for, as far as the
// folder tells: by what qtool stored in it, or by the class of the model that PEFT wrapped. "" if
// it tells nothing.
func (p *Adapter) Architecture(ofClass func(class string) string) (string, error) {
	md, err := p.stored()
	if err != nil {
		return "", err
	}
	if md != nil {
		if name, err := md.Str(arch.KeyArchitecture); err == nil {
			return name, nil
		}
	}
	mapping, _ := p.Config["auto_mapping"].(map[string]any)
	class, _ := mapping["base_model_class"].(string)
	return ofClass(class), nil
}

// BaseModel is the repository or the path of the model that the folder says to be for; "" if it
// says nothing.
func (p *Adapter) BaseModel() string {
	name, _ := p.Config[map[Form]string{PEFT: "base_model_name_or_path", MLX: "model"}[p.Form]].(string)
	return name
}

// metadataFor are the keys of the GGUF that the folder becomes, but those that are decided.
func (p *Adapter) metadataFor(architecture string) (*gguf.Metadata, error) {
	md, err := p.stored()
	if err != nil {
		return nil, err
	}
	if md == nil {
		md = &gguf.Metadata{}
	} else {
		md = md.Clone()
	}
	if was, err := md.Str(arch.KeyArchitecture); err == nil && was != architecture {
		return nil, mismatch("it was made for the architecture %q, and the model is of %q", was, architecture)
	}
	for _, key := range decided {
		md.Delete(key)
	}
	organization, name, isRepository := strings.Cut(p.BaseModel(), "/")
	if isRepository && organization != "" && name != "" && !strings.ContainsAny(p.BaseModel(), `\ :`) && !strings.Contains(name, "/") && organization[0] != '.' && !md.Has(keyBaseCount) {
		md.Set(keyBaseCount, uint32(1))
		md.Set(keyBaseName, strings.ReplaceAll(name, "-", " "))
		md.Set(keyBaseOrganization, organization)
		md.Set(keyBaseURL, hub+organization+"/"+name)
	}
	return md, nil
}

// baseOf is the repository of the model that an adapter in GGUF says to be for; "" if it says none.
func baseOf(md *gguf.Metadata) string {
	url, _ := md.Str(keyBaseURL)
	name, ok := strings.CutPrefix(url, hub)
	if !ok {
		return ""
	}
	return name
}

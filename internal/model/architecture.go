package model

import (
	"fmt"
	"strings"

	"qtool/internal/arch"
	"qtool/internal/nn"
)

// architecture is a row of the table of architectures, with what the decoder computes of it.
type architecture struct {
	*arch.Row
	// configure reads the keys that are special to the architecture and checks them; may be nil.
	configure  func(k *keys, c *Config)
	activation nn.Activation
}

// configurations are the configure functions, by architecture.
var configurations = map[string]func(k *keys, c *Config){
	"llama":         configureLlama,
	"qwen2":         configureQwen2,
	"olmo2":         configureOLMo2,
	"gemma2":        configureGemma2,
	"gemma3":        configureGemma3,
	"phi3":          configurePhi3,
	"granite":       configureGranite,
	"glm4":          configureGLM4,
	"smollm3":       configureSmolLM3,
	"qwen2moe":      configureQwen2MoE,
	"qwen3moe":      configureQwen3MoE,
	"olmoe":         configureOLMoE,
	"granitemoe":    configureGraniteMoE,
	"glm4moe":       configureGLM4MoE,
	"bailingmoe2":   configureBailingMoE2,
	"gpt-oss":       configureGPTOSS,
	"deepseek2":     configureDeepSeek2,
	"longcat-flash": configureLongCat,
}

var activations = map[arch.Activation]nn.Activation{
	arch.SwiGLU: nn.SwiGLU, arch.GeGLU: nn.GeGLU, arch.ClampedSwiGLU: nn.ClampedSwiGLU,
}

var pairings = map[arch.Rotation]nn.RopePairing{arch.RotateNeighbours: nn.RopeNorm, arch.RotateHalves: nn.RopeNeox}

func findArchitecture(name string) (*architecture, error) {
	row := arch.Find(name)
	if row == nil {
		var known []string
		for _, r := range arch.All() {
			known = append(known, r.Name)
		}
		return nil, fmt.Errorf("%w: architecture %q is not known; known are: %s", ErrUnsupported, name, strings.Join(known, ", "))
	}
	return &architecture{row, configurations[name], activations[row.Activation]}, nil
}

package arch

import "qtool/gguf"

// KeyArchitecture is the metadata key of an architecture's name.
const KeyArchitecture = "general.architecture"

// Name is the architecture that m says it has.
func Name(m gguf.Model) (string, error) { return m.Metadata().Str(KeyArchitecture) }

// Keys of the metadata that follow the name of the architecture and a dot. Their constants
// are named as the keys are.
const (
	KeyAttentionCausal                  = "attention.causal"
	KeyAttentionHeadCount               = "attention.head_count"
	KeyAttentionHeadCountKV             = "attention.head_count_kv"
	KeyAttentionKeyLength               = "attention.key_length"
	KeyAttentionKeyLengthMLA            = "attention.key_length_mla"
	KeyAttentionKVLoraRank              = "attention.kv_lora_rank"
	KeyAttentionKVLoraScale             = "attention.kv_lora_scale"
	KeyAttentionLayerNormRMSEpsilon     = "attention.layer_norm_rms_epsilon"
	KeyAttentionQLoraRank               = "attention.q_lora_rank"
	KeyAttentionQLoraScale              = "attention.q_lora_scale"
	KeyAttentionScale                   = "attention.scale"
	KeyAttentionSharedKVLayers          = "attention.shared_kv_layers"
	KeyAttentionSlidingWindow           = "attention.sliding_window"
	KeyAttentionSlidingWindowPattern    = "attention.sliding_window_pattern"
	KeyAttentionTemperatureLength       = "attention.temperature_length"
	KeyAttentionTemperatureScale        = "attention.temperature_scale"
	KeyAttentionValueLength             = "attention.value_length"
	KeyAttentionValueLengthMLA          = "attention.value_length_mla"
	KeyAttnLogitSoftcapping             = "attn_logit_softcapping"
	KeyBlockCount                       = "block_count"
	KeyContextLength                    = "context_length"
	KeyDeepstackMapping                 = "deepstack_mapping"
	KeyEmbeddingLength                  = "embedding_length"
	KeyEmbeddingScale                   = "embedding_scale"
	KeyExpertCount                      = "expert_count"
	KeyExpertFeedForwardLength          = "expert_feed_forward_length"
	KeyExpertGatingFunc                 = "expert_gating_func"
	KeyExpertGroupCount                 = "expert_group_count"
	KeyExpertGroupUsedCount             = "expert_group_used_count"
	KeyExpertSharedCount                = "expert_shared_count"
	KeyExpertSharedFeedForwardLength    = "expert_shared_feed_forward_length"
	KeyExpertUsedCount                  = "expert_used_count"
	KeyExpertWeightsNorm                = "expert_weights_norm"
	KeyExpertWeightsScale               = "expert_weights_scale"
	KeyFeedForwardLength                = "feed_forward_length"
	KeyFinalLogitSoftcapping            = "final_logit_softcapping"
	KeyLeadingDenseBlockCount           = "leading_dense_block_count"
	KeyLogitScale                       = "logit_scale"
	KeyNZeroExperts                     = "n_zero_experts"
	KeyNextNPredictLayers               = "nextn_predict_layers"
	KeyResidualScale                    = "residual_scale"
	KeyRopeDimensionCount               = "rope.dimension_count"
	KeyRopeDimensionSections            = "rope.dimension_sections"
	KeyRopeFreqBase                     = "rope.freq_base"
	KeyRopeFreqBaseSWA                  = "rope.freq_base_swa"
	KeyRopeScaleLinear                  = "rope.scale_linear"
	KeyRopeScalingAttnFactor            = "rope.scaling.attn_factor"
	KeyRopeScalingFactor                = "rope.scaling.factor"
	KeyRopeScalingFinetuned             = "rope.scaling.finetuned"
	KeyRopeScalingOriginalContextLength = "rope.scaling.original_context_length"
	KeyRopeScalingType                  = "rope.scaling.type"
	KeyRopeScalingYarnBetaFast          = "rope.scaling.yarn_beta_fast"
	KeyRopeScalingYarnBetaSlow          = "rope.scaling.yarn_beta_slow"
	KeyRopeScalingYarnExtFactor         = "rope.scaling.yarn_ext_factor"
	KeyRopeScalingYarnAttnFactor        = "rope.scaling.yarn_attn_factor"
	KeyRopeScalingYarnLogMultiplier     = "rope.scaling.yarn_log_multiplier"
	KeyVocabSize                        = "vocab_size"
)

// Values of [KeyExpertGatingFunc].
const (
	GatingSoftmax = 1
	GatingSigmoid = 2
	GatingChosen  = 3 // softmax over the chosen experts
)

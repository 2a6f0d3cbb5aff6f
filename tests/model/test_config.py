"""Published configs are read; what would change the mathematics is refused by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from model.config import ConfigError, ModelConfig, TextConfig, VisionConfig

#: Scout's text config as published, in the older style.
SCOUT_TEXT: dict[str, Any] = {
    "_attn_implementation_autoset": True,
    "attention_bias": False,
    "attention_chunk_size": 8192,
    "attention_dropout": 0.0,
    "attn_scale": 0.1,
    "attn_temperature_tuning": 4,
    "bos_token_id": 200000,
    "cache_implementation": "hybrid",
    "eos_token_id": [200001, 200007, 200008],
    "floor_scale": 8192,
    "for_llm_compressor": False,
    "head_dim": 128,
    "hidden_act": "silu",
    "hidden_size": 5120,
    "initializer_range": 0.02,
    "interleave_moe_layer_step": 1,
    "intermediate_size": 8192,
    "intermediate_size_mlp": 16384,
    "max_position_embeddings": 10485760,
    "model_type": "llama4_text",
    "no_rope_layers": [],
    "num_attention_heads": 40,
    "num_experts_per_tok": 1,
    "num_hidden_layers": 48,
    "num_key_value_heads": 8,
    "num_local_experts": 16,
    "output_router_logits": False,
    "pad_token_id": 200018,
    "rms_norm_eps": 1e-05,
    "rope_scaling": {
        "factor": 16.0,
        "high_freq_factor": 1.0,
        "low_freq_factor": 1.0,
        "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
    },
    "rope_theta": 500000.0,
    "router_aux_loss_coef": 0.001,
    "router_jitter_noise": 0.0,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "use_qk_norm": True,
    "vocab_size": 202048,
}
SCOUT_VISION: dict[str, Any] = {
    "attention_dropout": 0.0,
    "hidden_act": "gelu",
    "hidden_size": 1408,
    "image_size": 336,
    "initializer_range": 0.02,
    "intermediate_size": 5632,
    "model_type": "llama4_vision_model",
    "multi_modal_projector_bias": False,
    "norm_eps": 1e-05,
    "num_attention_heads": 16,
    "num_channels": 3,
    "num_hidden_layers": 34,
    "patch_size": 14,
    "pixel_shuffle_ratio": 0.5,
    "projector_dropout": 0.0,
    "projector_input_dim": 4096,
    "projector_output_dim": 4096,
    "rope_theta": 10000,
    "vision_feature_layer": -1,
    "vision_feature_select_strategy": "default",
    "vision_output_dim": 4096,
}
SCOUT: dict[str, Any] = {
    "architectures": ["Llama4ForConditionalGeneration"],
    "boi_token_index": 200080,
    "eoi_token_index": 200081,
    "image_token_index": 200092,
    "model_type": "llama4",
    "text_config": SCOUT_TEXT,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.51.0.dev0",
    "vision_config": SCOUT_VISION,
}


def test_scouts_published_config_is_read() -> None:
    config = ModelConfig.from_hf(SCOUT)
    assert config.vision is not None
    assert config.vision.tokens_per_tile == 144
    assert config.vision.rope.rope_theta == 10_000
    assert config.text.rope.factor == 16
    assert config.text.attn_temperature_tuning is True
    assert config.text.eos_token_id == (200001, 200007, 200008)
    assert [config.text.uses_rope(layer) for layer in range(5)] == [True, True, True, False, True]
    assert all(config.text.is_moe(layer) for layer in range(48))


#: Llama 3.1 8B's config as published.
LLAMA_31: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 128000,
    "eos_token_id": [128001, 128008, 128009],
    "hidden_act": "silu",
    "hidden_size": 4096,
    "initializer_range": 0.02,
    "intermediate_size": 14336,
    "max_position_embeddings": 131072,
    "mlp_bias": False,
    "model_type": "llama",
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-05,
    "rope_scaling": {
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
    },
    "rope_theta": 500000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.42.3",
    "use_cache": True,
    "vocab_size": 128256,
}


def test_a_dense_config_is_read_and_written() -> None:
    config = ModelConfig.from_hf(LLAMA_31)
    text = config.text
    assert text.is_dense
    assert config.vision is None
    assert text.head_dim == 128
    assert text.rope.factor == 8
    assert all(text.uses_rope(layer) for layer in range(32))
    assert {text.chunk(layer) for layer in range(32)} == {None}
    assert not any(text.is_moe(layer) for layer in range(32))
    written = config.to_hf()
    assert ModelConfig.from_hf(written) == config
    assert written["architectures"] == ["LlamaForCausalLM"]
    assert not {"num_local_experts", "attention_chunk_size", "use_qk_norm"} & written.keys()


def test_what_an_early_dense_config_leaves_out_has_its_default() -> None:
    text = TextConfig.dense(num_attention_heads=16, rope_scaling={"type": "linear", "factor": 2.0})
    assert (text.num_key_value_heads, text.head_dim) == (16, 256)
    assert (text.rms_norm_eps, text.max_position_embeddings) == (1e-6, 2048)
    assert (text.rope.rope_theta, text.rope.rope_type, text.rope.factor) == (10_000, "linear", 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attention_bias": True}, "attention_bias is True: only False"),
        ({"mlp_bias": True}, "mlp_bias is True: only False"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "rope_type 'dynamic' is not known"),
        ({"rope_scaling": {"type": "linear", "factor": 0.0}}, "rope factor 0.0 must be above 0"),
        ({"num_local_experts": 8}, "config key 'num_local_experts' .* not known in a dense model"),
        ({"sliding_window": 4096}, "config key 'sliding_window' .* is not known"),
        ({"num_key_value_heads": 7}, "num_attention_heads 32 is not a multiple of .* 7"),
        ({"vocab_size": 0}, "vocab_size must be a positive number"),
    ],
    ids=str,
)
def test_other_dense_mathematics_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ModelConfig.from_hf({**LLAMA_31, **change})


def test_a_dense_model_has_neither_experts_nor_eyes() -> None:
    with pytest.raises(ConfigError, match="use_qk_norm is True, which a dense model"):
        replace(TextConfig.dense(), use_qk_norm=True)
    with pytest.raises(ConfigError, match="reads text only"):
        ModelConfig(TextConfig.dense(), ModelConfig.from_hf(SCOUT).vision)


def test_every_second_layer_of_maverick_is_a_mixture() -> None:
    text = TextConfig.from_hf({**SCOUT_TEXT, "interleave_moe_layer_step": 2})
    assert [layer for layer in range(6) if text.is_moe(layer)] == [1, 3, 5]


@pytest.mark.parametrize("hf", [SCOUT, SCOUT_TEXT], ids=["full", "text only"])
def test_what_is_written_is_read_back(hf: dict[str, Any]) -> None:
    written = ModelConfig.from_hf(hf).to_hf()
    again = ModelConfig.from_hf(written)
    assert again.to_hf() == written
    assert (again.vision is None) == ("vision_config" not in hf)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu': only 'silu'"),
        ({"attention_bias": True}, "attention_bias is True"),
        ({"sliding_window": 4096}, "config key 'sliding_window' .* is not known"),
        ({"quantization_config": {"bits": 4}}, "config key 'quantization_config'"),
        ({"num_key_value_heads": 7}, "num_attention_heads 40 is not a multiple of .* 7"),
        ({"num_experts_per_tok": 17}, "num_experts_per_tok 17 exceeds num_local_experts 16"),
        (
            {"attention_chunk_size": None},
            "attention_chunk_size must be a positive number, not None",
        ),
        ({"no_rope_layers": [1, 1, 0]}, "no_rope_layers lists 3 layers, the model has 48"),
        ({"head_dim": 127}, "head_dim 127 must be even"),
        ({"layer_types": ["full_attention"] * 48}, "layer_types contradicts no_rope_layers"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "rope_type 'yarn' is not known"),
        ({"rope_scaling": {"beta_fast": 32}}, "rope key 'beta_fast'"),
    ],
    ids=str,
)
def test_other_mathematics_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ModelConfig.from_hf({**SCOUT, "text_config": {**SCOUT_TEXT, **change}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"intermediate_size": 5000}, "vision intermediate_size 5000 must be .* 1408 x 4"),
        ({"pixel_shuffle_ratio": 0.4}, "pixel_shuffle_ratio 0.4 must be 1/n"),
        ({"vision_output_dim": 100}, "must be equal, not 4096, 4096, 100"),
        ({"image_size": 340}, "image_size 340 is not a multiple of patch_size 14"),
        ({"norm_eps": 1e-6}, "norm_eps is 1e-06: only 1e-05"),
        ({"vision_feature_layer": -2}, "vision_feature_layer is -2"),
    ],
    ids=str,
)
def test_other_vision_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        VisionConfig.from_hf({**SCOUT_VISION, **change})


@pytest.mark.parametrize("hf", [{"model_type": "mistral"}, {"model_type": "llama4"}], ids=str)
def test_another_model_is_refused(hf: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="is not a whole Llama config"):
        ModelConfig.from_hf(hf)


CROSS_TEXT: dict[str, Any] = {
    "model_type": "mllama_text_model",
    "hidden_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 4,
    "cross_attention_layers": [1, 3],
}


def test_llama_3_2_vision_means_what_transformers_means_by_an_empty_config() -> None:
    config = ModelConfig.from_hf({"model_type": "mllama"})
    assert config.text.cross_attention_layers == (3, 8, 13, 18, 23, 28, 33, 38)
    assert (config.text.vocab_size, config.text.embeddings) == (128_256, 128_264)
    assert config.image_token_index == 128_256
    assert config.cross_vision is not None
    assert config.cross_vision.shape_number((2, 2)) == 6
    assert ModelConfig.from_hf(config.to_hf()) == config


@pytest.mark.parametrize(
    ("text", "vision", "problem"),
    [
        ({"cross_attention_layers": [1, 4]}, {}, "cross_attention_layers has 4"),
        ({"cross_attention_layers": []}, {}, "needs them"),
        ({"model_type": "llama"}, {}, "cross_attention_layers"),
        ({"tie_word_embeddings": True}, {}, "an embedding and no output"),
        ({"head_dim": 8}, {}, "must be hidden_size 64"),
        ({}, {"vision_output_dim": 100}, "vision_output_dim 100 must be"),
        ({}, {"intermediate_layers_indices": [3, 7, 15, 23, 32]}, "must be among the 32 layers"),
        ({}, {"supported_aspect_ratios": [[1, 5]]}, "have more than 4 tiles"),
        ({}, {"hidden_act": "silu"}, "hidden_act is 'silu': only 'gelu'"),
        ({}, {"depth": 3}, "config key 'depth'"),
    ],
)
def test_other_cross_attention_is_refused(
    text: dict[str, Any], vision: dict[str, Any], problem: str
) -> None:
    values = {
        "model_type": "mllama",
        "text_config": {**CROSS_TEXT, **text},
        "vision_config": vision,
    }
    with pytest.raises(ConfigError, match=problem):
        ModelConfig.from_hf(values)


def test_cross_attention_and_its_encoder_need_each_other() -> None:
    with pytest.raises(ConfigError, match="need each other"):
        ModelConfig(TextConfig.from_hf(CROSS_TEXT))
    with pytest.raises(ConfigError, match="only 'mllama_text_model' has such layers"):
        TextConfig(cross_attention_layers=(1,))

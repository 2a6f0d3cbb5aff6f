"""The shape of a Llama model, read from and written to a Hugging Face `config.json`.

Field names are the keys of the published configs. A dense one is read (`model_type` "llama":
LLaMA 1, Llama 2, 3, 3.1, 3.2 in 1B and 3B, 3.3), Llama 3.2 Vision's ("mllama"), which is dense with
layers of cross-attention, and Llama 4's: a full config (`text_config` and `vision_config`) or a
text-only one. It refuses, with `ConfigError`, any key it does
not know and any value that this implementation does not compute, so that no checkpoint runs with
other mathematics than it was trained with. Called by `checkpoint` and by makers of new models.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import asdict, dataclass, field, fields
from typing import Any


class ConfigError(ValueError):
    """The config asks for what this model does not compute; the message names the key."""


#: Keys that say how to train, generate or store, and change nothing in the forward pass.
HARMLESS = frozenset(
    {
        "_attn_implementation_autoset",
        "_name_or_path",
        "architectures",
        "attention_dropout",
        "bad_words_ids",
        "begin_suppress_tokens",
        "cache_implementation",
        "chunk_size_feed_forward",
        "diversity_penalty",
        "do_sample",
        "dtype",
        "early_stopping",
        "encoder_no_repeat_ngram_size",
        "exponential_decay_length_penalty",
        "finetuning_task",
        "for_llm_compressor",
        "forced_bos_token_id",
        "forced_eos_token_id",
        "id2label",
        "initializer_range",
        "label2id",
        "length_penalty",
        "max_length",
        "min_length",
        "no_repeat_ngram_size",
        "num_beam_groups",
        "num_beams",
        "num_return_sequences",
        "output_attentions",
        "output_hidden_states",
        "output_router_logits",
        "output_scores",
        "prefix",
        "problem_type",
        "projector_dropout",
        "remove_invalid_values",
        "repetition_penalty",
        "return_dict",
        "return_dict_in_generate",
        "router_aux_loss_coef",
        "router_jitter_noise",
        "sep_token_id",
        "suppress_tokens",
        "task_specific_params",
        "temperature",
        "tf_legacy_loss",
        "tokenizer_class",
        "top_k",
        "top_p",
        "torch_dtype",
        "torchscript",
        "transformers_version",
        "typical_p",
        "use_bfloat16",
        "use_cache",
    }
)

#: Keys that would change the forward pass, with the one value that is computed here.
FIXED: Mapping[str, Any] = {
    "hidden_act": "silu",
    "attention_bias": False,
    "is_encoder_decoder": False,
    "is_decoder": False,
    "add_cross_attention": False,
    "cross_attention_hidden_size": None,
    "tie_encoder_decoder": False,
    "pruned_heads": {},
    "decoder_start_token_id": None,
}
FIXED_DENSE: Mapping[str, Any] = {**FIXED, "mlp_bias": False}
FIXED_CROSS_VISION: Mapping[str, Any] = {
    **FIXED,
    "model_type": "mllama_vision_model",
    "hidden_act": "gelu",
    "norm_eps": 1e-5,
    "num_channels": 3,
}
FIXED_VISION: Mapping[str, Any] = {
    **FIXED,
    "model_type": "llama4_vision_model",
    "hidden_act": "gelu",
    "multi_modal_projector_bias": False,
    "norm_eps": 1e-5,
    "num_channels": 3,
    "vision_feature_layer": -1,
    "vision_feature_select_strategy": "default",
}

#: What `num_local_experts` and others are in a dense model: what only Llama 4 has is switched off.
DENSE: Mapping[str, Any] = {
    "num_experts_per_tok": 0,
    "num_local_experts": 0,
    "moe_layers": (),
    "use_qk_norm": False,
    "no_rope_layers": (),
    "no_rope_layer_interval": 0,
    "attention_chunk_size": None,
    "attn_temperature_tuning": False,
}

#: What a dense config means when it leaves a key out (transformers' LlamaConfig).
DENSE_DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 32_000,
    "hidden_size": 4096,
    "intermediate_size": 11_008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": None,
    "head_dim": None,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10_000.0,
}

#: What Llama 3.2 Vision's config means when it leaves a key out (transformers' MllamaTextConfig).
CROSS_DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 128_256,
    "hidden_size": 4096,
    "intermediate_size": 14_336,
    "num_hidden_layers": 40,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": None,
    "max_position_embeddings": 131_072,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500_000.0,
    "cross_attention_layers": (3, 8, 13, 18, 23, 28, 33, 38),
}

#: Keys of a dense config only, that change nothing: how its first release cut the weights up,
#: another name for the context length, and how to train.
DENSE_HARMLESS = frozenset({"pretraining_tp", "max_sequence_length", "dropout"})

#: Tokens that Llama 3.2 Vision reads and never writes, after those of its vocabulary: one is the
#: image's.
READ_ONLY_TOKENS = 8


#: Ways to store weights in few bits that can be read, with the values of keys that matter; the
#: first is meant where a key is left out.
METHODS: Mapping[str, Mapping[str, tuple[Any, ...]]] = {
    "compressed-tensors": {
        "format": (
            "pack-quantized", "float-quantized", "naive-quantized", "int-quantized", None,
        ),
        "kv_cache_scheme": (None,),
    },
    "awq": {"bits": (4,), "version": ("gemm", "GEMM")},
    "gptq": {"bits": (4, 8), "checkpoint_format": ("gptq", "gptq_v2")},
    "fbgemm_fp8": {},
    "fp8": {},
}  # fmt: skip


@dataclass(frozen=True)
class RopeConfig:
    """How fast each pair of a head turns with the position (`rope_parameters`)."""

    rope_theta: float = 500_000.0
    #: "default"; "linear": all pairs are slowed down by `factor`; "llama3": slow pairs only
    rope_type: str = "default"
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_max_position_embeddings: int = 8192

    def __post_init__(self) -> None:
        if self.rope_type not in ("default", "linear", "llama3"):
            raise ConfigError(
                f"rope_type {self.rope_type!r} is not known: use 'default', 'linear' or 'llama3'"
            )
        if self.factor <= 0:
            raise ConfigError(f"rope factor {self.factor} must be above 0")
        if self.rope_type == "llama3" and self.high_freq_factor < self.low_freq_factor:
            raise ConfigError(
                f"rope high_freq_factor {self.high_freq_factor} is below "
                f"low_freq_factor {self.low_freq_factor}"
            )

    def to_hf(self) -> dict[str, Any]:
        if self.rope_type == "default":
            return {"rope_theta": self.rope_theta, "rope_type": "default"}
        if self.rope_type == "linear":
            return {"rope_theta": self.rope_theta, "rope_type": "linear", "factor": self.factor}
        return asdict(self)


@dataclass(frozen=True)
class TextConfig:
    """The language model. Layers are counted from 0; defaults are those of Llama 4's published
    class. A dense model is made by `dense`."""

    #: or a dense one: "llama", or "mllama_text_model" with layers of cross-attention
    model_type: str = "llama4_text"
    vocab_size: int = 202_048
    hidden_size: int = 5120
    intermediate_size: int = 8192  #: width of each routed expert and of the shared one
    intermediate_size_mlp: int = 16_384  #: width of a dense layer
    num_hidden_layers: int = 48
    num_attention_heads: int = 40
    num_key_value_heads: int = 8
    head_dim: int = 128
    max_position_embeddings: int = 131_072
    rms_norm_eps: float = 1e-5
    tie_word_embeddings: bool = False
    num_experts_per_tok: int = 1
    num_local_experts: int = 16
    moe_layers: tuple[int, ...] | None = None  #: None: every `interleave_moe_layer_step`-th
    interleave_moe_layer_step: int = 1
    use_qk_norm: bool = True
    rope: RopeConfig = field(default_factory=RopeConfig)
    no_rope_layers: tuple[int, ...] | None = None  #: by layer: 1 uses RoPE, 0 does not
    no_rope_layer_interval: int = 4
    attention_chunk_size: int | None = 8192  #: None in a dense model: every layer sees everything
    attn_temperature_tuning: bool = True
    floor_scale: int = 8192
    attn_scale: float = 0.1
    cross_attention_layers: tuple[int, ...] = ()  #: these look at images and at no text
    bos_token_id: int | None = 1
    eos_token_id: int | tuple[int, ...] | None = 2
    pad_token_id: int | None = None

    def __post_init__(self) -> None:
        if self.model_type not in ("llama", "mllama_text_model", "llama4_text"):
            raise ConfigError(
                f"model_type {self.model_type!r} is not known: use 'llama', 'mllama_text_model' or "
                "'llama4_text'"
            )
        if self.has_cross_attention != bool(self.cross_attention_layers):
            raise ConfigError(
                f"cross_attention_layers is {list(self.cross_attention_layers)} with model_type "
                f"{self.model_type!r}: only 'mllama_text_model' has such layers, and it needs them"
            )
        _require_positive(self, _TEXT_SIZES)
        _require_multiple(self, "num_attention_heads", "num_key_value_heads")
        if self.head_dim % 2:
            raise ConfigError(f"head_dim {self.head_dim} must be even: RoPE turns pairs")
        if self.is_dense:
            self._require_dense()
        else:
            self._require_llama4()

    def _require_dense(self) -> None:
        for key, value in DENSE.items():
            if getattr(self, key) != value:
                raise ConfigError(
                    f"{key} is {getattr(self, key)!r}, which a dense model (model_type "
                    f"{self.model_type!r}) does not have: leave it out, or use 'llama4_text'"
                )
        if self.intermediate_size != self.intermediate_size_mlp:
            raise ConfigError(
                f"intermediate_size_mlp {self.intermediate_size_mlp} must be intermediate_size "
                f"{self.intermediate_size} in a dense model"
            )
        if self.has_cross_attention:
            self._require_cross_attention()

    def _require_cross_attention(self) -> None:
        strange = [n for n in self.cross_attention_layers if n not in range(self.num_hidden_layers)]
        if strange:
            raise ConfigError(
                f"cross_attention_layers has {strange[0]}: the model has the layers 0 to "
                f"{self.num_hidden_layers - 1}"
            )
        if self.tie_word_embeddings:
            raise ConfigError(
                f"tie_word_embeddings is true: {READ_ONLY_TOKENS} tokens of this model have an "
                "embedding and no output"
            )
        if self.head_dim * self.num_attention_heads != self.hidden_size:
            raise ConfigError(
                f"head_dim {self.head_dim} times {self.num_attention_heads} heads must be "
                f"hidden_size {self.hidden_size} in a model with cross-attention"
            )

    def _require_llama4(self) -> None:
        _require_positive(self, _LLAMA4_SIZES)
        if self.num_experts_per_tok > self.num_local_experts:
            raise ConfigError(
                f"num_experts_per_tok {self.num_experts_per_tok} exceeds "
                f"num_local_experts {self.num_local_experts}"
            )
        if self.no_rope_layers and len(self.no_rope_layers) < self.num_hidden_layers:
            raise ConfigError(
                f"no_rope_layers lists {len(self.no_rope_layers)} layers, "
                f"the model has {self.num_hidden_layers}"
            )

    @property
    def is_dense(self) -> bool:
        """LLaMA 1 to Llama 3: no experts, RoPE in every layer, every layer sees everything."""
        return self.model_type != "llama4_text"

    @property
    def has_cross_attention(self) -> bool:
        """Llama 3.2 Vision: some layers look at images and at no text."""
        return self.model_type == "mllama_text_model"

    @property
    def embeddings(self) -> int:
        """Tokens that can be read; `vocab_size` of them can be written."""
        return self.vocab_size + (READ_ONLY_TOKENS if self.has_cross_attention else 0)

    def uses_rope(self, layer: int) -> bool:
        if self.is_dense:
            return True
        if self.no_rope_layers:
            return bool(self.no_rope_layers[layer])
        return (layer + 1) % self.no_rope_layer_interval != 0

    def chunk(self, layer: int) -> int | None:
        """Tokens of the chunks that `layer` attends in; None: it sees everything before.

        In Llama 4, layers with RoPE attend in chunks and those without see everything.
        """
        return self.attention_chunk_size if self.uses_rope(layer) else None

    @property
    def reads_beyond(self) -> bool:
        """Whether positions after `max_position_embeddings` mean what earlier ones do: RoPE turns
        only within chunks, and layers without it sharpen their queries with the length."""
        return not self.is_dense and self.attn_temperature_tuning

    def is_moe(self, layer: int) -> bool:
        if self.moe_layers is not None:
            return layer in self.moe_layers
        return (layer + 1) % self.interleave_moe_layer_step == 0

    @classmethod
    def dense(cls, **values: Any) -> TextConfig:
        """LLaMA 1 to Llama 3.3. What is left out is as in transformers' LlamaConfig."""
        return cls.from_hf({"model_type": "llama", **values})

    @classmethod
    def from_hf(cls, hf: Mapping[str, Any]) -> TextConfig:
        if hf.get("model_type") == "llama":
            return cls._from_dense_hf(hf, _DENSE_KEYS, DENSE_DEFAULTS)
        if hf.get("model_type") == "mllama_text_model":
            return cls._from_dense_hf(hf, _CROSS_KEYS, CROSS_DEFAULTS)
        values = {key: value for key, value in hf.items() if key != "layer_types"}
        config: TextConfig = _from_hf(cls, values, FIXED)
        layer_types = hf.get("layer_types")
        if layer_types is not None and list(layer_types) != config.layer_types():
            raise ConfigError(
                "layer_types contradicts no_rope_layers: RoPE layers attend in chunks here"
            )
        return config

    @classmethod
    def _from_dense_hf(
        cls, hf: Mapping[str, Any], keys: Set[str], defaults: Mapping[str, Any]
    ) -> TextConfig:
        own = {key: value for key, value in hf.items() if key not in DENSE_HARMLESS}
        strange = own.keys() & (_TEXT_KEYS - keys - {"model_type"})
        if strange:
            key = min(strange)
            raise ConfigError(
                f"config key {key!r} (value {own[key]!r}) is not known in a dense model"
            )
        values = {**defaults, **own}
        values["intermediate_size_mlp"] = values["intermediate_size"]
        config: TextConfig = _from_hf(cls, {**values, **DENSE}, FIXED_DENSE)
        return config

    def to_hf(self) -> dict[str, Any]:
        return self._to_dense_hf() if self.is_dense else self._to_llama4_hf()

    def _to_dense_hf(self) -> dict[str, Any]:
        keys = _CROSS_KEYS - {"head_dim"} if self.has_cross_attention else _DENSE_KEYS
        values = {key: value for key, value in _to_hf(self).items() if key in keys}
        fixed: dict[str, Any] = {"hidden_act": "silu"}
        if not self.has_cross_attention:
            fixed |= {"attention_bias": False, "mlp_bias": False}
        return {"model_type": self.model_type, **values, **fixed}

    def _to_llama4_hf(self) -> dict[str, Any]:
        layers = range(self.num_hidden_layers)
        values = _to_hf(self)
        del values["cross_attention_layers"]
        return {
            **values,
            "hidden_act": "silu",
            "attention_bias": False,
            "no_rope_layers": [int(self.uses_rope(layer)) for layer in layers],
            "moe_layers": [layer for layer in layers if self.is_moe(layer)],
            "layer_types": self.layer_types(),
        }

    def layer_types(self) -> list[str]:
        names = ("full_attention", "chunked_attention")
        return [names[self.uses_rope(layer)] for layer in range(self.num_hidden_layers)]


@dataclass(frozen=True)
class VisionConfig:
    """The image encoder. A tile of `image_size` pixels becomes `tokens_per_tile` features."""

    hidden_size: int = 768
    num_hidden_layers: int = 34
    num_attention_heads: int = 16
    intermediate_size: int = 5632
    image_size: int = 448
    patch_size: int = 14
    pixel_shuffle_ratio: float = 0.5
    projector_input_dim: int = 4096
    projector_output_dim: int = 4096
    vision_output_dim: int = 7680
    rope: RopeConfig = field(default_factory=lambda: RopeConfig(rope_theta=10_000.0))

    def __post_init__(self) -> None:
        _require_positive(self, _VISION_SIZES)
        _require_multiple(self, "hidden_size", "num_attention_heads")
        _require_multiple(self, "image_size", "patch_size")
        if self.head_dim % 4:
            raise ConfigError(
                f"vision head width {self.head_dim} must be a multiple of 4 (2-D RoPE)"
            )
        if self.pixel_shuffle_ratio * self.shuffle != 1 or self.patches_per_side % self.shuffle:
            raise ConfigError(
                f"pixel_shuffle_ratio {self.pixel_shuffle_ratio} must be 1/n with n dividing the "
                f"{self.patches_per_side} patches of a tile's side"
            )
        if self.intermediate_size != self.hidden_size * self.shuffle**2:
            raise ConfigError(
                f"vision intermediate_size {self.intermediate_size} must be the width after the "
                f"pixel shuffle, {self.hidden_size} x {self.shuffle**2}"
            )
        if not self.projector_input_dim == self.projector_output_dim == self.vision_output_dim:
            raise ConfigError(
                "projector_input_dim, projector_output_dim and vision_output_dim must be equal, not"
                " "
                f"{self.projector_input_dim}, {self.projector_output_dim}, {self.vision_output_dim}"
            )
        if self.rope.rope_type != "default":
            raise ConfigError(
                f"vision rope_type {self.rope.rope_type!r} is not known: use 'default'"
            )

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_attention_heads

    @property
    def patches_per_side(self) -> int:
        return self.image_size // self.patch_size

    @property
    def shuffle(self) -> int:
        """How many neighbouring patches, per side, become one feature."""
        return round(1 / self.pixel_shuffle_ratio)

    @property
    def tokens_per_tile(self) -> int:
        return (self.patches_per_side // self.shuffle) ** 2

    @classmethod
    def from_hf(cls, hf: Mapping[str, Any]) -> VisionConfig:
        values = {"rope_theta": 10_000.0, **hf}
        config: VisionConfig = _from_hf(cls, values, FIXED_VISION)
        return config

    def to_hf(self) -> dict[str, Any]:
        fixed = {key: FIXED_VISION[key] for key in ("hidden_act", "norm_eps", "num_channels")}
        return {**_to_hf(self), **fixed, "model_type": "llama4_vision_model"}


@dataclass(frozen=True)
class Quantization:
    """How a checkpoint stores weights in few bits (`quantization_config`). Which weights, and in
    how many bits, their tensors say."""

    method: str  #: one of `METHODS`
    zero_offset: int = 0  #: the stored zeros are less by this (GPTQ's first format)

    @classmethod
    def from_hf(cls, hf: Mapping[str, Any]) -> Quantization:
        method = hf.get("quant_method", "compressed-tensors" if "config_groups" in hf else None)
        if method not in METHODS:
            raise ConfigError(
                f"quant_method {method!r} is not known: use a checkpoint of {', '.join(METHODS)}"
            )
        for key, known in METHODS[method].items():
            if hf.get(key, known[0]) not in known:
                raise ConfigError(
                    f"quantization_config {key} {hf[key]!r} is not known: "
                    f"{' or '.join(map(repr, known))} can be read"
                )
        is_first_gptq = method == "gptq" and hf.get("checkpoint_format", "gptq") == "gptq"
        return cls(method, int(is_first_gptq))


@dataclass(frozen=True)
class CrossVisionConfig:
    """The image encoder of Llama 3.2 Vision. An image is a grid of at most `max_num_tiles` tiles,
    each of which becomes `tokens_per_tile` features."""

    hidden_size: int = 1280
    num_hidden_layers: int = 32
    num_global_layers: int = 8
    attention_heads: int = 16
    intermediate_size: int = 5120
    vision_output_dim: int = 7680
    image_size: int = 448
    patch_size: int = 14
    max_num_tiles: int = 4
    #: What goes into these layers, counted from 0, is part of the features.
    intermediate_layers_indices: tuple[int, ...] = (3, 7, 15, 23, 30)
    #: Rows and columns of the grids, in the order in which their embeddings stand.
    supported_aspect_ratios: tuple[tuple[int, int], ...] = (
        (1, 1), (1, 2), (1, 3), (1, 4), (2, 1), (2, 2), (3, 1), (4, 1),
    )  # fmt: skip

    def __post_init__(self) -> None:
        _require_positive(self, _CROSS_VISION_SIZES)
        _require_multiple(self, "hidden_size", "attention_heads")
        _require_multiple(self, "image_size", "patch_size")
        wanted = self.hidden_size * (1 + len(self.intermediate_layers_indices))
        if self.vision_output_dim != wanted:
            raise ConfigError(
                f"vision_output_dim {self.vision_output_dim} must be hidden_size for the output "
                f"and for each of intermediate_layers_indices: {wanted}"
            )
        if not set(self.intermediate_layers_indices) <= set(range(self.num_hidden_layers)):
            raise ConfigError(
                f"intermediate_layers_indices {list(self.intermediate_layers_indices)} must be "
                f"among the {self.num_hidden_layers} layers"
            )
        if any(rows * columns > self.max_num_tiles for rows, columns in self._grids):
            raise ConfigError(f"supported_aspect_ratios have more than {self.max_num_tiles} tiles")

    @property
    def tokens_per_tile(self) -> int:
        """One for each patch, and the class token."""
        return (self.image_size // self.patch_size) ** 2 + 1

    @property
    def shapes(self) -> int:
        """How many grids there are embeddings for."""
        return len(self.supported_aspect_ratios)

    def shape_number(self, grid: tuple[int, int]) -> int:
        """Which embedding a grid of so many rows and columns has; 0 is that of no image."""
        if tuple(grid) not in self._grids:
            raise ValueError(
                f"an image of {grid[0]} x {grid[1]} tiles: supported_aspect_ratios has only "
                f"{', '.join(f'{rows} x {columns}' for rows, columns in self._grids)}"
            )
        return self._grids.index((grid[0], grid[1])) + 1

    @property
    def _grids(self) -> tuple[tuple[int, int], ...]:
        return self.supported_aspect_ratios

    @classmethod
    def from_hf(cls, hf: Mapping[str, Any]) -> CrossVisionConfig:
        known = {f.name for f in fields(cls)}
        _refuse_strange({k: v for k, v in hf.items() if k not in known}, FIXED_CROSS_VISION)
        values = {key: _frozen(value) for key, value in hf.items() if key in known}
        if "supported_aspect_ratios" in values:
            grids = values["supported_aspect_ratios"]
            values["supported_aspect_ratios"] = tuple((rows, columns) for rows, columns in grids)
        return cls(**values)

    def to_hf(self) -> dict[str, Any]:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        values["intermediate_layers_indices"] = list(self.intermediate_layers_indices)
        values["supported_aspect_ratios"] = [list(grid) for grid in self.supported_aspect_ratios]
        fixed = ("model_type", "hidden_act", "norm_eps", "num_channels")
        return {**values, **{key: FIXED_CROSS_VISION[key] for key in fixed}}


@dataclass(frozen=True)
class ModelConfig:
    """A whole model. `vision` puts images among the text's tokens, `cross_vision` lets layers look
    at them; a text-only model has neither."""

    text: TextConfig
    vision: VisionConfig | None = None
    cross_vision: CrossVisionConfig | None = None
    boi_token_index: int = 200_080
    eoi_token_index: int = 200_081
    #: the id of `<|patch|>`, the places that image features fill; with `cross_vision` that of
    #: `<|image|>`, one for each image
    image_token_index: int = 200_092
    quantization: Quantization | None = None  #: of the checkpoint that it was read from

    def __post_init__(self) -> None:
        if self.vision is not None and self.text.is_dense:
            raise ConfigError(
                "a dense model (model_type 'llama') reads text only: leave vision out"
            )
        if self.text.has_cross_attention != (self.cross_vision is not None):
            raise ConfigError(
                "layers of cross-attention (model_type 'mllama_text_model') and the encoder of "
                "'mllama' need each other: give both text_config and vision_config"
            )

    @classmethod
    def from_hf(cls, hf: Mapping[str, Any]) -> ModelConfig:
        hf = dict(hf)
        stored = hf.pop("quantization_config", None)
        quantization = Quantization.from_hf(stored) if stored is not None else None
        model_type = hf.get("model_type", "llama4" if "text_config" in hf else "llama4_text")
        if model_type in ("llama", "llama4_text"):
            return cls(TextConfig.from_hf(hf), quantization=quantization)
        if model_type == "mllama":
            return cls._from_cross_hf(hf, quantization)
        if model_type != "llama4" or not hf.get("text_config") or not hf.get("vision_config"):
            raise ConfigError(
                f"model_type {model_type!r} is not a whole Llama config: use 'llama', 'llama4' or "
                "'mllama' with text_config and vision_config, or 'llama4_text'"
            )
        own = {key: hf[key] for key in _OWN_KEYS if key in hf}
        known = (*_OWN_KEYS, *_PARTS, "model_type")
        rest = {key: value for key, value in hf.items() if key not in known}
        text = TextConfig.from_hf(hf["text_config"])
        rest.pop("tie_word_embeddings", None)  # text_config decides, as in transformers
        _refuse_strange(rest, FIXED)
        vision = VisionConfig.from_hf(hf["vision_config"])
        return cls(text, vision, **own, quantization=quantization)

    @classmethod
    def _from_cross_hf(
        cls, hf: Mapping[str, Any], quantization: Quantization | None
    ) -> ModelConfig:
        known = ("image_token_index", *_PARTS, "model_type", "tie_word_embeddings")
        _refuse_strange({key: value for key, value in hf.items() if key not in known}, FIXED)
        text = {"model_type": "mllama_text_model", **(hf.get("text_config") or {})}
        return cls(
            TextConfig.from_hf(text),
            cross_vision=CrossVisionConfig.from_hf(hf.get("vision_config") or {}),
            image_token_index=hf.get("image_token_index", 128_256),
            quantization=quantization,
        )

    def to_hf(self) -> dict[str, Any]:
        if self.cross_vision is not None:
            return {
                "architectures": ["MllamaForConditionalGeneration"],
                "model_type": "mllama",
                "image_token_index": self.image_token_index,
                "text_config": self.text.to_hf(),
                "vision_config": self.cross_vision.to_hf(),
            }
        if self.vision is None:
            architecture = "LlamaForCausalLM" if self.text.is_dense else "Llama4ForCausalLM"
            return {"architectures": [architecture], **self.text.to_hf()}
        return {
            "architectures": ["Llama4ForConditionalGeneration"],
            "model_type": "llama4",
            **{key: getattr(self, key) for key in _OWN_KEYS},
            "tie_word_embeddings": self.text.tie_word_embeddings,
            "text_config": self.text.to_hf(),
            "vision_config": self.vision.to_hf(),
        }


_OWN_KEYS = ("boi_token_index", "eoi_token_index", "image_token_index")
_PARTS = ("text_config", "vision_config")
_TEXT_SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "intermediate_size_mlp",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
)
_LLAMA4_SIZES = (
    "num_experts_per_tok",
    "num_local_experts",
    "interleave_moe_layer_step",
    "no_rope_layer_interval",
    "attention_chunk_size",
    "floor_scale",
)
_VISION_SIZES = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "image_size",
    "patch_size",
    "pixel_shuffle_ratio",
    "projector_input_dim",
    "projector_output_dim",
    "vision_output_dim",
)
_CROSS_VISION_SIZES = (
    "hidden_size",
    "num_hidden_layers",
    "num_global_layers",
    "attention_heads",
    "intermediate_size",
    "vision_output_dim",
    "image_size",
    "patch_size",
    "max_num_tiles",
)


#: Keys of all text configs, those of a dense one, and those of one with cross-attention.
_TEXT_KEYS = {f.name for f in fields(TextConfig)} - {"rope"}
_DENSE_KEYS = {
    *DENSE_DEFAULTS,
    *("tie_word_embeddings", "bos_token_id", "eos_token_id", "pad_token_id", "rope_parameters"),
}
_CROSS_KEYS = _DENSE_KEYS | {"cross_attention_layers"}


def _from_hf(cls: type[Any], hf: Mapping[str, Any], fixed: Mapping[str, Any]) -> Any:
    """Build `cls` from the keys it knows; refuse the others unless they are harmless."""
    hf = dict(hf)
    rope = _rope_from_hf(hf)
    if hf.get("num_key_value_heads", 1) is None:
        hf["num_key_value_heads"] = hf["num_attention_heads"]
    if "head_dim" in hf and hf["head_dim"] is None:
        hf["head_dim"] = hf["hidden_size"] // hf["num_attention_heads"]
    known = {f.name for f in fields(cls)}
    _refuse_strange({key: value for key, value in hf.items() if key not in known}, fixed)
    values = {key: _frozen(value) for key, value in hf.items() if key in known}
    if "attn_temperature_tuning" in values:  # published as 4, meaning true
        values["attn_temperature_tuning"] = bool(values["attn_temperature_tuning"])
    return cls(**values, rope=rope)


def _rope_from_hf(hf: dict[str, Any]) -> RopeConfig:
    """Take the RoPE keys out of `hf`: `rope_parameters`, or older `rope_theta`, `rope_scaling`."""
    theta = hf.pop("rope_theta", None)
    scaling, parameters = hf.pop("rope_scaling", None), hf.pop("rope_parameters", None)
    values = {**(scaling or {}), **(parameters or {})}
    older_name = values.pop("type", None)
    if older_name is not None:
        values.setdefault("rope_type", older_name)
    if theta is not None:
        values.setdefault("rope_theta", theta)
    unknown = values.keys() - {f.name for f in fields(RopeConfig)}
    if unknown:
        raise ConfigError(f"rope key {sorted(unknown)[0]!r} is not known here")
    return RopeConfig(**values)


def _refuse_strange(hf: Mapping[str, Any], fixed: Mapping[str, Any]) -> None:
    for key, value in hf.items():
        if key in fixed:
            if value != fixed[key]:
                raise ConfigError(f"{key} is {value!r}: only {fixed[key]!r} is computed here")
        elif key not in HARMLESS:
            raise ConfigError(f"config key {key!r} (value {value!r}) is not known here")


def _require_positive(config: Any, names: tuple[str, ...]) -> None:
    for name in names:
        value = getattr(config, name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
            raise ConfigError(f"{name} must be a positive number, not {value!r}")


def _require_multiple(config: Any, whole: str, part: str) -> None:
    if getattr(config, whole) % getattr(config, part):
        raise ConfigError(
            f"{whole} {getattr(config, whole)} is not a multiple of {part} {getattr(config, part)}"
        )


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _to_hf(config: Any) -> dict[str, Any]:
    values = {f.name: getattr(config, f.name) for f in fields(config) if f.name != "rope"}
    plain = {
        key: list(value) if isinstance(value, tuple) else value for key, value in values.items()
    }
    return {**plain, "rope_parameters": config.rope.to_hf()}

"""Meta's original files (consolidated.NN.pth, params.json, tokenizer.model) to a checkpoint folder.

LLaMA 1 to Llama 3 and Llama 4, with its vision encoder. The slices of a model that was cut for
several GPUs are put together: column-parallel weights along their outputs, row-parallel ones along
their inputs. Meta's heads have RoPE's pairs as neighbours, as ours have; `checkpoint` turns them
into Hugging Face's order where a family has another. Sizes are read off the weights where
they can be: params.json leaves some out.

Facts: github.com/meta-llama/llama-models, models/llama4 (names, older names, slices) and
models/llama3. It refuses weights that the model does not have, and those that are missing, by name.
Called by `cli`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.checkpoint import CONFIG, Uninitialised, hf_names, load_transformer, to_hf
from model.config import ModelConfig
from model.convert.errors import ConvertError
from model.convert.pickles import open_slices, weight_files
from model.convert.shards import OnBytes, write_shards
from model.convert.tokenizer import (
    LLAMA3_IDS,
    LLAMA4_IDS,
    SENTENCEPIECE_IDS,
    is_tiktoken,
    write_tokenizer,
)
from model.image import ImageProcessor
from model.transformer import Transformer

PARAMS = "params.json"
VOCABULARY = "tokenizer.model"

#: How the slices of a weight are put together: along this dimension, or all are the same.
ROWS, COLUMNS, SAME = 0, 1, None

#: Older names, and names of the training library, for what the table below names.
OLDER_NAMES = (
    (r"attention\.wqkv\.layer_norm_weight$", "attention_norm.weight"),
    (r"feed_forward\.(mlp\.layer_norm_weight|norm\.weight)$", "ffn_norm.weight"),
    (r"feed_forward\.mlp\.fc2_weight$", "feed_forward.w2.weight"),
    (r"feed_forward\.w_in_shared_FD\.weight$", "feed_forward.shared_expert.w1.weight"),
    (r"feed_forward\.w_out_shared_DF\.weight$", "feed_forward.shared_expert.w2.weight"),
    (r"feed_forward\.w_swiglu_FD\.weight$", "feed_forward.shared_expert.w3.weight"),
    (r"feed_forward\.experts\.moe_w_in_eD_F$", "feed_forward.experts.w1"),
    (r"feed_forward\.experts\.moe_w_out_eF_D$", "feed_forward.experts.w2"),
    (r"feed_forward\.experts\.moe_w_swiglu_eD_F$", "feed_forward.experts.w3"),
)

#: Our name, Meta's name, and how its slices are put together; # is a layer's number.
TEXT_NAMES = (
    ("norm.weight", "norm.weight", SAME),
    ("unembedding.weight", "output.weight", ROWS),
    ("blocks.#.attention_norm.weight", "layers.#.attention_norm.weight", SAME),
    ("blocks.#.attention.query.weight", "layers.#.attention.wq.weight", ROWS),
    ("blocks.#.attention.key.weight", "layers.#.attention.wk.weight", ROWS),
    ("blocks.#.attention.value.weight", "layers.#.attention.wv.weight", ROWS),
    ("blocks.#.attention.output.weight", "layers.#.attention.wo.weight", COLUMNS),
    ("blocks.#.feed_forward_norm.weight", "layers.#.ffn_norm.weight", SAME),
    ("blocks.#.feed_forward.gate.weight", "layers.#.feed_forward.w1.weight", ROWS),
    ("blocks.#.feed_forward.up.weight", "layers.#.feed_forward.w3.weight", ROWS),
    ("blocks.#.feed_forward.down.weight", "layers.#.feed_forward.w2.weight", COLUMNS),
)
SHARED = "layers.#.feed_forward.shared_expert"
SHARED_NAMES = (
    ("blocks.#.feed_forward.shared.gate.weight", f"{SHARED}.w1.weight", ROWS),
    ("blocks.#.feed_forward.shared.up.weight", f"{SHARED}.w3.weight", ROWS),
    ("blocks.#.feed_forward.shared.down.weight", f"{SHARED}.w2.weight", COLUMNS),
)
ENCODER = "vision_embeddings.vision_encoder"
LAYER = f"{ENCODER}.transformer.resblocks.#"
VISION_NAMES = (
    ("projector.weight", "vision_projection.weight", ROWS),
    ("vision.patch_embedding.weight", f"{ENCODER}.conv1._linear.weight", ROWS),
    ("vision.class_embedding", f"{ENCODER}.class_embedding", SAME),
    ("vision.position_embedding", f"{ENCODER}.positional_embedding_vlm", SAME),
    ("vision.norm_before.weight", f"{ENCODER}.ln_pre.weight", SAME),
    ("vision.norm_before.bias", f"{ENCODER}.ln_pre.bias", SAME),
    ("vision.norm_after.weight", f"{ENCODER}.ln_post.weight", SAME),
    ("vision.norm_after.bias", f"{ENCODER}.ln_post.bias", SAME),
    ("vision.adapter.first.weight", "vision_embeddings.vision_adapter.mlp.c_fc.weight", ROWS),
    ("vision.adapter.second.weight", "vision_embeddings.vision_adapter.mlp.c_proj.weight", COLUMNS),
    ("vision.blocks.#.attention_norm.weight", f"{LAYER}.ln_1.weight", SAME),
    ("vision.blocks.#.attention_norm.bias", f"{LAYER}.ln_1.bias", SAME),
    ("vision.blocks.#.attention.query.weight", f"{LAYER}.attn.wq.weight", ROWS),
    ("vision.blocks.#.attention.query.bias", f"{LAYER}.attn.wq.bias", ROWS),
    ("vision.blocks.#.attention.key.weight", f"{LAYER}.attn.wk.weight", ROWS),
    ("vision.blocks.#.attention.key.bias", f"{LAYER}.attn.wk.bias", ROWS),
    ("vision.blocks.#.attention.value.weight", f"{LAYER}.attn.wv.weight", ROWS),
    ("vision.blocks.#.attention.value.bias", f"{LAYER}.attn.wv.bias", ROWS),
    ("vision.blocks.#.attention.output.weight", f"{LAYER}.attn.wo.weight", COLUMNS),
    ("vision.blocks.#.attention.output.bias", f"{LAYER}.attn.wo.bias", SAME),
    ("vision.blocks.#.feed_forward_norm.weight", f"{LAYER}.ln_2.weight", SAME),
    ("vision.blocks.#.feed_forward_norm.bias", f"{LAYER}.ln_2.bias", SAME),
    ("vision.blocks.#.up.weight", f"{LAYER}.mlp.c_fc.weight", ROWS),
    ("vision.blocks.#.up.bias", f"{LAYER}.mlp.c_fc.bias", ROWS),
    ("vision.blocks.#.down.weight", f"{LAYER}.mlp.c_proj.weight", COLUMNS),
    ("vision.blocks.#.down.bias", f"{LAYER}.mlp.c_proj.bias", SAME),
)
NAMES = {
    ours: (theirs, together)
    for ours, theirs, together in (*TEXT_NAMES, *SHARED_NAMES, *VISION_NAMES)
}

MAX_TILES = 16  # of an image, in Llama 4's published processor
LLAMA4_CONTEXT = {16: 10_485_760, 128: 1_048_576}  #: tokens, by experts: Scout and Maverick


@dataclass(frozen=True)
class Meta:
    """The weights of one model, in slices, and its params.json."""

    params: Mapping[str, Any]
    slices: Sequence[Mapping[str, Tensor]]
    is_tiktoken: bool  #: Llama 3 and 4; before, the vocabulary was SentencePiece's

    @property
    def is_llama4(self) -> bool:
        return "moe_args" in self.params or "nope_layer_interval" in self.params

    def has(self, name: str) -> bool:
        return name in self.slices[0]

    def merged(self, name: str, together: int | None) -> Tensor:
        if not self.has(name):
            raise ConvertError(f"tensor {name} is missing: download the folder again")
        if together is SAME or len(self.slices) == 1:
            return self.slices[0][name]
        return torch.cat([part[name] for part in self.slices], dim=together)

    def embedding(self) -> Tensor:
        return self.merged("tok_embeddings.weight", self._embedding_cut)

    @property
    def vocab_size(self) -> int:
        rows = [part["tok_embeddings.weight"].shape[0] for part in self.slices]
        return int(sum(rows) if self._embedding_cut == ROWS else rows[0])

    @property
    def _embedding_cut(self) -> int:
        """LLaMA 1 and Llama 2 cut it along the width, later models along the vocabulary."""
        if not self.has("tok_embeddings.weight"):
            raise ConvertError("tensor tok_embeddings.weight is missing: download the folder again")
        width = self.slices[0]["tok_embeddings.weight"].shape[1]
        return ROWS if width == self.params["dim"] else COLUMNS

    def experts(self, name: str, together: int) -> Tensor:
        """(E, inputs, outputs) of all routed experts, which are stored one below another."""
        count = self.params["moe_args"]["num_experts"]
        parts = [part[name].reshape(count, -1, part[name].shape[-1]) for part in self.slices]
        return torch.cat(parts, dim=together) if len(parts) > 1 else parts[0]


def read_meta(folder: Path) -> Meta:
    params = _read_params(folder / PARAMS)
    if "vision_num_cross_attention_layers" in params:
        raise ConvertError(
            f"{folder} holds Llama 3.2 Vision, whose files by Meta are not read here: take "
            "the same model's folder in Hugging Face layout"
        )
    vocabulary = folder / VOCABULARY
    if not vocabulary.is_file():
        raise ConvertError(f"{vocabulary} is missing: download it into the folder of the weights")
    slices = [_named(part, params) for part in open_slices(weight_files(folder))]
    return Meta(params, slices, is_tiktoken(vocabulary))


def convert_meta(
    meta: Meta, vocabulary: Path, out: Path, context: int | None, on_bytes: OnBytes
) -> None:
    """Write the checkpoint into the folder `out`, and read it again to be sure."""
    tied = _is_tied(meta)
    config = ModelConfig.from_hf(_config(meta, tied, context))
    with torch.device("meta"), Uninitialised():
        transformer = Transformer(config)
    _refuse_extra(meta, transformer, tied)
    dtype = str(meta.slices[0]["norm.weight"].dtype).removeprefix("torch.")
    text = json.dumps({**config.to_hf(), "dtype": dtype}, indent=2) + "\n"
    (out / CONFIG).write_text(text, encoding="utf-8")
    write_shards(out, _weights(meta, transformer), size(transformer, meta), on_bytes)
    write_tokenizer(vocabulary, out, config.text)
    if config.vision is not None:
        processor = ImageProcessor(
            config.vision.image_size, config.vision.tokens_per_tile, max_patches=MAX_TILES
        )
        settings = json.dumps(processor.to_hf(), indent=2) + "\n"
        (out / "preprocessor_config.json").write_text(settings, encoding="utf-8")
    load_transformer(out)  # maps the files: refuses here what would not load later


def size(transformer: Transformer, meta: Meta) -> int:
    """Bytes of all weights."""
    width: int = meta.slices[0]["tok_embeddings.weight"].dtype.itemsize
    return width * sum(int(tensor.numel()) for tensor in transformer.state_dict().values())


def _read_params(path: Path) -> dict[str, Any]:
    try:
        params = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConvertError(f"{path} cannot be read: {error}") from None
    params = params.get("model", params) if isinstance(params, dict) else {}
    for key in ("dim", "n_layers", "n_heads", "norm_eps"):
        if key not in params:
            raise ConvertError(f"{path} has no {key}: it is not the params.json of a Llama model")
    return dict(params)


def _named(part: Mapping[str, Tensor], params: Mapping[str, Any]) -> dict[str, Tensor]:
    """A slice by the names of the table; what older files hold fused is cut in two or three."""
    named: dict[str, Tensor] = {}
    for name, tensor in part.items():
        if name.endswith("attention.wqkv.weight"):
            heads, kv_heads = params["n_heads"], _kv_heads(params)
            row = tensor.shape[0] // (heads + 2 * kv_heads)
            wanted = [row * heads, row * kv_heads, row * kv_heads]
            for letter, weight in zip("qkv", torch.split(tensor, wanted), strict=True):
                named[name.replace("wqkv", f"w{letter}")] = weight
        elif name.endswith("feed_forward.mlp.fc1_weight"):
            for letter, weight in zip("13", tensor.chunk(2), strict=True):
                named[name.replace("mlp.fc1_weight", f"w{letter}.weight")] = weight
        else:
            named[_renamed(name)] = tensor
    return named


def _renamed(name: str) -> str:
    for pattern, newer in OLDER_NAMES:
        name = re.sub(pattern, newer, name)
    return name


def _is_tied(meta: Meta) -> bool:
    """Llama 3.2's small models have one matrix for both ends, and store it once or twice."""
    if meta.is_llama4:
        return False
    if not meta.has("output.weight"):
        return True
    return all(
        torch.equal(part["output.weight"], part["tok_embeddings.weight"]) for part in meta.slices
    )


def _config(meta: Meta, tied: bool, context: int | None) -> dict[str, Any]:
    params = meta.params
    heads, kv_heads = params["n_heads"], _kv_heads(params)
    if kv_heads % len(meta.slices):
        raise ConvertError(
            f"{len(meta.slices)} slices of {kv_heads} key-value heads repeat some of them: use the "
            f"files cut for {kv_heads} GPUs"
        )
    common = {
        "vocab_size": meta.vocab_size,
        "hidden_size": params["dim"],
        "num_hidden_layers": params["n_layers"],
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": params.get("head_dim") or params["dim"] // heads,
        "rms_norm_eps": params["norm_eps"],
        "tie_word_embeddings": tied,
    }
    if meta.is_llama4:
        return _llama4_config(meta, common, context)
    return {**common, **_dense_config(meta, tied, context)}


def _dense_config(meta: Meta, tied: bool, context: int | None) -> dict[str, Any]:
    scaled = bool(meta.params.get("use_scaled_rope"))
    theta = meta.params.get("rope_theta", 10_000.0)
    ids = LLAMA3_IDS if meta.is_tiktoken else SENTENCEPIECE_IDS
    return {
        "model_type": "llama",
        "intermediate_size": _rows(meta, "layers.0.feed_forward.w1.weight"),
        # Llama 3.2's files say that RoPE is scaled but not by how much: 32, where 3.1 has 8.
        "rope_parameters": _rope(meta.params, theta, scaled, 32.0 if tied else 8.0, 4.0),
        "max_position_embeddings": context or _dense_context(meta, theta, scaled),
        **ids,
    }


def _dense_context(meta: Meta, theta: float, scaled: bool) -> int:
    """params.json does not say: from what sets the releases apart."""
    if scaled:
        return 131_072  # Llama 3.1 and later
    if meta.is_tiktoken:
        return 8192  # Llama 3
    if theta > 10_000.0:
        return 16_384  # Code Llama
    return 2048 if meta.params["norm_eps"] < 1e-5 else 4096  # LLaMA 1, Llama 2


def _llama4_config(meta: Meta, common: dict[str, Any], context: int | None) -> dict[str, Any]:
    params, moe = meta.params, meta.params.get("moe_args")
    if not moe:
        raise ConvertError("moe_args is empty: Llama 4 without experts is not read here")
    interval, chunk = params.get("nope_layer_interval"), params.get("attention_chunk_size")
    length = context or LLAMA4_CONTEXT.get(moe["num_experts"], 262_144)
    layers, theta = params["n_layers"], params.get("rope_theta", 500_000.0)
    scaled = bool(params.get("use_scaled_rope"))
    text = {
        **common,
        "model_type": "llama4_text",
        **_llama4_widths(meta),
        "num_local_experts": moe["num_experts"],
        "num_experts_per_tok": moe.get("top_k", 1),
        "interleave_moe_layer_step": moe.get("interleave_moe_layer_step", 1),
        "use_qk_norm": bool(params.get("use_qk_norm")),
        "no_rope_layers": [int(not interval or bool((n + 1) % interval)) for n in range(layers)],
        "attention_chunk_size": chunk or length,
        # Off by default in Meta's code, to be switched on for long texts; on as published for use.
        "attn_temperature_tuning": params.get("attn_temperature_tuning", True),
        "floor_scale": int(params.get("floor_scale", 8192)),
        "attn_scale": params.get("attn_scale", 0.1),
        # Only Scout scales RoPE, by 16 and without a blend: params.json may leave both out.
        "rope_parameters": _rope(params, theta, scaled, 16.0, 1.0),
        "max_position_embeddings": length,
        **LLAMA4_IDS,
    }
    vision = params.get("vision_args")
    if not vision:
        return text
    return {"model_type": "llama4", "text_config": text, "vision_config": _vision_config(vision)}


def _llama4_widths(meta: Meta) -> dict[str, int]:
    layers = range(meta.params["n_layers"])
    mixtures = [n for n in layers if meta.has(f"layers.{n}.feed_forward.router_DE")]
    dense = [n for n in layers if n not in mixtures]
    if not mixtures:
        raise ConvertError("no layer has a router: Llama 4 without experts is not read here")
    inner = _rows(meta, f"layers.{mixtures[0]}.feed_forward.shared_expert.w1.weight")
    wide = _rows(meta, f"layers.{dense[0]}.feed_forward.w1.weight") if dense else 2 * inner
    return {"intermediate_size": inner, "intermediate_size_mlp": wide}


def _vision_config(vision: Mapping[str, Any]) -> dict[str, Any]:
    sides = {key: vision[key]["height"] for key in ("image_size", "patch_size")}
    shuffle = round(1 / vision["pixel_shuffle_ratio"])
    wide = int(vision["mlp_ratio"] * vision["dim"])
    if wide != vision["dim"] * shuffle**2:
        raise ConvertError(
            f"vision mlp_ratio {vision['mlp_ratio']} must be {shuffle**2}, the square of the pixel "
            "shuffle"
        )
    return {
        **sides,
        "hidden_size": vision["dim"],
        "num_hidden_layers": vision["n_layers"],
        "num_attention_heads": vision["n_heads"],
        "intermediate_size": wide,
        "pixel_shuffle_ratio": vision["pixel_shuffle_ratio"],
        **dict.fromkeys(
            ("projector_input_dim", "projector_output_dim", "vision_output_dim"),
            vision["output_dim"],
        ),
    }


def _rope(
    params: Mapping[str, Any], theta: float, scaled: bool, factor: float, high: float
) -> dict[str, Any]:
    if not scaled:
        return {"rope_type": "default", "rope_theta": theta}
    return {
        "rope_type": "llama3",
        "rope_theta": theta,
        "factor": params.get("rope_scaling_factor") or factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": params.get("rope_high_freq_factor") or high,
        "original_max_position_embeddings": 8192,
    }


def _weights(meta: Meta, transformer: Transformer) -> Iterator[tuple[str, Tensor]]:
    """Each weight by its Hugging Face name, in its Hugging Face layout."""
    names, text = hf_names(transformer), transformer.config.text
    for ours, wanted in transformer.state_dict().items():
        tensor = _weight(meta, ours)
        if tensor.shape != wanted.shape:
            raise ConvertError(
                f"{_theirs(ours)} has shape {tuple(tensor.shape)} when put together, params.json "
                f"asks for {tuple(wanted.shape)}"
            )
        yield names[ours], to_hf(ours, tensor, text)


def _weight(meta: Meta, ours: str) -> Tensor:
    theirs = _theirs(ours)
    if ours == "embedding.weight":
        return meta.embedding()
    if ours.endswith("experts.gate_up"):
        up = theirs.removesuffix("w1") + "w3"
        return torch.cat([meta.experts(name, 2) for name in (theirs, up)], dim=2)
    if ours.endswith("experts.down"):
        return meta.experts(theirs, 1)
    if ours.endswith("router.weight"):
        return meta.merged(theirs, SAME).T
    return meta.merged(theirs, NAMES[_generic(ours)][1])


def _theirs(ours: str) -> str:
    """Meta's name; of several that make one weight, the first."""
    special = {
        "embedding.weight": "tok_embeddings.weight",
        "blocks.#.feed_forward.experts.gate_up": "layers.#.feed_forward.experts.w1",
        "blocks.#.feed_forward.experts.down": "layers.#.feed_forward.experts.w2",
        "blocks.#.feed_forward.router.weight": "layers.#.feed_forward.router_DE",
    }
    generic, number = _generic(ours), re.search(r"\d+", ours)
    name = special.get(generic) or NAMES[generic][0]
    return name.replace("#", number[0]) if number else name


def _generic(ours: str) -> str:
    return re.sub(r"\d+", "#", ours, count=1)


def _refuse_extra(meta: Meta, transformer: Transformer, tied: bool) -> None:
    used = {_theirs(ours) for ours in transformer.state_dict()}
    used |= {name.removesuffix("w1") + "w3" for name in used if name.endswith("experts.w1")}
    used |= {"output.weight"} if tied else set()
    extra = [name for name in meta.slices[0] if name not in used]
    if extra:
        others = f" (and {len(extra) - 1} more)" if len(extra) > 1 else ""
        raise ConvertError(f"tensor {extra[0]} is not a weight of this model{others}")


def _rows(meta: Meta, name: str) -> int:
    if not meta.has(name):
        raise ConvertError(f"tensor {name} is missing: download the folder again")
    return sum(part[name].shape[0] for part in meta.slices)


def _kv_heads(params: Mapping[str, Any]) -> int:
    return int(params.get("n_kv_heads") or params["n_heads"])

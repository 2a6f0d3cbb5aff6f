"""A checkpoint as one GGUF file for llama.cpp: the text part, with its tokenizer.

The names and keys are those of llama.cpp's architectures `llama` (dense) and `llama4`
(github.com/ggml-org/llama.cpp, src/llama-arch.cpp and src/models/llama4.cpp). llama.cpp fixes much
of Llama 4 in code: chunks of 8,192, every fourth layer without RoPE, the temperature, query-key
norm unless there are 128 experts. A checkpoint that differs where it can be noticed within its
context is refused with the key, since it would run there with other mathematics. The vision encoder
is left out: llama.cpp reads it from a second file, which is not written here.

Weights are mapped and converted one by one. Needs the package `gguf`. Called by `cli`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from model.checkpoint import load_transformer
from model.config import RopeConfig, TextConfig
from model.convert.errors import ConvertError
from model.convert.gguf_vocabulary import Vocabulary, read_vocabulary
from model.convert.shards import OnBytes
from model.rope import frequencies
from model.transformer import Transformer

if TYPE_CHECKING:
    import gguf

DTYPES = ("bf16", "q8_0", "f16", "f32")
Q8_BLOCK, Q8_BYTES = 32, 34  # weights that share a scale, and the bytes they take

#: What llama.cpp computes for Llama 4, whatever the file says.
CHUNK, FLOOR_SCALE, ATTN_SCALE, NO_ROPE_INTERVAL = 8192, 8192, 0.1, 4
EXPERTS_WITHOUT_QK_NORM = 128

NAMES = {
    "embedding.weight": "token_embd.weight",
    "norm.weight": "output_norm.weight",
    "unembedding.weight": "output.weight",
    "attention_norm.weight": "attn_norm.weight",
    "attention.query.weight": "attn_q.weight",
    "attention.key.weight": "attn_k.weight",
    "attention.value.weight": "attn_v.weight",
    "attention.output.weight": "attn_output.weight",
    "feed_forward_norm.weight": "ffn_norm.weight",
    "feed_forward.gate.weight": "ffn_gate.weight",
    "feed_forward.up.weight": "ffn_up.weight",
    "feed_forward.down.weight": "ffn_down.weight",
    "feed_forward.router.weight": "ffn_gate_inp.weight",
    "feed_forward.experts.down": "ffn_down_exps.weight",
    "feed_forward.shared.gate.weight": "ffn_gate_shexp.weight",
    "feed_forward.shared.up.weight": "ffn_up_shexp.weight",
    "feed_forward.shared.down.weight": "ffn_down_shexp.weight",
}
ROUTER = "ffn_gate_inp.weight"


@dataclass(frozen=True)
class Weight:
    """One tensor of the file; made only when it is written."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    make: Callable[[], Tensor]

    @property
    def bytes(self) -> int:
        count = int(np.prod(self.shape))
        if self.dtype == "q8_0":
            return count // Q8_BLOCK * Q8_BYTES
        return count * (4 if self.dtype == "f32" else 2)


@dataclass(frozen=True)
class Exported:
    tensors: int
    bytes: int  #: of the weights
    not_quantised: int  #: tensors whose rows are no multiple of 32, written as f16 instead
    left_out: int  #: parameters of the vision encoder and projector


def export_gguf(folder: Path, out: Path, dtype: str, on_bytes: OnBytes) -> Exported:
    package = _package()
    transformer = load_transformer(folder)
    text = transformer.config.text
    refuse_other_mathematics(text)
    vocabulary = read_vocabulary(folder, text)
    weights = list(gguf_weights(transformer, dtype))
    writer = package.GGUFWriter(out, "llama" if text.is_dense else "llama4")
    try:
        _add_keys(writer, text, folder.resolve().name, dtype)
        _add_vocabulary(writer, vocabulary)
        _write(package, writer, weights, on_bytes)
    finally:
        writer.close()
    return Exported(
        tensors=len(weights),
        bytes=sum(weight.bytes for weight in weights),
        not_quantised=sum(dtype == "q8_0" and weight.dtype == "f16" for weight in weights),
        left_out=_vision_parameters(transformer),
    )


def refuse_other_mathematics(text: TextConfig) -> None:
    """Only what a text within the context can tell apart counts."""
    if text.has_cross_attention:
        raise ConvertError(
            "llama.cpp has no layers of cross-attention (Llama 3.2 Vision): run this checkpoint "
            "here, or export one that reads text or images in the text"
        )
    if text.is_dense:
        return
    layers, length = range(text.num_hidden_layers), text.max_position_embeddings
    step = text.interleave_moe_layer_step
    wanted: dict[str, tuple[Any, Any]] = {
        "moe_layers": (
            [n for n in layers if text.is_moe(n)],
            [n for n in layers if (n + 1) % step == 0],
        ),
        "no_rope_layers": (
            [int(text.uses_rope(n)) for n in layers],
            [int((n + 1) % NO_ROPE_INTERVAL != 0) for n in layers],
        ),
        "use_qk_norm": (text.use_qk_norm, text.num_local_experts != EXPERTS_WITHOUT_QK_NORM),
    }
    chunk = text.attention_chunk_size or length
    if min(chunk, CHUNK) < length:
        wanted["attention_chunk_size"] = (chunk, CHUNK)
    if length >= FLOOR_SCALE or (text.attn_temperature_tuning and length >= text.floor_scale):
        wanted["attn_temperature_tuning"] = (text.attn_temperature_tuning, True)
        wanted["floor_scale"] = (text.floor_scale, FLOOR_SCALE)
        wanted["attn_scale"] = (text.attn_scale, ATTN_SCALE)
    for key, (value, fixed) in wanted.items():
        if value != fixed:
            raise ConvertError(
                f"{key} is {value}, llama.cpp computes Llama 4 with {fixed} only: this checkpoint "
                "cannot run there"
            )


def gguf_weights(transformer: Transformer, dtype: str) -> Iterator[Weight]:
    """In llama.cpp's names and shapes. Queries and keys have their pairs as neighbours, as ours."""
    text = transformer.config.text
    if text.rope.rope_type == "llama3":
        factors = rope_factors(text.rope, text.head_dim)
        yield Weight("rope_freqs.weight", tuple(factors.shape), "f32", lambda: factors)
    for ours, tensor in transformer.state_dict().items():
        if ours.startswith(("vision.", "projector.")):
            continue
        layer, end = _split(ours)
        if end == "feed_forward.experts.gate_up":
            gate, up = (half.transpose(1, 2) for half in tensor.chunk(2, dim=-1))
            yield _weight(f"{layer}ffn_gate_exps.weight", gate, dtype)
            yield _weight(f"{layer}ffn_up_exps.weight", up, dtype)
        else:
            # Experts are stored input-major here, and output-major there.
            turned = tensor.transpose(1, 2) if tensor.ndim == 3 else tensor
            yield _weight(layer + NAMES[end], turned, dtype)


def rope_factors(rope: RopeConfig, width: int) -> Tensor:
    """By how much each pair is slowed down."""
    plain = RopeConfig(rope_theta=rope.rope_theta)
    device = torch.device("cpu")
    return frequencies(plain, width, device) / frequencies(rope, width, device)


def encode(tensor: Tensor, dtype: str) -> np.ndarray[Any, Any]:
    """The bytes as they stand in the file."""
    if dtype == "bf16":
        return tensor.to(torch.bfloat16).contiguous().view(torch.int16).numpy()
    if dtype == "f16":
        return tensor.to(torch.float16).contiguous().numpy()
    if dtype == "f32":
        return tensor.to(torch.float32).contiguous().numpy()
    package = _package()
    kind = package.GGMLQuantizationType.Q8_0
    parts = tensor if tensor.ndim == 3 else tensor[None]  # one expert at a time bounds memory
    encoded = np.stack([package.quantize(encode(part, "f32"), kind) for part in parts])
    return encoded if tensor.ndim == 3 else encoded[0]


def _weight(name: str, tensor: Tensor, dtype: str) -> Weight:
    if tensor.ndim == 1 or name.endswith(ROUTER):
        dtype = "f32"
    elif dtype == "q8_0" and tensor.shape[-1] % Q8_BLOCK:
        dtype = "f16"
    return Weight(name, tuple(tensor.shape), dtype, lambda: tensor)


def _split(ours: str) -> tuple[str, str]:
    """The beginning of llama.cpp's name, and the end of ours."""
    if not ours.startswith("blocks."):
        return "", ours
    _, layer, end = ours.split(".", 2)
    return f"blk.{layer}.", end


def _write(package: Any, writer: gguf.GGUFWriter, weights: list[Weight], on_bytes: OnBytes) -> None:
    kinds = package.GGMLQuantizationType
    for weight in weights:
        writer.add_tensor_info(
            weight.name,
            weight.shape,
            np.dtype(np.float32),
            weight.bytes,
            raw_dtype=kinds[weight.dtype.upper()],
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    done, total = 0, sum(weight.bytes for weight in weights)
    for weight in weights:
        writer.write_tensor_data(encode(weight.make(), weight.dtype))
        done += weight.bytes
        on_bytes(done, total)


def _add_keys(writer: gguf.GGUFWriter, text: TextConfig, name: str, dtype: str) -> None:
    package = _package()
    kinds = package.LlamaFileType
    file_type = kinds.ALL_F32 if dtype == "f32" else kinds[f"MOSTLY_{dtype.upper()}"]
    writer.add_type("model")
    writer.add_name(name)
    writer.add_file_type(file_type)
    writer.add_quantization_version(package.GGML_QUANT_VERSION)
    writer.add_vocab_size(text.vocab_size)
    writer.add_context_length(text.max_position_embeddings)
    writer.add_embedding_length(text.hidden_size)
    writer.add_block_count(text.num_hidden_layers)
    writer.add_feed_forward_length(text.intermediate_size_mlp)
    writer.add_head_count(text.num_attention_heads)
    writer.add_head_count_kv(text.num_key_value_heads)
    writer.add_key_length(text.head_dim)
    writer.add_value_length(text.head_dim)
    writer.add_layer_norm_rms_eps(text.rms_norm_eps)
    writer.add_rope_dimension_count(text.head_dim)
    writer.add_rope_freq_base(text.rope.rope_theta)
    if text.rope.rope_type == "linear":
        writer.add_rope_scaling_type(package.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(text.rope.factor)
    if not text.is_dense:
        writer.add_expert_count(text.num_local_experts)
        writer.add_expert_used_count(text.num_experts_per_tok)
        writer.add_expert_feed_forward_length(text.intermediate_size)
        writer.add_interleave_moe_layer_step(text.interleave_moe_layer_step)


def _add_vocabulary(writer: gguf.GGUFWriter, vocabulary: Vocabulary) -> None:
    writer.add_tokenizer_model(vocabulary.model)
    if vocabulary.pre is not None:
        writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    if vocabulary.scores is not None:
        writer.add_token_scores(vocabulary.scores)
    if vocabulary.merges is not None:
        writer.add_token_merges(vocabulary.merges)
    if vocabulary.begin is not None:
        writer.add_bos_token_id(vocabulary.begin)
    writer.add_add_bos_token(vocabulary.begin is not None)
    if vocabulary.end is not None:
        writer.add_eos_token_id(vocabulary.end)
    if vocabulary.end_of_turn is not None:
        writer.add_eot_token_id(vocabulary.end_of_turn)
    if vocabulary.chat_template:
        writer.add_chat_template(vocabulary.chat_template)


def _vision_parameters(transformer: Transformer) -> int:
    parts = (transformer.vision, transformer.projector)
    return sum(weight.numel() for part in parts if part for weight in part.parameters())


def _package() -> Any:
    try:
        import gguf
    except ImportError:
        raise ConvertError(
            "GGUF files need one more package: pip install 'mmapp[convert]'"
        ) from None
    return gguf

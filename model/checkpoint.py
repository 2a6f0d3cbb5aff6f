"""Checkpoint folders in Hugging Face layout: config.json, and safetensors in one file or in shards.

Loading is strict: a missing, extra or misshapen tensor is refused with its name, and so is a broken
file. What is saved loads in transformers. The one table of weight names is here, and the one place
that knows that dense models (LLaMA 1 to 3) are stored with queries and keys in another order.
Called by `engine`, `train` and `describe`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.overrides import TorchFunctionMode

from model.config import ConfigError, ModelConfig, TextConfig
from model.memory import free_bytes, what_fits
from model.placement import Plan, connect, spread
from model.quantized.layers import QuantizedWeight
from model.quantized.layouts import LayoutError
from model.quantized.stored import (
    Header,
    QuantizedWeights,
    quantization_config,
    tensors_of,
)
from model.transformer import Transformer

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
MAX_SHARD_BYTES = 5 * 10**9  # the limit that published checkpoints keep to
MAX_HEADER_BYTES = 10**8  # the limit that safetensors keeps to
READABLE = (torch.float32, torch.bfloat16, torch.float16)

#: What safetensors calls the types of a checkpoint's tensors.
STORED_TYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


class CheckpointError(ValueError):
    """The folder lacks this model's weights, whole and readable; the message names the fault."""


#: Our names and Hugging Face's, for beginnings and ends of a weight's name; # is a layer's number.
TEXT_NAMES = (
    ("embedding", "model.embed_tokens"),
    ("norm", "model.norm"),
    ("unembedding", "lm_head"),
    ("blocks.#.attention_norm", "model.layers.#.input_layernorm"),
    ("blocks.#.attention.query", "model.layers.#.self_attn.q_proj"),
    ("blocks.#.attention.key", "model.layers.#.self_attn.k_proj"),
    ("blocks.#.attention.value", "model.layers.#.self_attn.v_proj"),
    ("blocks.#.attention.output", "model.layers.#.self_attn.o_proj"),
    ("blocks.#.feed_forward_norm", "model.layers.#.post_attention_layernorm"),
    ("blocks.#.feed_forward.gate", "model.layers.#.feed_forward.gate_proj"),
    ("blocks.#.feed_forward.up", "model.layers.#.feed_forward.up_proj"),
    ("blocks.#.feed_forward.down", "model.layers.#.feed_forward.down_proj"),
    ("blocks.#.feed_forward.router", "model.layers.#.feed_forward.router"),
    ("blocks.#.feed_forward.experts.gate_up", "model.layers.#.feed_forward.experts.gate_up_proj"),
    ("blocks.#.feed_forward.experts.down", "model.layers.#.feed_forward.experts.down_proj"),
    ("blocks.#.feed_forward.shared.gate", "model.layers.#.feed_forward.shared_expert.gate_proj"),
    ("blocks.#.feed_forward.shared.up", "model.layers.#.feed_forward.shared_expert.up_proj"),
    ("blocks.#.feed_forward.shared.down", "model.layers.#.feed_forward.shared_expert.down_proj"),
)
#: In dense models a layer's feed-forward part has another name.
DENSE_NAMES = (
    ("blocks.#.feed_forward.gate", "model.layers.#.mlp.gate_proj"),
    ("blocks.#.feed_forward.up", "model.layers.#.mlp.up_proj"),
    ("blocks.#.feed_forward.down", "model.layers.#.mlp.down_proj"),
)
#: Layers of cross-attention.
CROSS_NAMES = (
    ("blocks.#.cross_attention.query", "model.layers.#.cross_attn.q_proj"),
    ("blocks.#.cross_attention.key", "model.layers.#.cross_attn.k_proj"),
    ("blocks.#.cross_attention.value", "model.layers.#.cross_attn.v_proj"),
    ("blocks.#.cross_attention.output", "model.layers.#.cross_attn.o_proj"),
    ("blocks.#.cross_attention.query_norm", "model.layers.#.cross_attn.q_norm"),
    ("blocks.#.cross_attention.key_norm", "model.layers.#.cross_attn.k_norm"),
    ("blocks.#.attention_gate", "model.layers.#.cross_attn_attn_gate"),
    ("blocks.#.feed_forward_gate", "model.layers.#.cross_attn_mlp_gate"),
)
#: Of a block of the encoder that belongs to cross-attention, local or global.
CROSS_VISION_BLOCK_NAMES = (
    ("attention_norm", "input_layernorm"),
    ("attention.query", "self_attn.q_proj"),
    ("attention.key", "self_attn.k_proj"),
    ("attention.value", "self_attn.v_proj"),
    ("attention.output", "self_attn.o_proj"),
    ("feed_forward_norm", "post_attention_layernorm"),
    ("up", "mlp.fc1"),
    ("down", "mlp.fc2"),
    ("attention_gate", "gate_attn"),
    ("feed_forward_gate", "gate_ffn"),
)
CROSS_VISION_NAMES = (
    ("cross_vision.patch_embedding", "vision_model.patch_embedding"),
    ("cross_vision.class_embedding", "vision_model.class_embedding"),
    ("cross_vision.position.embedding", "vision_model.gated_positional_embedding.embedding"),
    ("cross_vision.position.gate", "vision_model.gated_positional_embedding.gate"),
    (
        "cross_vision.position.tile_embedding",
        "vision_model.gated_positional_embedding.tile_embedding",
    ),
    ("cross_vision.tile_before.embedding", "vision_model.pre_tile_positional_embedding.embedding"),
    ("cross_vision.tile_before.gate", "vision_model.pre_tile_positional_embedding.gate"),
    ("cross_vision.tile_after.embedding", "vision_model.post_tile_positional_embedding.embedding"),
    ("cross_vision.tile_after.gate", "vision_model.post_tile_positional_embedding.gate"),
    ("cross_vision.norm_before", "vision_model.layernorm_pre"),
    ("cross_vision.norm_after", "vision_model.layernorm_post"),
    ("cross_vision.projector", "multi_modal_projector"),
    *(
        (f"cross_vision.{ours}.#.{part}", f"vision_model.{theirs}.layers.#.{their_part}")
        for ours, theirs in (("blocks", "transformer"), ("global_blocks", "global_transformer"))
        for part, their_part in CROSS_VISION_BLOCK_NAMES
    ),
)
VISION_NAMES = (
    ("projector", "multi_modal_projector.linear_1"),
    ("vision.patch_embedding", "vision_model.patch_embedding.linear"),
    ("vision.class_embedding", "vision_model.class_embedding"),
    ("vision.position_embedding", "vision_model.positional_embedding_vlm"),
    ("vision.norm_before", "vision_model.layernorm_pre"),
    ("vision.norm_after", "vision_model.layernorm_post"),
    ("vision.adapter.first", "vision_model.vision_adapter.mlp.fc1"),
    ("vision.adapter.second", "vision_model.vision_adapter.mlp.fc2"),
    ("vision.blocks.#.attention_norm", "vision_model.model.layers.#.input_layernorm"),
    ("vision.blocks.#.attention.query", "vision_model.model.layers.#.self_attn.q_proj"),
    ("vision.blocks.#.attention.key", "vision_model.model.layers.#.self_attn.k_proj"),
    ("vision.blocks.#.attention.value", "vision_model.model.layers.#.self_attn.v_proj"),
    ("vision.blocks.#.attention.output", "vision_model.model.layers.#.self_attn.o_proj"),
    ("vision.blocks.#.feed_forward_norm", "vision_model.model.layers.#.post_attention_layernorm"),
    ("vision.blocks.#.up", "vision_model.model.layers.#.mlp.fc1"),
    ("vision.blocks.#.down", "vision_model.model.layers.#.mlp.fc2"),
)

#: Stored by old releases of dense models, beside the weights, though computed from the config.
COMPUTED = re.compile(r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq")

#: By our name, what makes queries and keys that RoPE turns.
TURNED = re.compile(r"blocks\.\d+\.attention\.(query|key)\.weight")


def hf_names(transformer: Transformer) -> dict[str, str]:
    """Our name of each weight that is not quantized, and its name in a Hugging Face checkpoint of
    this model."""
    table = _names(transformer.config)
    return {name: _translate(name, table) for name in _floats(transformer)}


def from_hf(name: str, tensor: Tensor, text: TextConfig) -> Tensor:
    """A weight, by our name, as Hugging Face stores it, in our layout.

    In dense models the rows of each head of queries and keys stand there as two halves, x0 x2 ...
    and x1 x3 ..., for RoPE on halves; here the pairs that RoPE turns are neighbours.
    """
    if not (text.is_dense and _is_turned(name)):
        return tensor
    halves = torch.unflatten(tensor, 0, (-1, 2, text.head_dim // 2))
    return halves.transpose(1, 2).flatten(0, 2)


def to_hf(name: str, tensor: Tensor, text: TextConfig) -> Tensor:
    """A weight, by our name, in the layout of Hugging Face: the reverse of `from_hf`."""
    if not (text.is_dense and _is_turned(name)):
        return tensor
    pairs = torch.unflatten(tensor, 0, (-1, text.head_dim // 2, 2))
    return pairs.transpose(1, 2).flatten(0, 2)


def load_config(folder: Path | str) -> ModelConfig:
    path = Path(folder) / CONFIG
    try:
        return ModelConfig.from_hf(_read_json(path))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


class Uninitialised(TorchFunctionMode):
    """Makes `torch.nn.init` do nothing. On the meta device it would import torch's compiler, which
    takes longer than all the rest of loading a small checkpoint."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


def load_transformer(
    folder: Path | str,
    dtype: torch.dtype | None = None,
    device: torch.device | str | Sequence[torch.device] = "cpu",
    plan: Plan | None = None,
    *,
    beginnings: tuple[str, ...] = ("",),
) -> Transformer:
    """The model of the folder, ready to read; `dtype` None keeps each weight as it is stored.

    With several devices, `plan` says what goes where, and each tensor is read straight to there.
    What is quantized stays so. It refuses, before it reads, weights that do not fit the memory.
    Only weights whose names, as ours, begin with one of `beginnings` are read; all others, which
    must be there too, stay without memory (meta), and whoever computes with them gets an error.
    """
    folder = Path(folder)
    devices = [torch.device(device)] if isinstance(device, torch.device | str) else list(device)
    config, transformer, ours_of, headers, quantized = _inventory(folder)
    shapes = {ours: tensor.shape for ours, tensor in transformer.state_dict().items()}
    ours_by_stored = {name: _ours(name, ours_of, quantized) for name in headers}
    unread = {n for n, ours in ours_by_stored.items() if ours and not ours.startswith(beginnings)}
    if plan is None:
        read = {name: header for name, header in headers.items() if name not in unread}
        _require_memory(folder, Sizes.told(read, quantized), dtype, devices[0])
    else:
        _require_places(folder, plan, devices, quantized)
        spread(transformer, plan)
    weights: dict[str, Tensor] = {}
    there: set[str] = set()
    extra: list[str] = []
    there |= {ours_by_stored[name] for name in unread}
    for name, tensor in _stored_tensors(folder, unread):
        if config.text.is_dense and COMPUTED.fullmatch(name):
            continue
        if name in quantized:
            where = _places(quantized.ours_of(name), tensor, devices, plan)
            with _layout_of(folder):
                quantized.add(name, tensor, where[0].device, partial(from_hf, text=config.text))
        elif name in ours_of:
            ours = ours_of[name]
            _check_tensor(folder, name, tensor, shapes[ours])
            for here, part, on in _places(ours, tensor, devices, plan):
                weights[here] = from_hf(ours, part.to(on, dtype or tensor.dtype), config.text)
            there.add(ours)
        else:
            extra.append(name)
    there |= quantized.ours
    _refuse_names(
        folder, "is missing", [theirs for theirs, ours in ours_of.items() if ours not in there]
    )
    _refuse_names(folder, "is not a weight of this model", extra)
    with _layout_of(folder):
        quantized.install(transformer)
    # What is quantized is installed already, and what was not to be read has no memory.
    others = {
        name: tensor
        for name, tensor in transformer.state_dict().items()
        if not (tensor.is_meta and name.startswith(beginnings))
    }
    transformer.load_state_dict({**others, **weights}, strict=True, assign=True)
    if plan is not None:
        connect(transformer)
    return transformer.eval()


def _ours(name: str, ours_of: Mapping[str, str], quantized: QuantizedWeights) -> str:
    """Our name of the weight that a stored tensor is, or belongs to; empty: it is none of ours."""
    return quantized.ours_of(name) if name in quantized else ours_of.get(name, "")


class Placed(NamedTuple):
    """A tensor, or some experts of it, on its way to a device."""

    name: str  #: in the model
    tensor: Tensor
    device: torch.device


def _places(
    ours: str, tensor: Tensor, devices: Sequence[torch.device], plan: Plan | None
) -> list[Placed]:
    if plan is None:
        return [Placed(ours, tensor, devices[0])]
    return [
        Placed(
            piece.name,
            tensor if piece.first is None else tensor[piece.first : piece.end],
            devices[piece.device],
        )
        for piece in plan.pieces(ours)
    ]


class Inventory(NamedTuple):
    """What a folder holds, told by its config and the headers of its files."""

    config: ModelConfig
    transformer: Transformer  #: shapes only
    ours_of: dict[str, str]  #: our names of the weights, by those in the files
    headers: dict[str, Header]
    quantized: QuantizedWeights


def _inventory(folder: Path) -> Inventory:
    config = load_config(folder)
    transformer = _shapes_of(config)
    headers = _headers(folder)
    ours_of = {theirs: ours for ours, theirs in hf_names(transformer).items()}
    shapes = {ours: tensor.shape for ours, tensor in transformer.state_dict().items()}
    quantized = QuantizedWeights(config.quantization, headers, ours_of, shapes)
    return Inventory(config, transformer, ours_of, headers, quantized)


def _shapes_of(config: ModelConfig) -> Transformer:
    """A model without memory or random numbers."""
    with torch.device("meta"), Uninitialised():
        return Transformer(config)


class Sizes(NamedTuple):
    """How large the weights of a checkpoint are, told by its files' headers."""

    floats: dict[torch.dtype, int]  #: how many numbers of each type are not quantized
    few_bits: int  #: bytes of all that is quantized

    @classmethod
    def told(cls, headers: Mapping[str, Header], quantized: QuantizedWeights) -> Sizes:
        floats: dict[torch.dtype, int] = {}
        few_bits = 0
        for name, header in headers.items():
            if name in quantized:
                few_bits += header.nbytes
            else:
                floats[header.dtype] = floats.get(header.dtype, 0) + header.numbers
        return cls(floats, few_bits)

    def bytes_in(self, dtype: torch.dtype | None) -> int:
        """In memory; None: as they are stored."""
        floats = sum(n * (dtype or stored).itemsize for stored, n in self.floats.items())
        return floats + self.few_bits


def tensor_bytes(config: ModelConfig, dtype: torch.dtype) -> dict[str, int]:
    """Bytes of each tensor of a model in this dtype, by our name."""
    tensors = _shapes_of(config).state_dict()
    return {name: tensor.numel() * dtype.itemsize for name, tensor in tensors.items()}


def stored_tensor_bytes(folder: Path | str, dtype: torch.dtype | None) -> dict[str, int]:
    """Bytes in memory of each tensor of the folder, by our name; none of them is read. What is
    quantized stays so; `dtype` None keeps the others as they are stored."""
    _, _, ours_of, headers, quantized = _inventory(Path(folder))
    sizes: dict[str, int] = {}
    for name, header in headers.items():
        if name in quantized:
            ours, size = quantized.ours_of(name), header.nbytes
        elif name in ours_of:
            ours, size = ours_of[name], header.numbers * (dtype or header.dtype).itemsize
        else:
            continue
        sizes[ours] = sizes.get(ours, 0) + size
    return sizes


def weights_bytes(folder: Path | str, dtype: torch.dtype) -> int:
    """Bytes of the folder's weights in memory; none of them is read."""
    return sum(stored_tensor_bytes(folder, dtype).values())


def save_checkpoint(
    transformer: Transformer, folder: Path | str, *, max_shard_bytes: int = MAX_SHARD_BYTES
) -> None:
    """Write config.json and the weights, as they are, in place of any that the folder holds.
    Quantized ones are written in the layout of compressed-tensors."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for old in (*folder.glob("model*.safetensors"), folder / INDEX):
        old.unlink(missing_ok=True)
    names, weights = hf_names(transformer), transformer.state_dict()
    turn = partial(to_hf, text=transformer.config.text)
    state = {theirs: turn(ours, weights[ours]).contiguous() for ours, theirs in names.items()}
    dtypes = sorted({str(tensor.dtype).removeprefix("torch.") for tensor in state.values()})
    config = {**transformer.config.to_hf(), "dtype": dtypes[0] if len(dtypes) == 1 else "float32"}
    table = _names(transformer.config)
    with _layout_of(folder):
        state.update(tensors_of(transformer, partial(_translate, table=table), turn))
        if few_bits := quantization_config(transformer):
            config["quantization_config"] = few_bits
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    shards = _shards(state, max_shard_bytes)
    if len(shards) == 1:
        save_file(shards[0], folder / WEIGHTS, metadata={"format": "pt"})
        return
    weight_map = {}
    for number, shard in enumerate(shards, start=1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        save_file(shard, folder / file, metadata={"format": "pt"})
        weight_map.update(dict.fromkeys(shard, file))
    total = sum(tensor.nbytes for tensor in state.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def weights_sha256(folder: Path | str) -> str:
    """What identifies the weights: the one file's hash, or that of the shards' hashes by name."""
    digests = [_file_sha256(path) for path in _weight_files(Path(folder))]
    return (
        digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    )


def _names(config: ModelConfig) -> dict[str, str]:
    """Our names and Hugging Face's in this model, as in `TEXT_NAMES`."""
    has_images = config.vision is not None or config.cross_vision is not None
    prefix = "language_model." if has_images else ""
    text = dict((*TEXT_NAMES, *CROSS_NAMES, *(DENSE_NAMES if config.text.is_dense else ())))
    images = dict((*VISION_NAMES, *CROSS_VISION_NAMES))
    return {**images, **{ours: prefix + theirs for ours, theirs in text.items()}}


def _floats(transformer: Transformer) -> list[str]:
    """The names of the weights that are not quantized."""
    modules = transformer.named_modules()
    few_bits = tuple(f"{name}." for name, part in modules if isinstance(part, QuantizedWeight))
    return [name for name in transformer.state_dict() if not name.startswith(few_bits)]


def _is_turned(name: str) -> bool:
    """Whether RoPE turns what this weight makes."""
    return bool(TURNED.fullmatch(name))


def _translate(name: str, table: Mapping[str, str]) -> str:
    stem, number = re.sub(r"\.(weight|bias)$", "", name), re.search(r"\d+", name)
    theirs = table[re.sub(r"\d+", "#", stem)] + name[len(stem) :]
    return theirs.replace("#", number[0]) if number else theirs


def _headers(folder: Path) -> dict[str, Header]:
    """What the files say of their tensors. They are not mapped, as safetensors does: where one is
    larger than the memory, that is refused without a word about what is needed."""
    headers: dict[str, Header] = {}
    for path in _weight_files(folder):
        for name, told in _read_header(path).items():
            dtype = STORED_TYPES.get(told["dtype"])
            if dtype is None:
                raise CheckpointError(
                    f"{path}: tensor {name} is stored as {told['dtype']}, which is not known"
                )
            headers[name] = Header(dtype, tuple(told["shape"]))
    return headers


def _read_header(path: Path) -> dict[str, Any]:
    """Of a safetensors file: its length in eight bytes, then JSON by name of tensor."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            told = json.loads(file.read(length)) if length <= MAX_HEADER_BYTES else None
        except ValueError:
            told = None
    if not isinstance(told, dict):
        raise CheckpointError(f"{path} is not a readable safetensors file: copy it again")
    return {name: tensor for name, tensor in told.items() if name != "__metadata__"}


def _stored_tensors(folder: Path, unread: Container[str]) -> Iterator[tuple[str, Tensor]]:
    seen: dict[str, str] = {}
    for path in _weight_files(folder):
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - not a dict, cannot be iterated
                    if name in seen:
                        raise CheckpointError(
                            f"{folder}: tensor {name} is in {seen[name]} and in {path.name}"
                        )
                    seen[name] = path.name
                    if name in unread:
                        continue
                    yield name, file.get_tensor(name)
        except SafetensorError as error:
            raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from error


@contextmanager
def _layout_of(folder: Path) -> Iterator[None]:
    """Names the folder where quantized tensors do not fit together."""
    try:
        yield
    except LayoutError as error:
        raise CheckpointError(f"{folder}: {error}") from error


def _require_memory(
    folder: Path, sizes: Sizes, dtype: torch.dtype | None, device: torch.device
) -> None:
    need, free = sizes.bytes_in(dtype), free_bytes(device)
    if need > free:
        remedy = what_fits(need, free, sum(sizes.floats.values()), sizes.few_bits)
        raise CheckpointError(
            f"{folder}: the weights need {need / 2**30:,.1f} GiB, {device} has "
            f"{free / 2**30:,.1f} GiB free: {remedy}"
        )


def _require_places(
    folder: Path, plan: Plan, devices: Sequence[torch.device], quantized: QuantizedWeights
) -> None:
    if any(plan.experts) and quantized.ours:
        raise CheckpointError(
            f"{folder}: quantized experts stay together: share the model by layers"
        )
    for load, device in zip(plan.loads, devices, strict=True):
        free = free_bytes(device)
        if load.weights_bytes > free:
            raise CheckpointError(
                f"{folder}: {device} is to hold {load.weights_bytes / 2**30:,.1f} GiB of weights "
                f"and has {free / 2**30:,.1f} GiB free: give it more devices, or weights in fewer "
                "bits (python -m model quantize)"
            )


def _weight_files(folder: Path) -> list[Path]:
    """The one file, or the shards that the index names."""
    if (folder / INDEX).exists():
        weight_map = _read_json(folder / INDEX).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise CheckpointError(
                f"{folder / INDEX} has no weight_map: it should name a file for each tensor"
            )
        files = [folder / file for file in sorted(set(weight_map.values()))]
    else:
        files = [folder / WEIGHTS]
    for file in files:
        if not file.is_file():
            raise CheckpointError(f"{file} does not exist: the weights are incomplete")
    return files


def _check_tensor(folder: Path, name: str, tensor: Tensor, shape: torch.Size) -> None:
    if tensor.shape != shape:
        raise CheckpointError(
            f"{folder}: tensor {name} has shape {tuple(tensor.shape)}, "
            f"the config asks for {tuple(shape)}"
        )
    if tensor.dtype not in READABLE:
        raise CheckpointError(
            f"{folder}: tensor {name} is stored as {tensor.dtype}, not as a plain float"
        )


def _refuse_names(folder: Path, what: str, names: list[str]) -> None:
    if names:
        others = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
        raise CheckpointError(f"{folder}: tensor {names[0]} {what}{others}")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} does not exist: a checkpoint folder needs it") from error
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds a JSON {type(value).__name__}, not an object")
    return value


def _shards(state: dict[str, Tensor], max_bytes: int) -> list[dict[str, Tensor]]:
    shards: list[dict[str, Tensor]] = [{}]
    room = max_bytes
    for name, tensor in state.items():
        if tensor.nbytes > room and shards[-1]:
            shards.append({})
            room = max_bytes
        shards[-1][name] = tensor
        room -= tensor.nbytes
    return shards


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

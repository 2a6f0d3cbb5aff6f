"""Llama 3.2 Vision in small: our logits against those of transformers, in float32, from its
checkpoints and from ours.

transformers 5.23 is not what the checkpoints were trained with in two places, by Meta's own code
(github.com/meta-llama/llama-models, models/llama3/multimodal/model.py); the reference here is set
right in both. It takes what comes out of the local vision blocks named in the config where Meta
takes what goes in; and tokens before the first image get the attention's output, where Meta gives
them nothing (huggingface/transformers issue 39379).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from transformers.models.mllama.processing_mllama import (
    convert_sparse_cross_attention_mask_to_dense,
    get_cross_attention_token_mask,
)

from model.cache import Cache
from model.checkpoint import load_transformer, save_checkpoint
from model.gaze import Gaze
from model.image import Size, Tiles
from model.transformer import Layout, Transformer

IMAGE = 96  # the id of the image token: the first after the vocabulary
TILES = 4
SIDE = 12  # pixels
BEGIN = [1, 5, 9]

TEXT = {
    "vocab_size": IMAGE,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 5,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "cross_attention_layers": [1, 3],
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
VISION = {
    "hidden_size": 24,
    "num_hidden_layers": 4,
    "num_global_layers": 2,
    "attention_heads": 3,
    "intermediate_size": 40,
    "vision_output_dim": 72,
    "image_size": SIDE,
    "patch_size": 4,
    "max_num_tiles": TILES,
    "intermediate_layers_indices": [1, 3],
}
#: Texts with images, and the images' grids.
PROMPTS: dict[str, tuple[list[int], list[Size]]] = {
    "text only": ([1, 5, 9, 12, 40, 3], []),
    "one image": ([IMAGE, 7, 8, 40], [Size(1, 2)]),
    "one image after text": ([*BEGIN, IMAGE, 7, 8, 40, 11], [Size(3, 1)]),
    "a full grid": ([*BEGIN, IMAGE, 7, 8], [Size(2, 2)]),
    "two images of one text": ([*BEGIN, IMAGE, IMAGE, 7, 8, 40, 11], [Size(1, 1), Size(2, 2)]),
    "two images apart": ([*BEGIN, IMAGE, 7, 8, IMAGE, 40, 11, 3], [Size(2, 1), Size(1, 3)]),
    "three images": (
        [IMAGE, 4, IMAGE, IMAGE, 40, 11, 3],
        [Size(1, 4), Size(1, 1), Size(4, 1)],
    ),
}
each_prompt = pytest.mark.parametrize(("ids", "grids"), PROMPTS.values(), ids=PROMPTS.keys())


@dataclass(frozen=True)
class Pair:
    """The same weights in transformers and in our model."""

    theirs: Any
    ours: Transformer
    folder: Path

    @torch.no_grad()
    def their_logits(self, ids: list[int], images: list[Tiles]) -> Tensor:
        mask = None
        inputs: dict[str, Tensor] = {}
        if images:
            inputs = _their_inputs(ids, images)
            mask = inputs["cross_attention_mask"]
        hooks = [
            block.cross_attn.register_forward_hook(_blind_rows(mask))
            for block in self.theirs.model.language_model.layers
            if hasattr(block, "cross_attn") and mask is not None
        ]
        logits: Tensor = self.theirs(
            input_ids=torch.tensor([ids]), use_cache=False, **inputs
        ).logits
        for hook in hooks:
            hook.remove()
        return logits

    @torch.no_grad()
    def our_logits(
        self, ids: list[int], images: list[Tiles], pieces: tuple[int, ...] = ()
    ) -> Tensor:
        """In one pass without a cache, or with one, in pieces of these lengths."""
        if not pieces:
            x_BTD = self.ours.embed(torch.tensor([ids]))
            view = self.ours.view(ids, images, Gaze())
            layout = Layout.consecutive(0, len(ids))
            return self.ours.unembed(self.ours(x_BTD, layout, view=view))
        cache = Cache(self.ours.config.text, 1, torch.float32, "cpu")
        left, hidden = list(images), []
        for length in pieces:
            some, ids = ids[:length], ids[length:]
            new = [left.pop(0) for token_id in some if token_id == IMAGE]
            view = self.ours.view(some, new, cache.gaze) if new else None
            layout = Layout.consecutive(cache.length, length)
            hidden.append(
                self.ours(self.ours.embed(torch.tensor([some])), layout, cache, view=view)
            )
        return self.ours.unembed(torch.cat(hidden, dim=1))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = tmp_path_factory.mktemp("transformers")
    torch.manual_seed(0)
    config = transformers.MllamaConfig(
        text_config=TEXT, vision_config=VISION, image_token_index=IMAGE,
        attn_implementation="eager",
    )  # fmt: skip
    theirs = transformers.MllamaForConditionalGeneration(config).eval()
    _randomise(theirs)
    transformers.utils.logging.disable_progress_bar()
    theirs.save_pretrained(folder)
    return Pair(_as_trained(theirs), load_transformer(folder), folder)


@each_prompt
def test_logits_agree_in_one_pass_in_pieces_and_decoded(
    ids: list[int], grids: list[Size], pair: Pair, close: Callable[..., None]
) -> None:
    images = random_images(grids)
    theirs = pair.their_logits(ids, images)
    close("one pass", pair.our_logits(ids, images), theirs)
    close("in pieces", pair.our_logits(ids, images, pieces=(3, len(ids) - 3)), theirs)
    close("decoded", pair.our_logits(ids, images, pieces=(1,) * len(ids)), theirs)


def test_transformers_loads_what_we_save(
    pair: Pair, close: Callable[..., None], tmp_path: Path
) -> None:
    saved = tmp_path / "saved"
    save_checkpoint(pair.ours, saved, max_shard_bytes=60_000)
    theirs, report = transformers.AutoModelForImageTextToText.from_pretrained(
        saved, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    assert type(theirs).__name__ == "MllamaForConditionalGeneration"
    assert {kind: list(names) for kind, names in report.items() if names} == {}
    for name, weight in pair.theirs.state_dict().items():
        assert torch.equal(theirs.state_dict()[name], weight), name
    again = Pair(_as_trained(theirs), load_transformer(saved), saved)
    assert again.ours.config == pair.ours.config
    ids, grids = PROMPTS["two images apart"]
    images = random_images(grids)
    close("saved by us", pair.our_logits(ids, images), again.their_logits(ids, images))


def test_features_agree(pair: Pair) -> None:
    """What an image is filled up with is computed, seen and left out, as in training."""
    assert pair.ours.cross_vision is not None
    for grid in pair.ours.config.cross_vision.supported_aspect_ratios:  # type: ignore[union-attr]
        (image,) = random_images([Size(*grid)])
        inputs = _their_inputs([IMAGE], [image])
        with torch.no_grad():
            encoded = pair.theirs.model.vision_model(
                inputs["pixel_values"], inputs["aspect_ratio_ids"], inputs["aspect_ratio_mask"]
            ).last_hidden_state
            theirs = pair.theirs.model.multi_modal_projector(encoded)[0, 0]
            ours = pair.ours.cross_vision(*image)
        expected = theirs[: len(image.tiles_N3SS)].flatten(0, 1)
        assert (ours - expected).abs().max() <= 1e-4
        assert ours.std() > 0.1


def test_images_and_gates_act(pair: Pair) -> None:
    ids, grids = PROMPTS["one image after text"]
    images, others = random_images(grids), random_images(grids, seed=2)
    seeing, other = pair.our_logits(ids, images), pair.our_logits(ids, others)
    at = ids.index(IMAGE)
    assert torch.equal(seeing[:, :at], other[:, :at])
    assert ((seeing - other)[:, at:].abs().amax(-1) > 0.01).all()


def test_transformers_still_differs_where_it_is_set_right(pair: Pair) -> None:
    """If this fails, transformers was mended: take the corrections out of this file."""
    ids, grids = PROMPTS["one image after text"]
    images = random_images(grids)
    with torch.no_grad():
        leaking = pair.theirs(input_ids=torch.tensor([ids]), **_their_inputs(ids, images)).logits
    at = ids.index(IMAGE)
    assert (leaking - pair.their_logits(ids, images))[:, :at].abs().max() > 0.01


def random_images(grids: list[Size], seed: int = 1) -> list[Tiles]:
    generator = torch.Generator().manual_seed(seed)
    return [
        Tiles(torch.randn(grid.height * grid.width, 3, SIDE, SIDE, generator=generator), grid)
        for grid in grids
    ]


def _their_inputs(ids: list[int], images: list[Tiles]) -> dict[str, Tensor]:
    """As their processor makes them."""
    counts = [len(image.tiles_N3SS) for image in images]
    pixels = torch.zeros(1, len(images), TILES, 3, SIDE, SIDE)
    tiles = torch.zeros(1, len(images), TILES, dtype=torch.long)
    grids = [list(grid) for grid in transformers.MllamaVisionConfig().supported_aspect_ratios]
    for place, (image, count) in enumerate(zip(images, counts, strict=True)):
        pixels[0, place, :count] = image.tiles_N3SS
        tiles[0, place, :count] = 1
    spans = [get_cross_attention_token_mask(ids, IMAGE)]
    mask = convert_sparse_cross_attention_mask_to_dense(spans, [counts], TILES, len(ids))
    return {
        "pixel_values": pixels,
        "aspect_ratio_ids": torch.tensor([[grids.index(list(i.grid)) + 1 for i in images]]),
        "aspect_ratio_mask": tiles,
        "cross_attention_mask": torch.from_numpy(mask),
    }


def _as_trained(theirs: Any) -> Any:
    """Takes what goes into the blocks that the config names."""
    encoder = theirs.model.vision_model
    encoder.intermediate_layers_indices = [n - 1 for n in VISION["intermediate_layers_indices"]]
    return theirs


def _blind_rows(mask: Tensor) -> Callable[..., Any]:
    """Nothing for tokens that see no image."""
    sees_1T1 = mask.any(dim=(2, 3))[..., None].float()
    return lambda module, args, output: (output[0] * sees_1T1, *output[1:])  # noqa: ARG005


@torch.no_grad()
def _randomise(model: torch.nn.Module) -> None:
    for name, parameter in model.named_parameters():
        if "norm" in name and name.endswith("weight"):
            parameter.normal_(1.0, 0.2)
        elif "embed_tokens" in name or "gate" in name.rsplit(".")[-1]:
            parameter.normal_(0.0, 0.5)
        else:
            parameter.normal_(0.0, 0.2)

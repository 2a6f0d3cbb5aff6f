"""The decoder of every Llama, as its config says. Llama 4: chunked and global attention layers and
mixtures of experts, and image features in the places of patch tokens (early fusion). LLaMA 1 to 3:
global layers with RoPE, dense feed-forward layers, text only. Llama 3.2 Vision: these, and layers
of cross-attention that look at image features.

It refuses images that do not fill the patch tokens exactly, or are not one for each image token.
Called by `engine` and `train`; made by `checkpoint`. Holds weights only: what has been read lives
in the `Cache` that is passed in.

Letters: B batch, T tokens, D model width, N tiles or tokens, S pixels per side, V image features or
vocabulary, E experts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat

import torch
from torch import Tensor, nn

from model.attention import Attention, LayerCaches, Layout, Sight, Sights, look
from model.cache import Cache
from model.config import ModelConfig, TextConfig
from model.cross_attention import CrossBlock
from model.cross_vision import CrossVisionEncoder
from model.gaze import Gaze, View, onwards, view_along
from model.image import Tiles
from model.layers import RMSNorm, SwiGLU
from model.moe import Experts, MoE
from model.products import Linear, linear
from model.vision import VisionEncoder

__all__ = ["Layout", "Transformer"]

#: For each mixture of experts that ran: its layer's number and its router's logits, for balancing.
RouterLog = list[tuple[int, Tensor]]

VISION_BATCH = 32  # tiles encoded at once: bounds memory for documents of many pages


class Transformer(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        text, width = config.text, config.text.hidden_size
        self.embedding = nn.Embedding(text.embeddings, width)
        self.blocks = nn.ModuleList(
            CrossBlock(text) if layer in text.cross_attention_layers else Block(text, layer)
            for layer in range(text.num_hidden_layers)
        )
        self.norm = RMSNorm(width, text.rms_norm_eps)
        self.unembedding: nn.Module | None = None
        if not text.tie_word_embeddings:
            self.unembedding = Linear(width, text.vocab_size)
        self.vision: VisionEncoder | None = None
        self.projector: nn.Linear | None = None
        if config.vision is not None:
            self.vision = VisionEncoder(config.vision)
            self.projector = nn.Linear(config.vision.vision_output_dim, width, bias=False)
        self.cross_vision: CrossVisionEncoder | None = None
        if config.cross_vision is not None:
            self.cross_vision = CrossVisionEncoder(config.cross_vision, width)
        initialise(self)

    def embed(self, token_ids_BT: Tensor, tiles_N3SS: Tensor | None = None) -> Tensor:
        """Tokens as vectors; features of the tiles, in order, in the places of patch tokens."""
        return self.place(token_ids_BT, None if tiles_N3SS is None else self.encode(tiles_N3SS))

    def place(self, token_ids_BT: Tensor, features_VD: Tensor | None) -> Tensor:
        """The same with tiles that are encoded already."""
        x_BTD: Tensor = self.embedding(token_ids_BT)
        if self.vision is None:
            return x_BTD
        if features_VD is None:
            features_VD = x_BTD[0, :0]
        is_patch_BT = token_ids_BT == self.config.image_token_index
        patches = int(is_patch_BT.sum())
        if patches != len(features_VD):
            raise ValueError(
                f"the text has {patches} patch tokens (id {self.config.image_token_index}) but the "
                f"images have {len(features_VD)} features: write one patch token for each feature"
            )
        return x_BTD.masked_scatter(is_patch_BT[..., None], features_VD.to(x_BTD.dtype))

    def encode(self, tiles_N3SS: Tensor) -> Tensor:
        """Features of all tiles, one after another, as wide as the text."""
        if self.vision is None or self.projector is None:
            raise ValueError(f"{len(tiles_N3SS)} image tiles for a text-only model: leave them out")
        parts = torch.split(tiles_N3SS.to(self.projector.weight.dtype), VISION_BATCH)
        return torch.cat([self.projector(self.vision(part)) for part in parts]).flatten(0, 1)

    def view(self, token_ids: Sequence[int], images: Sequence[Tiles], gaze: Gaze) -> View:
        """What tokens with these images among them see, after a token with this gaze: for layers
        of cross-attention."""
        return self.view_of(token_ids, [self.encode_image(image) for image in images], gaze)

    def view_of(self, token_ids: Sequence[int], features: Sequence[Tensor], gaze: Gaze) -> View:
        """The same with images that are encoded already."""
        return view_along(gaze, token_ids, self.config.image_token_index, features)

    def encode_image(self, image: Tiles) -> Tensor:
        """Features of one image, for layers of cross-attention."""
        if self.cross_vision is None:
            raise ValueError("this model has no layers of cross-attention: use `embed` for images")
        features_VD: Tensor = self.cross_vision(*image)
        return features_VD

    def forward(
        self,
        x_BTD: Tensor,
        layout: Layout,
        cache: Cache | None = None,
        *,
        extend_cache: bool = True,
        router_log: RouterLog | None = None,
        view: View | None = None,
    ) -> Tensor:
        """`view` tells of images among the tokens; without it they go on seeing what the last
        token in the cache saw. Images are for one row, and with a cache only if it is extended."""
        if view is None:
            view = onwards(cache.gaze if cache is not None else Gaze(), x_BTD.shape[1])
        sight = look(self.config.text, layout, cache, extend_cache)
        layer_caches = cache if cache is not None else repeat(None)
        h_BTD = self._pass(x_BTD, sight, view, layer_caches, router_log)
        if cache is not None and extend_cache:
            cache.length += x_BTD.shape[1]
            cache.gaze = view.gaze
        return h_BTD

    def read_side_by_side(
        self, x_1TD: Tensor, layouts: Sequence[Layout], caches: Sequence[Cache], extend: list[bool]
    ) -> Tensor:
        """One row of the tokens of several sequences, one after another, each with its own layout
        and cache: what `forward` gives each of them, without padding. Not for layers of
        cross-attention, which hold the images of one row."""
        if self.cross_vision is not None:
            raise ValueError("cross-attention is for one sequence at a time: use `forward`")
        looks = zip(layouts, caches, extend, strict=True)
        sights = [look(self.config.text, *each) for each in looks]
        sight, view = Sights.side_by_side(sights), onwards(Gaze(), x_1TD.shape[1])
        h_1TD = self._pass(x_1TD, sight, view, zip(*caches, strict=True), None)
        for cache, layout, is_kept in zip(caches, layouts, extend, strict=True):
            cache.length += layout.positions_BT.shape[1] if is_kept else 0
        return h_1TD

    def _pass(
        self,
        x_BTD: Tensor,
        sight: Sight | Sights,
        view: View,
        layer_caches: Iterable[LayerCaches],
        router_log: RouterLog | None,
    ) -> Tensor:
        for layer, (block, layer_cache) in enumerate(zip(self.blocks, layer_caches, strict=False)):
            if isinstance(block, CrossBlock):
                x_BTD = block(x_BTD, view, layer_cache)
                continue
            x_BTD, logits = block(x_BTD, sight, layer_cache)
            if router_log is not None and logits is not None:
                router_log.append((layer, logits))
        h_BTD: Tensor = self.norm(x_BTD)
        return h_BTD

    def unembed(self, h_BTD: Tensor) -> Tensor:
        """Logits over the vocabulary, float32."""
        if self.unembedding is None:
            return linear(h_BTD, self.embedding.weight).float()
        logits_BTV: Tensor = self.unembedding(h_BTD)
        return logits_BTV.float()


class Block(nn.Module):
    def __init__(self, config: TextConfig, layer: int) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.attention = Attention(config, layer)
        self.feed_forward_norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.feed_forward: MoE | SwiGLU = (
            MoE(config)
            if config.is_moe(layer)
            else SwiGLU(config.hidden_size, config.intermediate_size_mlp)
        )

    def forward(
        self, x_BTD: Tensor, sight: Sight | Sights, cache: LayerCaches
    ) -> tuple[Tensor, Tensor | None]:
        """Returns the new x, and the router's logits if this is a mixture of experts."""
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD), sight, cache)
        normed_BTD = self.feed_forward_norm(x_BTD)
        if isinstance(self.feed_forward, SwiGLU):
            return x_BTD + self.feed_forward(normed_BTD), None
        y_ND, logits_NE = self.feed_forward(normed_BTD.flatten(0, 1))
        return x_BTD + y_ND.view_as(x_BTD), logits_NE


def initialise(transformer: Transformer, std: float = 0.02) -> None:
    """Random weights to train from. `std` is the published `initializer_range`; what is added to
    the residual stream starts smaller, so that its size does not grow with depth (GPT-2)."""
    depth = 2 * transformer.config.text.num_hidden_layers
    for name, module in transformer.named_modules():
        adds = name.startswith("blocks.") and name.endswith(("attention.output", "down"))
        if isinstance(module, (nn.Linear, nn.Embedding, nn.Conv2d)):
            nn.init.normal_(module.weight, std=std / depth**0.5 if adds else std)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
        if isinstance(module, Experts):
            nn.init.normal_(module.gate_up, std=std)
            nn.init.normal_(module.down, std=std / depth**0.5)
        if isinstance(module, VisionEncoder):
            nn.init.normal_(module.class_embedding, std=module.config.hidden_size**-0.5)
            nn.init.normal_(module.position_embedding, std=module.config.hidden_size**-0.5)

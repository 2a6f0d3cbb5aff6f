"""The engine with a checkpoint that looks at images by cross-attention: same numbers however the
work is cut up or shared, from real files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tokenizers import Tokenizer as Vocabulary
from tokenizers import decoders, models, pre_tokenizers, trainers

import model
from model.__main__ import main
from model.checkpoint import save_checkpoint
from model.config import CrossVisionConfig, ModelConfig, TextConfig
from model.cross_image import CrossImageProcessor
from model.engine import CheckpointMismatch, Continuation, TileMismatch
from model.image import ImageConfigError, Size
from model.prompt import Part, ask, open_turn
from model.transformer import Transformer
from tests.model.machine import Machine

CONTROL = [
    "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"
]  # fmt: skip
TOLERANCE = 2e-4  # float32, random weights of large scale


def picture(width: int, height: int, seed: int) -> Image.Image:
    levels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(levels)


PARTS: list[Part] = [
    "the cat ", picture(16, 16, 1), picture(40, 16, 2), "sat on the mat", picture(9, 30, 3), " yes"
]  # fmt: skip
CONTINUATIONS: list[Continuation] = [
    "the mat", ("is it a cat?", "yes"), ("is it a cat?", "no"), ("", "yes, the cat")
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints") / "looks"
    vocabulary = _vocabulary()
    text = TextConfig.from_hf(
        {
            "model_type": "mllama_text_model",
            "vocab_size": vocabulary.get_vocab_size() - 1,  # the image's token is never written
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 200,
            "cross_attention_layers": [1, 3],
        }
    )
    vision = CrossVisionConfig(
        hidden_size=16, num_hidden_layers=3, num_global_layers=1, attention_heads=2,
        intermediate_size=24, vision_output_dim=32, image_size=16, patch_size=8,
        intermediate_layers_indices=(1,),
    )  # fmt: skip
    image_token = vocabulary.token_to_id("<|image|>")
    torch.manual_seed(0)
    transformer = Transformer(ModelConfig(text, cross_vision=vision, image_token_index=image_token))
    for name, parameter in transformer.named_parameters():
        if parameter.ndim > 1:
            parameter.data.mul_(8)
        if name.endswith("gate"):
            parameter.data.fill_(0.7)
    save_checkpoint(transformer, folder)
    vocabulary.save(str(folder / "tokenizer.json"))
    processor = CrossImageProcessor(tile_size=16)
    (folder / "preprocessor_config.json").write_text(json.dumps(processor.to_hf()))
    return folder


@pytest.fixture(scope="module")
def engine(folder: Path) -> model.Engine:
    return model.load(folder, dtype="float32", device="cpu", piece_tokens=7)


def test_scores_are_those_of_one_plain_pass(engine: model.Engine) -> None:
    prefix = engine.prefill(PARTS)
    for continuation, score in zip(CONTINUATIONS, engine.score(prefix, CONTINUATIONS), strict=True):
        assert score == pytest.approx(plain_score(engine, PARTS, continuation), abs=TOLERANCE)


@pytest.mark.parametrize("parts", [["no image"], [picture(9, 30, 3)], PARTS])
def test_pieces_change_nothing(parts: list[Part], folder: Path, engine: model.Engine) -> None:
    whole = model.load(folder, dtype="float32", device="cpu", piece_tokens=1000)
    expected = whole.score(whole.prefill(parts), CONTINUATIONS)
    assert engine.score(engine.prefill(parts), CONTINUATIONS) == pytest.approx(
        expected, abs=TOLERANCE
    )


def test_many_prompts_get_what_each_gets_alone(engine: model.Engine) -> None:
    prompts: list[list[Part]] = [PARTS, ["the cat"], PARTS[1:3]]
    expected = [engine.score(engine.prefill(parts), CONTINUATIONS) for parts in prompts]
    found = engine.score_many([(parts, CONTINUATIONS) for parts in prompts])
    for scores, alone in zip(found, expected, strict=True):
        assert scores == pytest.approx(alone, abs=TOLERANCE)
    asked = [(parts, "why?") for parts in prompts]
    alone_ = [engine.generate(engine.prefill(parts), "why?", max_tokens=6) for parts in prompts]
    assert engine.generate_many(asked, max_tokens=6) == alone_


def test_pages_of_features_change_nothing(
    engine: model.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = engine.score(engine.prefill(PARTS), CONTINUATIONS)
    monkeypatch.setattr("model.cache.PAGE_TOKENS", 3)
    assert engine.score(engine.prefill(PARTS), CONTINUATIONS) == pytest.approx(
        expected, abs=TOLERANCE
    )


def test_a_store_of_prefixes_tells_images_apart(folder: Path, tmp_path: Path) -> None:
    plain = model.load(folder, dtype="float32", device="cpu", piece_tokens=7)
    stored = model.PrefixStore(0, tmp_path, 2**30)
    engine = model.load(folder, "float32", "cpu", prefixes=stored, piece_tokens=7)
    for last in (picture(9, 30, 3), picture(9, 30, 4)):
        parts = [*PARTS[:4], last, " yes, the cat"]
        expected = plain.score(plain.prefill(parts), CONTINUATIONS)
        for _ in range(2):
            read: list[tuple[int, int]] = []
            prefix = engine.prefill(parts, lambda *done, read=read: read.append(done))
            assert engine.score(prefix, CONTINUATIONS) == pytest.approx(expected, abs=TOLERANCE)
        assert read[0][0] == read[0][1]  # the second time, all is known


def test_what_is_seen_decides(engine: model.Engine) -> None:
    """After text, only the last images are seen; before them, none."""
    last = [*PARTS[:4], picture(9, 30, 4), PARTS[5]]
    scores = [engine.score(engine.prefill(parts), CONTINUATIONS) for parts in (PARTS, last)]
    assert np.abs(np.subtract(*scores)).min() > 1e-3
    prompt = open_turn(PARTS, engine.tokenizer, engine.image_processor)
    assert prompt.tiles_N3SS is not None
    changed_N3SS = prompt.tiles_N3SS.clone()
    changed_N3SS[-1] += 1
    plain, other = (
        engine.logits(prompt.token_ids, tiles, prompt.grids)
        for tiles in (prompt.tiles_N3SS, changed_N3SS)
    )
    image_token = engine.tokenizer.id("<|image|>")
    at = max(n for n, token_id in enumerate(prompt.token_ids) if token_id == image_token)
    assert torch.equal(plain[:at], other[:at])
    assert (plain[at:] - other[at:]).abs().amax(-1).min() > 1e-3


def test_an_answer_is_the_likeliest_and_leaves_the_prefix(engine: model.Engine) -> None:
    prefix = engine.prefill(PARTS)
    answers = ["yes", "no", "the cat sat"]
    before = engine.score(prefix, [("is it?", f"{answer}") for answer in answers])
    told: list[str] = []
    free = engine.generate(prefix, "is it?", max_tokens=12, on_token=told.append)
    assert "".join(told) == free
    assert "<|image|>" not in free
    assert engine.generate(prefix, "is it?", max_tokens=12, allowed=answers) in answers
    assert engine.score(prefix, [("is it?", answer) for answer in answers]) == before


def test_a_turn_is_llama_3s_with_one_token_for_an_image(engine: model.Engine) -> None:
    tokenizer = engine.tokenizer
    opened = open_turn([picture(40, 16, 2), "the cat"], tokenizer, engine.image_processor)
    user, assistant = (
        [
            tokenizer.id("<|start_header_id|>"), *tokenizer.encode(role),
            tokenizer.id("<|end_header_id|>"), *tokenizer.encode("\n\n"),
        ]
        for role in ("user", "assistant")
    )  # fmt: skip
    said = [tokenizer.id("<|image|>"), *tokenizer.encode("the cat sat?")]
    ended = [tokenizer.id("<|eot_id|>"), *assistant]
    expected = [tokenizer.id("<|begin_of_text|>"), *user, *said, *ended]
    assert opened.token_ids + ask(" sat?", tokenizer) == expected
    assert opened.grids == ((1, 3),)


def test_an_image_takes_one_token_and_the_prefix_holds_its_features(engine: model.Engine) -> None:
    blind, seeing = engine.prefill(["the cat"]), engine.prefill(["the cat", picture(16, 16, 1)])
    assert seeing.length == blind.length + 1
    assert seeing.cache.gaze.end == 5  # one tile of 2 x 2 patches and the class token
    assert seeing.nbytes > blind.nbytes
    assert seeing.clone().cache.gaze == seeing.cache.gaze


def test_images_must_match_their_tokens(engine: model.Engine) -> None:
    prompt = open_turn([picture(16, 16, 1)], engine.tokenizer, engine.image_processor)
    with pytest.raises(TileMismatch, match=r"1 <\|image\|> tokens, and there are 0 grids"):
        engine.logits(prompt.token_ids)
    with pytest.raises(TileMismatch, match="2 tiles with 1 tiles"):
        engine.logits(prompt.token_ids, prompt.tiles_N3SS, [Size(1, 2)])


def test_a_checkpoint_saved_again_is_the_same(folder: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    assert main(["convert", str(folder), str(again)]) == 0
    first, second = (load_file(each / "model.safetensors") for each in (folder, again))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    for file in ("config.json", "preprocessor_config.json", "tokenizer.json"):
        assert (folder / file).read_text() == (again / file).read_text()


def test_llama_cpp_cannot_read_it(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", str(folder), str(tmp_path / "out.gguf")]) == 2
    assert "cross-attention" in capsys.readouterr().err


def test_files_that_contradict_each_other_are_refused(folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    assert main(["convert", str(folder), str(broken)]) == 0
    settings = CrossImageProcessor(tile_size=16, max_patches=2).to_hf()
    (broken / "preprocessor_config.json").write_text(json.dumps(settings))
    with pytest.raises(ImageConfigError, match="max_image_tiles is 2"):
        model.load(broken)
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps({**config, "image_token_index": 3}))
    with pytest.raises(CheckpointMismatch, match=r"<\|image\|> is token"):
        model.load(broken)


def plain_score(engine: model.Engine, parts: list[Part], continuation: Continuation) -> float:
    """One pass over everything, without cache, pieces or branches."""
    prompt = open_turn(parts, engine.tokenizer, engine.image_processor)
    if isinstance(continuation, str):
        before, answer = [], engine.tokenizer.encode(continuation)
    else:
        before = ask(continuation[0], engine.tokenizer)
        answer = engine.tokenizer.encode(continuation[1])
    ids = [*prompt.token_ids, *before, *answer]
    logits = engine.logits(ids, prompt.tiles_N3SS, prompt.grids)
    rows = logits[len(prompt.token_ids) + len(before) - 1 : -1].log_softmax(dim=-1)
    return float(rows[torch.arange(len(answer)), answer].sum())


def _vocabulary() -> Vocabulary:
    """Bytes and Llama 3's markers; the image's token comes last, as published."""
    vocabulary = Vocabulary(models.BPE())
    vocabulary.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    vocabulary.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=CONTROL,
        show_progress=False,
    )
    vocabulary.train_from_iterator([], trainer)
    vocabulary.add_special_tokens(["<|image|>"])
    return vocabulary


def test_answers_are_the_same_on_two_devices(folder: Path) -> None:
    said = []
    for device in ("cpu", "cpu:0,cpu:1"):
        with Machine() as machine:
            engine = model.load(folder, "float32", device)
            said.append(engine.score(engine.prefill(PARTS), CONTINUATIONS))
    assert said[0] == said[1]
    assert {str(place) for place in machine.computed} == {"cpu:0", "cpu:1"}

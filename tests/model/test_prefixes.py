"""What prompts have in common is read once, and what follows is as if it had been read again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import model
from model.engine import Part
from model.prefixes import Identity, PrefixStore
from tests.model.test_engine import CONTINUATIONS, PARTS, picture

PIECE = 16
PLENTY = 2**30
TOLERANCE = 2e-4

Load = Callable[..., model.Engine]


@pytest.fixture(scope="module")
def load(tiny_checkpoint: Path) -> Load:
    def load(store: PrefixStore | None = None, **options: str) -> model.Engine:
        return model.load(
            tiny_checkpoint, "float32", "cpu", prefixes=store, piece_tokens=PIECE, **options
        )

    return load


def tokens_read(engine: model.Engine, parts: list[Part]) -> int:
    """By this prefill, of all that the prompt has."""
    seen: list[tuple[int, int]] = []
    engine.prefill(parts, lambda *read: seen.append(read))
    return seen[-1][1] - seen[0][0]


def files(folder: Path) -> list[Path]:
    return list(folder.glob("*.safetensors*"))


def scores(engine: model.Engine, parts: list[Part]) -> list[float]:
    return engine.score(engine.prefill(parts), CONTINUATIONS)


def test_the_same_prompt_is_read_once(load: Load) -> None:
    engine = load(PrefixStore(PLENTY))
    expected = scores(load(), PARTS)
    assert scores(engine, PARTS) == expected
    assert tokens_read(engine, PARTS) == 0
    assert scores(engine, PARTS) == expected


@pytest.mark.parametrize("ending", [" and another end", "", picture(16, 16, 5)])
def test_a_prompt_goes_on_where_it_begins_to_differ(load: Load, ending: Part) -> None:
    engine = load(PrefixStore(PLENTY))
    engine.prefill(PARTS)
    other = [*PARTS[:-1], PARTS[-1] + ending if isinstance(ending, str) else ending]
    plain = load()
    whole = plain.prefill(other).length
    assert tokens_read(engine, other) < whole / 2
    assert scores(engine, other) == pytest.approx(scores(plain, other), abs=TOLERANCE)


def test_another_picture_is_another_prompt(load: Load) -> None:
    engine = load(PrefixStore(PLENTY))
    engine.prefill(["the cat ", picture(16, 16, 1), "sat on the mat"])
    other: list[Part] = ["the cat ", picture(16, 16, 2), "sat on the mat"]
    assert tokens_read(engine, other) >= 12  # the tokens since the picture, at least
    assert scores(engine, other) == pytest.approx(scores(load(), other), abs=TOLERANCE)


def test_a_beginning_that_was_not_the_end_of_a_prompt_is_known_too(load: Load) -> None:
    engine = load(PrefixStore(PLENTY))
    engine.prefill(["the cat sat on the mat " * 8])
    assert tokens_read(engine, ["the cat sat on the mat " * 4 + "yes"]) <= 2 * PIECE + 3


def test_what_goes_on_from_a_prefix_does_not_change_what_is_kept(load: Load) -> None:
    engine = load(PrefixStore(PLENTY))
    expected = scores(engine, PARTS)
    for prompt in ("why?", "who?"):
        engine.generate(engine.prefill(PARTS), prompt, max_tokens=30)
    assert scores(engine, PARTS) == expected


def test_the_budget_of_memory_holds_and_the_last_used_stays(load: Load) -> None:
    one = load().prefill(["one " * 40]).nbytes
    engine = load(store := PrefixStore(5 * one // 2))
    texts: list[list[Part]] = [[f"{word} " * 40] for word in ("one", "two", "six")]
    for text in texts:
        engine.prefill(text)
        assert 0 < store.nbytes <= store.memory_bytes
        assert tokens_read(engine, texts[0]) == 0
    assert tokens_read(engine, texts[1]) > 0


def test_shared_pages_count_once(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.cache.PAGE_TOKENS", 16)
    monkeypatch.setattr("model.cache.LEAST_ROOM", 0)
    engine = load(store := PrefixStore(PLENTY))
    text = "the cat sat on the mat " * 8
    engine.prefill([text])
    before = store.nbytes
    engine.prefill([text + " yes"])
    assert store.nbytes < 1.5 * before


@pytest.mark.parametrize("cache_dtype", ["float32", "int8", "fp8"])
def test_what_memory_has_no_room_for_is_read_back_from_the_folder(
    load: Load, tmp_path: Path, cache_dtype: str
) -> None:
    expected = scores(load(cache_dtype=cache_dtype), PARTS)
    engine = load(PrefixStore(0, tmp_path, PLENTY), cache_dtype=cache_dtype)
    engine.prefill(PARTS)
    assert tokens_read(engine, PARTS) == 0
    again = load(PrefixStore(PLENTY, tmp_path, PLENTY), cache_dtype=cache_dtype)  # a new process
    assert tokens_read(again, PARTS) == 0
    assert scores(again, PARTS) == expected
    longer = [*PARTS, " and on"]
    assert tokens_read(again, longer) < 2 * PIECE
    plain = scores(load(cache_dtype=cache_dtype), longer)
    # In eight bits it matters which tokens were read together: those see each other whole.
    off = TOLERANCE if cache_dtype == "float32" else 0.05
    assert scores(again, longer) == pytest.approx(plain, abs=off)


def test_flush_writes_what_is_in_memory(load: Load, tmp_path: Path) -> None:
    engine = load(store := PrefixStore(PLENTY, tmp_path, PLENTY))
    engine.prefill(PARTS)
    assert not files(tmp_path)
    store.flush()
    assert tokens_read(load(PrefixStore(PLENTY, tmp_path, PLENTY)), PARTS) == 0


def test_what_made_room_in_the_folder_is_not_written_again_and_again(
    load: Load, tmp_path: Path
) -> None:
    load(PrefixStore(0, tmp_path, PLENTY)).prefill(["one " * 40])
    (file,) = files(tmp_path)
    store = PrefixStore(PLENTY, tmp_path, 9 * file.stat().st_size // 5)
    engine = load(store)
    for word in ("one", "two"):
        engine.prefill([f"{word} " * 40])
        store.flush()
    (kept,) = files(tmp_path)
    assert kept != file
    written = kept.stat().st_ino
    store.flush()
    assert [path.stat().st_ino for path in files(tmp_path)] == [written]
    assert tokens_read(engine, ["one " * 40]) == 0


def test_the_budget_of_the_folder_holds(load: Load, tmp_path: Path) -> None:
    engine = load(PrefixStore(0, tmp_path, PLENTY))
    engine.prefill(["one " * 40])
    (file,) = files(tmp_path)
    engine = load(PrefixStore(0, tmp_path, 2 * file.stat().st_size + 1000))
    for word in ("two", "six", "ten"):
        engine.prefill([f"{word} " * 40])
        kept = [path.stat().st_size for path in files(tmp_path)]
        assert 0 < sum(kept) <= engine.prefixes.disk_bytes
    assert tokens_read(engine, ["ten " * 40]) == 0
    assert tokens_read(engine, ["one " * 40]) > 0


def test_what_another_process_filed_is_found_without_a_restart(load: Load, tmp_path: Path) -> None:
    one = load(PrefixStore(PLENTY, tmp_path, PLENTY))
    other = load(PrefixStore(PLENTY, tmp_path, PLENTY))
    one.prefill(PARTS)
    one.prefixes.flush()
    assert tokens_read(other, PARTS) == 0


def test_a_longer_reading_takes_the_place_of_its_beginning(load: Load, tmp_path: Path) -> None:
    store = PrefixStore(PLENTY, tmp_path, PLENTY)
    engine = load(store)
    engine.prefill(PARTS)
    store.flush()
    (before,) = files(tmp_path)
    engine.prefill([*PARTS, " and on"])
    store.flush()
    (after,) = files(tmp_path)
    assert after != before
    engine.prefill(PARTS)
    store.flush()
    assert files(tmp_path) == [after]


def test_a_reading_that_no_folder_holds_drives_no_other_out(load: Load, tmp_path: Path) -> None:
    load(PrefixStore(0, tmp_path, PLENTY)).prefill(["one " * 20])
    (file,) = files(tmp_path)
    small = PrefixStore(0, tmp_path, 3 * file.stat().st_size // 2)
    load(small).prefill(["two " * 80])
    assert files(tmp_path) == [file]


@pytest.mark.parametrize("how", ["clear", "rmtree"])
def test_what_is_cleared_is_forgotten_by_all_processes(
    load: Load, tmp_path: Path, how: str
) -> None:
    folder = tmp_path / "readings"
    one = load(PrefixStore(PLENTY, folder, PLENTY))
    other = load(PrefixStore(PLENTY, folder, PLENTY))
    for engine in (one, other):
        engine.prefill(PARTS)
        engine.prefixes.flush()
    one.prefixes.clear() if how == "clear" else shutil.rmtree(folder)
    assert not files(folder)
    assert tokens_read(other, PARTS) > 0
    assert one.prefixes.find(Identity("", [1], {}), torch.device("cpu")) == []
    assert one.prefixes.nbytes == 0
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_written_fails_nothing(load: Load, tmp_path: Path) -> None:
    folder = tmp_path / "readings"
    engine = load(store := PrefixStore(0, folder, PLENTY))
    shutil.rmtree(folder)
    folder.write_text("no folder")
    assert scores(engine, PARTS) == scores(load(), PARTS)
    store.flush()
    assert str(folder) in store.trouble


def test_half_a_file_is_swept_away_when_it_is_old(tmp_path: Path) -> None:
    halves = [tmp_path / f"{name}.prefix.safetensors.{name}" for name in ("aa", "bb")]
    for half in halves:
        half.write_bytes(b"half")
    os.utime(halves[0], (0, 0))
    PrefixStore(0, tmp_path, PLENTY)
    assert files(tmp_path) == [halves[1]]


def test_what_is_short_is_not_kept(load: Load) -> None:
    store = PrefixStore(PLENTY, least_tokens=60)
    engine = load(store)
    engine.prefill(["the cat " * 3])
    assert store.nbytes == 0
    engine.prefill(["the cat " * 30])
    assert store.nbytes > 0


@pytest.mark.parametrize("parts", [[" and on"], [" and ", picture(16, 16, 7), " on"]])
def test_what_is_read_after_a_prefix_is_as_if_in_one_prompt_and_not_kept(
    load: Load, parts: list[Part]
) -> None:
    engine = load(store := PrefixStore(PLENTY))
    document = engine.prefill(PARTS)
    kept, length = store.nbytes, document.length
    told: list[tuple[int, int]] = []
    longer = engine.prefill(parts, lambda *read: told.append(read), after=document)
    whole = load().prefill([*PARTS, *parts])
    assert longer.length == whole.length
    assert (told[0], told[-1]) == ((length, whole.length), (whole.length, whole.length))
    assert engine.score(longer, CONTINUATIONS) == pytest.approx(
        load().score(whole, CONTINUATIONS), abs=TOLERANCE
    )
    assert (store.nbytes, document.length) == (kept, length)


@pytest.mark.parametrize("fault", ["cut", "gone", "another layout"])
def test_a_file_that_is_not_whole_is_read_again(load: Load, tmp_path: Path, fault: str) -> None:
    load(PrefixStore(0, tmp_path, PLENTY)).prefill(PARTS)
    (file,) = files(tmp_path)
    store = PrefixStore(PLENTY, tmp_path, PLENTY)
    if fault == "cut":
        file.write_bytes(file.read_bytes()[:-100])
    elif fault == "gone":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes().replace(b'"format":"1"', b'"format":"0"'))
    engine = load(store)
    assert tokens_read(engine, PARTS) > 0
    assert not file.exists()
    assert tokens_read(engine, PARTS) == 0


def test_other_weights_and_dtypes_know_nothing_of_it(load: Load, text_checkpoint: Path) -> None:
    store = PrefixStore(PLENTY)
    load(store).prefill(["the cat"])
    assert tokens_read(load(store, cache_dtype="int8"), ["the cat"]) > 0
    blind = model.load(text_checkpoint, "float32", "cpu", prefixes=store)
    assert tokens_read(blind, ["the cat"]) > 0


def test_a_beginning_has_one_digest_whatever_else_is_asked_for() -> None:
    identity = Identity("weights", list(range(20)), {5: b"tile" * 8, 12: b"elit" * 8})
    alone = {length: identity.digests([length])[length] for length in range(21)}
    assert identity.digests(range(30)) == alone
    assert len(set(alone.values())) == 21
    other = Identity("weights", list(range(20)), {5: b"tile" * 8, 12: b"tile" * 8})
    same = [length for length in alone if other.digests([length])[length] == alone[length]]
    assert same == list(range(13))


def test_prefixes_are_kept_where_chunks_begin_and_at_the_end(load: Load) -> None:
    engine = load(store := PrefixStore(PLENTY))
    length = engine.prefill(["the cat sat on the mat " * 12]).length
    (reading,) = store._readings.values()
    kept = [prefix.length for prefix in reading.prefixes.values()]
    chunk = engine._text.attention_chunk_size
    assert kept == sorted({*range(chunk, length, chunk), *kept[-3:]})
    assert kept[-1] == length

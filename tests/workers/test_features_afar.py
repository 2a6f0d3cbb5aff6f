"""What one machine saw in pictures, found by another that shares no folder with it but a bucket."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import obstore
import pytest
import torch
from safetensors.torch import save

import model
from mmapp.config import FEATURES, Settings
from mmapp.db import migrate
from mmapp.jobs import Jobs
from mmapp.storage import BucketShelf, Folder, open_blobs, open_shelf, shelf
from mmapp.types import Listing, Role, Status, TaskName
from model.features import FeatureShelf
from model.transformer import Transformer
from tests.cli.conftest import seeing_checkpoint
from tests.model.test_engine import picture
from tests.servers import S3Server, s3_server
from workers import models
from workers.child import Child

#: A tile each.
PHOTOS = [picture(40, 20, 1), picture(40, 20, 2)]
NAME = "0" * 64 + ".features.safetensors"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return seeing_checkpoint(tmp_path_factory.mktemp("checkpoints") / "tiny")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[S3Server]:
    with s3_server(tmp_path / "s3") as running:
        yield running


@pytest.fixture
def host(server: S3Server, checkpoint: Path, tmp_path: Path) -> Callable[[Role], Settings]:
    """Settings of a machine of one role, with a data folder of its own."""

    def host(role: Role) -> Settings:
        return server.settings(
            "files",
            data_dir=tmp_path / role,
            database_url=f"sqlite:///{tmp_path / 'jobs.sqlite3'}",
            checkpoint=checkpoint,
            roles=role,
            device="cpu",
            dtype="float32",
            threads=1,
            blobs_seconds=1.0,
        )

    return host


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many tiles each step of the vision encoder was for."""
    steps: list[int] = []
    encode = Transformer.encode

    def counted(transformer: Transformer, tiles_N3SS: torch.Tensor) -> torch.Tensor:
        steps.append(len(tiles_N3SS))
        return encode(transformer, tiles_N3SS)

    monkeypatch.setattr(Transformer, "encode", counted)
    return steps


def look(settings: Settings) -> list[float]:
    """What a model of this machine, just loaded, thinks of the photos; an encoder only sees."""
    loaded, _, _ = models.load(settings)
    if isinstance(loaded, model.Encoder):
        loaded.encode(PHOTOS)
        return []
    assert isinstance(loaded, model.Engine)
    return loaded.score(loaded.prefill(["one ", *PHOTOS, " so"]), ["a", "b"])


def shelf_of(settings: Settings) -> BucketShelf:
    opened = open_shelf(settings)
    assert opened is not None
    return opened


def names(settings: Settings) -> list[str]:
    return sorted(file.name for file in shelf_of(settings).stored())


def spoil(settings: Settings, spoilt: Callable[[bytes], bytes]) -> None:
    """Puts other bytes in the place of all features."""
    opened = shelf_of(settings)
    for name in names(settings):
        data = opened.fetch(name)
        assert data is not None
        opened.put(name, spoilt(data))


def test_an_engine_answers_alike_and_encodes_nothing_that_another_machine_saw(
    host: Callable[[Role], Settings], seen: list[int]
) -> None:
    encode, generate = host(Role.ENCODE), host(Role.GENERATE)
    expected = look(generate)
    assert sum(seen) == 2
    look(encode)
    assert sum(seen) == 4
    kept = names(encode)
    assert len(kept) == 2
    assert look(generate) == expected
    look(encode)  # after a restart, or another machine of the role
    assert sum(seen) == 4
    assert names(encode) == kept
    # Nothing of a picture lies on the disk of either.
    assert not [*encode.data_dir.glob(f"{FEATURES}/*"), *generate.data_dir.glob(f"{FEATURES}/*")]


def test_a_job_goes_through_both_machines_and_is_seen_once(
    host: Callable[[Role], Settings], seen: list[int]
) -> None:
    migrate(host(Role.ENCODE).database_url)
    jpeg = io.BytesIO()
    PHOTOS[0].resize((200, 100)).save(jpeg, "JPEG")
    with Jobs.open(host(Role.ENCODE)) as jobs:
        photo = jobs.add_document("cup.jpg", jpeg.getvalue()).sha256
        job = jobs.submit(TaskName.CHECK_LISTING, Listing((photo,), "Red cup"))
        assert job.role is Role.ENCODE
        Child.start(host(Role.ENCODE)).run(job.id)
        assert jobs.get(job.id).role is Role.GENERATE
        steps = len(seen)
        assert steps > 0
        Child.start(host(Role.GENERATE)).run(job.id)
        assert jobs.get(job.id).status is Status.SUCCEEDED
        assert len(seen) == steps


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: data[:-9],
        lambda _: b"",
        lambda _: b"\xff" * 64,
        lambda _: save({"features": torch.zeros(())}),
        lambda _: save({"other": torch.zeros(2, 2)}, {"format": "1"}),
    ],
    ids=["another bit", "cut short", "empty", "noise", "no checksum", "other tensors"],
)
def test_what_is_broken_is_as_if_it_had_never_been_until_an_encoder_replaces_it(
    host: Callable[[Role], Settings], seen: list[int], spoilt: Callable[[bytes], bytes]
) -> None:
    encode, generate = host(Role.ENCODE), host(Role.GENERATE)
    expected = look(generate)
    look(encode)
    spoil(encode, spoilt)
    assert sum(seen) == 4
    assert look(generate) == expected
    assert sum(seen) == 6
    look(encode)
    assert sum(seen) == 8
    assert look(generate) == expected
    assert sum(seen) == 8


def test_more_than_features_can_be_is_not_read(
    host: Callable[[Role], Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = shelf_of(host(Role.ENCODE))
    opened.put(NAME, b"12345")
    assert opened.fetch(NAME) == b"12345"
    monkeypatch.setattr(shelf, "LARGEST_BYTES", 4)
    assert opened.fetch(NAME) is None


@pytest.mark.parametrize("ends", [S3Server.kill, S3Server.freeze])
def test_without_the_store_pictures_are_encoded_where_they_are_needed(
    host: Callable[[Role], Settings],
    server: S3Server,
    seen: list[int],
    ends: Callable[[S3Server], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    encode, generate = host(Role.ENCODE), host(Role.GENERATE)
    expected = look(generate)
    look(encode)
    ends(server)
    for settings, answers in ((generate, expected), (encode, [])):
        before, start = sum(seen), time.monotonic()
        assert look(settings) == answers
        # Asked once, though there are two tiles to look for, and two to keep.
        assert time.monotonic() - start < 6
        assert sum(seen) == before + 2
    assert len([r for r in caplog.records if "encoded anew" in r.getMessage()]) == 2


def test_a_store_that_is_back_is_asked_again(
    host: Callable[[Role], Settings], server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelf, "PAUSE_S", 0.2)
    opened = shelf_of(host(Role.ENCODE))
    features = FeatureShelf(opened, "maker", keeps=True)
    server.kill()
    features.keep(b"key", torch.ones(2, 3))
    server.start()
    time.sleep(0.3)
    assert features.find(b"key", torch.device("cpu")) is None
    features.keep(b"key", torch.ones(2, 3))
    found = features.find(b"key", torch.device("cpu"))
    assert found is not None
    assert found.tolist() == [[1.0] * 3] * 2


def test_what_is_old_is_pruned_and_neither_store_takes_the_others_files(
    host: Callable[[Role], Settings], server: S3Server
) -> None:
    encode = host(Role.ENCODE)
    look(encode)
    blobs = open_blobs(encode)
    sha256 = blobs.put(b"words")
    assert [file.sha256 for file in blobs.stored()] == [sha256]
    kept = names(encode)
    assert kept
    obstore.put(shelf_of(encode)._store, "theirs.txt", b"theirs")
    folder = server.files("files") / FEATURES
    migrate(encode.database_url)
    with Jobs.open(encode) as jobs:
        assert jobs.prune(timedelta(days=30)).readings == 0
        # The server looks at the times of a folder once; another one sees what was changed.
        server.kill()
        past = time.time() - timedelta(days=31).total_seconds()
        for file in folder.iterdir():
            os.utime(file, (past, past))
        server.start()
        would = jobs.prune(timedelta(days=30), dry_run=True)
        assert (would.readings, would.blobs) == (len(kept), 0)
        assert would.bytes == sum(file.size_bytes for file in shelf_of(encode).stored())
        assert names(encode) == kept
        assert jobs.prune(timedelta(days=30)) == would
    assert names(encode) == []
    assert shelf_of(encode).fetch("theirs.txt") == b"theirs"
    assert blobs.get(sha256) == b"words"


def test_files_in_a_folder_need_no_shelf(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, _env_file=None)
    assert isinstance(open_blobs(settings), Folder)
    assert open_shelf(settings) is None

"""A folder and a bucket keep the same promises; what each can meet alone stands below."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest

from mmapp.config import Settings
from mmapp.errors import BadInput, DamagedFile, NotFound, StorageProblem, StorageRefused
from mmapp.storage import Blobs, Folder, bucket, check, open_blobs
from mmapp.storage.bucket import Bucket
from mmapp.storage.recent import Recent
from tests.servers import S3Server, rclone, s3_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture(params=["folder", "bucket"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Where blobs are kept: nothing is there yet."""
    if request.param == "folder":
        return Settings(data_dir=tmp_path, _env_file=None)
    server: S3Server = request.getfixturevalue("server")
    return server.settings(tmp_path.name, blobs_memory_mb=0)


@pytest.fixture
def blobs(settings: Settings) -> Blobs:
    return open_blobs(settings)


@pytest.fixture
def files(settings: Settings, request: pytest.FixtureRequest) -> Path:
    """The folder behind the store, where somebody else may spoil things."""
    if not settings.blobs_url:
        return settings.data_dir / "blobs"
    server: S3Server = request.getfixturevalue("server")
    return server.files(settings.blobs_url.rpartition("/")[2])


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "blobs")


def all_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_what_is_put_is_got_back_by_its_sha256(blobs: Blobs, settings: Settings) -> None:
    sha256 = blobs.put(b"words")
    assert sha256.startswith("dba36bff")
    other = open_blobs(settings)
    assert other.has(sha256)
    assert other.get(sha256) == b"words"


def test_the_same_bytes_are_stored_once(blobs: Blobs, files: Path) -> None:
    sha256 = blobs.put(b"words")
    (path,) = all_files(files)
    assert (path.parent.name, path.name) == (sha256[:2], sha256[2:])
    before = path.stat().st_mtime_ns
    assert blobs.put(b"words") == sha256
    assert path.stat().st_mtime_ns == before
    assert all_files(files) == [path]


def test_many_threads_put_the_same_bytes_and_leave_one_whole_file(
    blobs: Blobs, files: Path
) -> None:
    data = os.urandom(1_000_000)
    threads = [threading.Thread(target=blobs.put, args=(data,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (path,) = all_files(files)
    assert path.read_bytes() == data


def test_a_missing_blob_says_what_to_do(blobs: Blobs) -> None:
    blobs.put(b"another")
    with pytest.raises(NotFound, match="Add it again"):
        blobs.get("0" * 64)
    assert not blobs.has("0" * 64)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "\n"])
def test_a_name_that_is_no_sha256_reaches_no_file(blobs: Blobs, name: str) -> None:
    for ask in (blobs.get, blobs.has, blobs.delete):
        with pytest.raises(NotFound):
            ask(name)


def test_deleting_twice_is_fine(blobs: Blobs) -> None:
    sha256 = blobs.put(b"words")
    blobs.delete(sha256)
    blobs.delete(sha256)
    assert not blobs.has(sha256)


@pytest.mark.parametrize("spoilt", [b"wordz", b"wor", b""])
def test_other_bytes_than_were_stored_are_told_and_never_given(
    blobs: Blobs, settings: Settings, files: Path, spoilt: bytes
) -> None:
    sha256 = blobs.put(b"words")
    (path,) = all_files(files)
    if isinstance(blobs, Bucket):
        obstore.put(blobs._store, f"{path.parent.name}/{path.name}", spoilt)
    else:
        path.write_bytes(spoilt)
    with pytest.raises(DamagedFile, match=f"{sha256[2:]} .*remove it, then add"):
        open_blobs(settings).get(sha256)


def test_what_is_listed_can_be_removed(blobs: Blobs, files: Path) -> None:
    kept, removed = blobs.put(b"kept"), blobs.put(b"removed")
    stored = {file.sha256: file for file in blobs.stored()}
    assert set(stored) == {kept, removed}
    assert stored[removed].size_bytes == 7
    assert abs(stored[removed].written_at - time.time()) < 60
    blobs.remove([stored[removed].name, stored[removed].name])
    assert [file.sha256 for file in blobs.stored()] == [kept]
    assert len(all_files(files)) == 1


def test_a_check_leaves_nothing(blobs: Blobs, files: Path) -> None:
    check(blobs)
    assert all_files(files) == []


@pytest.mark.parametrize(
    "url",
    ["bucket", "s3://", "s3:///prefix", "file:relative", "file://host/x", "https://host/bucket"],
)
def test_an_address_that_means_nothing_is_refused(url: str) -> None:
    with pytest.raises(BadInput, match="MMAPP_BLOBS_URL"):
        open_blobs(Settings(blobs_url=url, _env_file=None))


def test_a_folder_may_lie_anywhere(tmp_path: Path) -> None:
    url = (tmp_path / "our files").as_uri()
    sha256 = open_blobs(Settings(blobs_url=url, _env_file=None)).put(b"words")
    assert Folder(tmp_path / "our files").get(sha256) == b"words"


def test_a_folder_is_left_as_it_was_when_writing_fails(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(StorageProblem, match=r"\(No space left\); make room"):
        folder.put(b"words")
    assert all_files(folder.root) == []


def test_the_files_of_a_folder_copied_into_a_bucket_are_its_blobs(
    folder: Folder, server: S3Server
) -> None:
    sha256 = folder.put(b"words")
    remote = (
        f":s3,provider=Other,endpoint='{server.endpoint}',access_key_id={server.KEY_ID}"
        f",secret_access_key={server.SECRET}:{server.BUCKET}/moved"
    )
    command = [rclone(), "copy", "--config", os.devnull, str(folder.root), remote]
    subprocess.run(command, check=True)
    moved = open_blobs(server.settings("moved"))
    assert moved.get(sha256) == b"words"
    assert [file.sha256 for file in moved.stored()] == [sha256]


def test_what_others_keep_in_the_bucket_is_none_of_ours(server: S3Server) -> None:
    blobs = open_blobs(server.settings("shared"))
    sha256 = blobs.put(b"words")
    assert isinstance(blobs, Bucket)
    obstore.put(blobs._store, "ab/theirs.pdf", b"%PDF")
    assert [file.sha256 for file in blobs.stored()] == [sha256]


def test_a_bucket_is_asked_once_for_what_is_read_again(server: S3Server) -> None:
    settings = server.settings("asked")
    writer, reader = open_blobs(settings), open_blobs(settings)
    sha256 = writer.put(b"words")
    assert reader.get(sha256) == b"words"
    writer.delete(sha256)
    assert reader.get(sha256) == b"words"
    assert not reader.has(sha256)


def test_memory_for_recent_blobs_is_bounded_and_holds_the_last_one() -> None:
    recent = Recent(10)
    for name, size in (("a", 4), ("b", 4), ("c", 4)):
        recent.keep(name, bytes(size))
        recent.get("a")
    assert [name for name in "abc" if recent.get(name) is not None] == ["a", "c"]
    recent.keep("large", bytes(99))
    assert [name for name in ("a", "c", "large") if recent.get(name) is not None] == ["large"]


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        ({"blobs_secret": "wrong"}, "SignatureDoesNotMatch.*correct MMAPP_BLOBS_KEY_ID"),
        ({"blobs_url": "s3://elsewhere/files"}, "There is no bucket .*make it"),
    ],
)
def test_a_store_that_refuses_us_is_told_at_once(
    server: S3Server, change: dict[str, str], remedy: str
) -> None:
    settings = Settings(
        **(server.settings("x").model_dump() | change),  # type: ignore[arg-type]
        _env_file=None,
    )
    blobs = open_blobs(settings)
    with pytest.raises(StorageRefused, match=remedy) as told:
        blobs.get("0" * 64)
    assert not told.value.may_pass
    with pytest.raises(StorageRefused):
        check(blobs)


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        ({"blobs_secret": ""}, "together"),
        ({"blobs_endpoint": "no address"}, "MMAPP_BLOBS_ENDPOINT"),
        ({"blobs_endpoint": "https://host:many"}, "MMAPP_BLOBS_ENDPOINT"),
        ({"blobs_ca": "/nowhere.pem"}, "MMAPP_BLOBS_CA can't be read"),
    ],
)
def test_settings_that_can_not_work_are_refused_before_anything_is_asked(
    change: dict[str, str], remedy: str
) -> None:
    good = {"blobs_url": "s3://b/p", "blobs_key_id": "id", "blobs_secret": "secret"}
    with pytest.raises(BadInput, match=remedy):
        check(open_blobs(Settings(**(good | change), _env_file=None)))  # type: ignore[arg-type]


def test_a_store_that_is_away_for_a_moment_is_waited_for_and_then_told(
    tmp_path: Path,
) -> None:
    with s3_server(tmp_path) as server:
        blobs = open_blobs(server.settings("files", blobs_memory_mb=0))
        sha256 = blobs.put(b"words")
        server.kill()
        back = threading.Timer(1.0, server.start)
        back.start()
        assert blobs.get(sha256) == b"words"
        back.join()
        impatient = open_blobs(server.settings("files", blobs_seconds=0.5))
        server.kill()
        for ask in (lambda: impatient.get(sha256), lambda: impatient.put(b"more")):
            with pytest.raises(
                StorageProblem, match=r"\(no connection\); see that the store runs"
            ) as told:
                ask()
            assert told.value.may_pass


def test_a_store_that_hangs_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket, "SILENCE_S", 1)
    with s3_server(tmp_path) as server:
        blobs = open_blobs(server.settings("files", blobs_seconds=0.5))
        server.freeze()
        with pytest.raises(StorageProblem, match=r"\(no answer in time\)"):
            blobs.put(b"words")


def test_a_certificate_of_our_own_authority_is_trusted_when_it_is_named(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not there to make a certificate")
    certificate, key = str(tmp_path / "store.pem"), str(tmp_path / "store.key")
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    made += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    made += ["-addext", "basicConstraints=critical,CA:FALSE"]
    made += ["-out", certificate, "-keyout", key]
    subprocess.run(made, check=True, capture_output=True)
    with s3_server(tmp_path / "s3", tls=(certificate, key)) as server:
        check(open_blobs(server.settings("files", blobs_ca=certificate)))
        with pytest.raises(StorageProblem):
            check(open_blobs(server.settings("files", blobs_seconds=0)))

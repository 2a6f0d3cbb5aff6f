import hashlib
import threading

import pytest

from mmapp.errors import NotFound, StorageProblem
from mmapp.storage import Blobs


@pytest.fixture
def blobs(tmp_path):
    return Blobs(tmp_path / "blobs")


def test_what_is_put_is_got_back_by_its_sha256(blobs):
    sha256 = blobs.put(b"words")
    assert sha256 == hashlib.sha256(b"words").hexdigest()
    assert blobs.has(sha256)
    assert blobs.get(sha256) == b"words"
    assert blobs.path(sha256).parent.name == sha256[:2]


def test_the_same_bytes_are_stored_once(blobs):
    sha256 = blobs.put(b"words")
    before = blobs.path(sha256).stat().st_mtime_ns
    assert blobs.put(b"words") == sha256
    assert blobs.path(sha256).stat().st_mtime_ns == before
    assert len([path for path in blobs.root.rglob("*") if path.is_file()]) == 1


def test_many_threads_put_the_same_bytes_and_leave_one_whole_file(blobs):
    data = b"x" * 1_000_000
    threads = [threading.Thread(target=blobs.put, args=(data,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    files = [path for path in blobs.root.rglob("*") if path.is_file()]
    assert [path.read_bytes() for path in files] == [data]


def test_a_missing_blob_says_what_to_do(blobs):
    with pytest.raises(NotFound, match=r"missing from .*Add it again"):
        blobs.get("0" * 64)


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "A" * 64, "0" * 63, "0" * 64 + "\n"])
def test_a_name_that_is_no_sha256_reaches_no_path(blobs, name):
    for ask in (blobs.get, blobs.has, blobs.path, blobs.delete):
        with pytest.raises(NotFound, match="is not a sha256"):
            ask(name)


def test_deleting_twice_is_fine(blobs):
    sha256 = blobs.put(b"words")
    blobs.delete(sha256)
    blobs.delete(sha256)
    assert not blobs.has(sha256)


def test_nothing_is_left_behind_when_writing_fails(blobs, tmp_path, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(StorageProblem, match="disk full"):
        blobs.put(b"words")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]

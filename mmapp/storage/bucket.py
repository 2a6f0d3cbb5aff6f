"""Blobs in a bucket of an S3-compatible store: Amazon's, or one of your own.

A blob is one PUT, which such a store shows whole or not at all; parts are never used, so a killed
process leaves nothing behind. What may pass is tried again here for some time, then told as
`StorageProblem`, with which a job is put back; what cannot (keys, bucket) is told at once. Refuses
bytes that are not those of their name, whoever runs the store.

The library keeps threads of its own, which a forked process does not have: processes that use
blobs are spawned.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from mmapp.config import Settings
from mmapp.errors import BadInput, StorageProblem, StorageRefused
from mmapp.storage.blobs import Stored, damaged, missing, name_of, verified
from mmapp.storage.recent import Recent

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config

#: A blob may take so long in all, for 200 MB over a slow line, and so long without a byte.
LONGEST_S = 300
SILENCE_S = 60
CONNECT_S = 5

#: Tries follow each other ever more slowly; the settings say for how long.
MOST_RETRIES = 100
LONGEST_PAUSE_S = 3

#: No document and no picture of a page comes near; a store that offers more is not believed.
LARGEST_BYTES = 2_000_000_000

#: As many as a store lists in one request.
AT_ONCE = 1000

NAME = re.compile(r"[0-9a-f]{2}/[0-9a-f]{62}")


@dataclass(frozen=True, slots=True)
class Patience:
    """For how long a store is waited for, in seconds."""

    connect_s: float
    silence_s: float
    #: For one request in all.
    longest_s: float
    #: While a request that failed is made again.
    retry_s: float


class Bucket:
    """A bucket, or what begins with a prefix in it."""

    def __init__(self, store: S3Store, place: str, memory_bytes: int) -> None:
        self.place = place
        self._store = store
        self._recent = Recent(memory_bytes)

    @classmethod
    def from_settings(cls, bucket: str, prefix: str, settings: Settings) -> Bucket:
        patience = Patience(CONNECT_S, SILENCE_S, LONGEST_S, settings.blobs_seconds)
        store = open_store(bucket, prefix, settings, patience)
        return cls(store, settings.blobs_url, settings.blobs_memory_mb * 1_000_000)

    def put(self, data: bytes) -> str:
        sha256 = hashlib.sha256(data).hexdigest()
        if not self.has(sha256):
            with self._told("written to"):
                obstore.put(self._store, name_of(sha256), data, use_multipart=False)
        self._recent.keep(sha256, data)
        return sha256

    def get(self, sha256: str) -> bytes:
        name = name_of(sha256)
        data = self._recent.get(sha256)
        if data is None:
            data = self._fetch(sha256, name)
            self._recent.keep(sha256, data)
        return data

    def _fetch(self, sha256: str, name: str) -> bytes:
        file = f"{self.place}/{name}"
        with self._told("read from"):
            try:
                answer = obstore.get(self._store, name)
                if answer.meta["size"] > LARGEST_BYTES:
                    raise damaged(file)
                return verified(sha256, answer.bytes().to_bytes(), file)
            except FileNotFoundError as error:
                if is_bucket_missing(error):
                    raise
                raise missing(sha256, self.place) from error

    def has(self, sha256: str) -> bool:
        with self._told("looked for in"):
            try:
                obstore.head(self._store, name_of(sha256))
            except FileNotFoundError:
                return False
        return True

    def delete(self, sha256: str) -> None:
        self._recent.forget(sha256)
        self.remove([name_of(sha256)])

    def stored(self) -> Iterator[Stored]:
        for name, size, written_at in listed(self._store, self.place, NAME):
            yield Stored(name, name.replace("/", ""), size, written_at)

    def remove(self, names: Iterable[str]) -> None:
        with self._told("removed from"):
            obstore.delete(self._store, list(names))

    def _told(self, what: str) -> AbstractContextManager[None]:
        return told(self.place, what)


def open_store(bucket: str, prefix: str, settings: Settings, patience: Patience) -> S3Store:
    """What begins with a prefix in a bucket; without keys, the usual `AWS_*` variables and the
    machine's role count."""
    key_id, secret = settings.blobs_key_id, settings.blobs_secret.get_secret_value()
    if bool(key_id) != bool(secret):
        raise BadInput("Set MMAPP_BLOBS_KEY_ID and MMAPP_BLOBS_SECRET together, or neither")
    config: S3Config = {"region": settings.blobs_region}
    if settings.blobs_endpoint:
        config["endpoint"] = _address(settings.blobs_endpoint)
    if key_id:
        config |= {"access_key_id": key_id, "secret_access_key": secret}
    return S3Store(
        bucket,
        prefix=prefix or None,
        config=config,
        client_options=_client(settings, patience),
        retry_config=_retries(patience),
    )


@contextlib.contextmanager
def told(place: str, what: str) -> Iterator[None]:
    """What the library raises, as an error that a person can meet."""
    try:
        yield
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise StorageRefused(
            f"{place} refuses us ({_reason(error)}); correct MMAPP_BLOBS_KEY_ID and"
            " MMAPP_BLOBS_SECRET, or what they may do there"
        ) from error
    except (BaseError, OSError, ValueError) as error:
        reason = _reason(error)
        if reason == "NoSuchBucket" or isinstance(error, FileNotFoundError):
            raise StorageRefused(
                f"There is no bucket for {place} ({reason}); make it, or correct"
                " MMAPP_BLOBS_URL and MMAPP_BLOBS_ENDPOINT"
            ) from error
        raise StorageProblem(
            f"A file can't be {what} {place} ({reason}); see that the store runs, then try again"
        ) from error


def listed(store: S3Store, place: str, names: re.Pattern[str]) -> Iterator[tuple[str, int, float]]:
    """Name, size and time of writing. Others may have files in the bucket: what has no such name is
    not ours."""
    with told(place, "listed in"):
        for page in obstore.list(store, chunk_size=AT_ONCE):
            for entry in page:
                if names.fullmatch(entry["path"]):
                    yield entry["path"], entry["size"], entry["last_modified"].timestamp()


def is_bucket_missing(error: FileNotFoundError) -> bool:
    """And not a file in it alone."""
    return "NoSuchBucket" in str(error)


def _address(endpoint: str) -> str:
    """The endpoint, if it can be one; the library panics otherwise."""
    try:
        parts = urlsplit(endpoint)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname)
        is_address = is_address and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address:
        raise BadInput(f"MMAPP_BLOBS_ENDPOINT is {endpoint!r}; write https://HOST:PORT")
    return endpoint


def _client(settings: Settings, patience: Patience) -> ClientConfig:
    options: ClientConfig = {
        "allow_http": settings.blobs_endpoint.startswith("http://"),
        "connect_timeout": timedelta(seconds=patience.connect_s),
        "read_timeout": timedelta(seconds=patience.silence_s),
        "timeout": timedelta(seconds=patience.longest_s),
    }
    if settings.blobs_ca:
        try:
            options["root_certificate"] = Path(settings.blobs_ca).read_bytes()
        except OSError as error:
            raise BadInput(f"MMAPP_BLOBS_CA can't be read ({error})") from error
    return options


def _retries(patience: Patience) -> RetryConfig:
    return {
        "max_retries": MOST_RETRIES,
        "retry_timeout": timedelta(seconds=patience.retry_s),
        "backoff": {"max_backoff": timedelta(seconds=LONGEST_PAUSE_S)},
    }


def _reason(error: Exception) -> str:
    """The store's own word for it, or what the library says at the end of its first line."""
    text = str(error)
    if code := re.search(r"<Code>(\w+)</Code>", text):
        return code[1]
    if kind := re.search(r"\bkind: (Connect|Timeout)\b", text):
        return {"Connect": "no connection", "Timeout": "no answer in time"}[kind[1]]
    line = (text.splitlines() or [type(error).__name__])[0]
    return line.rpartition(" - ")[2][:200]

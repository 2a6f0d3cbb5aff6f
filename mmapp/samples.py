"""The samples that come with the project: documents, two versions of a lease, and listings.

Their manifest is `samples/samples.json`; sources and licences stand beside it. Refused: a manifest
that is missing or names a file that is. Called by `cli` (demo, up) and `web` ("try a sample").
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mmapp.errors import BadInput

FOLDER = Path(__file__).resolve().parent.parent / "samples"


@dataclass(frozen=True, slots=True)
class SampleDocument:
    path: Path
    title: str


@dataclass(frozen=True, slots=True)
class SampleVersions:
    """An earlier and a later version of a document."""

    old: Path
    new: Path
    title: str


@dataclass(frozen=True, slots=True)
class SampleListing:
    photos: tuple[Path, ...]
    title: str
    description: str
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Samples:
    documents: tuple[SampleDocument, ...]
    versions: tuple[SampleVersions, ...]
    #: The first agrees with its photos, the second does not.
    listings: tuple[SampleListing, ...]
    #: A table of listings for a batch.
    batch: Path


def load(folder: Path = FOLDER) -> Samples:
    try:
        manifest = json.loads((folder / "samples.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"There are no samples in {folder}; run in a clone of the project") from (
            error
        )
    documents = tuple(
        SampleDocument(_present(folder / entry["path"]), entry["title"])
        for entry in manifest["documents"]
    )
    listings = tuple(
        SampleListing(
            tuple(_present(folder / photo) for photo in entry["photos"]),
            entry["title"],
            entry["description"],
            entry["attributes"],
        )
        for entry in manifest["listings"]
    )
    versions = tuple(
        SampleVersions(
            _present(folder / entry["old"]), _present(folder / entry["new"]), entry["title"]
        )
        for entry in manifest["versions"]
    )
    return Samples(documents, versions, listings, _present(folder / manifest["batch"]))


def _present(path: Path) -> Path:
    if not path.is_file():
        raise BadInput(f"The sample {path} is missing; restore it with `git checkout samples`")
    return path

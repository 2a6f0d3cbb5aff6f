"""Where a table and the files that its rows name are: on disk, in an upload, in a zip.

A table on disk may name any file; in a zip, and in an upload, only the files that came with it, and
nothing is ever unpacked to disk. Refuses zips larger than the settings allow, files larger than
MMAPP_MAX_BYTES, paths that lead out of a zip, and web addresses. Called by `rows`.
"""

from __future__ import annotations

import io
import posixpath
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from mmapp.config import Settings
from mmapp.errors import BadInput

#: Beginnings of a zip, with entries and empty.
ZIP_SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06")

#: What a zip has that is an Excel workbook.
WORKBOOK = "xl/workbook.xml"

#: Names of tables end so, in a zip.
TABLE_SUFFIXES = (".csv", ".jsonl", ".xlsx")

#: What reading a damaged or foreign entry raises.
ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError)


class Source(Protocol):
    """A table and the files that its rows name."""

    #: What a person calls the table.
    name: str
    settings: Settings

    def open_table(self) -> IO[bytes]: ...

    def read(self, named: str) -> bytes: ...

    def close(self) -> None: ...


def open_source(path: Path, settings: Settings, files: Mapping[str, Path] | None) -> Source:
    """The table at `path`; `files` (name -> where it was put) are those of an upload."""
    try:
        with path.open("rb") as file:
            is_zip = file.read(4) in ZIP_SIGNATURES
    except OSError as error:
        raise BadInput(f"{path} can't be opened: {error.strerror}. Check the path.") from error
    if is_zip and not _is_workbook(path):
        return _Archive(path, settings)
    return _Folder(path, settings) if files is None else _Upload(path, settings, files)


def _is_workbook(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return WORKBOOK in archive.NameToInfo
    except (*ZIP_ERRORS, ValueError):
        return False


class _Folder:
    """A table on disk; a relative path counts from the table's folder."""

    def __init__(self, path: Path, settings: Settings) -> None:
        self.name = path.name
        self._path = path
        self.settings = settings

    def open_table(self) -> IO[bytes]:
        return self._path.open("rb")

    def read(self, named: str) -> bytes:
        path = self._path.parent / named
        if not path.exists() and "\\" in named:
            path = self._path.parent / named.replace("\\", "/")
        return _read_file(path, named, self.settings)

    def close(self) -> None:
        """Nothing is held."""


class _Upload:
    """A table that came together with files, each known by its name."""

    def __init__(self, path: Path, settings: Settings, files: Mapping[str, Path]) -> None:
        self.name = path.name
        self._path = path
        self.settings = settings
        self._files = {normal(name): file for name, file in files.items()}

    def open_table(self) -> IO[bytes]:
        return self._path.open("rb")

    def read(self, named: str) -> bytes:
        name = normal(named)
        # Browsers send a chosen file without its folder.
        file = self._files.get(name) or self._files.get(posixpath.basename(name))
        if file is None:
            raise BadInput(f"“{named}” did not come with the table; upload it too")
        return _read_file(file, named, self.settings)

    def close(self) -> None:
        """Nothing is held."""


class _Archive:
    """A table in a zip, with its files beside it; entries are read in memory, one at a time."""

    def __init__(self, path: Path, settings: Settings) -> None:
        self.settings = settings
        try:
            self._zip = zipfile.ZipFile(path)
        except (*ZIP_ERRORS, ValueError) as error:
            raise BadInput(f"{path.name} can't be opened as a zip: {error}. Pack it anew.") from (
                error
            )
        try:
            self._check_size(path.name)
            self._entries = dict(self._usable())
            self._table = self._find_table(path.name)
        except BaseException:
            self._zip.close()
            raise
        self.name = f"{path.name}/{self._table}"

    def open_table(self) -> IO[bytes]:
        if self._table.casefold().endswith(".xlsx"):
            # A workbook is a zip of its own, and is read from its end.
            return io.BytesIO(self._bytes(self._table, self._table))
        return self._open(self._table, self._table)

    def read(self, named: str) -> bytes:
        folder = posixpath.dirname(self._table)
        if PurePosixPath(normal(named)).is_absolute():
            raise BadInput(f"“{named}” is an absolute path; rows of a zip name files in the zip")
        name = posixpath.normpath(posixpath.join(folder, normal(named)))
        if name not in self._entries:
            raise BadInput(f"“{named}” is not in the zip; put it beside the table, or fix the path")
        return self._bytes(name, named)

    def close(self) -> None:
        self._zip.close()

    def _bytes(self, name: str, named: str) -> bytes:
        _check_bytes(named, self._entries[name].file_size, self.settings)
        with self._open(name, named) as file:
            try:
                return file.read()
            except ZIP_ERRORS as error:
                raise BadInput(f"“{named}” is damaged in the zip: {error}. Pack it anew.") from (
                    error
                )

    def _open(self, name: str, named: str) -> IO[bytes]:
        try:
            return self._zip.open(self._entries[name])
        except ZIP_ERRORS as error:
            raise BadInput(
                f"“{named}” can't be read from the zip: {error}. Pack it anew, without a password."
            ) from error

    def _check_size(self, name: str) -> None:
        """The sizes that a zip states bind: no entry gives more than it states."""
        entries = self._zip.infolist()
        most, limit = self.settings.max_batch_files, self.settings.max_batch_bytes
        if len(entries) > most:
            raise BadInput(
                f"{name} holds {len(entries):,} files; at most {most:,} are read. Split it, or"
                " raise MMAPP_MAX_BATCH_FILES."
            )
        total = sum(entry.file_size for entry in entries)
        if total > limit:
            raise BadInput(
                f"{name} unpacks to {total:,} bytes; at most {limit:,} are read. Split it, or"
                " raise MMAPP_MAX_BATCH_BYTES."
            )

    def _usable(self) -> Iterator[tuple[str, zipfile.ZipInfo]]:
        """Regular files inside the zip's own folder, by name; macOS' shadow files are none."""
        for entry in self._zip.infolist():
            name = posixpath.normpath(normal(_entry_name(entry)))
            path = PurePosixPath(name)
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if entry.is_dir() or kind not in (0, stat.S_IFREG):
                continue
            if path.is_absolute() or ".." in path.parts:
                continue
            if path.parts[0] != "__MACOSX" and not path.name.startswith("._"):
                yield name, entry

    def _find_table(self, name: str) -> str:
        tables = [entry for entry in self._entries if _is_table(entry)]
        depth = min((entry.count("/") for entry in tables), default=0)
        tables = [entry for entry in tables if entry.count("/") == depth]
        if len(tables) != 1:
            found = ", ".join(sorted(tables)[:5]) or "none"
            raise BadInput(
                f"A batch zip holds one .csv, .jsonl or .xlsx and the files that it names; {name}"
                f" has {len(tables)} tables ({found})"
            )
        return tables[0]


def _is_table(name: str) -> bool:
    return PurePosixPath(name).suffix.casefold() in TABLE_SUFFIXES


def _entry_name(entry: zipfile.ZipInfo) -> str:
    """The name; packers that don't mark UTF-8 mean it all the same, or GB18030 on Chinese Windows.

    zipfile reads unmarked names as code page 437.
    """
    if entry.flag_bits & 0x800:
        return entry.filename
    try:
        written = entry.filename.encode("cp437")
    except UnicodeEncodeError:
        return entry.filename
    for encoding in ("utf-8", "gb18030"):
        try:
            return written.decode(encoding)
        except UnicodeDecodeError:
            continue
    return entry.filename


def normal(name: str) -> str:
    """One spelling of a path: slashes, and composed characters (macOS decomposes them)."""
    name = unicodedata.normalize("NFC", name.strip().replace("\\", "/"))
    while name.startswith("./"):
        name = name[2:]
    return name


def _read_file(path: Path, named: str, settings: Settings) -> bytes:
    if "://" in named:
        raise BadInput(f"“{named}” is a web address; download it and name the file")
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise BadInput(f"“{named}” is no file; name a file in this row")
        _check_bytes(named, status.st_size, settings)
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BadInput(f"“{named}” can't be read: {reason}. Check the path in this row.") from error


def _check_bytes(named: str, size: int, settings: Settings) -> None:
    if size > settings.max_bytes:
        raise BadInput(
            f"“{named}” has {size:,} bytes; at most {settings.max_bytes:,} are read. Make it"
            " smaller, or raise MMAPP_MAX_BYTES."
        )

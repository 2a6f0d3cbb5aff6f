"""The command line as people run it: processes, one data folder, one running stack."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mmapp.config import Settings
from mmapp.stack import Stack
from tests.e2e.checkpoint import seeing_checkpoint

READY_S = 120.0


@dataclass(frozen=True)
class Run:
    """What a command line gave."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> str:
        """The one line on stderr."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        return lines[0]


Mmapp = Callable[..., Run]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return seeing_checkpoint(tmp_path_factory.mktemp("checkpoints") / "tiny")


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def environment(checkpoint: Path, data_dir: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MMAPP_")}
    return {
        **kept,
        "MMAPP_DATA_DIR": str(data_dir),
        "MMAPP_CHECKPOINT": str(checkpoint),
        "MMAPP_THREADS": "1",
        "MMAPP_SWEEP_SECONDS": "1",
    }


@pytest.fixture(scope="session")
def stack(checkpoint: Path, data_dir: Path) -> Iterator[Stack]:
    """Runs on the tests' data folder, as `mmapp up` does."""
    settings = Settings(
        data_dir=data_dir, checkpoint=checkpoint, threads=1, sweep_seconds=1.0, _env_file=None
    )
    with Stack(settings, announce=True) as running:
        running.wait_ready(READY_S)
        yield running


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Starts a command line in an empty folder."""

    def start_process(*arguments: object, **settings: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-W", "error", "-m", "mmapp.cli", *map(str, arguments)]
        return subprocess.Popen(
            command,
            cwd=tmp_path,
            env={**environment, **settings},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start_process


@pytest.fixture
def mmapp(start: Callable[..., subprocess.Popen[str]]) -> Mmapp:
    """Runs a command line to its end."""

    def run(*arguments: object, **settings: str) -> Run:
        process = start(*arguments, **settings)
        try:
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()
        return Run(process.returncode, out, err)

    return run


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a PDF, the same encrypted, a photo, a Chinese text and a zip."""
    import pymupdf
    from PIL import Image

    folder = tmp_path_factory.mktemp("files")
    _write_pdfs(folder, pymupdf)
    Image.new("RGB", (120, 90), (200, 30, 30)).save(folder / "red.png")
    (folder / "zh.txt").write_text("昨天，上海港完成了四百万标准箱的吞吐量。下个月将新增三个泊位。")
    (folder / "broken.docx").write_bytes(b"PK\x03\x04" + bytes(100))
    (folder / "empty.pdf").write_bytes(b"")
    (folder / "cut.pdf").write_bytes((folder / "harbour.pdf").read_bytes()[:300])
    (folder / "listings.csv").write_text(
        "id,image,title,colour\n1,red.png,Red cup,red\n2,gone.png,Blue cup,blue\n3,red.png,=1+1,\n"
    )
    return folder


def _write_pdfs(folder: Path, pymupdf: Any) -> None:
    with pymupdf.open() as document:
        for year in (1904, 1914, 1924):
            page = document.new_page()
            page.insert_text((72, 72), f"The harbour of Emden had twelve cranes in {year}.")
        document.save(folder / "harbour.pdf")
        document.save(
            folder / "locked.pdf",
            encryption=pymupdf.PDF_ENCRYPT_AES_256,
            user_pw="sesame",
            owner_pw="owner",
        )


def lines_of(csv_text: str) -> Sequence[dict[str, str]]:
    import csv

    return list(csv.DictReader(csv_text.splitlines()))

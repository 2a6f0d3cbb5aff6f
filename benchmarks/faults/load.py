"""The load: documents and listings made of chance, English and Chinese, and jobs about them."""

from __future__ import annotations

import contextlib
import io
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from PIL import Image

from benchmarks.faults.scene import Scene
from mmapp.errors import DatabaseNotReady
from mmapp.jobs import BatchRow
from mmapp.storage import Folder
from mmapp.types import Listing, Params, Priority, SummarizeParams, TaskName

T = TypeVar("T")

SHIPS = ("The ship", "A ferry", "One tug", "The old barge", "Every boat")
DEEDS = ("carried {} tons of grain", "left port {} late", "met {} others at sea", "cost {} crowns")
SHIPS_ZH = ("这艘船", "一条渡轮", "那只拖船", "旧驳船")
DEEDS_ZH = ("运了{}吨粮食", "晚点{}分钟离港", "在海上遇到{}条船", "花费{}元")


@dataclass(frozen=True, slots=True)
class Special:
    """A job that something is done to, and how it has to end."""

    job_id: str
    #: "raises", "hangs" or "kills".
    kind: str
    #: The file that is not what it was.
    blob: Path | None = None
    #: What it was.
    data: bytes = b""


class Load:
    """Submits; each call may meet a database that restarts, and waits for it."""

    def __init__(self, scene: Scene, chance: random.Random) -> None:
        self._scene = scene
        self._chance = chance
        #: All jobs that were submitted, by id.
        self.ids: list[str] = []
        self._given: list[Params] = []

    def submit_batch(self, rows: int) -> None:
        """Many jobs at once, of summaries."""
        given = [
            BatchRow({"id": str(row)}, self._summary(self._chance.randrange(8, 40)))
            for row in range(rows)
        ]
        jobs = self._scene.jobs
        batch = patiently(lambda: jobs.submit_batch("faults.csv", TaskName.SUMMARIZE, given))
        found = patiently(lambda: jobs.list(batch_id=batch.id, limit=rows))
        self.ids += [job.id for job in found]

    def submit_one(self) -> str:
        """A person's job: a summary, a listing, or what was asked before."""
        kind = self._chance.random()
        if kind < 0.1 and self._given:
            return self._submit(self._chance.choice(self._given))
        if kind < 0.3:
            return self._submit(self._listing())
        return self._submit(self._summary(self._chance.randrange(8, 40)))

    def submit_long(self, sentences: int) -> str:
        """A summary that takes a while."""
        return self._submit(self._summary(sentences))

    def submit_special(self, kind: str) -> Special:
        """A job that can't be done, hangs or kills whoever runs it.

        A photo's picture is none, or its file a pipe that nobody writes into, as on a network's
        disk that has gone.
        """
        if kind == "kills":
            return Special(self._submit(self._summary(60)), kind)
        params = self._listing()
        blob = self._picture_of(params.photos[0])
        data = blob.read_bytes()
        blob.unlink()
        if kind == "hangs":
            os.mkfifo(blob)
        else:
            self._set_picture(params.photos[0], b"no picture")
        special = Special(self._submit(params), kind, blob, data)
        # Nobody asks for it again: that would end as this does.
        self._given.remove(params)
        return special

    def _submit(self, params: Params) -> str:
        task = TaskName.CHECK_LISTING if isinstance(params, Listing) else TaskName.SUMMARIZE
        jobs = self._scene.jobs
        job = patiently(lambda: jobs.submit(task, params, priority=Priority.INTERACTIVE))
        self.ids.append(job.id)
        self._given.append(params)
        return job.id

    def _summary(self, sentences: int) -> SummarizeParams:
        name = f"{self._chance.randrange(10**9)}.txt"
        text = self._text(sentences)
        document = patiently(lambda: self._scene.jobs.add_document(name, text.encode()))
        return SummarizeParams(document.sha256, 2)

    def _text(self, sentences: int) -> str:
        chance = self._chance
        if chance.random() < 0.5:
            return " ".join(
                f"{chance.choice(SHIPS)} {chance.choice(DEEDS).format(chance.randrange(10**6))}."
                for _ in range(sentences)
            )
        return "".join(
            f"{chance.choice(SHIPS_ZH)}{chance.choice(DEEDS_ZH).format(chance.randrange(10**6))}。"
            for _ in range(sentences)
        )

    def _listing(self) -> Listing:
        data = noise_png(self._chance)
        document = patiently(lambda: self._scene.jobs.add_document("photo.png", data))
        title = f"{self._chance.choice(('Red', 'Blue'))} mug {self._chance.randrange(10**6)}"
        return Listing((document.sha256,), title)

    def _picture_of(self, photo: str) -> Path:
        """The file that a worker reads, which is the photo as the reader encoded it anew."""
        with self._scene.jobs._database.snapshot() as repository:
            picture = repository.documents.page_image(photo, 1)
        return self._blobs.path(picture or photo)

    def _set_picture(self, photo: str, data: bytes) -> None:
        """Stores it as any picture is, for a file of other bytes would be found out."""
        picture = self._blobs.put(data)
        with self._scene.jobs._database.transaction() as repository:
            repository.documents.set_page_image(photo, 1, picture)

    @property
    def _blobs(self) -> Folder:
        return Folder(self._scene.jobs.settings.data_dir / "blobs")


def noise_png(chance: random.Random, side: int = 32) -> bytes:
    file = io.BytesIO()
    Image.frombytes("RGB", (side, side), chance.randbytes(side * side * 3)).save(file, "PNG")
    return file.getvalue()


def patiently(do: Callable[[], T], seconds: float = 60.0) -> T:
    """What a person does: tries again while the database is away."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(DatabaseNotReady):
            return do()
        if time.monotonic() > deadline:
            raise TimeoutError(f"the database did not come back within {seconds:.0f} s")
        time.sleep(0.2)

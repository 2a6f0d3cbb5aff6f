"""Pure rules about results: what a result depends on, how it is listed, and what made it.

Called by `jobs`. Nothing here is stored or refused; the same values always give the same key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from mmapp import __version__, calibrations
from mmapp.types import (
    AskParams,
    CompareParams,
    ExtractParams,
    FiguresParams,
    Job,
    Listing,
    Maker,
    Params,
    Result,
    SummarizeParams,
    TaskName,
)

#: Longest headline of a list, in characters.
HEADLINE = 200
#: The headline of a question that the document does not answer.
NOT_FOUND = "not in this document"
#: Tasks that ask no model: their results depend on no checkpoint and no prompt.
WITHOUT_MODEL = frozenset({TaskName.COMPARE})


@dataclass(frozen=True, slots=True)
class Code:
    """The maker of results without a model."""

    name: str = "no model, code alone"
    weights_sha256: str = ""
    dtype: str = ""
    device: str = "cpu"
    profile: Mapping[str, Any] = field(default_factory=dict)


def maker(task: TaskName, engine: Maker | None) -> Maker:
    """The engine, or code where the task asks no model."""
    return Code() if engine is None or task in WITHOUT_MODEL else engine


def run_key(
    task: TaskName,
    params: Mapping[str, Any],
    weights_sha256: str,
    profile: Mapping[str, Any],
    prompt_sha256: str,
    schema_version: int,
    recognition: str = "",
) -> str:
    """One hash of all that a result depends on: equal keys, equal results.

    Documents are in `params` by their hashes. `recognition` says how words in pictures are read.
    """
    if task is not TaskName.CHECK_LISTING:
        profile = {name: value for name, value in profile.items() if name != calibrations.KEY}
    parts = [task, params, weights_sha256, profile, prompt_sha256, __version__, schema_version]
    parts.append(recognition)
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def params_as_json(params: Params) -> dict[str, Any]:
    return json.loads(json.dumps(asdict(params)))  # type: ignore[no-any-return]


def params_from_json(task: TaskName, stored: Mapping[str, Any]) -> Params:
    if task is TaskName.SUMMARIZE:
        return SummarizeParams(**stored)
    if task is TaskName.ASK:
        return AskParams(**stored)
    if task is TaskName.EXTRACT:
        return ExtractParams(stored["document"], tuple(stored["fields"]))
    if task is TaskName.COMPARE:
        return CompareParams(**stored)
    if task is TaskName.FIGURES:
        return FiguresParams(**stored)
    return Listing(**{**stored, "photos": tuple(stored["photos"])})


def document_hashes(params: Params) -> tuple[str, ...]:
    if isinstance(params, Listing):
        return params.photos
    if isinstance(params, CompareParams):
        return (params.old, params.new)
    return (params.document,)


def headline(task: TaskName, payload: Mapping[str, Any]) -> str:
    """One line for a list of results."""
    if "proposal" in payload and not payload["claims"]:
        return str(payload["proposal"]["en"]["title"])
    if task is TaskName.CHECK_LISTING:
        return f"{payload['verdict']} {payload['score']:.2f}"
    if task is TaskName.EXTRACT:
        return _fields_headline(payload)
    if task is TaskName.COMPARE:
        return changes_headline(payload["counts"])
    if task is TaskName.FIGURES:
        return figures_headline(payload["counts"])
    if task is TaskName.ASK and not payload["found"]:
        return NOT_FOUND
    quoted = payload["answer" if task is TaskName.ASK else "summary"]
    return plain(" ".join(" ".join(one["text"] for one in quoted).split()))[:HEADLINE]


def _fields_headline(payload: Mapping[str, Any]) -> str:
    """The first value of each field."""
    firsts = (
        f"{one['name']}: {one['values'][0]['text']}" for one in payload["fields"] if one["values"]
    )
    return plain(" ".join("; ".join(firsts).split()))[:HEADLINE] or NOT_FOUND


def likeliest(answers: Iterable[Result]) -> Result | None:
    """Of the answers of several documents to one question the likeliest; None: none has one."""
    found = [answer for answer in answers if answer.payload["found"]]
    return max(found, key=lambda answer: float(answer.payload["probability"]), default=None)


def changes_headline(counts: Mapping[str, int]) -> str:
    """How many changes of each kind."""
    told = [f"{count:,} {kind}" for kind, count in counts.items() if count]
    return ", ".join(told) or "no changes"


def figures_headline(counts: Mapping[str, int]) -> str:
    """How many figures have each verdict."""
    told = [f"{verdict}: {count:,}" for verdict, count in counts.items() if count]
    return ", ".join(told) or "no figures"


def words(payload: Mapping[str, Any]) -> str:
    """Every text that a person may search for, in lower case."""
    return plain("\n".join(_texts(payload))).casefold()


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)


def plain(text: str) -> str:
    """Text that every database takes: no NUL, no half of a surrogate pair."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def record(
    job: Job,
    engine: Maker,
    worker: str,
    usage: Mapping[str, Any],
    durations_s: Mapping[str, float],
    schema_version: int,
    recognised: int = 0,
) -> dict[str, Any]:
    """What made a result, so that it can be made again and compared."""
    params = params_from_json(job.task, job.params)
    # What was thought before is kept beside what it took: the next estimates are made of both.
    estimate = {} if job.estimate is None else {"estimate": asdict(job.estimate)}
    return {
        "job": job.id,
        "documents": list(document_hashes(params)),
        "checkpoint": engine.name,
        "weights_sha256": engine.weights_sha256,
        "code": f"mmapp {__version__}",
        "schema_version": schema_version,
        "prompt_sha256": usage["prompt_sha256"],
        "calibration": calibrations.in_record(engine.profile, job.task),
        "params": dict(job.params),
        # Nothing is sampled: the same input gives the same result.
        "seed": None,
        "dtype": engine.dtype,
        "device": engine.device,
        "durations_s": {
            name: round(seconds, 3)
            for name, seconds in {**usage["durations_s"], **durations_s}.items()
        },
        "tokens": dict(usage["tokens"]),
        **({"recognised": recognised} if recognised else {}),
        **estimate,
        "attempt": job.attempts,
        "worker": worker,
    }


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

"""Pure rules about results: what a result depends on, how it is listed, and what made it.

Called by `jobs`. Nothing here is stored or refused; the same values always give the same key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from mmapp import __version__
from mmapp.types import AskParams, Engine, Job, Listing, Params, SummarizeParams, TaskName

#: Longest headline of a list, in characters.
HEADLINE = 200
#: The headline of a question that the document does not answer.
NOT_FOUND = "not in this document"


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
    return Listing(**{**stored, "photos": tuple(stored["photos"])})


def document_hashes(params: Params) -> tuple[str, ...]:
    return params.photos if isinstance(params, Listing) else (params.document,)


def headline(task: TaskName, payload: Mapping[str, Any]) -> str:
    """One line for a list of results."""
    if task is TaskName.CHECK_LISTING:
        return f"{payload['verdict']} {payload['score']:.2f}"
    if task is TaskName.ASK and not payload["found"]:
        return NOT_FOUND
    quoted = payload["answer" if task is TaskName.ASK else "summary"]
    return plain(" ".join(" ".join(one["text"] for one in quoted).split()))[:HEADLINE]


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
    engine: Engine,
    worker: str,
    usage: Mapping[str, Any],
    durations_s: Mapping[str, float],
    schema_version: int,
) -> dict[str, Any]:
    """What made a result, so that it can be made again and compared."""
    params = params_from_json(job.task, job.params)
    return {
        "job": job.id,
        "documents": list(document_hashes(params)),
        "checkpoint": engine.name,
        "weights_sha256": engine.weights_sha256,
        "code": f"mmapp {__version__}",
        "schema_version": schema_version,
        "prompt_sha256": usage["prompt_sha256"],
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
        "attempt": job.attempts,
        "worker": worker,
    }


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

"""An engine that is a model at a server: the OpenAI API over HTTP, for those who outgrow a machine.

It speaks chat completions, with images as data URLs and answers streamed. What it promises is what
such a server can be held to: an answer's probability is that of its first token, as the server
lists it, so answers to one question must begin differently; constrained answers are JSON under a
schema. Where the server says how it cuts text (`/tokenize`: llama.cpp, vLLM), tokens are counted by
it, else bytes are, of which there are never fewer than tokens.

A request that is refused for now (429, 5xx), broken off or met with silence is tried again, after
twice the wait each time or as long as the server asks for. Everything else that the server cannot
do is a `RemoteError` that says what to change. Called by `workers.models`, not `model.load`.
"""

from __future__ import annotations

import base64
import io
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

from mmapp.checkpoints import identify_remote
from mmapp.errors import MmappError
from mmapp.logs import get_logger
from mmapp.types import OnTokens

if TYPE_CHECKING:
    from PIL.Image import Image

    from mmapp.config import Settings
    from mmapp.types import Continuation

#: How many tokens a server is asked to list at a place; OpenAI lists no more.
TOP_LOGPROBS = 20
#: Seconds before the second try; each further wait is twice as long, up to the last.
FIRST_WAIT_S, LAST_WAIT_S = 0.5, 30.0
CONNECT_S = 10.0
#: Texts whose tokens are remembered.
COUNTED = 4096

TRY_AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504})

log = get_logger(__name__)


class RemoteError(MmappError):
    """The server can't be reached, or can't do what is asked of it; the message says what to do."""

    code = "engine_server"
    exit_code = 1


class ServerDown(RemoteError):
    """The server was asked several times and did not answer."""

    may_pass = True


@dataclass(frozen=True, slots=True)
class RemotePrefix:
    """A prompt that many questions share: sent again with each, and cached by the server if it
    caches."""

    content: tuple[Mapping[str, Any], ...]  #: parts of the user's message
    length: int  #: tokens, at most; images are not counted


class RemoteEngine:
    """A model at a server, as tasks see it."""

    def __init__(
        self,
        url: str,
        model: str,
        *,
        key: str = "",
        context: int = 0,
        silence_s: float = 300.0,
        tries: int = 5,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """`url` ends in /v1. `context` in tokens; 0 asks the server."""
        known = identify_remote(url, model)
        self.name, self.weights_sha256 = known.name, known.weights_sha256
        self.profile = known.profile
        self.dtype, self.device = "remote", urlsplit(url).netloc
        self._url, self._tries, self._pause = url.rstrip("/"), tries, pause
        self._silence_s = silence_s
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(silence_s, connect=min(CONNECT_S, silence_s)),
        )
        self._tokenizes: bool | None = None
        self._counted = lru_cache(COUNTED)(self._count)
        self.context_length = context or self._context()

    @classmethod
    def from_settings(cls, settings: Settings) -> RemoteEngine:
        return cls(
            settings.engine_url,
            settings.engine_model,
            key=settings.engine_key.get_secret_value(),
            context=settings.engine_context,
            silence_s=settings.engine_seconds,
            tries=settings.engine_tries,
        )

    def prepare(self) -> None:
        """Nothing is loaded here."""

    def count_tokens(self, text: str) -> int:
        """As the server counts; its bytes, which are never fewer, where it does not tell."""
        return self._counted(text)

    def prefill(
        self,
        parts: Sequence[str | Image],
        on_progress: OnTokens | None = None,
        *,
        after: RemotePrefix | None = None,
    ) -> RemotePrefix:
        """Sends nothing yet: the parts go out with each question."""
        before = after or RemotePrefix((), 0)
        length = sum(self.count_tokens(part) for part in parts if isinstance(part, str))
        length += before.length
        if on_progress is not None:
            on_progress(before.length, length)
            on_progress(length, length)
        return RemotePrefix((*before.content, *(_content(part) for part in parts)), length)

    def score(
        self,
        prefix: RemotePrefix,
        continuations: Sequence[Continuation],
        on_progress: OnTokens | None = None,
    ) -> list[float]:
        """The log-probability of each answer's beginning, one request for each question.

        An answer that the server does not list is less likely than all that it lists: it gets the
        least of these, which is more than it has.
        """
        answers: dict[str, list[str]] = {}
        for continuation in continuations:
            if isinstance(continuation, str):
                raise RemoteError(
                    "a server that chats can't score text without a question: give (question, "
                    "answer), or load the checkpoint here (unset MMAPP_ENGINE_URL)"
                )
            answers.setdefault(continuation[0], []).append(continuation[1])
        report = on_progress or _ignore
        found: dict[tuple[str, str], float] = {}
        for done, (question, offered) in enumerate(answers.items()):
            report(done, len(answers))
            scores = beginnings(self._first_tokens(prefix, question), offered, self.name)
            found |= {(question, answer): score for answer, score in scores.items()}
        report(len(answers), len(answers))
        return [found[c[0], c[1]] for c in continuations]

    def prefill_many(
        self, prompts: Sequence[Sequence[str | Image]], on_progress: OnTokens | None = None
    ) -> list[RemotePrefix]:
        """As `prefill` of each."""
        prefixes = [self.prefill(parts) for parts in prompts]
        length = sum(prefix.length for prefix in prefixes)
        (on_progress or _ignore)(length, length)
        return prefixes

    def score_many(
        self,
        asked: Sequence[tuple[RemotePrefix | Sequence[str | Image], Sequence[Continuation]]],
        on_progress: OnTokens | None = None,
    ) -> list[list[float]]:
        """As `score` of each pair, one after another."""
        report, done = on_progress or _ignore, 0
        counts = [len({continuation[0] for continuation in each}) for _, each in asked]
        scores: list[list[float]] = []
        for (before, continuations), count in zip(asked, counts, strict=True):
            prefix = before if isinstance(before, RemotePrefix) else self.prefill(before)

            def on_scored(some: int, _total: int, /, before: int = done) -> None:
                report(before + some, sum(counts))

            scores.append(self.score(prefix, continuations, on_scored))
            done += count
        return scores

    def generate(
        self,
        prefix: RemotePrefix,
        prompt: str,
        *,
        max_tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int | None = None,
        allowed: Sequence[str] | None = None,
        on_token: Callable[[str], None] | None = None,
    ) -> str:
        """The answer, streamed; with `allowed`, exactly one of these strings, told when it is
        whole. If `on_token` raises, the connection is closed and writing ends there."""
        body = {
            **self._asked(prefix, prompt),
            "max_tokens": max_tokens,
            "temperature": temperature,
            "top_p": top_p,
            **({} if seed is None else {"seed": seed}),
        }
        tell = on_token or _hear_nothing
        if allowed is None:
            return self._streamed(body, tell)
        answer = self._chosen(body, allowed)
        tell(answer)
        return answer

    def close(self) -> None:
        self._client.close()

    def _asked(self, prefix: RemotePrefix, question: str) -> dict[str, Any]:
        content = [*prefix.content, _content(question)]
        return {"model": self.name, "messages": [{"role": "user", "content": content}]}

    def _first_tokens(self, prefix: RemotePrefix, question: str) -> dict[str, float]:
        """The likeliest first tokens of an answer, and their log-probabilities."""
        answer = self._post(
            "/chat/completions",
            {
                **self._asked(prefix, question),
                "max_tokens": 1,
                "temperature": 0.0,
                "logprobs": True,
                "top_logprobs": TOP_LOGPROBS,
            },
        )
        try:
            listed = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
            tokens = {each["token"]: float(each["logprob"]) for each in listed}
        except (KeyError, IndexError, TypeError, ValueError):
            tokens = {}
        if not tokens:
            raise RemoteError(
                f"{self.device} tells no log-probabilities for {self.name}, which verdicts and "
                "choices are made of: use a server that does (llama.cpp, vLLM), or a checkpoint "
                "here (unset MMAPP_ENGINE_URL)"
            )
        return tokens

    def _chosen(self, body: Mapping[str, Any], allowed: Sequence[str]) -> str:
        """One of the allowed strings, by a JSON schema that the server decodes under."""
        schema = {
            "type": "object",
            "properties": {"answer": {"type": "string", "enum": list(allowed)}},
            "required": ["answer"],
            "additionalProperties": False,
        }
        wanted = {"name": "answer", "strict": True, "schema": schema}
        form = {"type": "json_schema", "json_schema": wanted}
        answer = self._post("/chat/completions", {**body, "response_format": form})
        try:
            chosen = json.loads(answer["choices"][0]["message"]["content"])["answer"]
        except (KeyError, IndexError, TypeError, ValueError):
            chosen = None
        if chosen not in allowed:
            raise RemoteError(
                f"{self.device} did not keep to the {len(allowed)} allowed answers: raise "
                "max_tokens, or use a server that decodes under a JSON schema (llama.cpp, vLLM)"
            )
        return str(chosen)

    def _streamed(self, body: Mapping[str, Any], tell: Callable[[str], None]) -> str:
        """Once text has come, a broken connection is an error and no reason to begin again."""
        written: list[str] = []

        def read(response: httpx.Response) -> None:
            for piece in _pieces(response.iter_lines()):
                written.append(piece)
                tell(piece)

        self._send("POST", "/chat/completions", {**body, "stream": True}, read, lambda: not written)
        return "".join(written)

    def _count(self, text: str) -> int:
        if self._tokenizes is not False:
            told = self._count_there(text)
            self._tokenizes = told is not None
            if told is not None:
                return told
            log.warning("tokens counted as bytes", server=self.device)
        return len(text.encode())

    def _count_there(self, text: str) -> int | None:
        """Each server finds its own key of the text; None where there is no such verb."""
        body = {"model": self.name, "content": text, "prompt": text, "add_special_tokens": False}
        try:
            tokens = self._post("/tokenize", body, of_api=False).get("tokens")
        except RemoteError:
            if self._tokenizes:
                raise
            return None
        return len(tokens) if isinstance(tokens, list) else None

    def _context(self) -> int:
        """vLLM tells with the model, llama.cpp with its properties."""
        listed = self._get("/models").get("data") or []
        ours = [each for each in listed if each.get("id") == self.name]
        if listed and not ours:
            names = ", ".join(str(each.get("id")) for each in listed[:10])
            raise RemoteError(
                f"{self.device} has no model {self.name}: set MMAPP_ENGINE_MODEL to one of {names}"
            )
        length = ours[0].get("max_model_len") if ours else None
        if not length:
            try:
                properties = self._get("/props", of_api=False)
                length = (properties.get("default_generation_settings") or {}).get("n_ctx")
            except RemoteError:
                length = None
        if not isinstance(length, int) or length < 1:
            raise RemoteError(
                f"{self.device} does not tell the context of {self.name}: set MMAPP_ENGINE_CONTEXT "
                "to its length in tokens"
            )
        return length

    def _get(self, path: str, *, of_api: bool = True) -> dict[str, Any]:
        return self._json("GET", path, None, of_api=of_api)

    def _post(self, path: str, body: Mapping[str, Any], *, of_api: bool = True) -> dict[str, Any]:
        return self._json("POST", path, body, of_api=of_api)

    def _json(
        self, method: str, path: str, body: Mapping[str, Any] | None, *, of_api: bool
    ) -> dict[str, Any]:
        got: list[bytes] = []
        self._send(method, path, body, lambda response: got.append(response.read()), of_api=of_api)
        try:
            value = json.loads(got[-1])
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise RemoteError(
                f"{self.device} answered {path} with something else than a JSON object: is "
                "MMAPP_ENGINE_URL the /v1 of an OpenAI API?"
            )
        return value

    def _send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        read: Callable[[httpx.Response], None],
        may_repeat: Callable[[], bool] = lambda: True,
        *,
        of_api: bool = True,
    ) -> None:
        """Sends until it is answered; `read` gets the answer while the connection is open."""
        url = (self._url if of_api else self._url.removesuffix("/v1")) + path
        wait = FIRST_WAIT_S
        for number in range(1, self._tries + 1):
            asked_for = None
            try:
                with self._client.stream(method, url, json=body) as response:
                    if response.is_success:
                        return read(response)
                    response.read()
                    fault = f"answered {response.status_code}: {_said(response)}"
                    if response.status_code not in TRY_AGAIN:
                        raise RemoteError(f"{self.device} {fault}{_remedy(response.status_code)}")
                    asked_for = _seconds(response.headers.get("Retry-After"))
            except httpx.TimeoutException:
                fault = f"was silent for {self._silence_s:g} s (MMAPP_ENGINE_SECONDS)"
            except httpx.TransportError as error:
                fault = f"broke off or can't be reached ({str(error) or type(error).__name__})"
            except httpx.InvalidURL as error:
                raise RemoteError(f"MMAPP_ENGINE_URL is no address: {error}") from None
            if not may_repeat():
                raise RemoteError(f"{self.device} {fault} in the middle of an answer: ask again")
            if number < self._tries:
                log.warning("server tried again", server=self.device, fault=fault, try_=number)
                self._pause(min(wait if asked_for is None else asked_for, LAST_WAIT_S))
                wait *= 2
        raise ServerDown(
            f"{self.device} {fault}, {self._tries} times: look whether the server runs and has "
            "room, or raise MMAPP_ENGINE_TRIES or MMAPP_ENGINE_SECONDS"
        )


def beginnings(tokens: Mapping[str, float], answers: Sequence[str], model: str) -> dict[str, float]:
    """What the first tokens say of each answer: the sum of those that it begins with.

    Refuses answers that a token can't tell apart, and a model of whose tokens none begins any.
    """
    wanted = set(answers)
    shares: dict[str, list[float]] = {answer: [] for answer in wanted}
    for token, logprob in tokens.items():
        word = token.strip()
        begun = [answer for answer in wanted if word and answer.strip().startswith(word)]
        if len(begun) > 1:
            raise RemoteError(
                f"the answers {', '.join(sorted(begun))} begin with the same token {word!r}, and a "
                "server tells no more: use answers that begin differently"
            )
        if begun:
            shares[begun[0]].append(logprob)
    if not any(shares.values()):
        raise RemoteError(
            f"{model} begins with none of the answers {', '.join(sorted(wanted))}: use a model "
            "that follows instructions"
        )
    least = min(tokens.values())
    return {answer: _log_sum(some) if some else least for answer, some in shares.items()}


def _log_sum(logprobs: Sequence[float]) -> float:
    most = max(logprobs)
    return most + math.log(sum(math.exp(each - most) for each in logprobs))


def _content(part: str | Image) -> dict[str, Any]:
    """A part of a message: text, or an image as a data URL, without loss."""
    if isinstance(part, str):
        return {"type": "text", "text": part}
    data = io.BytesIO()
    part.save(data, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


def _pieces(lines: Iterator[str]) -> Iterator[str]:
    """The texts of a stream of events; it must end with its own mark."""
    for line in lines:
        field, _, data = line.partition(":")
        if field != "data":
            continue
        if data.strip() == "[DONE]":
            return
        try:
            event = json.loads(data)
            choices = event.get("choices") or []
            piece = choices[0].get("delta", {}).get("content") if choices else None
        except (ValueError, AttributeError, IndexError) as error:
            raise httpx.RemoteProtocolError(f"an event is no JSON: {error}") from None
        if event.get("error"):
            raise httpx.RemoteProtocolError(str(event["error"]))
        if piece:
            yield piece
    raise httpx.RemoteProtocolError("the stream ended without its mark")


def _said(response: httpx.Response) -> str:
    """What the server says is wrong, in one line."""
    try:
        told = response.json()["error"]
        message = told["message"] if isinstance(told, dict) else told
    except (ValueError, KeyError, TypeError):
        message = response.text
    return " ".join(str(message).split())[:300] or "nothing more"


def _remedy(status: int) -> str:
    if status in (401, 403):
        return "; set MMAPP_ENGINE_KEY to a key that it takes"
    if status == 404:
        return "; set MMAPP_ENGINE_URL to the /v1 of an OpenAI API, MMAPP_ENGINE_MODEL to its model"
    return ""


def _seconds(header: str | None) -> float | None:
    try:
        return max(0.0, float(header)) if header is not None else None
    except ValueError:  # a date: our own wait does
        return None


def _ignore(done: int, total: int, /) -> None:
    """Nobody watches."""


def _hear_nothing(text: str) -> None:
    """Nobody listens."""

"""The engine at a server: its failures against a real HTTP server that fails, its answers against
llama.cpp's own server with a small model that we exported."""

from __future__ import annotations

import base64
import io
import json
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mmapp import tasks
from mmapp.checkpoints import answering
from mmapp.config import Settings
from mmapp.errors import CheckpointProblem
from mmapp.types import MediaType, SummarizeParams, TaskName
from tests.tasks.fakes import Reports, document, quotes_stand, text_page
from workers.remote import RemoteEngine, RemoteError, beginnings

Answer = Callable[[BaseHTTPRequestHandler], None]


class Scripted:
    """A server that does, request by request, what the test says."""

    def __init__(self) -> None:
        self.script: list[Answer] = []
        self.otherwise: Answer = reply({}, 500)
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.keys: list[str | None] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                told: dict[str, Any] = {"data": [{"id": "looker", "max_model_len": 4096}]}
                reply(told)(self)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.asked.append((self.path, body))
                outer.keys.append(self.headers["Authorization"])
                if self.path == "/tokenize":
                    return reply({"tokens": body["content"].split()})(self)
                return (outer.script.pop(0) if outer.script else outer.otherwise)(self)

            def log_message(self, *args: Any) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, args=[0.02], daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def reply(value: Any, status: int = 200, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        data = json.dumps(value).encode()
        handler.send_response(status)
        for name, text in headers.items():
            handler.send_header(name.replace("_", "-"), text)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    return answer


def stall(handler: BaseHTTPRequestHandler) -> None:  # noqa: ARG001 - it says nothing
    time.sleep(0.6)


def drop(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)


def stream(*pieces: str, ends: bool = True) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.end_headers()
        for piece in pieces:
            event = {"choices": [{"delta": {"content": piece}}]}
            handler.wfile.write(b": alive\n\ndata: " + json.dumps(event).encode() + b"\n\n")
        if ends:
            handler.wfile.write(b"data: [DONE]\n\n")

    return answer


def first_tokens(**logprobs: float) -> Answer:
    listed = [{"token": token, "logprob": value} for token, value in logprobs.items()]
    content = [{"token": "", "logprob": 0.0, "top_logprobs": listed}]
    return reply({"choices": [{"logprobs": {"content": content}}]})


@pytest.fixture
def server() -> Iterator[Scripted]:
    server = Scripted()
    yield server
    server.close()


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def engine(server: Scripted, waits: list[float]) -> Iterator[RemoteEngine]:
    engine = RemoteEngine(
        server.url, "looker", key="secret", silence_s=0.3, tries=3, pause=waits.append
    )
    yield engine
    engine.close()


def test_answers_to_a_question_are_scored_by_one_request(
    engine: RemoteEngine, server: Scripted
) -> None:
    server.script = [
        first_tokens(yes=-0.5, Yes=-3.0, no=-2.0), first_tokens(**{" no": -0.1, "ye": -4.0})
    ]  # fmt: skip
    told: list[tuple[int, int]] = []
    pairs = [("a?", "yes"), ("a?", "no"), ("b?", "yes"), ("b?", "no")]
    prefix = engine.prefill(["the cat sat ", Image.new("RGB", (3, 2), "red")])
    assert prefix.length == 3
    scores = engine.score(prefix, pairs, lambda done, total: told.append((done, total)))
    assert scores == pytest.approx([-0.5, -2.0, -4.0, -0.1])
    assert told == [(0, 2), (1, 2), (2, 2)]
    path, body = server.asked[-1]
    assert path == "/v1/chat/completions"
    assert (body["max_tokens"], body["logprobs"], body["top_logprobs"]) == (1, True, 20)
    text, image, question = body["messages"][0]["content"]
    assert (text["text"], question["text"]) == ("the cat sat ", "b?")
    kind, data = image["image_url"]["url"].split(",")
    assert kind == "data:image/png;base64"
    sent = Image.open(io.BytesIO(base64.b64decode(data)))
    assert (sent.size, sent.getpixel((2, 1))) == ((3, 2), (255, 0, 0))
    assert set(server.keys) == {"Bearer secret"}


def test_what_is_read_after_a_prefix_is_sent_behind_it(
    engine: RemoteEngine, server: Scripted
) -> None:
    server.script = [first_tokens(yes=-0.5)]
    document = engine.prefill(["the cat "])
    told: list[tuple[int, int]] = []
    prefix = engine.prefill(["sat on "], lambda *read: told.append(read), after=document)
    engine.score(prefix, [("a mat?", "yes")])
    content = server.asked[-1][1]["messages"][0]["content"]
    assert [one["text"] for one in content] == ["the cat ", "sat on ", "a mat?"]
    assert told == [(document.length, prefix.length), (prefix.length, prefix.length)]


def test_many_are_asked_about_one_after_another(engine: RemoteEngine, server: Scripted) -> None:
    server.script = [first_tokens(yes=score) for score in (-0.5, -1.0, -2.0)]
    told: list[tuple[int, int]] = []
    prefixes = engine.prefill_many([["the cat"], ["sat"]], lambda *read: told.append(read))
    length = sum(prefix.length for prefix in prefixes)
    assert told == [(length, length)]
    told.clear()
    asked: list[tuple[Any, Any]] = [
        (prefixes[0], [("a?", "yes"), ("b?", "yes")]),
        (["the mat"], [("c?", "yes")]),
    ]
    scores = engine.score_many(asked, lambda *done: told.append(done))
    assert scores == [[-0.5, -1.0], [-2.0]]
    assert told == [(0, 3), (1, 3), (2, 3), (2, 3), (3, 3)]


def test_tokens_that_begin_an_answer_are_added_up() -> None:
    found = beginnings({"re": math.log(0.2), " ref": math.log(0.1), "su": -1.0, "x": -9.0},
                       ["refuted", "supported", "unseen"], "m")  # fmt: skip
    assert found["refuted"] == pytest.approx(math.log(0.3))
    assert found["supported"] == -1.0
    assert found["unseen"] == -9.0  # at most: it is not listed


@pytest.mark.parametrize(
    ("answers", "problem"),
    [(["no", "not"], "begin with the same token 'no'"), (["yes", "si"], "none of the answers")],
)
def test_answers_that_cannot_be_told_apart_are_refused(answers: list[str], problem: str) -> None:
    with pytest.raises(RemoteError, match=problem):
        beginnings({"no": -0.1, "maybe": -3.0}, answers, "m")


@pytest.mark.parametrize(
    ("faults", "expected_waits"),
    [
        ([reply({}, 429, Retry_After="7")], [7.0]),
        ([reply({"error": {"message": "busy"}}, 503), drop], [0.5, 1.0]),
        ([stall, reply({}, 500)], [0.5, 1.0]),
    ],
    ids=["429", "503 and dropped", "silent and 500"],
)
def test_what_fails_for_now_is_tried_again(
    faults: list[Answer], expected_waits: list[float], engine: RemoteEngine, server: Scripted,
    waits: list[float],
) -> None:  # fmt: skip
    server.script = [*faults, first_tokens(yes=-0.25)]
    assert engine.score(engine.prefill(["cat"]), [("a?", "yes")]) == [-0.25]
    assert waits == expected_waits


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        (stall, r"was silent for 0.3 s \(MMAPP_ENGINE_SECONDS\), 3 times: .* MMAPP_ENGINE_TRIES"),
        (drop, "broke off or can't be reached"),
        (reply({"error": {"message": "no memory"}}, 500), "answered 500: no memory, 3 times"),
    ],
)
def test_what_fails_for_good_says_what_to_do(
    fault: Answer, problem: str, engine: RemoteEngine, server: Scripted
) -> None:
    server.script = [fault] * 3
    with pytest.raises(RemoteError, match=problem):
        engine.score(engine.prefill(["cat"]), [("a?", "yes")])
    assert not server.script


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (reply({"error": {"message": "bad key"}}, 401), "bad key; set MMAPP_ENGINE_KEY"),
        (reply({}, 404), "set MMAPP_ENGINE_URL to the /v1"),
        (reply({"error": "image input is not supported"}, 400), "image input is not supported"),
        (reply({"choices": [{"message": {"content": "yes"}}]}), "tells no log-probabilities"),
        (reply(["?"]), "something else than a JSON object"),
    ],
)
def test_what_the_server_cannot_do_is_said_at_once(
    answer: Answer, problem: str, engine: RemoteEngine, server: Scripted, waits: list[float]
) -> None:
    server.script = [answer]
    with pytest.raises(RemoteError, match=problem):
        engine.score(engine.prefill(["cat"]), [("a?", "yes")])
    assert waits == []


def test_an_answer_is_streamed(engine: RemoteEngine, server: Scripted) -> None:
    server.script = [reply({}, 502), stream("the ", "文件", " sat")]
    told: list[str] = []
    prefix = engine.prefill(["cat"])
    written = engine.generate(prefix, "what?", max_tokens=9, seed=4, on_token=told.append)
    assert written == "the 文件 sat"
    assert told == ["the ", "文件", " sat"]
    body = server.asked[-1][1]
    assert (body["stream"], body["max_tokens"], body["seed"]) == (True, 9, 4)


def test_half_an_answer_is_no_answer(
    engine: RemoteEngine, server: Scripted, waits: list[float]
) -> None:
    server.script = [stream("the ", ends=False)]
    with pytest.raises(RemoteError, match="in the middle of an answer"):
        engine.generate(engine.prefill(["cat"]), "what?", max_tokens=9)
    assert waits == []


def test_who_listens_may_stop(engine: RemoteEngine, server: Scripted) -> None:
    def stop(text: str) -> None:
        raise InterruptedError(text)

    server.script = [stream("the ", "cat")]
    with pytest.raises(InterruptedError, match="the "):
        engine.generate(engine.prefill(["cat"]), "what?", max_tokens=9, on_token=stop)


@pytest.mark.parametrize("content", ["no idea", '{"answer": "perhaps"}', "{}"])
def test_an_answer_outside_those_allowed_is_refused(
    content: str, engine: RemoteEngine, server: Scripted
) -> None:
    server.script = [reply({"choices": [{"message": {"content": content}}]})]
    with pytest.raises(RemoteError, match="did not keep to the 2 allowed answers"):
        engine.generate(engine.prefill(["cat"]), "?", max_tokens=9, allowed=["yes", "no"])


def test_what_stands_for_the_weights(engine: RemoteEngine, server: Scripted) -> None:
    here = Path("nowhere")
    assert answering(here, here, server.url, "looker").weights_sha256 == engine.weights_sha256
    assert answering(here, here, server.url, "other").weights_sha256 != engine.weights_sha256
    with pytest.raises(CheckpointProblem, match="MMAPP_ENGINE_MODEL is not set"):
        answering(here, here, server.url, "")
    with pytest.raises(RemoteError, match="has no model other: set MMAPP_ENGINE_MODEL to one of l"):
        RemoteEngine(server.url, "other")


def test_a_summary_is_made_at_a_server(engine: RemoteEngine, server: Scripted) -> None:
    def judge(handler: BaseHTTPRequestHandler) -> None:
        question = server.asked[-1][1]["messages"][0]["content"][-1]["text"]
        first_tokens(**{"yes": -0.1, "no": -2.5} if "Honey" in question else {"no": -0.1})(handler)

    server.otherwise = judge
    page = text_page(1, "Bees live in cities too. Honey was found in every second hive. It rains.")
    inputs = document(page, media_type=MediaType.TEXT)
    params = SummarizeParams(inputs.document.sha256, 1)
    payload = tasks.run(TaskName.SUMMARIZE, engine, inputs, params, Reports())
    (sentence,) = payload["summary"]
    assert sentence["text"] == "Honey was found in every second hive."
    assert quotes_stand(payload, [page])


def test_settings_make_the_engine(server: Scripted) -> None:
    settings = Settings(
        _env_file=None, engine_url=server.url, engine_model="looker", engine_key="s", engine_tries=2
    )  # type: ignore[call-arg]
    assert "s" not in str(settings.engine_key)
    assert RemoteEngine.from_settings(settings).context_length == 4096


@pytest.fixture(scope="module")
def llama_cpp(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """llama.cpp's server, and the text that a small random model of ours is written in."""
    xllamacpp = pytest.importorskip(
        "xllamacpp", reason="llama.cpp is not installed: pip install xllamacpp"
    )
    pytest.importorskip("gguf", reason="the package gguf is not installed (extra convert)")
    path = export(tmp_path_factory.mktemp("llama"))
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.model_alias = {"small"}
    params.n_ctx, params.n_parallel, params.warmup = 256, 1, False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    return xllamacpp.Server(params)


def export(folder: Path) -> Path:
    import torch

    from model.__main__ import main
    from model.checkpoint import save_checkpoint
    from model.config import ModelConfig, TextConfig
    from model.convert.tokenizer import LLAMA3_PIECES, from_ranks
    from model.transformer import Transformer

    ranks = {bytes([byte]): byte for byte in range(256)} | {b"th": 256}
    control = ["<|begin_of_text|>", "<|end_of_text|>"]
    torch.manual_seed(0)
    text = TextConfig.dense(
        vocab_size=259, hidden_size=64, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=256,
    )  # fmt: skip
    save_checkpoint(Transformer(ModelConfig(text)), folder / "small")
    from_ranks(ranks, control, LLAMA3_PIECES).save(str(folder / "small" / "tokenizer.json"))
    assert main(["convert", str(folder / "small"), str(folder / "small.gguf")]) == 0
    return folder / "small.gguf"


@pytest.fixture
def served(llama_cpp: Any) -> Iterator[RemoteEngine]:
    engine = RemoteEngine(f"{llama_cpp.listening_address}/v1", "small", silence_s=60)
    yield engine
    engine.close()


def test_llama_cpp_tells_its_context_and_counts_tokens(served: RemoteEngine) -> None:
    assert served.context_length == 256
    assert served.count_tokens("the 文") == 6  # th, and every other byte, is a token


def test_llama_cpp_scores_and_streams(served: RemoteEngine) -> None:
    prefix = served.prefill(["the cat"])
    told: list[str] = []
    written = served.generate(prefix, "?", max_tokens=8, seed=1, on_token=told.append)
    assert "".join(told) == written
    letters = [(("what?"), letter) for letter in map(chr, range(33, 127))]
    listed = served._first_tokens(prefix, "what?")
    assert len(listed) > 1
    scores = served.score(prefix, letters)
    for (_, letter), score in zip(letters, scores, strict=True):
        assert score == pytest.approx(listed.get(letter, min(listed.values())), abs=1e-4)


def test_llama_cpp_keeps_to_the_allowed_answers(served: RemoteEngine) -> None:
    prefix = served.prefill(["the cat"])
    allowed = ["seen", "hidden"]
    assert served.generate(prefix, "?", max_tokens=64, allowed=allowed) in allowed


def test_llama_cpp_says_that_it_cannot_see(served: RemoteEngine) -> None:
    prefix = served.prefill([Image.new("RGB", (4, 4))])
    with pytest.raises(RemoteError, match=r"answered [45]00: .*image"):
        served.generate(prefix, "?", max_tokens=4)

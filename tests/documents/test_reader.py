import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mmapp.documents.quotes import page_text
from mmapp.errors import FileTooLarge, ParseCrash, ParseTimeout
from tests.documents.craft import laughs, line, text_bomb, written

HELLO = written(line(50, 700, "Hello there"))
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")


def hello(reader):
    return page_text(reader.read("hello.pdf", HELLO).pages[0])


def parsers_of(pid):
    """Ids of the live processes below `pid`, children of the parser included."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found += [int(stat.parent.name), *parsers_of(int(stat.parent.name))]
    return found


def gone(pids, within_s=3.0):
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        alive = [pid for pid in pids if Path(f"/proc/{pid}").exists() and not is_zombie(pid)]
        if not alive:
            return True
        time.sleep(0.02)
    return False


def is_zombie(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_file_that_takes_forever_is_stopped_and_the_next_one_is_read(limited):
    reader = limited(parse_seconds=1.0)
    began = time.monotonic()
    with pytest.raises(ParseTimeout, match=r'"laughs.pdf" takes longer than 1 s.*PARSE_SECONDS'):
        reader.read("laughs.pdf", laughs())
    assert time.monotonic() - began < 5
    with pytest.raises(ParseTimeout):
        reader.render(laughs(), 1)
    assert hello(reader) == "Hello there"


@linux
def test_the_process_of_a_stopped_file_is_killed(limited):
    reader = limited(parse_seconds=0.5)
    hello(reader)
    with pytest.raises(ParseTimeout):
        reader.read("laughs.pdf", laughs())
    parser = reader._parser._process.pid
    assert gone(parsers_of(parser))


@linux
def test_a_file_that_takes_too_much_memory_is_refused_and_the_next_one_is_read(limited):
    reader = limited(parse_memory=60_000_000)
    with pytest.raises(ParseCrash, match=r'"bomb.pdf".*60,000,000 bytes.*MMAPP_PARSE_MEMORY'):
        reader.read("bomb.pdf", text_bomb(60))
    assert hello(reader) == "Hello there"


def test_too_many_bytes_are_refused_before_a_process_is_asked(limited):
    reader = limited(max_bytes=100)
    with pytest.raises(FileTooLarge, match=r"\d+ bytes; at most 100 .*MMAPP_MAX_BYTES"):
        hello(reader)
    assert reader._parser is None


def test_a_parser_that_died_is_started_again(limited):
    reader = limited()
    assert hello(reader) == "Hello there"
    before = reader._parser._process
    os.kill(before.pid, signal.SIGKILL)
    before.wait()
    assert hello(reader) == "Hello there"
    assert reader._parser._process.pid != before.pid


@linux
def test_a_parser_that_dies_while_reading_costs_that_file_alone(limited):
    reader = limited(parse_seconds=20)
    hello(reader)
    parser = reader._parser._process.pid
    killer = threading.Timer(0.5, os.kill, (parser, signal.SIGKILL))
    killer.start()
    with pytest.raises(ParseCrash, match=r'"laughs.pdf" died'):
        reader.read("laughs.pdf", laughs())
    killer.join()
    assert hello(reader) == "Hello there"


def test_a_parser_that_cannot_start_says_why(limited, monkeypatch):
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(ParseCrash, match="does not start"):
        hello(limited())


def test_several_threads_read_at_once_and_a_slow_file_holds_up_none(limited):
    reader = limited(parse_seconds=3)
    hello(reader)

    def laugh():
        with pytest.raises(ParseTimeout):
            reader.render(laughs(), 1)

    slow = threading.Thread(target=laugh)
    slow.start()
    began = time.monotonic()
    read = []
    threads = [threading.Thread(target=lambda: read.append(hello(reader))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read == ["Hello there"] * 6
    assert time.monotonic() - began < 2.5
    slow.join()


def test_an_abandoned_reading_frees_its_place(limited):
    reader = limited(parse_seconds=5)
    request = reader._request("a.pdf")
    for _ in range(4):
        answers = reader._answers("a.pdf", request, HELLO)
        next(answers)
        answers.close()
    assert hello(reader) == "Hello there"


@linux
def test_closing_leaves_no_process_and_the_reader_may_be_used_again(limited):
    reader = limited()
    hello(reader)
    parser = reader._parser._process.pid
    reader.close()
    assert gone([parser])
    assert hello(reader) == "Hello there"


def test_warming_starts_the_parser_without_waiting(limited):
    reader = limited()
    began = time.monotonic()
    reader.warm()
    assert time.monotonic() - began < 0.3
    assert reader._parser is not None
    assert hello(reader) == "Hello there"


SCRIPT = """
import multiprocessing, os, sys, threading, time
from pathlib import Path
from mmapp.config import Settings
from mmapp.documents import Reader

assert not {"pymupdf", "PIL", "torch"} & set(sys.modules)
from tests.documents.craft import laughs, line, written
reader = Reader(Settings(_env_file=None, parse_seconds=60))
HELLO = written(line(50, 700, "Hello there"))
hello = lambda: reader.read("a.pdf", HELLO).pages[0].lines[0].text
"""


def script(body):
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT + body],
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    )


@linux
def test_when_the_reading_process_is_killed_its_parser_and_children_end():
    body = """
hello()
threading.Thread(target=lambda: reader.render(laughs(), 1), daemon=True).start()
time.sleep(0.3)
print("reading", flush=True)
time.sleep(60)
"""
    with script(body) as process:
        assert process.stdout.readline() == "reading\n"
        below = parsers_of(process.pid)
        process.kill()
    assert len(below) == 2
    assert gone(below)


def test_a_daemonic_child_that_was_forked_reads_with_a_parser_of_its_own():
    body = """
def child(said):
    said.send(hello())
    reader.close()

print(hello())
ours, theirs = multiprocessing.get_context("fork").Pipe()
process = multiprocessing.get_context("fork").Process(target=child, args=(theirs,), daemon=True)
process.start()
print(ours.recv())
process.join()
print(hello())
reader.close()
"""
    with script(body) as process:
        out, _ = process.communicate(timeout=60)
    assert out.split("\n") == ["Hello there"] * 3 + [""]


def test_a_strange_name_stays_on_one_line(reader):
    name = "a\nb\x1b[31m\udcff" + "x" * 500 + ".pdf"
    document = reader.read(name, HELLO).document
    assert len(document.name) <= 200
    assert document.name.endswith(".pdf")
    assert document.name.isprintable()
    document.name.encode()


def test_the_same_bytes_are_the_same_document_under_any_name(reader):
    first, second = (reader.read(name, HELLO).document for name in ("a.pdf", "b.txt"))
    assert first.sha256 == second.sha256
    assert first.size_bytes == len(HELLO)


@pytest.mark.slow
def test_three_thousand_pages_are_read_in_bounded_memory():
    body = """
import resource
page = b"".join(line(50, 780 - 18 * n, f"Line {n} of some quite ordinary words") for n in range(20))
data = written(*[page] * 3000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
read = reader.read("a.pdf", data)
reader.close()
print(len(read.pages), sum(len(page.lines) for page in read.pages))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1000)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1000)
"""
    with script(body) as process:
        out, _ = process.communicate(timeout=200)
    pages, ours_mb, child_mb = out.split("\n")[:3]
    assert pages == "3000 60000"
    assert int(ours_mb) < 150
    assert int(child_mb) < 250

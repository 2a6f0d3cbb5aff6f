"""The parser: a process that loads the libraries once and forks a limited child for each file.

Started as `python -m mmapp.documents.parser FD` by `reader`, never imported by it. The parent of
the children touches no foreign byte: it takes sockets over its own socket FD, forks, and kills what
overstays. A child has bounds on memory, processor time, files and wall time, reads one file from
its socket, answers in frames and ends. When the reader's process is gone, so are all of these.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import gc
import os
import resource
import selectors
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from PIL import Image

from mmapp.documents import figures, images, ink, text
from mmapp.documents.frames import (
    EDGES_PER_POINT,
    FORKED,
    OCR_DPI,
    ORDER,
    READY,
    Channel,
    ChannelClosed,
)
from mmapp.documents.limits import Limits, out_of_memory, quoted
from mmapp.documents.pdf import Pdf
from mmapp.errors import DocumentError, MmappError, ParseCrash
from mmapp.types import Mark, MediaType, Page, Recognition

#: The reader gives up first, so that it knows why the child ended.
GRACE_S = 0.5
#: Files a child may have open: its socket, and the few that libraries open.
MAX_FILES = 32
#: Dots per inch at which the pages of an encrypted PDF are kept as pictures.
KEPT_DPI = 110
#: Pixels of the white picture of a page that can't be drawn: A4 at those dots.
BLANK_SIZE = (909, 1286)
PR_SET_PDEATHSIG = 1


def main(descriptor: int) -> None:
    control = socket.socket(fileno=descriptor)
    woken, wakes = socket.socketpair()
    woken.setblocking(False)
    wakes.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
    # What is loaded by now is shared by all children, and stays so when they collect garbage.
    gc.freeze()
    try:
        control.sendall(READY)
        _take_orders(control, woken)
    except OSError:
        # The reader's process ended.
        pass


def _take_orders(control: socket.socket, woken: socket.socket) -> None:
    """Fork on demand, and reap and kill in between, until the reader hangs up."""
    deadlines: dict[int, float] = {}
    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ)
    selector.register(woken, selectors.EVENT_READ)
    try:
        while True:
            next_deadline = min(deadlines.values(), default=None)
            wait_s = None if next_deadline is None else max(0.0, next_deadline - time.monotonic())
            ready = [key.fileobj for key, _ in selector.select(wait_s)]
            if woken in ready:
                woken.recv(4096)
            _reap(deadlines)
            if control in ready and not _take_order(control, deadlines):
                return
    finally:
        for pid in deadlines:
            _kill(pid)


def _take_order(control: socket.socket, deadlines: dict[int, float]) -> bool:
    """Fork a child for one file; False when the reader hung up."""
    order, descriptors, _, _ = socket.recv_fds(control, ORDER.size, 1)
    if len(order) != ORDER.size or len(descriptors) != 1:
        return False
    seconds, memory = ORDER.unpack(order)
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        control.close()
        _be_child(descriptors[0], parent, seconds, memory)
    with contextlib.suppress(OSError):
        # Also done by the child; whoever comes first, the group is there when it is killed.
        os.setpgid(pid, pid)
    os.close(descriptors[0])
    deadlines[pid] = time.monotonic() + seconds + GRACE_S
    control.sendall(FORKED)
    return True


def _reap(deadlines: dict[int, float]) -> None:
    for pid, deadline in list(deadlines.items()):
        if time.monotonic() > deadline:
            _kill(pid)
        ended, _ = os.waitpid(pid, os.WNOHANG)
        if ended:
            del deadlines[pid]


def _kill(pid: int) -> None:
    with contextlib.suppress(OSError):
        os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGKILL)


def _be_child(descriptor: int, parent: int, seconds: float, memory: int) -> NoReturn:
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setpgid(0, 0)
        _end_with(parent)
        _limit(seconds, memory)
        with socket.socket(fileno=descriptor) as endpoint:
            _serve(Channel(endpoint, None, sys.maxsize))
        status = 0
    finally:
        os._exit(status)


def _end_with(parent: int) -> None:
    """Die when the parent dies, where the system can (Linux)."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _limit(seconds: float, memory: int) -> None:
    # What libraries say on stderr is about foreign bytes; it must not fill a log.
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    os.close(nowhere)
    _bound(resource.RLIMIT_CORE, 0)
    _bound(resource.RLIMIT_FSIZE, 0)
    _bound(resource.RLIMIT_NOFILE, MAX_FILES)
    _bound(resource.RLIMIT_CPU, int(seconds) + 2)
    _bound(resource.RLIMIT_AS, _address_space() + memory)


def _bound(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    with contextlib.suppress(OSError, ValueError):
        # macOS refuses some kinds; the deadline holds there.
        resource.setrlimit(kind, (value, value))


def _address_space() -> int:
    """Bytes that the libraries take before a file is read."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return 0
    return pages * resource.getpagesize()


def _serve(channel: Channel) -> None:
    """Read one request and its file, and answer."""
    request = channel.receive_json()
    data = channel.receive()
    name, limits = request["name"], Limits(**request["limits"])
    try:
        if request["marks"]:
            marks = [Mark(page, boxes, note) for page, boxes, note in request["marks"]]
            file = Pdf(name, data, request["password"], limits).annotated(marks)
            channel.send_json({"kind": "file"})
            channel.send(file)
        elif request["pictures"]:
            _send_pictures(channel, Pdf(name, data, None, limits))
        elif request["page"]:
            pdf = Pdf(name, data, request["password"], limits)
            picture = pdf.picture(
                request["page"], request["dpi"], with_text=not request["without_text"]
            )
            _send_picture(channel, images.encode(picture))
        else:
            media_type = MediaType(request["media_type"])
            _send_document(channel, name, data, media_type, request["password"], limits)
        channel.send_json({"kind": "done"})
    except MmappError as problem:
        _send_error(channel, problem.code, str(problem))
    except MemoryError:
        _send_error(channel, ParseCrash.code, out_of_memory(name, limits))
    except ChannelClosed:
        # Nobody waits for the answer any more.
        pass
    except Exception as problem:
        reason = " ".join(f"{type(problem).__name__}: {problem}".split())[:200]
        _send_error(
            channel,
            ParseCrash.code,
            f"{quoted(name)} can't be read ({reason}); the reader did not expect this. "
            f"Open it in a viewer and save it anew.",
        )


def _send_pictures(channel: Channel, pdf: Pdf) -> None:
    """Where pictures stand; their bytes stay here."""
    pictures = figures.figures(pdf.painted())
    found = [(one.page, one.box) for one in pictures.found]
    channel.send_json({"kind": "pictures", "found": found, "left_out": pictures.left_out})


def _send_document(
    channel: Channel,
    name: str,
    data: bytes,
    media_type: MediaType,
    password: str | None,
    limits: Limits,
) -> None:
    kept_bytes = 0
    for page, picture in _pages(channel, name, data, media_type, password, limits):
        kept_bytes += len(picture)
        limits.check_pictures(name, kept_bytes)
        _send_page(channel, page)
        if picture:
            _send_picture(channel, picture)


def _pages(
    channel: Channel,
    name: str,
    data: bytes,
    media_type: MediaType,
    password: str | None,
    limits: Limits,
) -> Iterator[tuple[Page, bytes]]:
    """Each page with the picture that has to be kept of it, if any."""
    if media_type.is_text:
        yield from ((page, b"") for page in text.pages(name, data, media_type, limits))
    elif media_type.is_image:
        for number, picture in enumerate(images.pictures(name, data, media_type, limits), 1):
            recognition = ink.of_picture(picture)
            yield Page(number, *picture.size, recognition=recognition), images.encode(picture)
    else:
        pdf = Pdf(name, data, password, limits)
        if pdf.encrypted:
            channel.send_json({"kind": "encrypted"})
        entries = [(one.level, one.title, one.page) for one in pdf.outline()]
        channel.send_json({"kind": "outline", "outline": entries})
        for page in pdf.pages():
            yield page, _kept_picture(pdf, page) if pdf.encrypted else b""


def _kept_picture(pdf: Pdf, page: Page) -> bytes:
    """Of an encrypted file, to be drawn now or never; white where a page can't be drawn."""
    try:
        dpi = KEPT_DPI if page.recognition is Recognition.NOT_NEEDED else OCR_DPI
        return images.encode(pdf.picture(page.number, dpi))
    except DocumentError:
        return images.encode(Image.new("RGB", BLANK_SIZE, "white"))


def _send_page(channel: Channel, page: Page) -> None:
    edges = array.array("i")
    for line in page.lines:
        edges.extend([round(edge * EDGES_PER_POINT) for edge in line.edges])
    lines = [
        (line.text, line.box, line.block, bool(line.edges), line.source) for line in page.lines
    ]
    head = (page.number, page.width, page.height, page.error, page.rotation, page.recognition)
    hidden = [(one.text, one.why, one.box) for one in page.hidden]
    channel.send_json({"kind": "page", "page": head, "lines": lines, "hidden": hidden})
    channel.send(edges.tobytes())


def _send_picture(channel: Channel, picture: bytes) -> None:
    channel.send_json({"kind": "picture"})
    channel.send(picture)


def _send_error(channel: Channel, code: str, message: str) -> None:
    with contextlib.suppress(ChannelClosed):
        channel.send_json({"kind": "error", "code": code, "message": message})


if __name__ == "__main__":
    main(int(sys.argv[1]))

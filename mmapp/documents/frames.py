"""Messages between the process that wants a file read and the child that reads it.

A frame is a length and that many bytes; what they mean follows from the order in which they come,
and structured ones are JSON. Nothing is unpickled: the child handles foreign bytes, so what it says
is data, of limited length, and nothing more.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from typing import Any

#: What goes with a child's socket to the parser: seconds and bytes of memory that it gets.
ORDER = struct.Struct(">dQ")
#: What the parser answers: that its libraries are loaded, that a child has the socket.
READY = b"R"
FORKED = b"F"
#: Hundredths of a point: the edges of characters travel as whole numbers.
EDGES_PER_POINT = 100
#: Dots per inch at which pages are drawn for text recognition.
OCR_DPI = 150
LENGTH = struct.Struct(">Q")
PIECE = 1 << 20


class ChannelClosed(Exception):
    """The other side is gone."""


class ChannelTimeout(Exception):
    """The other side is too slow."""


class BadFrame(Exception):
    """The other side does not keep to the protocol."""


class Channel:
    """Frames over a socket, both ways, until a deadline (`time.monotonic`)."""

    def __init__(self, endpoint: socket.socket, deadline: float | None, max_frame: int) -> None:
        self._endpoint = endpoint
        self._deadline = deadline
        self._max_frame = max_frame

    def send(self, data: bytes | memoryview) -> None:
        try:
            self._wait_at_most()
            self._endpoint.sendall(LENGTH.pack(len(data)))
            view = memoryview(data)
            for start in range(0, len(data), PIECE):
                self._wait_at_most()
                self._endpoint.sendall(view[start : start + PIECE])
        except TimeoutError:
            raise ChannelTimeout from None
        except OSError:
            raise ChannelClosed from None

    def send_json(self, value: Any) -> None:
        # Plain ASCII, so that lone surrogates (broken file names) pass.
        self.send(json.dumps(value, separators=(",", ":")).encode("ascii"))

    def receive(self) -> bytes:
        (length,) = LENGTH.unpack(self._receive_exactly(LENGTH.size))
        if length > self._max_frame:
            raise BadFrame(f"a frame of {length:,} bytes; at most {self._max_frame:,} are taken")
        return self._receive_exactly(length)

    def receive_json(self) -> Any:
        try:
            return json.loads(self.receive())
        except ValueError as problem:
            raise BadFrame(str(problem)) from None

    def _receive_exactly(self, length: int) -> bytes:
        # Grown as bytes come: a claimed length alone takes no memory.
        received = bytearray()
        try:
            while len(received) < length:
                self._wait_at_most()
                piece = self._endpoint.recv(min(PIECE, length - len(received)))
                if not piece:
                    raise ChannelClosed
                received += piece
        except TimeoutError:
            raise ChannelTimeout from None
        except OSError:
            raise ChannelClosed from None
        return bytes(received)

    def _wait_at_most(self) -> None:
        if self._deadline is None:
            return
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise ChannelTimeout
        self._endpoint.settimeout(left)

"""Several hosts on one machine: network namespaces, joined by cables that can be pulled.

The thread that makes a `Network` stands in a namespace of its own meanwhile, and so does every
server that it starts; each `Host` is a namespace beside it, with a hostname and process ids of its
own, so that nothing there can tell that it is the same machine. Skips where that is not permitted.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

#: Where servers listen, and who may come (a network for private use, RFC 1918).
ADDRESS, NETWORK = "10.213.0.1", "10.213.0.0/24"
BRIDGE = "middle"
#: sched.h
CLONE_NEWNET = 0x40000000


class Network:
    """The middle of the star; makes hosts, whose logs are in a folder."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._hosts: list[Host] = []

    def host(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> Host:
        """A host that runs one command, once its cable is plugged in."""
        log = self._logs / f"{name}.log"
        host = Host(name, len(self._hosts) + 2, command, environment, log)
        self._hosts.append(host)
        return host

    def end(self) -> None:
        for host in self._hosts:
            host.end()


class Host:
    """A machine that runs one command."""

    def __init__(
        self,
        name: str,
        number: int,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
    ) -> None:
        self.log = log
        self._cable = f"cable{number}"
        within = f'hostname {name} && read plugged_in && exec "$@"'
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [
                    *("unshare", "--net", "--uts", "--pid", "--fork", "--mount-proc"),
                    *("--kill-child", "sh", "-c", within, "sh", *command),
                ],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=dict(environment),
            )
        self._plug_in(f"10.213.0.{number}/24")
        assert self._process.stdin is not None
        with self._process.stdin as told:
            told.write(b"\n")

    def _plug_in(self, address: str) -> None:
        pid = self._process.pid
        other_end = f"{self._cable}-end"
        _wait_for_namespace(pid)
        _ip("link", "add", self._cable, "type", "veth", "peer", "name", other_end)
        _ip("link", "set", other_end, "netns", str(pid))
        _ip("link", "set", self._cable, "master", BRIDGE, "up")
        inside = ["nsenter", f"--target={pid}", "--net", "ip"]
        for words in (
            ["link", "set", "lo", "up"],
            ["address", "add", address, "dev", other_end],
            ["link", "set", other_end, "up"],
        ):
            subprocess.run([*inside, *words], check=True)

    def cut_off(self) -> None:
        """Pulls the cable: what is sent gets lost, and nobody is told."""
        _ip("link", "set", self._cable, "down")

    def join(self) -> None:
        """Plugs the cable in again."""
        _ip("link", "set", self._cable, "up")

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def network(logs: Path) -> Iterator[Network]:
    """A network of its own for this thread."""
    if not sys.platform.startswith("linux") or not (shutil.which("ip") and shutil.which("unshare")):
        pytest.skip("network namespaces need Linux with iproute2 and util-linux")
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    if libc.unshare(CLONE_NEWNET):
        os.close(home)
        pytest.skip(f"no network namespaces here: {os.strerror(ctypes.get_errno())}")
    made = Network(logs)
    try:
        _ip("link", "set", "lo", "up")
        _ip("link", "add", BRIDGE, "type", "bridge")
        _ip("address", "add", f"{ADDRESS}/24", "dev", BRIDGE)
        _ip("link", "set", BRIDGE, "up")
        yield made
    finally:
        made.end()
        libc.setns(home, CLONE_NEWNET)
        os.close(home)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def _wait_for_namespace(pid: int) -> None:
    """Until the process has left our namespace."""
    ours = Path("/proc/thread-self/ns/net").readlink()
    while Path(f"/proc/{pid}/ns/net").readlink() == ours:
        os.sched_yield()

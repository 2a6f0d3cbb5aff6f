"""Loaded by every Python that starts with this folder on its path: nothing may leave the machine.

A connection or a look-up of a name that is not this machine's is written to $NETWORK_LOG, and
refused.
"""

import ipaddress
import os
import sys
from pathlib import Path
from typing import Any

LOCAL_NAMES = {None, "", "localhost", b"localhost"}


def _is_local(host: Any) -> bool:
    if host in LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(host.decode() if isinstance(host, bytes) else host).is_loopback
    except ValueError:
        return False


def _guard(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else None
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    else:
        return
    if not _is_local(host):
        with Path(os.environ["NETWORK_LOG"]).open("a") as log:
            log.write(f"{event} {host} by {sys.argv}\n")
        raise OSError(f"the tests allow no connection to {host}")


sys.addaudithook(_guard)

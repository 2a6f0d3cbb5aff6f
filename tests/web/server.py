"""The real web process, in an environment in which a connection to another machine is told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from mmapp.config import REPOSITORY, Settings

NETWORK_GUARD = Path(__file__).parent / "network_guard"
PROGRAM = """
from mmapp.config import load_settings
from mmapp.web import serve
serve(load_settings(_env_file=None), lambda url: print(url, flush=True))
"""


def guarded_environment(network_log: Path) -> dict[str, str]:
    """This environment, in which every Python of ours loads the network guard."""
    path = os.pathsep.join((str(NETWORK_GUARD), str(REPOSITORY)))
    return {**os.environ, "PYTHONPATH": path, "NETWORK_LOG": str(network_log)}


class WebServer:
    """`mmapp.web.serve` in its own process; started again, it takes the same port."""

    def __init__(self, settings: Settings, network_log: Path) -> None:
        self.settings = settings
        self.network_log = network_log
        self.url = ""
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        environment = guarded_environment(self.network_log)
        for name in Settings.model_fields:
            environment[f"MMAPP_{name.upper()}"] = str(getattr(self.settings, name))
        with (self.settings.data_dir / "web.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM],
                env=environment,
                cwd=self.settings.data_dir,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        assert self.url, (self.settings.data_dir / "web.log").read_text()
        port = int(self.url.rpartition(":")[2])
        self.settings = self.settings.model_copy(update={"port": port})

    def stop(self) -> int:
        """Ends it as Ctrl-C does; returns the exit status."""
        assert self._process is not None
        self._process.terminate()
        status = self._process.wait(30)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process = None
        return status

    def __enter__(self) -> WebServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: object, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self.stop()

"""The web UI: Gradio pages over `mmapp.jobs`, served on this machine. Called by `mmapp.cli`.

Importing this package imports neither Gradio nor FastAPI; `serve` prepares the environment (no
analytics, no model hub, uploads inside the data folder) and only then imports them.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from mmapp.config import Settings


def serve(settings: Settings, on_ready: Callable[[str], None]) -> None:
    """Blocks until it is told to stop; calls `on_ready` with the address once it answers."""
    uploads = settings.data_dir / "uploads"
    uploads.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["GRADIO_TEMP_DIR"] = str(uploads)
    from mmapp.web.app import run

    run(settings, on_ready)

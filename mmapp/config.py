"""Settings: one frozen value, read from `MMAPP_*` variables and `.env` at the edge of the program.

`MMAPP_NAME_FILE` names a file that holds the value of `MMAPP_NAME`, so that secrets need not stand
in an environment, which other processes and crash reports show; the variable itself counts more.

Only entry points (`cli`, the web process, the worker process) call `load_settings`; everything else
is handed the value. Unknown `MMAPP_*` variables in `.env` are refused: they are typing errors.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from mmapp.types import Role

REPOSITORY = Path(__file__).resolve().parent.parent


#: Folders in the data folder: what workers keep of what they read, and of pictures that they saw.
READINGS, FEATURES = "readings", "features"

#: Every role, as `roles` names them.
ALL_ROLES = ",".join(Role)


def user_data_folder() -> Path:
    """The platform's folder for a user's application data."""
    home = Path.home()
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "mmapp"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", home)) / "mmapp"
    return Path(os.environ.get("XDG_DATA_HOME", home / ".local" / "share")) / "mmapp"


def values_in_files(fields: Iterable[str], environment: Mapping[str, str]) -> dict[str, str]:
    """The settings whose `MMAPP_NAME_FILE` is set; raises `OSError` for what can't be read."""
    named = {name: environment.get(f"MMAPP_{name.upper()}_FILE", "") for name in fields}
    return {name: Path(path).read_text("utf-8").strip() for name, path in named.items() if path}


class Settings(BaseSettings):
    """Every setting, its default, and what it does (docs/settings.md is made from this)."""

    model_config = SettingsConfigDict(env_prefix="MMAPP_", env_file=".env", frozen=True)

    data_dir: Path = Field(
        default_factory=user_data_folder,
        description="Folder of all state: database, files, Redis socket, logs",
    )
    database_url: str = Field("", description="SQLAlchemy URL; empty: SQLite in the data folder")
    blobs_url: str = Field(
        "",
        description="Where files are kept: s3://BUCKET/PREFIX or file:///FOLDER; "
        "empty: in the data folder",
    )
    blobs_endpoint: str = Field(
        "", description="Address of an S3-compatible store; empty: Amazon's, by region"
    )
    blobs_region: str = Field("us-east-1", description="Region of the store")
    blobs_key_id: str = Field(
        "", description="Id of the store's key; empty: AWS_* variables, or the machine's role"
    )
    blobs_secret: SecretStr = Field(SecretStr(""), description="Secret of the store's key")
    blobs_ca: str = Field(
        "", description="PEM file of the authority that signed the store's certificate, if your own"
    )
    blobs_seconds: float = Field(
        30.0,
        description="How long a store that does not answer is asked again, in seconds",
        ge=0,
        le=240,
    )
    blobs_memory_mb: int = Field(
        256,
        description="Memory in which a process keeps files that it has read from S3, in MB",
        ge=0,
    )
    redis_url: str = Field("", description="Redis URL; empty: start the Redis of the wheel")
    checkpoint: Path = Field(
        REPOSITORY / "checkpoints" / "nano", description="Checkpoint folder, Hugging Face layout"
    )
    device: str = Field(
        "auto", description="Where the model runs: auto, cpu, cuda:1, or several: cuda:0,cuda:1"
    )
    dtype: str = Field("auto", description="Weights in memory: auto, bfloat16, float32")
    prefix_memory_mb: int = Field(
        -1,
        description="Memory in which a worker keeps what it has read of documents, for the next "
        "question, in MB; 0: none, -1: a tenth of what is free",
        ge=-1,
    )
    prefix_disk_mb: int = Field(
        -1,
        description="The same on disk, for all workers on the data folder; "
        "-1: a tenth of what is free, at most 10,000",
        ge=-1,
    )
    photo_memory_mb: int = Field(
        256,
        description="Memory in which a worker keeps what it has seen in photos, in MB; 0: none",
        ge=0,
    )
    engine_memory_mb: int = Field(
        0,
        description="Memory for what a worker reads at a time (keys and values), in MB; longer "
        "documents are read in parts; 0: what is free",
        ge=0,
    )
    threads: int = Field(0, description="CPU threads of a worker; 0: all cores", ge=0)
    engine_url: str = Field(
        "",
        description="OpenAI API of a server that answers instead of the checkpoint, to its /v1",
    )
    engine_model: str = Field("", description="The model's name at that server")
    engine_key: SecretStr = Field(SecretStr(""), description="Key of that server, if it wants one")
    engine_context: int = Field(
        0, description="Its context in tokens; 0: what the server says of itself", ge=0
    )
    engine_seconds: float = Field(
        300.0, description="Longest silence of that server, in seconds", gt=0
    )
    engine_tries: int = Field(5, description="Tries of one request to it before a job fails", ge=1)
    workers: int = Field(1, description="Worker processes that `mmapp up` starts", ge=1)
    roles: str = Field(
        ALL_ROLES,
        description="What a worker does, with commas between; all of a job where all three stand",
    )
    feature_disk_mb: int = Field(
        2_000,
        description="Disk on which workers of the role encode keep what they saw in pictures, "
        "for those of the role generate, in MB; 0: none, also in a bucket, which has no limit",
        ge=0,
    )
    worker_events: bool = Field(
        False, description="Workers tell what they do by Celery's events, for Flower"
    )

    host: str = Field("127.0.0.1", description="Address that the web UI binds to")
    port: int = Field(7860, description="Port of the web UI; taken ports are skipped", ge=0)

    max_bytes: int = Field(200_000_000, description="Largest file, bytes")
    max_pages: int = Field(5_000, description="Most pages (PDF) or frames (TIFF, GIF) of a file")
    max_pixels: int = Field(100_000_000, description="Most pixels of one image or rendered page")
    max_characters: int = Field(20_000_000, description="Most characters of text in a file")
    parse_seconds: float = Field(120.0, description="Longest time to read one file, seconds")
    parse_memory: int = Field(2_000_000_000, description="Most memory to read one file, bytes")
    ocr: Literal["auto", "off", "always"] = Field(
        "auto",
        description="Text recognition: of pages whose text layer lacks words, of none, of all",
    )
    ocr_seconds: float = Field(
        60.0, description="Longest time to recognise one page, seconds", gt=0
    )
    ocr_memory: int = Field(
        3_000_000_000, description="Most memory to recognise one page, bytes", gt=0
    )
    ocr_pages: int = Field(1_000, description="Most pages of a document that are recognised", ge=0)
    threshold: float = Field(
        0.0,
        description="P(agree) that a listing's verdict needs, 0.5 to 1; 0: as the checkpoint says",
        ge=0,
        lt=1,
    )
    max_photos: int = Field(12, description="Most photos of one listing")
    max_upload_files: int = Field(50, description="Most files in one upload")
    max_batch_files: int = Field(200_000, description="Most files in one zip of a batch")
    max_batch_bytes: int = Field(
        20_000_000_000, description="Most bytes that the zip of a batch unpacks to"
    )

    user: str = Field("local", description="Whose jobs are submitted here; users take turns")
    user_header: str = Field(
        "",
        description="Header in which a proxy that checks people names the user, "
        "e.g. X-Forwarded-User; empty: none",
    )
    max_waiting: int = Field(
        1_000_000, description="Most jobs that wait at a time; 0: no limit", ge=0
    )
    max_waiting_per_user: int = Field(
        250_000, description="Most jobs of one user that wait at a time; 0: no limit", ge=0
    )
    lease_seconds: float = Field(20.0, description="A silent worker's job is taken over after this")
    stall_seconds: float = Field(
        1800.0, description="A job without progress for so long is stopped with its worker", gt=0
    )
    sweep_seconds: float = Field(5.0, description="How often lost jobs are looked for")
    max_attempts: int = Field(
        3, description="Attempts at a job that kills workers or meets what may pass", ge=1
    )
    job_seconds: float = Field(6 * 3600.0, description="Hard limit for one attempt of one job")
    log_level: str = Field("INFO", description="Least severe log line that is written")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  (ours are other files)
    ) -> tuple[Any, ...]:
        def files() -> dict[str, str]:
            return values_in_files(settings_cls.model_fields, os.environ)

        return init_settings, env_settings, files, dotenv_settings

    @field_validator("roles")
    @classmethod
    def _known_roles(cls, value: str) -> str:
        """Each once, in their order; refuses what is no role, and none at all."""
        told = {name.strip() for name in value.split(",")} - {""}
        if not told or told - {*Role}:
            raise ValueError(f"{value!r}: name some of {ALL_ROLES}, with commas between")
        return ",".join(role for role in Role if role in told)

    @property
    def worker_roles(self) -> tuple[Role, ...]:
        """What a worker with these settings does."""
        return tuple(Role(name) for name in self.roles.split(","))

    @property
    def asks_model(self) -> bool:
        """Whether a worker with these settings loads any part of a model."""
        return self.worker_roles != (Role.INGEST,)

    @property
    def recognition(self) -> str:
        """What decides which words in pictures are read, for the key of a result."""
        return f"{self.ocr} {self.ocr_pages} {self.ocr_seconds:g} {self.ocr_memory}"

    @property
    def sqlalchemy_url(self) -> str:
        return self.database_url or f"sqlite:///{self.data_dir / 'mmapp.sqlite3'}"


def load_settings(**overrides: object) -> Settings:
    """Settings of this process; raises `pydantic.ValidationError` with the variable's name."""
    return Settings(**overrides)  # type: ignore[arg-type]

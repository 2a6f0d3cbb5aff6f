"""What a worker works with: the engine, the vision encoder alone, or a model at a server.

Imported by those workers only whose roles need one of them, because this is where torch comes in.
Called by `workers.child`; refuses what the model refuses, and an encoder that may keep nothing.
"""

from __future__ import annotations

from pathlib import Path

import torch

import model
from mmapp.config import FEATURES, Settings
from mmapp.errors import CheckpointProblem
from mmapp.storage import open_shelf
from mmapp.types import Role
from model import PrefixStore
from model.features import Shelf
from workers.capacity import Room
from workers.readings import MB, open_store
from workers.remote import RemoteEngine

Loaded = model.Engine | model.Encoder | RemoteEngine


def load(settings: Settings) -> tuple[Loaded, Room | None, PrefixStore | None]:
    """What the settings' roles, which are more than ingest, work with; the room that an engine has
    for what it reads, and where it keeps what it has read."""
    if settings.threads:
        torch.set_num_threads(settings.threads)
    if Role.GENERATE not in settings.worker_roles:
        return _encoder(settings), None, None
    if settings.engine_url:
        remote = RemoteEngine.from_settings(settings)
        return remote, Room(settings, remote), None
    return _engine(settings)


def _engine(settings: Settings) -> tuple[model.Engine, Room, PrefixStore | None]:
    engine = model.load(
        settings.checkpoint,
        dtype=settings.dtype,
        device=settings.device,
        feature_bytes=settings.photo_memory_mb * MB,
    )
    engine.prepare()
    # What memory is free is known when the weights are there.
    room = Room(settings, engine)
    engine.prefixes = open_store(settings, engine.device)
    if Role.ENCODE not in settings.worker_roles and settings.feature_disk_mb:
        engine.share_features(_features(settings))
    return engine, room, engine.prefixes


def _encoder(settings: Settings) -> model.Encoder:
    if settings.engine_url:
        raise CheckpointProblem(
            "The model at MMAPP_ENGINE_URL sees pictures by itself: leave out the role encode"
        )
    if not settings.feature_disk_mb:
        raise CheckpointProblem(
            "MMAPP_FEATURE_DISK_MB is 0, so a worker of the role encode may keep nothing for those"
            " of the role generate: raise it, or leave out the role encode"
        )
    return model.load_encoder(
        settings.checkpoint,
        dtype=settings.dtype,
        device=settings.device,
        features=_features(settings),
        disk_bytes=settings.feature_disk_mb * MB,
    )


def _features(settings: Settings) -> Path | Shelf:
    """Where encode workers leave what they saw: with the files, if those are in a bucket, else in
    the data folder."""
    shelf = open_shelf(settings)
    if shelf is not None:
        return shelf
    return settings.data_dir.expanduser().resolve() / FEATURES

"""Blobs: the bytes of documents and page pictures, each named by its sha256, in a folder or at S3.

Only `jobs` calls it; what may be stored was decided in `documents`. A name that is no sha256 is
refused, so no path can leave the store.
"""

from mmapp.storage.blobs import SHA256, Blobs, Stored, check, open_blobs
from mmapp.storage.folder import Folder

__all__ = ["SHA256", "Blobs", "Folder", "Stored", "check", "open_blobs"]

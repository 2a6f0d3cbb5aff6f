"""Blobs: the bytes of documents and page pictures, each named by its sha256, in a folder or at S3.

`jobs` calls it; what may be stored was decided in `documents`. A name that is no sha256 is refused,
so no path can leave the store. Beside the blobs of a bucket stands a shelf for what workers saw in
pictures, which they call themselves.
"""

from mmapp.storage.blobs import SHA256, Blobs, Stored, check, open_blobs
from mmapp.storage.folder import Folder
from mmapp.storage.shelf import BucketShelf, open_shelf

__all__ = [
    "SHA256",
    "Blobs",
    "BucketShelf",
    "Folder",
    "Stored",
    "check",
    "open_blobs",
    "open_shelf",
]

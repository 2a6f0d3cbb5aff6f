"""Bytes -> Document: what kind of file it is, its pages' words with boxes, and clean pictures.

Files are foreign. They are compared as bytes here (`sniff`), and opened only in a child process
with limits (`parser`), which `Reader` starts and asks. Refused with what to do: empty, corrupt,
encrypted, too large, too slow and unsupported files. Called by `jobs`; `tasks` and `web` use
`quotes`.
"""

from mmapp.documents.reader import ReadDocument, Reader
from mmapp.documents.sniff import sniff

__all__ = ["ReadDocument", "Reader", "sniff"]

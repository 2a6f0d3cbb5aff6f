"""Features of images that were encoded, so that a photo that is seen again is not encoded again.

The same photo stands in several listings, in several framings of a prompt, and beside others of
which a part is hidden. What is kept is known by a hash of its pixels, as the encoder is given them;
the features used longest ago make room under a budget of bytes. Called by `engine`, each of which
has its own; refuses nothing. Not for several threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

#: Encodes what is at these places, in their order.
Encode = Callable[[list[int]], Sequence[Tensor]]


class FeatureStore:
    """Features by what they are of, the ones used last at the end."""

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self.nbytes = 0
        self._kept: dict[bytes, Tensor] = {}

    def of(self, keys: Sequence[bytes], encode: Encode) -> list[Tensor]:
        """The features of each; `encode` is called once, for those that are not known, each once
        however often it is asked for."""
        places = {key: place for place, key in reversed([*enumerate(keys)])}
        new = sorted(place for key, place in places.items() if key not in self._kept)
        found = {key: self._kept.pop(key) for key in places if key in self._kept}
        if new:
            encoded = zip((keys[place] for place in new), encode(new), strict=True)
            found |= {key: features.clone() for key, features in encoded}  # not the whole batch
            self.nbytes += sum(found[keys[place]].nbytes for place in new)
        self._kept |= found
        while self.nbytes > self.budget_bytes:
            self.nbytes -= self._kept.pop(next(iter(self._kept))).nbytes
        return [found[key] for key in keys]

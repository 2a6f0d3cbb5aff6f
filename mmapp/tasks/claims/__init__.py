"""The claims of a listing, each in the listing's own words, with its span and its kind.

`statements` cuts title, attributes and description; `details` takes titles apart; `kinds` tells
what a claim is about and whether a photo can show it, by the word lists `en.toml` and `zh.toml`.
"""

from mmapp.tasks.claims.kinds import Kind
from mmapp.tasks.claims.statements import MOST_CHARACTERS, MOST_CLAIMS, Claim, take_claims

__all__ = ["MOST_CHARACTERS", "MOST_CLAIMS", "Claim", "Kind", "take_claims"]

"""From log-odds to probabilities. Called by the tasks whose answers are probabilities."""

from __future__ import annotations

import math


def sigmoid(log_odds: float) -> float:
    """The probability of log-odds; precise for those that are very unlikely too."""
    if log_odds >= 0:
        return 1 / (1 + math.exp(-log_odds))
    return math.exp(log_odds) / (1 + math.exp(log_odds))

"""How far a count may be chance: intervals and exact tests, so that nobody reads noise as progress."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

_Z = NormalDist().inv_cdf(0.975)


def wilson(part: int, whole: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a rate, both ends between 0 and 1; of nothing, everything."""
    if not whole:
        return 0.0, 1.0
    rate, square = part / whole, _Z**2 / whole
    middle = (rate + square / 2) / (1 + square)
    half = _Z * math.sqrt(rate * (1 - rate) / whole + square / (4 * whole)) / (1 + square)
    # At the ends the formula is exact and floating point is not.
    return (max(0.0, middle - half) if part else 0.0), (min(1.0, middle + half) if part < whole else 1.0)


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p of McNemar's test: how likely are such uneven numbers of pairs that differ, by chance?"""
    pairs = only_first + only_second
    tail: int = sum(math.comb(pairs, k) for k in range(min(only_first, only_second) + 1))
    return float(min(1.0, 2 * tail / 2**pairs))


def holm(values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given: of many comparisons some look uneven by chance alone."""
    adjusted, highest = [0.0] * len(values), 0.0
    for rank, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        highest = max(highest, min(1.0, values[index] * (len(values) - rank)))
        adjusted[index] = highest
    return adjusted

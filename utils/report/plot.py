"""Where dots of a plot lie: scores as percentages of its width."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from utils.report.cards import Card
from utils.report.contents import mean

TICKS = 5  # about
MARGIN = 0.06  # of the range, left and right


@dataclass(frozen=True)
class Axis:
    """A range of scores.

    Attributes:
        low, high: its ends.
        ticks: round numbers in between, as text, each with its place.
    """

    low: float
    high: float
    ticks: list[tuple[str, str]]

    def place(self, value: float) -> str:
        """Return where a value lies, as SVG takes it."""
        return f"{100 * (value - self.low) / (self.high - self.low):.2f}%"


@dataclass(frozen=True)
class Row:
    """The pictures of one prompt, or set of prompts: cards with a score, and the mean of these."""

    prompts: tuple[str, ...]
    cards: list[Card]
    mean: float


def axis_of(values: Iterable[float]) -> Axis:
    """Return an axis on which all values lie.

    Args:
        values: one at least.
    """
    known = list(values)
    low, high = min(known), max(known)
    margin = MARGIN * (high - low) or 0.01
    low, high = low - margin, high + margin
    step = _round_step((high - low) / TICKS)
    digits = max(0, -math.floor(math.log10(step)))
    ticks = [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]
    axis = Axis(low, high, [])
    return Axis(low, high, [(f"{tick:.{digits}f}", axis.place(tick)) for tick in ticks])


def _round_step(step: float) -> float:
    """Return the next of 1, 2, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * (1 - 1e-9))


def rows_of(cards: Sequence[Card]) -> list[Row]:
    """Return the cards that have a score, prompt by prompt, the best mean first."""
    groups: dict[tuple[str, ...], list[Card]] = {}
    for card in cards:
        if card.shown.score is not None:
            groups.setdefault(card.prompts, []).append(card)
    rows = [Row(prompts, some, mean(card.shown.score for card in some) or 0.0) for prompts, some in groups.items()]
    return sorted(rows, key=lambda row: -row.mean)

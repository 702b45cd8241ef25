"""Square windows over a canvas: where they lie, cropping them and adding them up without a loop over windows."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

from utils.views.weights import read_weight_map

EXTRA_SHARE = 0.1  # by how much shifted windows may cost more than the fewest that cover the canvas
GOLDEN = (5**0.5 - 1) / 2
Window = tuple[int, int, int, int]  # top, bottom, left, right in cells; on a ring right may pass the canvas' width


@dataclass(frozen=True)
class EqualSpacing:
    """Windows of one line that start at equal distances.

    Attributes:
        start: of the first one.
        stride: from one to the next.
        count: how many.
    """

    start: int
    stride: int
    count: int


class Axis:
    """Windows along one axis.

    Args:
        starts: ascending; any distances, equal ones are fast.
        window: their length.
        length: of the canvas along this axis; a window that passes it goes on at 0.
    """

    def __init__(self, starts: Sequence[int], window: int, length: int):
        self.starts, self.window, self.length = list(starts), window, length
        self.spacings = equal_spacings(self.starts)
        self.overhang = max(0, self.starts[-1] + window - length)

    @property
    def covered(self) -> bool:
        """True if every cell lies in a window."""
        ends = [self.overhang, *(start + self.window for start in self.starts)]
        return all(start <= end for start, end in zip([*self.starts, self.length], ends, strict=True))

    def edge_mask(self, like: torch.Tensor) -> torch.Tensor:
        """Return how windows at the ends yield to those that move: ones ``[K, window]``, of the dtype of ``like``.

        Zeros are where, on a line, the first or the last of three or more lies below its neighbour, so that borders are
        those of the neighbours alone: the windows at the ends stay where they are, and so would their inner borders.
        """
        mask = like.new_ones(len(self.starts), self.window)
        if len(self.starts) > 2 and not self.overhang:
            mask[0, self.starts[1] - self.starts[0] :] = 0
            mask[-1, : self.starts[-2] + self.window - self.starts[-1]] = 0
        return mask

    def cut(self, canvas: torch.Tensor) -> torch.Tensor:
        """Return the windows of ``[..., length]`` as ``[..., K, window]``."""
        if self.overhang:
            canvas = torch.cat([canvas, canvas[..., : self.overhang]], dim=-1)
        parts = [
            canvas[..., spacing.start :].unfold(-1, self.window, spacing.stride)[..., : spacing.count, :]
            for spacing in self.spacings
        ]
        return torch.cat(parts, dim=-2) if len(parts) > 1 else parts[0]

    def add(self, windows: torch.Tensor) -> torch.Tensor:
        """Add windows ``[..., K, window]`` up where they lie: ``[..., length]``.

        Of equally spaced windows, every m-th is disjoint from the next, where m strides reach over a window: m
        additions do it, each to a view of the sums in which window k of those begins k m strides further on.
        """
        if self.starts == [0] and self.window == self.length:
            return windows[..., 0, :]
        sums = windows.new_zeros(*windows.shape[:-2], self.length + self.overhang)
        first = 0
        for spacing in self.spacings:
            m = -(-self.window // spacing.stride)
            for offset in range(min(m, spacing.count)):
                some = windows[..., first + offset : first + spacing.count : m, :]
                strides = (*sums.stride()[:-1], m * spacing.stride, 1)
                # sums once more, seen as one row for each of these windows; the rows are disjoint, so adding is safe
                sums.as_strided(some.shape, strides, spacing.start + offset * spacing.stride).add_(some)
            first += spacing.count
        canvas = sums[..., : self.length]
        canvas[..., : self.overhang] += sums[..., self.length : self.length + self.overhang]
        return canvas


class WindowGrid:
    """Windows in rows and columns.

    Args:
        tops, lefts: where the rows and the columns start, ascending.
        window: side h of a window.
        height, width: of the canvas.

    Attributes:
        windows: all, row by row.
    """

    def __init__(self, tops: Sequence[int], lefts: Sequence[int], window: int, height: int, width: int):
        self.rows, self.columns = Axis(tops, window, height), Axis(lefts, window, width)
        self.windows: list[Window] = [
            (top, top + window, left, left + window) for top, left in itertools.product(tops, lefts)
        ]

    def crop(self, z_t: torch.Tensor) -> torch.Tensor:
        """Cut the windows out: ``[1, C, H, W]`` -> ``[N, C, h, h]``."""
        # first every column of windows over the whole height, then rows out of these: two cuts in place of R x K
        columns = self.columns.cut(z_t[0])  # [C, H, K, h]
        windows = self.rows.cut(columns.movedim(1, -1))  # [C, K, h, R, h], the rows of a window last
        return windows.permute(3, 1, 0, 4, 2).flatten(0, 1).contiguous()

    def edge_mask(self, like: torch.Tensor) -> torch.Tensor:
        """Return :meth:`Axis.edge_mask` of rows and columns together, ``[N, 1, h, h]``."""
        rows, columns = self.rows.edge_mask(like), self.columns.edge_mask(like)
        return (rows[:, None, :, None] * columns[None, :, None, :]).flatten(0, 1)[:, None]

    def add(self, x_ts: torch.Tensor) -> torch.Tensor:
        """Add the windows up on a canvas: ``[N, C, h, h]`` -> ``[1, C, H, W]``."""
        grid = x_ts.unflatten(0, (len(self.rows.starts), len(self.columns.starts)))
        strips = self.columns.add(grid.permute(2, 0, 3, 1, 4))  # [C, R, h, W]
        return self.rows.add(strips.movedim(-1, 1)).movedim(1, -1)[None].contiguous()


def equal_spacings(starts: Sequence[int]) -> list[EqualSpacing]:
    """Split ascending starts into as few groups of equal distance as a walk from the left finds."""
    groups: list[EqualSpacing] = []
    for start in starts:
        last = groups[-1] if groups else None
        if last is not None and last.count == 1:
            groups[-1] = EqualSpacing(last.start, start - last.start, 2)
        elif last is not None and start == last.start + last.count * last.stride:
            groups[-1] = EqualSpacing(last.start, last.stride, last.count + 1)
        else:
            groups.append(EqualSpacing(start, 1, 1))
    return groups


def window_starts(length: int, window: int, stride: int, circular: bool = False) -> list[int]:
    """Return where windows start so that they cover a line of ``length`` cells.

    On a line the last window is moved back to end at the edge; on a ring windows go on across it.

    Args:
        length: at least ``window``.
        window, stride: in cells, ``1 <= stride <= window``.
    """
    if circular:
        return list(range(0, length, stride))
    starts = list(range(0, length - window + 1, stride))
    return starts if starts[-1] == length - window else [*starts, length - window]


def extra_steps(windows: int, num_steps: int, axes: int = 1) -> range:
    """Return the steps in which a line that ``windows`` windows cover may take one more, a tenth more work in all.

    They are the last ones: the later a step, the less mends what its borders leave.

    Args:
        windows: at least 1.
        num_steps: all steps of a picture.
        axes: 2 where rows and columns share the tenth, else 1.
    """
    cost = axes / windows + (axes - 1) / windows**2  # of a step in which each axis takes one more
    count = min(num_steps, int(EXTRA_SHARE * num_steps / cost + 1e-9))
    return range(num_steps - count, num_steps)


def shift_at(first: float, step_index: int) -> float:
    """Return the share in [0, 1) by which shifted windows have moved at a step, ``first`` at step 0.

    The shares go on by the golden ratio: however many steps, no two are close, as random ones of few steps would be.
    """
    return (first + step_index * GOLDEN) % 1.0


def shifted_starts(length: int, window: int, share: float, circular: bool = False, extra: bool = False) -> list[int]:
    """Return where windows start that hardly overlap, at a new place for each share, so that no border stays.

    After SpotDiffusion (Frolov et al., WACV 2025), for any length, without joining a line's ends. k windows can cover
    the canvas. On a ring the k windows start anywhere. On a line the first and the last stay at the ends, and by as
    much as all windows are longer than the line the others can shift; where that is less than half a window, they need
    one more to shift. What the two at the ends add to their neighbours, :meth:`Axis.edge_mask` leaves out.

    Args:
        length: at least ``window``.
        window: in cells.
        share: of the way from one extreme to the other, on a ring of a window, in [0, 1), see :func:`shift_at`.
        circular: the canvas is a ring.
        extra: take one more where it is needed to shift, see :func:`extra_steps`.
    """
    count = -(-length // window)
    if circular:
        offset = int(share * window)
        return sorted((offset + i * window) % length for i in range(count))
    if extra and count > 1 and 2 * (count * window - length) < window:
        count += 1
    if count < 3:
        return sorted({0, length - window})
    low, high = max(0, length - (count - 1) * window), min(window, length - (count - 2) * window)
    second = low + round(share * (high - low))
    return sorted({0, *(second + i * window for i in range(count - 2)), length - window})


def border_columns(
    width: int, window: int, stride: int, scale: int, circular: bool = False
) -> tuple[list[int], list[int]]:
    """Return where windows meet on a strip; column ``x`` stands for the step from pixel ``x - 1`` to pixel ``x``.

    Args:
        width: of the strip, in pixels.
        window, stride: in latent cells.
        scale: pixels per cell.
        circular: the strip is a ring, whose right edge goes on at column 0, where no step is counted.

    Returns:
        The columns where a window begins or ends, and those where another window's centre becomes the nearest.
    """
    starts = window_starts(width // scale, window, stride, circular)
    edges = {cell * scale % width for start in starts for cell in (start, start + window)} - {0}
    middles = [-(-(left + right + window) // 2) * scale for left, right in itertools.pairwise(starts)]
    return sorted(edges), middles


def window_weights(reduction: str, weight_map: str | None, size: int) -> torch.Tensor:
    """Return the weight of every cell of a window, float64 ``[size, size]``: 1, a Hann window, or what a file says.

    Args:
        reduction: ``mean``, or ``weighted`` for the other two.
        weight_map: the file.
        size: side of the window.
    """
    if reduction == "mean":
        return torch.ones(size, size, dtype=torch.float64)
    if weight_map is None:
        middles = (torch.arange(size, dtype=torch.float64) + 0.5) / size
        return torch.outer(torch.sin(torch.pi * middles) ** 2, torch.sin(torch.pi * middles) ** 2)
    weights = torch.from_numpy(read_weight_map(Path(weight_map)))[None, None]
    return F.interpolate(weights, (size, size), mode="bilinear")[0, 0]


def paste(placed: Iterable[tuple[Window, torch.Tensor]], height: int, width: int) -> torch.Tensor:
    """Add pictures onto a canvas whose right edge may go on at the left, one after the other as they come.

    Args:
        placed: pairs of a place ``(top, bottom, left, right)`` and a picture ``[C, h, w]``; ``right`` may pass the
            width.
        height, width: of the canvas.

    Returns:
        The sums ``[1, C, height, width]``, added up in the given order.
    """
    canvas = torch.empty(0)
    for index, ((top, bottom, left, right), picture) in enumerate(placed):
        if index == 0:
            canvas = picture.new_zeros(len(picture), height, width)
        inside = min(right, width) - left
        canvas[:, top:bottom, left : left + inside] += picture[..., :inside]
        if right > width:
            canvas[:, top:bottom, : right - width] += picture[..., inside:]
    return canvas[None]

"""Projections that interpolate, as sparse matrices: between a canvas and views of it, and for the noise they see.

A table ``[M, K]`` says of every target what share it takes of which sources. Rows sum to 1 where it interpolates, and
their squares do where it sums noise. No element is written by two, so results are the same on every device.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from guidance.base_model import mean_dtype
from utils.sphere import Camera, canvas_directions, canvas_neighbours, canvas_places

FLOOR = 1e-4  # a view's least weight, so that whatever is seen has some
CELLS_PER_PIXEL = 1.75  # of the noise's grid, along the shortest side of a view's smallest pixel


@dataclass(frozen=True)
class Entries:
    """The entries of a table that are not zero.

    Attributes:
        rows, columns: indices of targets and sources, int64 ``[E]``.
        shares: float64 ``[E]``.
    """

    rows: np.ndarray
    columns: np.ndarray
    shares: np.ndarray

    @classmethod
    def join(cls, parts: "Sequence[Entries]") -> "Entries":
        """Return the entries of several parts of one table."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("rows", "columns", "shares")))

    def sums(self, targets: int) -> np.ndarray:
        """Return the sum of each row, ``[targets]``."""
        return np.bincount(self.rows, weights=self.shares, minlength=targets)

    def normalised(self, targets: int) -> "Entries":
        """Return entries whose rows sum to 1, or are empty."""
        return Entries(self.rows, self.columns, self.shares / self.sums(targets)[self.rows])

    def table(self, targets: int, sources: int, device: torch.device) -> torch.Tensor:
        """Return the sparse matrix ``[targets, sources]`` on a device, in the dtype of sums over views.

        Apple's GPUs know no sparse matrices: theirs stay in main memory.
        """
        place = torch.device("cpu") if device.type == "mps" else device
        order = np.argsort(self.rows * sources + self.columns, kind="stable")  # they come in sorted runs
        starts = np.concatenate([[0], np.cumsum(np.bincount(self.rows, minlength=targets))])
        crow, columns, shares = map(torch.from_numpy, (starts, self.columns[order], self.shares[order]))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse")  # "support is in beta"
            return torch.sparse_csr_tensor(crow, columns, shares, (targets, sources)).to(place, mean_dtype(place))


def apply(table: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return what a table ``[M, K]`` makes of ``[K, C]``: ``[M, C]``, in the dtype of ``x`` and where that is."""
    return (table @ x.to(table.device).to(table.dtype)).to(x.dtype).to(x.device)


def corrected(
    average: Callable[[torch.Tensor], torch.Tensor],
    look: Callable[[torch.Tensor], torch.Tensor],
    x_ts: torch.Tensor,
    corrections: int,
) -> torch.Tensor:
    """Return a canvas that shows the views as they are, where averaging alone blurs what it interpolates.

    z = g(x), then as often as asked for z += g(x - f(z)): what the canvas fails to show is averaged and added.

    Args:
        average: g, views -> canvas.
        look: f, canvas -> views.
        x_ts: the views ``[N, C, h, w]``.
        corrections: 0 is the plain mean.
    """
    z = average(x_ts)
    for _ in range(corrections):
        z = z + average(x_ts - look(z))
    return z


class SphereProjection:
    """Between an equirectangular canvas and the views of cameras at its centre.

    Args:
        cameras: one per view.
        size: side h of the views.
        height: H of the canvas, which is 2 H wide.
        weights: how much each cell of a view counts in the mean, ``[h, h]``, not negative.
        device: of the tensors that are mapped.

    Attributes:
        seen: canvas cells that some view shows, bool ``[H, 2 H]``; the others stay 0 and are shown by no view.
        shown: cells of the views that lie on them, bool ``[N, h, h]``.
        noise_cells: how many numbers :meth:`look_at_noise` draws from.
    """

    def __init__(self, cameras: Sequence[Camera], size: int, height: int, weights: np.ndarray, device: torch.device):
        self.cameras, self.size, self.height = list(cameras), size, height
        cells, pixels = 2 * height**2, len(cameras) * size**2
        averaging = _averaging(self.cameras, size, height, weights)
        self.seen = (averaging.sums(cells) > 0).reshape(height, 2 * height)
        looking = _looking(self.cameras, size, height, self.seen.ravel())
        self.shown = (looking.sums(pixels) > 0).reshape(len(cameras), size, size)
        noise, self.noise_cells = _noise(self.cameras, size)
        self.averaging = averaging.normalised(cells).table(cells, pixels, device)
        self.looking = looking.normalised(pixels).table(pixels, cells, device)
        self.noise = noise.table(pixels, self.noise_cells, device)
        self._shown = torch.from_numpy(self.shown)[:, None].to(device)

    def look(self, z: torch.Tensor, bg: torch.Tensor | None = None) -> torch.Tensor:
        """Interpolate the canvas at the views' cells: ``[1, C, H, 2 H]`` -> ``[N, C, h, h]``.

        Args:
            bg: what a view keeps where nothing of the canvas is seen; None is 0.
        """
        views = self._views(apply(self.looking, z[0].flatten(1).T))
        return views if bg is None else torch.where(self._shown, views, bg)

    def average(self, x_ts: torch.Tensor) -> torch.Tensor:
        """Interpolate the views at the canvas' cells, and average: ``[N, C, h, h]`` -> ``[1, C, H, 2 H]``."""
        channels = x_ts.shape[1]
        cells = apply(self.averaging, x_ts.permute(0, 2, 3, 1).reshape(-1, channels))
        return cells.T.reshape(1, channels, self.height, 2 * self.height)

    def look_at_noise(self, noise: torch.Tensor) -> torch.Tensor:
        """Sum white noise ``[1, C, 1, noise_cells]`` within the views' cells: ``[N, C, h, h]``, white in every view.

        What two views see of the same part of the sphere is alike, as far as their cells agree.
        """
        return self._views(apply(self.noise, noise[0].flatten(1).T))

    def _views(self, cells: torch.Tensor) -> torch.Tensor:
        return cells.reshape(len(self.cameras), self.size, self.size, -1).permute(0, 3, 1, 2).contiguous()


def _averaging(cameras: Sequence[Camera], size: int, height: int, weights: np.ndarray) -> Entries:
    """Return what every cell of the canvas takes of the views' cells, not normalised: bilinear shares times weights."""
    directions = canvas_directions(height).reshape(-1, 3)
    parts, flat = [], np.maximum(weights.ravel(), FLOOR * weights.max())
    for number, camera in enumerate(cameras):
        cells, x, y = camera.sees(directions)
        pixels, shares = _view_neighbours(x, y, size)
        counted = shares * (flat[pixels] * shares).sum(axis=-1, keepdims=True)
        parts.append(_entries(cells, pixels + number * size**2, counted))
    return Entries.join(parts)


def _view_neighbours(x: np.ndarray, y: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the cells of a view among which places in [-1, 1] are interpolated, and their shares, ``[..., 4]``."""
    pixels, shares = 0, 1
    for place, step, shape in ((y, size, (2, 1)), (x, 1, (1, 2))):
        at = np.clip((place + 1) / 2 * size - 0.5, 0, size - 1)
        first = np.minimum(np.floor(at).astype(np.int64), max(size - 2, 0))
        second = np.minimum(first + 1, size - 1)
        part = at - first
        pixels = pixels + step * np.stack([first, second], axis=-1).reshape(*place.shape, *shape)
        shares = shares * np.stack([1 - part, part], axis=-1).reshape(*place.shape, *shape)
    return pixels.reshape(*x.shape, 4), shares.reshape(*x.shape, 4)


def _looking(cameras: Sequence[Camera], size: int, height: int, seen: np.ndarray) -> Entries:
    """Return what every cell of the views takes of the canvas' cells that are seen, not normalised."""
    directions = np.stack([camera.directions(size) for camera in cameras]).reshape(-1, 3)
    cells, shares = canvas_neighbours(*canvas_places(directions, height), height)
    entries = _entries(np.arange(len(directions)), cells, shares * seen[cells])
    kept = entries.shares > 0
    return Entries(entries.rows[kept], entries.columns[kept], entries.shares[kept])


def _entries(rows: np.ndarray, columns: np.ndarray, shares: np.ndarray) -> Entries:
    """Return the entries of rows ``[R]`` with several columns and shares each, ``[R, S]``."""
    return Entries(np.repeat(rows, columns.shape[-1]), columns.ravel(), shares.ravel())


def _noise(cameras: Sequence[Camera], size: int) -> tuple[Entries, int]:
    """Return what every cell of the views sums of white noise on a fine grid over the sphere, and of how many numbers.

    A cell of the grid counts by the root of its area, as the integral of white noise over it would. The grid is
    fine enough for every cell of a view; one that holds none all the same takes a number of its own.
    """
    height = max(noise_height(camera, size) for camera in cameras)
    directions = canvas_directions(height).reshape(-1, 3)
    roots = np.sqrt(np.hypot(directions[:, 0], directions[:, 2]))
    parts = []
    for number, camera in enumerate(cameras):
        cells, x, y = camera.sees(directions)
        right, down = (np.minimum(((place + 1) / 2 * size).astype(np.int64), size - 1) for place in (x, y))
        parts.append(Entries(number * size**2 + down * size + right, cells, roots[cells]))
    entries, pixels = Entries.join(parts), len(cameras) * size**2
    norms = np.sqrt(np.bincount(entries.rows, weights=entries.shares**2, minlength=pixels))
    (empty,) = np.nonzero(norms == 0)
    own = Entries(empty, len(directions) + np.arange(len(empty)), np.ones(len(empty)))
    summed = Entries(entries.rows, entries.columns, entries.shares / norms[entries.rows])
    return Entries.join([summed, own]), len(directions) + len(empty)


def noise_height(camera: Camera, size: int) -> int:
    """Return the rows of a grid on the sphere that is fine enough for the smallest cells of a view, in its corners."""
    smallest = 2 * camera.tangent / size / (1 + 2 * camera.tangent**2)
    return int(np.ceil(CELLS_PER_PIXEL * np.pi / smallest))

"""The sphere in numbers: cameras that look at it, and the equirectangular canvas that unrolls it. numpy, float64.

World axes: x to the right, y up, z ahead. Angles in degrees. Pixels and cells are areas: index 0 has its centre at 0,
the picture's left edge at -0.5.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Camera:
    """A perspective camera at the centre of the sphere.

    Attributes:
        yaw: turns to the right, from straight ahead.
        pitch: looks up, 90 is straight up.
        fov: angle between the left and the right edge of its square picture, above 0, below 180.
        roll: turns the picture against the clock as the camera sees it.
    """

    yaw: float
    pitch: float
    fov: float
    roll: float = 0.0

    @property
    def tangent(self) -> float:
        """Half the picture's side at distance 1."""
        return float(np.tan(np.deg2rad(self.fov) / 2))

    @property
    def rotation(self) -> np.ndarray:
        """Camera to world ``[3, 3]``: Ry(yaw) Rx(pitch) Rz(roll)."""
        (cy, cp, cr), (sy, sp, sr) = (trig(np.deg2rad([self.yaw, self.pitch, self.roll])) for trig in (np.cos, np.sin))
        turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        tilt = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
        spin = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
        return turn @ tilt @ spin

    def directions(self, size: int) -> np.ndarray:
        """Return the unit directions of its pixels' centres ``[size, size, 3]``."""
        across = ((np.arange(size) + 0.5) / size * 2 - 1) * self.tangent
        right, down = np.meshgrid(across, across)
        local = np.stack([right, -down, np.ones_like(right)], axis=-1)
        return local @ self.rotation.T / np.linalg.norm(local, axis=-1, keepdims=True)

    def places(self, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return where directions ``[..., 3]`` lie in its picture: x and y from -1 to 1, y down, and whether inside."""
        right, up, ahead = np.moveaxis(directions @ self.rotation, -1, 0)
        in_front = ahead > 1e-9
        depth = np.where(in_front, ahead, 1.0) * self.tangent
        x, y = right / depth, -up / depth
        return x, y, in_front & (np.abs(x) <= 1) & (np.abs(y) <= 1)

    def sees(self, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return which of unit directions ``[K, 3]`` lie in its picture, as indices, and x and y of these."""
        corner = 1 / np.sqrt(1 + 2 * self.tangent**2)  # nothing farther off its axis does
        (near,) = np.nonzero(directions @ self.rotation[:, 2] > corner - 1e-9)
        x, y, inside = self.places(directions[near])
        return near[inside], x[inside], y[inside]


@dataclass(frozen=True)
class Band:
    """The rows of an equirectangular canvas that a picture shows, all the way around: all of them, or a ring.

    Attributes:
        first, end: its first row, and the one after its last.
        height: rows of the whole sphere.
    """

    first: int
    end: int
    height: int

    @property
    def top(self) -> float:
        """Degrees above the horizon where it ends; 90 is straight up."""
        return 90 - 180 * self.first / self.height

    @property
    def bottom(self) -> float:
        """The same below, not positive where it reaches the horizon."""
        return 90 - 180 * self.end / self.height

    @property
    def share(self) -> float:
        """How much of the whole sphere that is, by area."""
        return float(np.sin(np.deg2rad(self.top)) - np.sin(np.deg2rad(self.bottom))) / 2


def canvas_directions(height: int) -> np.ndarray:
    """Return the unit directions of the cells of a canvas ``[height, 2 * height, 3]``; its middle is straight ahead."""
    longitude = ((np.arange(2 * height) + 0.5) / (2 * height) - 0.5) * 2 * np.pi
    latitude = ((0.5 - (np.arange(height) + 0.5) / height) * np.pi)[:, None]
    level = np.cos(latitude)
    return np.stack(
        [level * np.sin(longitude), np.broadcast_to(np.sin(latitude), (height, 2 * height)), level * np.cos(longitude)],
        axis=-1,
    )


def canvas_places(directions: np.ndarray, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Return column and row, with fractions, of unit directions ``[..., 3]`` on a canvas ``height`` x 2 ``height``."""
    right, up, ahead = np.moveaxis(directions, -1, 0)
    column = (np.arctan2(right, ahead) / (2 * np.pi) + 0.5) * 2 * height - 0.5
    row = (0.5 - np.arctan2(up, np.hypot(right, ahead)) / np.pi) * height - 0.5
    return column, row


def canvas_neighbours(columns: np.ndarray, rows: np.ndarray, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the cells among which a place on the canvas is interpolated, and their shares.

    Columns go on at the other edge; a row beyond a pole is the same row half a turn further on.

    Args:
        columns, rows: ``[...]``, as :func:`canvas_places` returns them.
        height: of the canvas, in cells.

    Returns:
        Indices into the flat canvas and shares that sum to 1, both ``[..., 4]``.
    """
    left, top = np.floor(columns).astype(np.int64), np.floor(rows).astype(np.int64)
    across, down = columns - left, rows - top
    indices, shares = [], []
    for step_down, share_down in ((0, 1 - down), (1, down)):
        for step_right, share_right in ((0, 1 - across), (1, across)):
            indices.append(_cell(left + step_right, top + step_down, height))
            shares.append(share_down * share_right)
    return np.stack(indices, axis=-1), np.stack(shares, axis=-1)


def _cell(columns: np.ndarray, rows: np.ndarray, height: int) -> np.ndarray:
    """Return the index of cells of the flat canvas; rows may be one beyond a pole."""
    beyond = (rows < 0) | (rows >= height)
    across = np.where(beyond, columns + height, columns) % (2 * height)
    return np.clip(rows, 0, height - 1) * 2 * height + across


def look(panorama: np.ndarray, camera: Camera, size: int) -> np.ndarray:
    """Return what a camera sees of an equirectangular picture ``[H, 2 H, C]``: float64 ``[size, size, C]``."""
    return look_along(panorama, camera.directions(size))


def look_along(panorama: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Return an equirectangular picture ``[H, 2 H, C]`` in unit directions ``[..., 3]``: float64 ``[..., C]``."""
    height = len(panorama)
    indices, shares = canvas_neighbours(*canvas_places(directions, height), height)
    cells = panorama.reshape(height * 2 * height, -1)
    return np.einsum("...kc,...k->...c", cells[indices].astype(np.float64), shares)

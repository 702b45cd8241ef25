"""What a view is."""

from abc import ABC, abstractmethod
from typing import Literal

import numpy as np
import torch
from PIL import Image

from utils.images import to_pil, to_unit_range

NEUTRAL = (127, 127, 127)  # what shows where a moving picture covers nothing: 0 in a network's range

Kind = Literal["orthogonal", "linear", "component"]


class BaseView(ABC):
    """A way to look at the canonical picture: an instance of it that a pretrained model can denoise.

    ``view`` and ``inverse_view`` are linear, take and return one picture ``[C, h, h]`` of any value range and channel
    count, leave the argument untouched, and are the same transformation at every size that a grid of theirs divides,
    so that each stage of a cascade uses the same one.

    Attributes:
        kind: ``orthogonal`` moves pixels or changes their sign: the inverse is exact to the bit, and white noise stays
            white noise of variance 1. ``linear`` interpolates; what a round trip loses is documented. ``component``
            stands for a part of the picture: the parts of a valid combination sum to all of it.
    """

    kind: Kind = "orthogonal"

    @abstractmethod
    def view(self, im: torch.Tensor) -> torch.Tensor:
        """Project: canonical ``[C, h, h]`` -> instance ``[C, h, h]``; a component sees the canonical picture."""

    @abstractmethod
    def inverse_view(self, im: torch.Tensor) -> torch.Tensor:
        """Unproject: instance ``[C, h, h]`` -> canonical ``[C, h, h]``; a component gives its part of ``im``."""

    def show(self, im: torch.Tensor) -> torch.Tensor:
        """Return what a person is to see through this view: ``view``, but for a component its part."""
        return self.view(im)

    def frame(self, picture: Image.Image, share: float) -> Image.Image:
        """Draw the way from the picture to the view of it.

        Args:
            picture: RGB ``[h, h]``, the canonical picture.
            share: of the way; up to 0 is ``picture`` exactly, from 1 on exactly what :meth:`show` makes of it.

        Returns:
            RGB of the same size.
        """
        picture = picture.convert("RGB")
        if share <= 0:
            return picture
        seen = from_tensor(self.show(to_tensor(picture)))
        return seen if share >= 1 else self.between(picture, seen, share)

    def between(self, picture: Image.Image, seen: Image.Image, share: float) -> Image.Image:
        """Draw a frame strictly between ``picture`` and ``seen``; by default one fades into the other."""
        return Image.blend(picture, seen, share)


class ComponentView(BaseView):
    """A view that stands for a part of the picture; :meth:`part` is all that a subclass has to say."""

    kind = "component"

    @abstractmethod
    def part(self, im: torch.Tensor) -> torch.Tensor:
        """Return the part: ``[C, h, h]`` in float32 or float64 -> the same."""

    def view(self, im: torch.Tensor) -> torch.Tensor:
        return im.clone()

    def inverse_view(self, im: torch.Tensor) -> torch.Tensor:
        return self.part(im.clone() if im.dtype == torch.float64 else im.to(torch.float32, copy=True)).to(im.dtype)

    def show(self, im: torch.Tensor) -> torch.Tensor:
        return self.inverse_view(im)


class PermutationView(BaseView):
    """A view that only moves pixels. A subclass says which; the way back follows."""

    def __init__(self) -> None:
        self._indices: dict[tuple[int, torch.device], tuple[torch.Tensor, torch.Tensor]] = {}

    @abstractmethod
    def source(self, size: int) -> np.ndarray:
        """Return int64 ``[size, size]``: which pixel of the picture, counted row by row, each pixel of the view shows.

        Raises:
            ValueError: the grid does not divide ``size`` (``check_sizes`` refuses it earlier).
        """

    def view(self, im: torch.Tensor) -> torch.Tensor:
        return _gather(im, self._both(im)[0])

    def inverse_view(self, im: torch.Tensor) -> torch.Tensor:
        return _gather(im, self._both(im)[1])

    def _both(self, im: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        key = (im.shape[-1], im.device)
        if key not in self._indices:
            source = self.source(im.shape[-1]).reshape(-1)
            inverse = np.empty_like(source)
            inverse[source] = np.arange(len(source))
            self._indices[key] = torch.from_numpy(source).to(im.device), torch.from_numpy(inverse).to(im.device)
        return self._indices[key]


def _gather(im: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    return im.flatten(-2)[:, index].view_as(im)


def cell_size(size: int, grid: int) -> int:
    """Return the side of a cell in pixels.

    Raises:
        ValueError: ``grid`` does not divide ``size``.
    """
    if size % grid:
        raise ValueError(f"{grid} cells per side do not divide {size} px evenly")
    return size // grid


def pixel_numbers(size: int) -> np.ndarray:
    """Return int64 ``[size, size]``: the pixels counted row by row."""
    return np.arange(size * size).reshape(size, size)


def to_tensor(picture: Image.Image) -> torch.Tensor:
    """Turn an RGB picture into ``[3, h, h]`` in [-1, 1], float32."""
    return torch.from_numpy(np.array(picture, dtype=np.float32)).permute(2, 0, 1) / 127.5 - 1


def from_tensor(im: torch.Tensor) -> Image.Image:
    """Turn ``[3, h, h]`` in [-1, 1] into an RGB picture, rounded."""
    return to_pil(to_unit_range(im))

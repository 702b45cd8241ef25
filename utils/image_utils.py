"""Tensors and pictures. The only place where value ranges change: networks [-1, 1], blending [0, 1], files 0..255."""

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from utils.files import write_atomic


def to_unit_range(pictures: torch.Tensor) -> torch.Tensor:
    """Map network range [-1, 1] to [0, 1], clamped, in float32; any shape."""
    return (pictures.float() / 2 + 0.5).clamp(0.0, 1.0)


def to_pil(picture: torch.Tensor) -> Image.Image:
    """Turn ``[3, H, W]`` in [0, 1] into an RGB picture; values are rounded, not cut.

    Raises:
        ValueError: the tensor holds NaN or infinities, as half precision can make.
    """
    if not torch.isfinite(picture).all():
        raise ValueError("the picture holds NaN or infinite values: try --dtype float32")
    values = (picture.float().clamp(0, 1) * 255).round().to(torch.uint8)
    return Image.fromarray(values.permute(1, 2, 0).cpu().numpy(), "RGB")


def crop_square(picture: Image.Image) -> Image.Image:
    """Cut the largest square from the middle of a picture."""
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    return picture.crop((left, top, left + side, top + side))


def side_by_side(pictures: list[Image.Image]) -> Image.Image:
    """Join pictures of one height from left to right."""
    return Image.fromarray(np.concatenate([np.asarray(picture) for picture in pictures], axis=1), "RGB")


def save_png(path: Path, picture: Image.Image) -> None:
    """Write a PNG atomically; the same picture always gives the same bytes."""
    write_atomic(path, png_bytes(picture))


def png_bytes(picture: Image.Image) -> bytes:
    """Return a picture of any mode as a PNG."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()

"""Pictures: read from anywhere with care, made of tensors, written as PNG. Torch is imported on demand.

The only place where value ranges change: networks [-1, 1], blending [0, 1], files 0..255.
"""

import io
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from utils.files import is_file, write_atomic

if TYPE_CHECKING:
    import torch

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
MAX_PIXELS = 100_000_000
XMP = "XML:com.adobe.xmp"  # keyword of a PNG's metadata, and where Pillow keeps them


def picture_size(path: Path) -> tuple[int, int]:
    """Return width and height from a picture's header; nothing is decoded.

    Raises:
        ValueError: no regular file, no picture, or ``MAX_PIXELS`` or more; the message is the reason.
    """
    if not is_file(path):
        raise ValueError("not a regular file")
    try:
        width, height = _header_size(path)
    except Image.DecompressionBombError as error:
        raise ValueError(f"{MAX_PIXELS:,} pixels or more") from error
    except Exception as error:
        raise ValueError("not a picture that can be read") from error
    if width * height >= MAX_PIXELS:
        raise ValueError(f"{width}x{height}, {MAX_PIXELS:,} pixels or more")
    return width, height


def _header_size(path: Path) -> tuple[int, int]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(path, formats=FORMATS) as image:
            return image.size


def is_moving(path: Path) -> bool:
    """Return whether a picture that can be read is an animated WebP or PNG, not a single picture."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(path, formats=FORMATS) as image:
            return image.format in ("PNG", "WEBP") and getattr(image, "is_animated", False)


def decode(path: Path, upright: bool = False) -> Image.Image:
    """Return a picture as 8-bit RGB: transparency is dropped, 16-bit grey is scaled down.

    Args:
        path: of the picture; of a moving one the first frame is taken.
        upright: turn it as the camera's note in it says (EXIF), as viewers of photographs do.

    Raises:
        ValueError: as :func:`picture_size`, or the pixels are damaged or cut off; the message is the reason.
    """
    picture_size(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=FORMATS) as image:
                return to_rgb(ImageOps.exif_transpose(image) if upright else image)
    except Exception as error:  # Pillow's decoders raise errors of many kinds
        raise ValueError("a damaged picture: its pixels cannot be read") from error


def decode_grey(path: Path) -> np.ndarray:
    """Return the numbers of a grey picture ``[H, W]`` as they are stored, of 8, 16 or 32 bits.

    Raises:
        ValueError: as :func:`decode`, each message the end of a sentence about the file, or the picture has colours.
    """
    try:
        picture_size(path)
    except ValueError as error:
        raise ValueError(f"is {error}") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=FORMATS) as image:
                values = np.asarray(image.convert("RGB") if image.mode in ("P", "1", "RGBA", "LA", "PA") else image)
    except Exception as error:  # Pillow's decoders raise errors of many kinds
        raise ValueError("is a damaged picture whose pixels cannot be read") from error
    if values.ndim == 3 and (values != values[..., :1]).any():
        raise ValueError("is in colour")
    return values if values.ndim == 2 else values[..., 0]


def to_rgb(image: Image.Image) -> Image.Image:
    """Return an 8-bit RGB copy of a picture of any mode."""
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        return Image.fromarray((values.clip(0, 65535) // 257).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")


def to_unit_range(pictures: "torch.Tensor") -> "torch.Tensor":
    """Map network range [-1, 1] to [0, 1], clamped, in float32; any shape.

    Raises:
        ValueError: the tensor holds NaN or infinities, which clamping would turn into black or white.
    """
    values = pictures.float()
    _check_finite(values)
    return (values / 2 + 0.5).clamp(0.0, 1.0)


def to_pil(picture: "torch.Tensor") -> Image.Image:
    """Turn ``[3, H, W]`` in [0, 1] into an RGB picture; values are rounded, not cut.

    Raises:
        ValueError: the tensor holds NaN or infinities, as half precision can make.
    """
    import torch

    _check_finite(picture)
    values = (picture.float().clamp(0, 1) * 255).round().to(torch.uint8)
    return Image.fromarray(values.permute(1, 2, 0).cpu().numpy(), "RGB")


def _check_finite(pictures: "torch.Tensor") -> None:
    if not pictures.isfinite().all():
        raise ValueError("the picture holds NaN or infinite values: try --dtype float32")


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


def png_bytes(picture: Image.Image, texts: Mapping[str, str] | None = None) -> bytes:
    """Return a picture of any mode as a PNG, with texts about it by keyword (iTXt chunks) if there are any.

    XMP that the picture holds, as Pillow keeps it of a PNG that it read (``picture.info[XMP]``), is one of them.
    """
    buffer, chunks = io.BytesIO(), PngInfo()
    notes = {XMP: picture.info[XMP]} if XMP in picture.info else {}
    for keyword, text in (notes | dict(texts or {})).items():
        chunks.add_itxt(keyword, text)
    picture.save(buffer, format="PNG", pnginfo=chunks)
    return buffer.getvalue()

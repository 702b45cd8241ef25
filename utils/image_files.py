"""Picture files from anywhere, read with care: sizes from the header, pixels as 8-bit RGB."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
MAX_PIXELS = 100_000_000


def picture_size(path: Path) -> tuple[int, int]:
    """Return width and height from a picture's header; nothing is decoded.

    Raises:
        ValueError: no regular file, no picture, or ``MAX_PIXELS`` or more; the message is the reason.
    """
    if not path.is_file():
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


def to_rgb(image: Image.Image) -> Image.Image:
    """Return an 8-bit RGB copy of a picture of any mode."""
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        return Image.fromarray((values.clip(0, 65535) // 257).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")

"""Pictures as text inside a page: small ones to look over, large ones to open, and strips of frames that turn."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from utils.animation.movie import ease
from utils.animation.views import Turning

THUMB, THUMB_WIDE = 384, (1536, 224)  # pixels at most: the sides of a picture, width and height of a strip
THUMB_SPHERE = (1024, 512)
PART = 128
FRAME, FRAMES = 256, 19  # side of a frame in pixels, and how many lead from rest to a view
WIDEST = 16383  # of WebP
KINDS = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "GIF": "image/gif"}


@dataclass(frozen=True)
class Embedded:
    """A picture as a data URI, or a film; sizes in pixels, 0 of a film."""

    uri: str
    width: int
    height: int


def data_uri(data: bytes, kind: str) -> str:
    """Return bytes of a kind, such as ``image/png``, as an address that holds them."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def webp(picture: Image.Image, quality: int) -> Embedded:
    """Embed a picture as WebP, made smaller where the format needs it."""
    if picture.width > WIDEST or picture.height > WIDEST:
        picture = picture.copy()
        picture.thumbnail((WIDEST, WIDEST))
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=quality, method=4)
    return Embedded(data_uri(buffer.getvalue(), KINDS["WEBP"]), *picture.size)


def thumbnail(picture: Image.Image, width: int, height: int) -> Embedded:
    """Embed a picture, made smaller to fit into a box."""
    small = picture.copy()
    small.thumbnail((width, height), Image.Resampling.LANCZOS)
    return webp(small, 82)


def whole_picture(path: Path, picture: Image.Image, as_it_is: bool) -> Embedded:
    """Embed a picture in full size.

    Args:
        path: of its file.
        picture: what the file shows.
        as_it_is: the bytes of the file, if browsers know its format; else as WebP, which looks the same.
    """
    with Image.open(path) as image:
        kind = KINDS.get(image.format or "")
    return Embedded(data_uri(path.read_bytes(), kind), *picture.size) if as_it_is and kind else webp(picture, 92)


def film(path: Path) -> Embedded | None:
    """Embed a moving picture as it is; None of a file that is none, whatever its name says."""
    data = path.read_bytes()
    if data[4:8] == b"ftyp":
        return Embedded(data_uri(data, "video/mp4"), 0, 0)
    try:
        with Image.open(io.BytesIO(data), formats=("GIF", "WEBP", "PNG")) as image:
            return Embedded(data_uri(data, KINDS[image.format or ""]), *image.size)
    except (OSError, ValueError, Image.DecompressionBombError):
        return None


def frames(turning: Turning) -> Embedded:
    """Embed the ways from a picture at rest to its views: one row of ``FRAMES`` frames per view."""
    side = min(turning.picture.width, FRAME)
    rows = [[_frame(turning, index, number, side) for number in range(FRAMES)] for index in range(len(turning.others))]
    return webp(_sheet(rows, side), 76)


def _frame(turning: Turning, index: int, number: int, side: int) -> Image.Image:
    frame = turning.others[index].view.frame(turning.picture, ease(number / (FRAMES - 1)))
    return frame if frame.width == side else frame.resize((side, side), Image.Resampling.LANCZOS)


def _sheet(rows: Sequence[Sequence[Image.Image]], side: int) -> Image.Image:
    sheet = Image.new("RGB", (side * len(rows[0]), side * len(rows)))
    for top, row in enumerate(rows):
        for left, frame in enumerate(row):
            sheet.paste(frame, (left * side, top * side))
    return sheet

"""Frames as GIF, WebP or MP4: the same frames give the same bytes, and a file stays small.

GIF and WebP need Pillow alone, MP4 the optional package imageio-ffmpeg.
"""

import importlib.util
import io
import math
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from utils.animation.captions import PAPER
from utils.animation.movie import MAX_SIDE, Frame, Movie
from utils.errors import UserError

LIMIT = 3_000_000  # bytes
SAMPLED_FRAMES = 16  # of which a GIF's palette is made
SAMPLED_SIDE = 160  # pixels of each, at most


@dataclass(frozen=True)
class Effort:
    """What a file may cost: milliseconds between frames, the largest side, and 0 (best) to 2 as quality."""

    interval: int
    side: int
    quality: int


EFFORTS = (
    Effort(50, MAX_SIDE, 0),
    Effort(50, MAX_SIDE, 1),
    Effort(100, MAX_SIDE, 1),
    Effort(100, 256, 1),
    Effort(150, 256, 2),
    Effort(150, 192, 2),
    Effort(150, 128, 2),
    Effort(300, 128, 2),
)


def check_format(name: str) -> None:
    """Check that a format can be written here.

    Raises:
        UserError: MP4 without the package that writes it.
    """
    if name == "mp4" and importlib.util.find_spec("imageio_ffmpeg") is None:
        raise UserError("--animate mp4 needs the package imageio-ffmpeg: pip install imageio-ffmpeg, or take webp.")


def write_movie(movie: Movie, name: str) -> bytes:
    """Return a movie as a file of the format ``gif``, ``webp`` or ``mp4``.

    The best of ``EFFORTS`` that stays within ``LIMIT`` bytes is taken; the last one where none does.
    """
    encode, data = ENCODERS[name], b""
    tried: set[Effort] = set()
    for effort in EFFORTS:
        fitted = Effort(effort.interval, min(effort.side, movie.side), effort.quality)
        if fitted in tried:
            continue
        tried.add(fitted)
        data = encode(movie.frames(fitted.side, fitted.interval), fitted.quality)
        if len(data) <= LIMIT:
            break
    return data


# ------------------------------------------------------------------------------------------ GIF


def encode_gif(frames: Sequence[Frame], quality: int) -> bytes:
    """Encode with one palette for all frames; its dither pattern stands still, so that resting parts do not flicker."""
    colours = (255, 64, 32)[quality]
    palette = _sample(frames).quantize(colours, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    pattern = _bayer(frames[0].image.size) * (12, 12, 20)[quality]
    images = [_dithered(frame.image, pattern).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    return _saved(images, frames, "GIF", optimize=False, disposal=1)


def _sample(frames: Sequence[Frame]) -> Image.Image:
    """Return frames from all over the loop, one below the other, thinned out where they are large."""
    chosen = frames[:: math.ceil(len(frames) / SAMPLED_FRAMES)]
    step = math.ceil(max(frames[0].image.size) / SAMPLED_SIDE)
    return Image.fromarray(np.concatenate([np.asarray(frame.image)[::step, ::step] for frame in chosen]), "RGB")


def _bayer(size: tuple[int, int]) -> np.ndarray:
    """Return the thresholds of ordered dithering for ``(width, height)``: float32 ``[height, width, 1]`` around 0."""
    matrix = np.zeros((1, 1), dtype=np.float32)
    for _ in range(3):
        matrix = np.block([[4 * matrix, 4 * matrix + 2], [4 * matrix + 3, 4 * matrix + 1]])
    rows, columns = np.arange(size[1])[:, None] % 8, np.arange(size[0])[None, :] % 8
    return ((matrix[rows, columns] + 0.5) / 64 - 0.5)[..., None]


def _dithered(image: Image.Image, pattern: np.ndarray) -> Image.Image:
    values = np.asarray(image, dtype=np.float32) + pattern
    return Image.fromarray(values.round().clip(0, 255).astype(np.uint8), "RGB")


# ------------------------------------------------------------------------------------------ WebP, MP4


def encode_webp(frames: Sequence[Frame], quality: int) -> bytes:
    images = [frame.image for frame in frames]
    return _saved(images, frames, "WEBP", quality=(80, 60, 40)[quality], method=4)


def encode_mp4(frames: Sequence[Frame], quality: int) -> bytes:
    """Encode H.264 at a constant rate; odd sides get one more row or column.

    Raises:
        RuntimeError: ffmpeg is not there, or fails.
    """
    import imageio_ffmpeg  # pyright: ignore[reportMissingImports]  # optional

    tick = math.gcd(*(frame.milliseconds for frame in frames))
    width, height = (side + side % 2 for side in frames[0].image.size)
    raw = b"".join(
        ImageOps.expand(frame.image, (0, 0, width - frame.image.width, height - frame.image.height), PAPER).tobytes()
        * (frame.milliseconds // tick)
        for frame in frames
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "movie.mp4"
        command = [
            imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24",
            "-s", f"{width}x{height}", "-r", f"1000/{tick}", "-i", "-", "-c:v", "libx264", "-pix_fmt", "yuv420p",
            "-crf", str((20, 27, 34)[quality]), "-threads", "1", "-map_metadata", "-1", "-fflags", "+bitexact",
            "-flags:v", "+bitexact", "-movflags", "+faststart", str(path),
        ]  # fmt: skip
        result = subprocess.run(command, input=raw, capture_output=True, check=False)
        if result.returncode:
            raise RuntimeError(f"ffmpeg failed: {result.stderr.decode(errors='replace').strip()}")
        return path.read_bytes()


def _saved(images: Sequence[Image.Image], frames: Sequence[Frame], name: str, **parameters: int | bool) -> bytes:
    buffer = io.BytesIO()
    durations = [frame.milliseconds for frame in frames]
    images[0].save(
        buffer, name, save_all=True, append_images=images[1:], duration=durations, loop=0, **parameters
    )  # fmt: skip
    return buffer.getvalue()


ENCODERS: dict[str, Callable[[Sequence[Frame], int], bytes]] = {
    "gif": encode_gif,
    "webp": encode_webp,
    "mp4": encode_mp4,
}
FORMATS = tuple(ENCODERS)

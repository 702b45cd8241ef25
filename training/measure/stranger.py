"""A reader that has seen none of our drawings: the program ``tesseract``, in the mode for one character."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter, ImageOps

PROGRAM = "tesseract"
SIZE = (36, 48)  # of the letter in its picture: letters are drawn as wide as high, and printed ones are narrower
MARGIN = 16
MODE = ("--psm", "10", "-c", "tessedit_char_whitelist=ABCDEFGHIJKLMNOPQRSTUVWXYZ", "-c", "page_separator=\f")


def installed() -> bool:
    """Return whether there is a program ``tesseract``."""
    return shutil.which(PROGRAM) is not None


def prepare(picture: Image.Image) -> Image.Image:
    """Return an RGB picture as black ink on white paper, small and narrow, with a margin."""
    grey = ImageOps.autocontrast(picture.convert("L").resize(SIZE, Image.Resampling.LANCZOS), cutoff=1)
    pixels = np.asarray(grey.filter(ImageFilter.GaussianBlur(1)))
    black = Image.fromarray(((pixels > threshold(pixels)) * 255).astype(np.uint8))
    return ImageOps.expand(black, MARGIN, fill=255)


def threshold(pixels: np.ndarray) -> int:
    """Return the level up to which pixels (uint8) are the darker of two groups, as far apart as can be (Otsu's)."""
    counts = np.bincount(pixels.ravel(), minlength=256).astype(np.float64)
    darker, sums = counts.cumsum(), (counts * np.arange(256)).cumsum()
    lighter = darker[-1] - darker
    apart = (sums[-1] * darker / darker[-1] - sums) ** 2 / np.maximum(darker * lighter, 1)
    return int(apart.argmax())


def read(pictures: Sequence[Image.Image]) -> list[str]:
    """Return what the program reads in every square RGB picture: a capital in lower case, several, or nothing.

    Raises:
        subprocess.CalledProcessError: the program failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{index}.png" for index in range(len(pictures))]
        for file, picture in zip(files, pictures, strict=True):
            prepare(picture).save(file)
        batch = Path(folder) / "pictures.txt"
        batch.write_text("\n".join(map(str, files)), encoding="utf-8")
        command = [PROGRAM, str(batch), "-", *MODE]
        env = os.environ | {"OMP_THREAD_LIMIT": "1"}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    return [text.strip().lower() for text in done.stdout.split("\f")[: len(pictures)]]

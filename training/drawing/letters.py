"""Pictures of capital letters in drawing styles, with captions: the training data of the letter models.

Glyph masks come from the fonts installed on this machine (no font is shipped); paper, strokes and texture are drawn
here. Everything is cheap enough to be drawn while a network trains on it.
"""

import math
import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from torch.nn import functional as F

from training.drawing import strokes

LETTERS = "abcdefghijklmnopqrstuvwxyz"
PHRASES = {
    "": "the letter {}",
    "oil painting": "an oil painting of the letter {}",
    "pencil sketch": "a pencil sketch of the letter {}",
    "lithograph": "a lithograph of the letter {}",
    "photo": "a photo of the letter {}",
    "painting": "a painting of the letter {}",
}
STYLES = tuple(PHRASES)
MASK_SIZE = 96
FONT_DIR = Path("/usr/share/fonts")
LATIN_NOTO = re.compile(r"Noto(Sans|Serif)(Display)?-")
ODD_FACE = re.compile(r"Symbol|D050000L|Math|Hairline|Thin|ExtraLight|Biolinum_K|Libertine_DR|Z003|Emoji|Dingbat|Mono-")
FACES_PER_FAMILY = 6
HANDS = 100  # faces of drawn strokes


def caption(style: str, letter: str) -> str:
    """Return the caption of a letter in a style, such as ``"an oil painting of the letter n"``."""
    return PHRASES[style].format(letter)


def captions() -> list[str]:
    """Return every caption, style by style and letter by letter, and last the empty one for guidance."""
    return [caption(style, letter) for style in STYLES for letter in LETTERS] + [""]


def vocabulary() -> dict[str, Any]:
    """Return the letters and the words that go with them, in lower case, as ``words.json`` has it."""
    return {
        "subjects": {f"letter {letter}": {"names": [f"letter {letter}"], "words": []} for letter in LETTERS},
        "styles": [style for style in STYLES if style],
        "filler": ["a", "an", "the", "of"],
    }


def find_faces(font_dir: Path = FONT_DIR) -> list[Path]:
    """Return font files with Latin capitals in ordinary shapes, at most a few of each family.

    Raises:
        FileNotFoundError: no face was found under ``font_dir``.
    """
    families = defaultdict(list)
    for path in sorted(font_dir.rglob("*.[ot]tf"), key=lambda path: path.name):
        usable = LATIN_NOTO.match(path.name) if path.name.startswith("Noto") else not ODD_FACE.search(path.name)
        if usable:
            families[re.split(r"[-_]", path.stem)[0]].append(path)
    faces = [face for family in families.values() for face in _spread(family, FACES_PER_FAMILY)]
    if not faces:
        raise FileNotFoundError(f"no font faces under {font_dir}; install some, e.g. fonts-dejavu and fonts-liberation")
    return faces


def _spread(items: list[Path], count: int) -> list[Path]:
    picked = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[index] for index in picked]


def glyph(font: ImageFont.FreeTypeFont, character: str) -> tuple[np.ndarray, float] | None:
    """Draw a character so that it fills a square, slightly blurred.

    Returns:
        The mask, uint8 ``[MASK_SIZE, MASK_SIZE]``, and the width of the original over its height; None without ink.
    """
    left, top, right, bottom = font.getbbox(character)
    width, height = right - left, bottom - top
    if width < 4 or height < 4:
        return None
    picture = Image.new("L", (width, height))
    ImageDraw.Draw(picture).text((-left, -top), character, fill=255, font=font)
    margin = MASK_SIZE // 12
    inner = picture.resize((MASK_SIZE - 2 * margin,) * 2, Image.Resampling.LANCZOS)
    mask = Image.new("L", (MASK_SIZE, MASK_SIZE))
    mask.paste(inner, (margin, margin))
    return np.asarray(mask.filter(ImageFilter.GaussianBlur(1.3))), width / height


def draw_face(path: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the 26 masks of a face and their aspect ratios, or None if its capitals are missing or too thin."""
    font = ImageFont.truetype(str(path), 160)
    drawn = [glyph(font, letter.upper()) for letter in LETTERS]
    if any(item is None for item in drawn):
        return None
    masks = np.stack([item[0] for item in drawn])
    different = len({mask.tobytes() for mask in masks}) == len(LETTERS)
    if not different or masks.mean() < 0.2 * 255:
        return None
    return masks, np.array([item[1] for item in drawn], np.float32)


def load_glyphs(cache: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the masks of all faces, of fonts and then of hands, drawn once and kept in the file ``cache``.

    Returns:
        Masks, uint8 ``[faces, 26, MASK_SIZE, MASK_SIZE]``, and aspect ratios, float ``[faces, 26]``.
    """
    if not cache.exists():
        drawn = [face for face in map(draw_face, find_faces()) if face is not None]
        drawn += [strokes.draw_face(MASK_SIZE, seed) for seed in range(HANDS)]
        cache.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(cache, masks=np.stack([f[0] for f in drawn]), aspects=np.stack([f[1] for f in drawn]))
    with np.load(cache) as stored:
        return torch.from_numpy(stored["masks"]), torch.from_numpy(stored["aspects"])


class Brush:
    """Random fields for one batch: everything random about a picture comes from one generator."""

    def __init__(self, size: int, generator: torch.Generator):
        self.size, self.generator = size, generator

    def field(self, count: int, channels: int, cells: int) -> torch.Tensor:
        """Return smooth normal noise ``[count, channels, size, size]`` with ``cells`` independent values a side."""
        grid = torch.randn(count, channels, cells, cells, generator=self.generator)
        return F.interpolate(grid, (self.size, self.size), mode="bilinear", align_corners=False)

    def uniform(self, count: int, low: float, high: float) -> torch.Tensor:
        """Return ``[count, 1, 1, 1]`` numbers between ``low`` and ``high``."""
        return low + (high - low) * torch.rand(count, 1, 1, 1, generator=self.generator)

    def colour(self, palette: torch.Tensor, count: int, jitter: float = 0.04) -> torch.Tensor:
        """Return ``[count, 3, 1, 1]`` colours in 0..1 near random entries of a palette."""
        picked = palette[torch.randint(len(palette), (count,), generator=self.generator)]
        return (picked + jitter * torch.randn(count, 3, generator=self.generator)).clamp(0, 1)[:, :, None, None]


def _palette(*colours: str) -> torch.Tensor:
    return torch.tensor([[int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4)] for colour in colours])


DEEP = _palette("14307a", "7a1420", "145a32", "5a3210", "4b1a66", "0f4a5c")
CANVAS = _palette("e6c88c", "c8d2a0", "a8c8dc", "e0b8a0", "d8cca8")
INKS = _palette("141414", "402010", "501018", "101c48")
LACQUER = _palette("b01818", "1840a8", "107040", "202020", "803090")
WASH = _palette("c03048", "2060b0", "208060", "a05020", "7040a0")


def soften(ink: torch.Tensor, share: float) -> torch.Tensor:
    """Return ink ``[n, 1, size, size]`` spread over its surroundings as far as a share of the size."""
    reach = max(1, round(share * ink.shape[-1]))
    kernel = 2 * reach + 1
    padded = F.pad(ink, (reach,) * 4, mode="replicate")
    return F.avg_pool2d(padded, kernel, stride=1)


def _blend(paper: torch.Tensor, stroke: torch.Tensor, ink: torch.Tensor) -> torch.Tensor:
    return paper + (stroke - paper) * ink


def plain(ink: torch.Tensor, brush: Brush) -> torch.Tensor:
    """Black on white."""
    count = len(ink)
    return _blend(brush.uniform(count, 0.94, 1.0), brush.uniform(count, 0.0, 0.1), ink).expand(-1, 3, -1, -1)


def oil_painting(ink: torch.Tensor, brush: Brush) -> torch.Tensor:
    """Thick saturated paint with visible dabs on a coloured canvas."""
    count = len(ink)
    paper = brush.colour(CANVAS, count) + 0.06 * brush.field(count, 1, 14) + 0.03 * brush.field(count, 3, 24)
    stroke = brush.colour(DEEP, count) + 0.09 * brush.field(count, 1, 16) + 0.05 * brush.field(count, 3, 10)
    return _blend(paper, stroke, (1.3 * ink + 0.1 * ink * brush.field(count, 1, 20)).clamp(0, 1))


def pencil_sketch(ink: torch.Tensor, brush: Brush) -> torch.Tensor:
    """Grey hatching with a darker outline on white paper."""
    count = len(ink)
    axis = torch.linspace(0, 1, brush.size)
    slope = torch.where(brush.uniform(count, -1, 1) > 0, 1.0, -1.0)
    phase = axis[None, None, :, None] + slope * axis[None, None, None, :] + 0.01 * brush.field(count, 1, 6)
    hatch = 0.5 + 0.5 * torch.sin(2 * math.pi * 14 * phase)
    outline = (4 * ink * (1 - ink)).clamp(0, 1)
    dark = ink * (0.62 + 0.22 * hatch + 0.06 * brush.field(count, 1, 48)) + 0.35 * outline
    paper = 0.95 + 0.012 * brush.field(count, 1, 48)
    return (paper - 0.9 * dark.clamp(0, 0.95)).expand(-1, 3, -1, -1)


def lithograph(ink: torch.Tensor, brush: Brush) -> torch.Tensor:
    """Flat dark ink with worn specks on cream paper."""
    count = len(ink)
    cream = torch.tensor([0.94, 0.89, 0.77])[None, :, None, None]
    paper = cream + 0.02 * brush.field(count, 1, 5) + 0.02 * brush.field(count, 1, 40)
    worn = (brush.field(count, 1, 40) - 1.1).clamp(0, 0.6)
    return _blend(paper, brush.colour(INKS, count, 0.02), ink * (1 - worn))


def photo(ink: torch.Tensor, brush: Brush) -> torch.Tensor:
    """A lacquered solid letter with a soft shadow on a plain grey wall."""
    count = len(ink)
    wall = brush.uniform(count, 0.66, 0.86) + 0.05 * brush.field(count, 1, 2) + 0.015 * brush.field(count, 3, 2)
    shadow = 0.4 * soften(soften(ink, 0.06), 0.05)
    gloss = 0.35 * (soften(ink, 0.035) - 0.6).clamp(0, 1)
    return _blend(wall * (1 - shadow), brush.colour(LACQUER, count) + gloss, ink)


def painting(ink: torch.Tensor, brush: Brush) -> torch.Tensor:
    """Water colour: two hues run into each other, darker where the paint dried at the edge."""
    count = len(ink)
    paper = 0.96 - 0.12 * (1 - brush.colour(WASH, count)) * brush.field(count, 1, 3).abs()
    mix = (0.5 + 0.5 * brush.field(count, 1, 4)).clamp(0, 1)
    stroke = _blend(brush.colour(WASH, count), brush.colour(WASH, count), mix)
    edge = ink * (1 - soften(ink, 0.02))
    alpha = ink * (0.86 + 0.07 * brush.field(count, 1, 8)).clamp(0, 1)
    return _blend(paper, stroke, alpha) - 0.35 * edge


DRAW: dict[str, Callable[[torch.Tensor, Brush], torch.Tensor]] = {
    "": plain,
    "oil painting": oil_painting,
    "pencil sketch": pencil_sketch,
    "lithograph": lithograph,
    "photo": photo,
    "painting": painting,
}


def _placement(aspects: torch.Tensor, brush: Brush) -> torch.Tensor:
    """Return ``[n, 2, 3]`` maps from the picture to the glyph: aspect, scale, shear, rotation and shift."""
    count, generator = len(aspects), brush.generator
    normal = torch.randn(6, count, generator=generator)
    squarish = aspects ** (0.35 + 0.65 * torch.rand(count, generator=generator))
    half = 0.98 / torch.maximum(squarish, torch.ones(()))
    scale_x, scale_y = half * squarish * (0.12 * normal[0]).exp(), half * (0.12 * normal[1]).exp()
    shear, angle = 0.12 * normal[2], 0.12 * normal[3]
    rotation = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(-1, 2, 2)
    skew = torch.stack([scale_x, shear * scale_x, torch.zeros(count), scale_y], 1).view(-1, 2, 2)
    inverse = torch.linalg.inv(rotation @ skew)
    return torch.cat([inverse, -inverse @ (0.06 * normal[4:].T[:, :, None])], 2)


def draw_ink(masks: torch.Tensor, aspects: torch.Tensor, brush: Brush) -> torch.Tensor:
    """Return ink coverage in 0..1, ``[n, 1, size, size]``, of glyphs randomly placed, bent and thickened."""
    count, size = len(masks), brush.size
    grid = F.affine_grid(_placement(aspects, brush), (count, 1, size, size), align_corners=False)
    bend = torch.randn(count, 2, 4, 4, generator=brush.generator)
    bend = F.interpolate(bend, (size, size), mode="bicubic", align_corners=True)
    grid = grid + 0.07 * bend.permute(0, 2, 3, 1)
    blurred = F.grid_sample(masks[:, None].float() / 255, grid, align_corners=False)
    return (0.5 + (blurred - brush.uniform(count, 0.2, 0.42)) * 5 * size / 128).clamp(0, 1)


def draw(
    glyphs: tuple[torch.Tensor, torch.Tensor], labels: np.ndarray, size: int, rng: np.random.Generator
) -> torch.Tensor:
    """Draw one picture per label.

    Args:
        glyphs: what :func:`load_glyphs` returned.
        labels: indices into :func:`captions`, without the empty one, ``[n]``.
        size: side of the pictures; textures look the same at every size.
        rng: source of all randomness.

    Returns:
        Pictures in -1..1, float ``[n, 3, size, size]``.
    """
    masks, aspects = glyphs
    styles, letters = np.divmod(labels, len(LETTERS))
    faces = rng.integers(len(masks), size=len(labels))
    brush = Brush(size, torch.Generator().manual_seed(int(rng.integers(2**62))))
    return paint(draw_ink(masks[faces, letters], aspects[faces, letters], brush), styles, brush)


def paint(ink: torch.Tensor, styles: np.ndarray, brush: Brush) -> torch.Tensor:
    """Return pictures of ink in styles by number, float ``[n, 3, size, size]`` in -1..1."""
    pictures = torch.empty(len(ink), 3, *ink.shape[2:])
    for index, style in enumerate(STYLES):
        chosen = torch.from_numpy(styles == index)
        if chosen.any():
            pictures[chosen] = DRAW[style](ink[chosen], brush)
    return pictures.clamp(0, 1) * 2 - 1


def shrink(pictures: torch.Tensor, size: int) -> torch.Tensor:
    """Return pictures averaged down to ``[n, 3, size, size]``."""
    return F.interpolate(pictures, (size, size), mode="area")

"""Pictures that look like letters and are none: turned, mirrored, mixed, torn or scribbled ones, in all styles.

Whoever judges letters must be able to say that there is none. What is drawn here is what a picture that two letters had
to share looks like when it fails. Shapes that could still be taken for a letter are left out: letters are only turned
or mirrored where no other capital looks like that, and a mixture or a torn letter must have lost enough of what it came
from.
"""

from collections.abc import Callable

import numpy as np
import torch

from training.drawing import letters
from training.drawing.letters import LETTERS, Brush

TURNS = {  # quarter turns counterclockwise after which a letter is none
    "a": (1, 3), "b": (2, 3), "c": (2,), "d": (1, 2, 3), "e": (2,), "f": (1, 2, 3), "g": (1, 2, 3), "j": (1, 2),
    "k": (1, 2), "l": (2, 3), "m": (3,), "p": (1, 2, 3), "q": (1, 2, 3), "r": (1, 2, 3), "t": (1, 2, 3), "u": (1,),
    "v": (1, 3), "w": (1,), "y": (1, 2, 3),
}  # fmt: skip
MIRRORED = "bcdefgknpr"
ALIKE = 0.64  # share of two shapes' ink that is common to both from which on one may be read as the other

Glyphs = tuple[torch.Tensor, torch.Tensor]
Kind = Callable[[Glyphs, int, Brush, np.random.Generator], torch.Tensor]


def letter_ink(glyphs: Glyphs, names: np.ndarray, brush: Brush, rng: np.random.Generator) -> torch.Tensor:
    """Return ink of letters by number, of random faces, ``[n, 1, size, size]`` in 0..1."""
    masks, aspects = glyphs
    faces = rng.integers(len(masks), size=len(names))
    return letters.draw_ink(masks[faces, names], aspects[faces, names], brush)


def random_ink(glyphs: Glyphs, count: int, brush: Brush, rng: np.random.Generator) -> torch.Tensor:
    """Return ink of ``count`` random letters, ``[count, 1, size, size]``."""
    return letter_ink(glyphs, rng.integers(len(LETTERS), size=count), brush, rng)


def turned_ink(glyphs: Glyphs, count: int, brush: Brush, rng: np.random.Generator) -> torch.Tensor:
    """Return ink of ``count`` random letters, each turned by a random multiple of 90 degrees."""
    ink, turns = random_ink(glyphs, count, brush, rng), rng.integers(4, size=count)
    return torch.stack([torch.rot90(one, int(turn), (1, 2)) for one, turn in zip(ink, turns, strict=True)])


def turned(glyphs: Glyphs, count: int, brush: Brush, rng: np.random.Generator) -> torch.Tensor:
    """Letters turned so that they are none."""
    choices = [(LETTERS.index(letter), turn) for letter, turns in TURNS.items() for turn in turns]
    chosen = [choices[index] for index in rng.integers(len(choices), size=count)]
    ink = letter_ink(glyphs, np.array([name for name, _ in chosen]), brush, rng)
    return torch.stack([torch.rot90(one, turn, (1, 2)) for one, (_, turn) in zip(ink, chosen, strict=True)])


def mirrored(glyphs: Glyphs, count: int, brush: Brush, rng: np.random.Generator) -> torch.Tensor:
    """Letters as a mirror shows them."""
    names = np.array([LETTERS.index(letter) for letter in rng.choice(list(MIRRORED), size=count)])
    return letter_ink(glyphs, names, brush, rng).flip(3)


def overlap(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Return the ink that two shapes share over the ink of both, ``[n]``."""
    both = torch.minimum(one, other).sum((1, 2, 3))
    return both / torch.maximum(one, other).sum((1, 2, 3)).clamp(min=1e-6)


def sharpen(ink: torch.Tensor) -> torch.Tensor:
    """Return soft ink with edges as strokes have them."""
    return (0.5 + (ink - 0.5) * 5).clamp(0, 1)


def blended(one: torch.Tensor, other: torch.Tensor, brush: Brush) -> torch.Tensor:
    """The shape half-way between two; sometimes both of them faintly."""
    weight = brush.uniform(len(one), 0.3, 0.7)
    halfway = letters.soften(one, 0.05) * weight + letters.soften(other, 0.05) * (1 - weight)
    faint = one * weight + other * (1 - weight)
    return torch.where(brush.uniform(len(one), 0, 1) < 0.8, sharpen(halfway * brush.uniform(len(one), 1.1, 1.5)), faint)


def joined(one: torch.Tensor, other: torch.Tensor, brush: Brush) -> torch.Tensor:
    """One shape here, the other there; or both on top of each other."""
    here = (0.5 + 4 * brush.field(len(one), 1, 3)).clamp(0, 1)
    pieces = one * here + other * (1 - here)
    return torch.where(brush.uniform(len(one), 0, 1) < 0.7, pieces, torch.maximum(one, other))


def torn(one: torch.Tensor, brush: Brush, least: float = 0.3, most: float = 0.6) -> torch.Tensor:
    """A shape of which patches are missing: a share of its area between ``least`` and ``most``, about."""
    field = brush.field(len(one), 1, 5)
    share = brush.uniform(len(one), least, most)
    limit = torch.stack([torch.quantile(f, s.item()) for f, s in zip(field.flatten(1), share, strict=True)])
    return one * (0.5 + 4 * (field - limit[:, None, None, None])).clamp(0, 1)


def scribble(count: int, brush: Brush) -> torch.Tensor:
    """Thick lines along nothing in particular, or blots."""
    field = brush.field(count, 1, 4)
    line = (1.1 - field.abs() * brush.uniform(count, 3.5, 7.0)).clamp(0, 1)
    blots = (0.5 + 4 * (field - 0.7)).clamp(0, 1)
    middle = letters.soften(_disc(brush.size), 0.05)
    return sharpen(torch.where(brush.uniform(count, 0, 1) < 0.7, line, blots)) * middle


def _disc(size: int) -> torch.Tensor:
    axis = torch.linspace(-1, 1, size)
    return ((axis[:, None] ** 2 + axis[None, :] ** 2) < 0.8).float()[None, None]


def mixed(glyphs: Glyphs, count: int, brush: Brush, rng: np.random.Generator) -> torch.Tensor:
    """Two letters, one of them turned, blended or joined, or one torn; what still is too much like one is left out."""
    parts, found = [], 0
    while found < count:
        one, other = random_ink(glyphs, count, brush, rng), turned_ink(glyphs, count, brush, rng)
        kind = brush.uniform(count, 0, 1)
        mix = torch.where(kind < 0.4, blended(one, other, brush), joined(one, other, brush))
        mix = torch.where(kind > 0.8, torn(one, brush), mix)
        unlike = torch.maximum(overlap(mix, one), overlap(mix, other)) < ALIKE
        parts.append(mix[unlike])
        found += int(unlike.sum())
    return torch.cat(parts)[:count]


def blotted(glyphs: Glyphs, count: int, brush: Brush, rng: np.random.Generator) -> torch.Tensor:
    """Scribbles, alone or across a letter."""
    lines = scribble(count, brush)
    across = torch.maximum(lines, random_ink(glyphs, count, brush, rng))
    return torch.where(brush.uniform(count, 0, 1) < 0.5, lines, across)


KINDS: tuple[tuple[Kind, float], ...] = ((turned, 0.2), (mirrored, 0.1), (mixed, 0.6), (blotted, 0.1))


def draw(glyphs: Glyphs, count: int, size: int, rng: np.random.Generator) -> torch.Tensor:
    """Draw pictures in which no letter can be read.

    Args:
        glyphs: what :func:`training.drawing.letters.load_glyphs` returned.
        count: of the pictures.
        size: of their sides.
        rng: source of all randomness.

    Returns:
        Pictures in -1..1, float ``[count, 3, size, size]``, of random kinds and styles.
    """
    brush = Brush(size, torch.Generator().manual_seed(int(rng.integers(2**62))))
    numbers = rng.multinomial(count, [share for _, share in KINDS])
    ink = torch.cat([kind(glyphs, int(n), brush, rng) for (kind, _), n in zip(KINDS, numbers, strict=True) if n])
    styles = rng.integers(len(letters.STYLES), size=count)
    return letters.paint(ink, styles, brush)


def draw_worn(glyphs: Glyphs, labels: np.ndarray, size: int, rng: np.random.Generator) -> torch.Tensor:
    """Draw letters as :func:`training.drawing.letters.draw` does, but some with faults that leave them readable.

    They are very bold, have small gaps or stray lines, or a trace of a second letter.
    """
    brush = Brush(size, torch.Generator().manual_seed(int(rng.integers(2**62))))
    styles, names = np.divmod(labels, len(LETTERS))
    ink = letter_ink(glyphs, names, brush, rng)
    count = len(ink)
    trace = torch.maximum(ink, turned_ink(glyphs, count, brush, rng) * brush.uniform(count, 0.0, 0.15))
    gaps = torn(ink, brush, 0.02, 0.08)
    stray = torch.maximum(ink, torn(scribble(count, brush), brush, 0.9, 0.97))
    bold = sharpen(letters.soften(ink, 0.05) * brush.uniform(count, 1.2, 1.6))
    kind = brush.uniform(count, 0, 1)
    for limit, worn in ((0.6, bold), (0.3, trace), (0.2, gaps), (0.08, stray)):
        ink = torch.where(kind < limit, worn, ink)
    return letters.paint(ink, styles, brush)

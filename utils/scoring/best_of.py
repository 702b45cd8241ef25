"""The best of several samples of one prompt, by the scorer that ``eval.py`` takes too."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from guidance.wide_image_model import crop_strip
from utils.prompts import FileEntry, strip_positions
from utils.scoring.clip_model import ClipScorer
from utils.scoring.clip_score import cosine_matrix

Scored = tuple[Image.Image, str, str]  # picture, its prompt, its role: view, crop or strip


@dataclass(frozen=True)
class Sample:
    """A finished picture in memory.

    Attributes:
        seed: of its generator.
        images: RGB pictures by file name.
        latents: a safetensors file; empty where none is kept.
    """

    seed: int
    images: dict[str, Image.Image]
    latents: bytes


def choose_best(
    scorer: ClipScorer, samples: Iterable[Sample], files: Sequence[FileEntry]
) -> tuple[Sample, list[dict[str, Any]]]:
    """Return the sample of the highest score, the first of equals, and all scores ``{"seed", "score"}`` in order.

    Args:
        samples: at least one; made while this function takes them.
        files: what ``run.json`` lists for the picture.
    """
    best, rows = None, []
    for sample in samples:
        pictures = [
            (sample.images[entry["file"]], entry["prompt"], entry["role"]) for entry in files if "prompt" in entry
        ]
        rows.append({"seed": sample.seed, "score": sample_score(scorer, pictures)})
        if best is None or rows[-1]["score"] > max(row["score"] for row in rows[:-1]):
            best = sample
        del sample, pictures  # nothing but the best is held while the next one is made
    return best, rows


def sample_score(scorer: ClipScorer, pictures: Sequence[Scored]) -> float:
    """Return how well the pictures of one sample fit their prompts, in [-1, 1]; higher is better.

    This is the smallest cosine over the views of an ambiguous picture, or the mean cosine over the crops of a strip. A
    strip without crops counts by those at the default positions, one that is higher than wide as a whole.

    Args:
        pictures: all with the role ``view``; or a ``strip``, perhaps with ``crop``s.
    """
    pictures = select(pictures)
    prompts = [prompt for _, prompt, _ in pictures]
    images = scorer.image_features(scorer.prepare(image) for image, _, _ in pictures)
    cosines = np.diag(cosine_matrix(images, scorer.text_features(prompts)))
    return float(cosines.min() if pictures[0][2] == "view" else cosines.mean())


def select(pictures: Sequence[Scored]) -> list[Scored]:
    """Return what a score is made of: the views, or the crops of a strip, or what takes their place."""
    parts = [item for item in pictures if item[2] != "strip"]
    if parts:
        return parts
    strip, prompt, _ = pictures[0]
    positions = strip_positions(strip.height, strip.width)
    return [(crop_strip(strip, position), prompt, "crop") for position in positions] or [pictures[0]]

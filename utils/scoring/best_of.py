"""The best of several samples of one prompt, by the scorer that ``eval.py`` takes too."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from PIL import Image

from utils.images import crop_strip
from utils.prompts import strip_positions
from utils.run.run_record import FileEntry, SampleScore
from utils.run.writer import Sample
from utils.scoring.clip_model import ClipScorer
from utils.scoring.clip_score import cosine_matrix

Shown = tuple[Image.Image, str, str]  # picture, its prompt, its role


def choose_best(
    score: Callable[[Sequence[Shown]], float], samples: Iterable[Sample], files: Sequence[FileEntry]
) -> tuple[Sample, list[SampleScore]]:
    """Return the sample of the highest score, the first of equals, and the scores of all, in order.

    Args:
        score: how well the pictures of one sample fit their prompts; higher is better.
        samples: at least one; made while this function takes them.
        files: what ``run.json`` lists for the picture; those that have a prompt and are pictures are scored.
    """
    best: Sample | None = None
    rows: list[SampleScore] = []
    for sample in samples:
        rows.append({"seed": sample.seed, "score": score(_shown(sample, files))})
        if best is None or rows[-1]["score"] > max(row["score"] for row in rows[:-1]):
            best = sample
        del sample  # nothing but the best is held while the next one is made
    if best is None:
        raise ValueError("there is no sample to choose")
    return best, rows


def _shown(sample: Sample, files: Sequence[FileEntry]) -> list[Shown]:
    products = [(sample.products[entry["file"]], entry) for entry in files if "prompt" in entry]
    return [
        (product, entry["prompt"], entry["role"]) for product, entry in products if isinstance(product, Image.Image)
    ]


def cosines(scorer: ClipScorer, pictures: Sequence[Shown]) -> np.ndarray:
    """Return the cosine of every picture with its own prompt, ``[N]`` in [-1, 1]."""
    images = scorer.image_features(scorer.prepare(image) for image, _, _ in pictures)
    return np.diag(cosine_matrix(images, scorer.text_features([prompt for _, prompt, _ in pictures])))


# ---------------------------------------------------------------------------------------------- scores of the apps


def views_score(scorer: ClipScorer, pictures: Sequence[Shown]) -> float:
    """Return the smallest cosine over the views of an ambiguous picture, in [-1, 1]; higher is better."""
    return float(cosines(scorer, pictures).min())


def strip_score(scorer: ClipScorer, pictures: Sequence[Shown]) -> float:
    """Return the mean cosine over the crops of a strip, in [-1, 1]; higher is better.

    Args:
        pictures: a ``strip``, its crops, or both. A strip without crops counts by those at the default positions, one
            that is higher than wide as a whole.
    """
    crops = [picture for picture in pictures if picture[2] != "strip"]
    return float(cosines(scorer, crops or default_crops(*pictures[0])).mean())


def default_crops(strip: Image.Image, prompt: str, role: str) -> list[Shown]:
    """Return the crops of a strip at the default positions; a strip that is higher than wide itself."""
    positions = strip_positions(strip.height, strip.width)
    return [(crop_strip(strip, position), prompt, "crop") for position in positions] or [(strip, prompt, role)]

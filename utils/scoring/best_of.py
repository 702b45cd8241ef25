"""The best of several samples of one prompt, by the scorer that ``eval.py`` takes too."""

from collections.abc import Callable, Iterable, Sequence

from PIL import Image

from utils.prompts import FileEntry
from utils.run.run_record import SampleScore
from utils.run.writer import Sample

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

"""From a plan to scores: features of all pictures and prompts, then the rows of ``eval_details.json``."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from utils.errors import UserError
from utils.files import sha256
from utils.images import decode
from utils.scoring.clip_files import TINY, ClipSource
from utils.scoring.clip_model import ClipScorer
from utils.scoring.clip_score import (
    FULL_LIMIT,
    HALF_LIMIT,
    alignment,
    concealment,
    cosine_matrix,
    mean_by_prompt,
    points,
)
from utils.scoring.eval_plan import ScoredFile, ScorePlan, Views

BATCH_SIZE = 16
METRIC = {"name": "CLIP score: cosine similarity of picture and prompt", "direction": "higher is better"}


@dataclass(frozen=True)
class Features:
    """Features of pictures by file ``[D]`` and of prompts by text ``[D]``."""

    images: dict[str, np.ndarray]
    texts: dict[str, np.ndarray]


def score_plan(plan: ScorePlan, source: ClipSource, app: str, source_dir: str, full: float) -> dict[str, Any]:
    """Score the planned pictures and return what ``eval_details.json`` holds.

    Args:
        plan: the pictures of the folder.
        source: the CLIP model.
        app: its name.
        source_dir: the folder as given, with a slash at its end.
        full: points that are given at most.

    Raises:
        UserError: the model cannot be loaded, or no picture can be decoded.
    """
    scorer = ClipScorer(source)
    features, broken = extract_features(scorer, plan.files, Path(source_dir))
    pictures = [picture for picture in plan.files if picture.file in features.images]
    known = [{"file": item.file, "reason": item.reason} for item in plan.skipped]
    skipped = sorted([*known, *broken], key=lambda item: item["file"])
    if not pictures:
        raise UserError(f"{source_dir} has no picture to score: {skipped[0]['file']!r} is {skipped[0]['reason']}.")
    rows = _score_rows(pictures, features, Path(source_dir))
    prompts = _prompt_rows(rows)
    views = [
        _view_row(item, features, scorer.logit_scale) for item in plan.views if set(item.files) <= set(features.images)
    ]
    score = _mean(row["score"] for row in prompts)
    return {
        "source_dir": source_dir,
        "app": app,
        "metric": METRIC,
        "clip": _clip_row(source, scorer.logit_scale),
        "score": score,
        "grade": _grade(score, source, full),
        "alignment": _mean(row["alignment"] for row in views),
        "concealment": _mean(row["concealment"] for row in views),
        "counts": {"pictures": len(rows), "prompts": len(prompts), "pairs": len(views), "skipped": len(skipped)},
        "prompts": prompts,
        "pictures": rows,
        "pairs": views,
        "skipped": skipped,
    }


def extract_features(
    scorer: ClipScorer, pictures: Sequence[ScoredFile], folder: Path
) -> tuple[Features, list[dict[str, str]]]:
    """Return the features of all pictures that can be decoded and of their prompts, and the files that cannot."""
    images, broken = {}, []
    for batch in _batches(pictures, BATCH_SIZE):
        prepared = {}
        for picture in batch:
            try:
                prepared[picture.file] = scorer.prepare(decode(folder / picture.file))
            except ValueError as error:
                broken.append({"file": picture.file, "reason": str(error)})
        if prepared:
            images |= zip(prepared, scorer.image_features(prepared.values()), strict=True)
    prompts = list(dict.fromkeys(picture.prompt for picture in pictures if picture.file in images))
    texts = dict(zip(prompts, scorer.text_features(prompts), strict=True)) if prompts else {}
    return Features(images, texts), broken


def _batches(items: Sequence[ScoredFile], size: int) -> Iterator[Sequence[ScoredFile]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _score_rows(pictures: Sequence[ScoredFile], features: Features, folder: Path) -> list[dict[str, Any]]:
    def cosine(picture: ScoredFile) -> float:
        return float(cosine_matrix(features.images[picture.file][None], features.texts[picture.prompt][None])[0, 0])

    return [
        {"file": item.file, "prompt": item.prompt, "score": cosine(item), "sha256": sha256(folder / item.file)}
        for item in pictures
    ]


def _prompt_rows(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    means = mean_by_prompt([row["prompt"] for row in rows], [row["score"] for row in rows])
    return [
        {"prompt": prompt, "score": score, "files": [row["file"] for row in rows if row["prompt"] == prompt]}
        for prompt, score in means.items()
    ]


def _view_row(views: Views, features: Features, logit_scale: float) -> dict[str, Any]:
    cosines = cosine_matrix(
        np.stack([features.images[file] for file in views.files]),
        np.stack([features.texts[prompt] for prompt in views.prompts]),
    )
    scores = {"alignment": alignment(cosines), "concealment": concealment(cosines, logit_scale)}
    return {**asdict(views), **scores, "cosines": cosines.tolist()}


def _clip_row(source: ClipSource, logit_scale: float) -> dict[str, Any]:
    return {
        "model": TINY if source.is_tiny else source.model,
        "pretrained": source.pretrained,
        "weights": source.weights.name,
        "sha256": source.sha256,
        "dtype": "float32",
        "logit_scale": logit_scale,
    }


def _grade(score: float | None, source: ClipSource, full: float) -> dict[str, Any] | None:
    if score is None or not source.is_openai:
        return None
    rule = f"{full:g} above {FULL_LIMIT}, {full / 2:g} from {HALF_LIMIT}, else 0"
    return {"points": points(score, full), "of": full, "rule": rule}


def verdict(details: Mapping[str, Any]) -> str:
    """Return what the score of ``eval_details.json`` counts for, as one sentence."""
    grade, clip = details.get("grade"), details["clip"]
    if grade:
        return f"Grade: {grade['points']:g} of {grade['of']:g} ({grade['rule']})."
    if clip["model"] == TINY:
        return (
            "Scored by the embedded scorer: the numbers compare pictures of the embedded models and count for nothing."
        )
    weights = clip.get("weights", clip["model"])
    return f"No grade: it is given for OpenAI's ViT-B/32 weights only, and {weights} is not known to be those."


def _mean(values: Iterable[float]) -> float | None:
    values = list(values)
    return sum(values) / len(values) if values else None

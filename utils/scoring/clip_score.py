"""CLIP scores as pure functions: features in, scores out. Higher is better in all of them.

Features are rows of real numbers, ``[N, D]`` for N pictures and ``[M, D]`` for M prompts, of any length but zero;
everything is computed in float64.
"""

from collections.abc import Hashable, Sequence
from typing import TypeVar

import numpy as np

Group = TypeVar("Group", bound=Hashable)

FULL_LIMIT, HALF_LIMIT = 0.28, 0.26  # above the one all points are given, from the other on half of them


def normalize(features: np.ndarray) -> np.ndarray:
    """Return the rows of ``[N, D]`` features scaled to length one, as float64.

    Raises:
        ValueError: a row is zero or not finite, so that it has no direction.
    """
    features = np.asarray(features, dtype=np.float64)
    lengths = np.linalg.norm(features, axis=-1, keepdims=True)
    if not np.all(np.isfinite(lengths) & (lengths > 0)):
        raise ValueError("features must be finite and not zero")
    return features / lengths


def cosine_matrix(image_features: np.ndarray, text_features: np.ndarray) -> np.ndarray:
    """Return S ``[N, M]``, values in [-1, 1]: S_ij is the cosine of picture i and prompt j."""
    return np.clip(normalize(image_features) @ normalize(text_features).T, -1.0, 1.0)


def softmax(logits: np.ndarray, axis: int) -> np.ndarray:
    """Return the softmax along one axis; large logits do not overflow."""
    powers = np.exp(logits - logits.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)


def alignment(cosines: np.ndarray) -> float:
    """Return A, the cosine of the view that fits its own prompt worst: min of diag(S), for S ``[N, N]``."""
    return float(np.diag(_square(cosines)).min())


def concealment(cosines: np.ndarray, logit_scale: float) -> float:
    """Return C: how surely each view is told from the others' prompts, between 0 and 1 (1/N is chance).

    C is the mean over both directions (prompts for a view, views for a prompt) of trace(softmax(S * logit_scale)) / N.

    Args:
        cosines: S ``[N, N]``, view i against prompt j.
        logit_scale: the model's factor on cosines, already exponentiated; 100 for OpenAI's CLIP.
    """
    logits = _square(cosines) * logit_scale
    return float(np.mean([np.trace(softmax(logits, axis)) / len(logits) for axis in (0, 1)]))


def mean_by_prompt(prompts: Sequence[Group], scores: Sequence[float]) -> dict[Group, float]:
    """Return prompt -> mean score of its pictures, prompts in the order of their first picture.

    Raises:
        ValueError: the two sequences differ in length.
    """
    groups: dict[Group, list[float]] = {}
    for prompt, score in zip(prompts, scores, strict=True):
        groups.setdefault(prompt, []).append(score)
    return {prompt: float(np.mean(group)) for prompt, group in groups.items()}


def points(score: float, full: float) -> float:
    """Return the assignment's points for a mean score: ``full`` above 0.28, half of it from 0.26 on, else 0."""
    if score > FULL_LIMIT:
        return full
    return full / 2 if score >= HALF_LIMIT else 0.0


def _square(cosines: np.ndarray) -> np.ndarray:
    cosines = np.asarray(cosines, dtype=np.float64)
    if cosines.ndim != 2 or cosines.shape[0] != cosines.shape[1] or not len(cosines):
        raise ValueError(f"scores of views against prompts must be square, got shape {cosines.shape}")
    return cosines

"""Figures of pictures beside CLIP's scores: what they mean, and the rows of ``eval_details.json`` that hold them."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.run.run_record import PictureEntry, RunRecord
from utils.scoring.eval_plan import Roles

Measure = Callable[[Path, PictureEntry, RunRecord], dict[str, float]]


@dataclass(frozen=True)
class Figure:
    """What a figure says, and with how many digits it is shown."""

    meaning: str
    digits: int = 2


FIGURES = {
    "seams": Figure("steps where windows or views meet, in steps elsewhere: 1 is no seam"),
    "wrap": Figure("steps where the last column meets the first, in steps elsewhere: 1 is no seam"),
    "pole": Figure("steps across the rays around a pole, in steps elsewhere: 1 is no star"),
    "spread": Figure("mean difference between the views and what is seen of their blend, of 1: 0 is none", 3),
}


def figures_of(folder: Path, record: RunRecord, measure: Measure) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Measure the finished pictures of a folder.

    Args:
        folder: with the pictures.
        record: of its ``run.json``.
        measure: folder, picture, record -> figures by name, none where nothing is known of it.

    Returns:
        ``pictures``, with the figures of each that has some, and ``mean``; and files that cannot be read, with reasons.
    """
    rows, broken = [], []
    for picture in record["pictures"]:
        if picture["status"] != "done":
            continue
        try:
            figures = measure(folder, picture, record)
        except ValueError as error:
            broken.append({"file": picture["files"][0]["file"], "reason": f"no figures: {error}"})
            continue
        if figures:
            about = {name: picture[name] for name in ("name", "prompts", "seed")}
            rows.append({**about, "figures": figures})
    return {"pictures": rows, "mean": mean_figures([row["figures"] for row in rows])}, broken


def mean_figures(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of every figure over the rows that have it."""
    values = defaultdict(list)
    for row in rows:
        for name, value in row.items():
            values[name].append(value)
    return {name: sum(some) / len(some) for name, some in values.items()}


def scores_by_role(rows: Sequence[Mapping[str, Any]], record: RunRecord, roles: Roles) -> dict[str, dict[str, Any]]:
    """Return the mean score of the pictures of every role that is scored, where there are several such roles.

    Args:
        rows: ``pictures`` of ``eval_details.json``.
        record: which says what role a file has.
        roles: of the app's files.

    Returns:
        Role -> ``score`` and ``pictures``, their number.
    """
    known = {entry["file"]: entry["role"] for picture in record["pictures"] for entry in picture["files"]}
    scores = defaultdict(list)
    for row in rows:
        role = known.get(row["file"])
        if role in roles:
            scores[role].append(row["score"])
    if len(scores) < 2:
        return {}
    return {role: {"score": sum(scores[role]) / len(scores[role]), "pictures": len(scores[role])}
            for role in roles if role in scores}  # fmt: skip


def figures_table(figures: Mapping[str, Any]) -> list[str]:
    """Return the figures of pictures, and their means, as lines of text."""
    names = [name for name in FIGURES if name in figures["mean"]]
    lines = ["  ".join(f"{name:>7}" for name in names) + "  picture"]
    lines += [f"{_cells(row['figures'], names)}  {row['name']}" for row in figures["pictures"]]
    return [*lines, f"{_cells(figures['mean'], names)}  mean over pictures"]


def roles_table(directions: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the mean scores by role as lines of text."""
    lines = [f"{'score':>7}  pictures  what is seen"]
    return [*lines, *(f"{row['score']:7.4f}  {row['pictures']:8d}  {role}" for role, row in directions.items())]


def _cells(figures: Mapping[str, float], names: Sequence[str]) -> str:
    return "  ".join(f"{figures[name]:7.{FIGURES[name].digits}f}" if name in figures else f"{'-':>7}" for name in names)

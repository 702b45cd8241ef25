"""Folders side by side: means with standard errors over the prompts and seeds that all of them have."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from utils.errors import UserError
from utils.files import is_file
from utils.run.run_record import FILE, read_record
from utils.scoring.clip_score import mean_by_prompt
from utils.scoring.details import DETAILS, Details, read_details
from utils.scoring.figures import FIGURES

Key = tuple[str, int | None]  # prompt and seed; None where no run.json knows it


@dataclass(frozen=True)
class Compared:
    """One folder of a comparison.

    Attributes:
        folder: as given.
        count: how many prompts and seeds all folders have.
        score, error: mean over these, and its standard error (NaN of one).
        difference, difference_error: to the first folder, prompt by prompt and seed by seed.
        figures: mean and standard error of every figure that all folders have, over the pictures that all have.
    """

    folder: str
    count: int
    score: float
    error: float
    difference: float
    difference_error: float
    figures: dict[str, tuple[float, float]] = field(default_factory=dict)


def compare(folders: Sequence[Path]) -> list[Compared]:
    """Compare folders that ``eval.py`` has scored.

    Raises:
        UserError: one that is not scored, that another model scored, or nothing that all of them have.
    """
    details = [read_details(folder) for folder in folders]
    models = {str(one["clip"]["sha256"]): str(one["clip"]["model"]) for one in details}
    if len(models) > 1:
        raise UserError(
            f"the folders were scored by different models ({', '.join(models.values())}): score them alike."
        )
    scores = [_scores(folder, one) for folder, one in zip(folders, details, strict=True)]
    common = sorted(set.intersection(*(set(one) for one in scores)), key=str)
    if not common:
        raise UserError(f"the folders have no prompt and seed in common{_seedless(folders, scores)}: compare pictures "
                        "of the same ones.")  # fmt: skip
    values = np.array([[one[key] for key in common] for one in scores])
    return [
        Compared(str(folder), len(common), *_mean(row), *_mean(row - values[0]), figures)
        for folder, row, figures in zip(folders, values, _figures(details), strict=True)
    ]


def app_of(folder: Path) -> str:
    """Return the app whose pictures a folder holds, as far as its scores say.

    Raises:
        UserError: they do not.
    """
    app = read_details(folder).get("app")
    if app is None:
        raise UserError(f"{folder / DETAILS} does not say which app made these pictures: score the folder again.")
    return app


def table(rows: Sequence[Compared]) -> list[str]:
    """Return a comparison as lines of text."""
    lines = [f"{'score':>7}  {'+-':>6}  {'to the first':>12}  {'+-':>6}  folder"]
    lines += [
        f"{row.score:7.4f}  {row.error:6.4f}  {row.difference:+12.4f}  {row.difference_error:6.4f}  {row.folder}"
        for row in rows
    ]
    lines += [f"over the {rows[0].count} prompts and seeds that all folders have; +- is one standard error"]
    names = [name for name in FIGURES if name in rows[0].figures]
    if not names:
        return lines
    lines += ["", "".join(f"{name:>7}  {'+-':>6}  " for name in names) + "folder"]
    return [*lines, *("".join(_cell(name, row) for name in names) + row.folder for row in rows)]


def _cell(name: str, row: Compared) -> str:
    (mean, error), digits = row.figures[name], FIGURES[name].digits
    return f"{mean:7.{digits}f}  {error:6.{digits}f}  "


def _figures(details: Sequence[Details]) -> list[dict[str, tuple[float, float]]]:
    """Return mean and standard error of the figures of each folder, over prompts and seeds that all of them have."""
    rows = [
        {(*row["prompts"], row["seed"]): row["figures"] for row in one["figures"]["pictures"]}
        if "figures" in one
        else {}
        for one in details
    ]
    common = sorted(set.intersection(*(set(one) for one in rows)), key=str)
    if not common:
        return [{} for _ in details]
    names = set.intersection(*(set(one[key]) for one in rows for key in common))
    return [{name: _mean(np.array([one[key][name] for key in common])) for name in names} for one in rows]


def _mean(values: np.ndarray) -> tuple[float, float]:
    """Return the mean of ``[N]`` values and its standard error."""
    error = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return float(values.mean()), float(error)


def _seedless(folders: Sequence[Path], scores: Sequence[dict[Key, float]]) -> str:
    """Say which folders do not tell the seeds of their pictures, while others do."""
    told = [any(seed is not None for _, seed in one) for one in scores]
    silent = [str(folder) for folder, tells in zip(folders, told, strict=True) if not tells]
    return f" (without run.json the seeds in {' '.join(silent)} are unknown)" if silent and any(told) else ""


def _scores(folder: Path, details: Details) -> dict[Key, float]:
    """Return the mean score of a folder's pictures by prompt and seed."""
    seeds: dict[str, int] = {}
    if is_file(folder / FILE):
        record = read_record(folder / FILE, "mend it, or remove it")
        seeds = {entry["file"]: picture["seed"] for picture in record["pictures"] for entry in picture["files"]}
    keys: list[Key] = [(row["prompt"], seeds.get(row["file"])) for row in details["pictures"]]
    return mean_by_prompt(keys, [row["score"] for row in details["pictures"]])

"""What a measurement says: rows with their bars, the table in ``README.md``, ``measures.json``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from utils.files import write_atomic, write_json

BEGIN, END = "<!-- measures: written by training/measure_models.py -->", "<!-- end of measures -->"
GROUP = 4  # seeds of which the scorer chooses one


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        what: was measured.
        value: the number; shares between 0 and 1.
        shown: the number as the table shows it.
        bar: what it has to reach, in words; None where it is only reported.
        reached: whether it does; None without a bar.
    """

    what: str
    value: float
    shown: str
    bar: str | None = None
    reached: bool | None = None


def share_row(what: str, value: float, at_least: float | None = None) -> Row:
    """Return the row of a share, shown in per cent."""
    if at_least is None:
        return Row(what, value, f"{value:.1%}")
    return Row(what, value, f"{value:.1%}", f">= {at_least:.0%}", value >= at_least)


def number_row(what: str, value: float, unit: str, at_most: float | None = None, goal: str = "") -> Row:
    """Return the row of a number with a unit, which may have an upper bar."""
    shown = f"{value:.3f}" if not unit else f"{value:.1f} {unit}"
    if at_most is None:
        return Row(what, value, shown)
    return Row(what, value, shown, f"{goal}<= {at_most:g} {unit}".strip(), value <= at_most)


def mean(values: Sequence[float]) -> float:
    """Return the mean as a plain float."""
    return float(np.mean(values))


def table(measures: dict[str, Any]) -> str:
    """Return the Markdown that says everything in ``measures.json`` that a reader wants to see at once."""
    lines = ["| what | measured | bar | reached |", "|---|---|---|---|"]
    for part in measures.values():
        for row in part["rows"]:
            reached = {None: "", True: "yes", False: "**no**"}[row["reached"]]
            lines.append(f"| {row['what']} | {row['shown']} | {row['bar'] or 'reported'} | {reached} |")
    return "\n".join([*lines, "", *_groups(measures), *_hashes(measures), *_origin(measures)])


def _groups(measures: dict[str, Any]) -> list[str]:
    """Return one line for scenes and one for pairs, each with all its shares, and what the pairs' baselines are."""
    lines = []
    for part, key, title in (
        ("strips", "right_by_scene", "Crops of the right scene"),
        ("pairs", "right_by_pair", "Both views right"),
        ("pairs", "best_by_pair", f"Both views right, best of {GROUP}"),
        ("pairs", "stranger_by_pair", "Both views read by Tesseract"),
    ):
        shares = measures.get(part, {}).get("details", {}).get(key, {})
        if shares:
            lines += [f"{title}: " + ", ".join(f"{name} {value:.0%}" for name, value in shares.items()) + ".", ""]
    return lines


def _hashes(measures: dict[str, Any]) -> list[str]:
    files = measures.get("files", {}).get("details")
    if not files:
        return []
    rows = [f"| `{name}` | {files['bytes'][name]:,} | `{value}` |" for name, value in files["sha256"].items()]
    return ["| weights | bytes | sha256 |", "|---|---|---|", *rows, ""]


def _origin(measures: dict[str, Any]) -> list[str]:
    lines = [
        f"- {name}: seeds 0 to {part['seeds'] - 1} (reported beside it: 0 to {part['baseline_seeds'] - 1}), "
        f"{part['date'][:10]}, {part['machine']['cpu']}, {part['machine']['cores']} cores, {part['minutes']} minutes"
        for name, part in measures.items()
    ]
    return ["Measured by `python training/measure_models.py`, nothing picked; details in `measures.json`:", "", *lines]


def replace_between(text: str, content: str) -> str:
    """Return a text in which what stands between the two markers is replaced.

    Raises:
        ValueError: not exactly one of each marker, in their order.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"the text needs {BEGIN} and, after it, {END}, once each")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n\n{content}\n\n{END}{rest.split(END)[1]}"


def write(measures: dict[str, Any], folder: Path) -> None:
    """Write ``measures.json``, and the table into ``README.md`` if that has the markers."""
    write_json(folder / "measures.json", measures)
    readme = folder / "README.md"
    if readme.exists() and BEGIN in readme.read_text(encoding="utf-8"):
        write_atomic(readme, replace_between(readme.read_text(encoding="utf-8"), table(measures)).encode())

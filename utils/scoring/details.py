"""``eval_details.json``: the part of its schema that others read, and its one reader."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NotRequired, Required, TypedDict, cast

from utils.errors import UserError
from utils.files import is_file, sha256
from utils.run.run_record import check_type, parse_json

DETAILS = "eval_details.json"


class ClipRow(TypedDict, total=False):
    """What scored."""

    model: Required[str]
    sha256: Required[str]
    weights: str


class ScoreRow(TypedDict):
    """A picture, how well it fits its prompt, and the hash of the file that was scored (0.1.0 wrote none)."""

    file: str
    prompt: str
    score: float
    sha256: NotRequired[str]


class PromptRow(TypedDict):
    """The mean score of a prompt's pictures."""

    prompt: str
    score: float
    files: list[str]


class ViewsRow(TypedDict):
    """The views of one picture, with their A and C."""

    name: str
    files: list[str]
    prompts: list[str]
    alignment: float
    concealment: float


class SkippedRow(TypedDict):
    """A file without a score, and why."""

    file: str
    reason: str


class GradeRow(TypedDict):
    """Points of the assignment."""

    points: float
    of: float
    rule: str


class FiguresRow(TypedDict):
    """What was measured of one picture, by name."""

    name: str
    prompts: list[str]
    seed: int
    figures: dict[str, float]


class FiguresPart(TypedDict):
    """What was measured of pictures beside their scores."""

    pictures: list[FiguresRow]
    mean: dict[str, float]


class RoleRow(TypedDict):
    """The mean score of the files of one role."""

    score: float
    pictures: int


class Details(TypedDict, total=False):
    """What ``eval_details.json`` holds, as far as it is read here."""

    clip: Required[ClipRow]
    pictures: Required[list[ScoreRow]]
    prompts: list[PromptRow]
    pairs: list[ViewsRow]
    skipped: list[SkippedRow]
    app: str
    score: float
    alignment: float | None
    concealment: float | None
    grade: GradeRow | None
    figures: FiguresPart
    directions: dict[str, RoleRow]


def read_details(folder: Path) -> Details:
    """Read what ``eval.py`` wrote into a folder, checked.

    Raises:
        UserError: there is no such folder, it is not scored, or the file is damaged.
    """
    path = folder / DETAILS
    if not folder.is_dir():
        raise UserError(f"the folder {folder} does not exist: give one that eval.py has scored.")
    if not is_file(path):
        command = f"eval.py --fdir1 {shlex.quote(str(folder))} --app APP"
        raise UserError(f"{folder} holds no {DETAILS}: score it first ({command}).")
    try:
        content: Any = parse_json(path.read_text(encoding="utf-8"))
        check_type(content, Details, "it")
    except (OSError, ValueError, RecursionError) as error:
        reason = str(error) or type(error).__name__
        raise UserError(f"{path} cannot be read ({reason}): score the folder again.") from error
    return cast(Details, content)


def changed_since(folder: Path, hashes: Mapping[str, str]) -> list[str]:
    """Return the files that are here and are not the ones that were scored.

    Args:
        folder: of the pictures.
        hashes: file -> SHA-256 of what was scored.
    """
    return [name for name, hashed in hashes.items() if is_file(folder / name) and sha256(folder / name) != hashed]

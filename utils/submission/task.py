"""One task of the course as it lies in a folder: its pictures, what the course asks of them, and their scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from utils.errors import UserError
from utils.files import is_file
from utils.prompts import FileEntry, PictureRequest
from utils.run.run_folder import RunFolder
from utils.run.run_record import FILE, PictureEntry, RunRecord, parse_json
from utils.scoring.clip_score import points
from utils.scoring.details import DETAILS, Details, read_details
from utils.scoring.eval_plan import COMMON_ROLES, Roles

SCORES = "eval.json"


@dataclass(frozen=True)
class Scores:
    """What ``eval.py`` wrote into a folder.

    Attributes:
        text: ``eval.json`` as it is.
        score: mean over prompts.
        prompts: prompt, its score, the number of its pictures.
        files: file -> its score.
        hashes: file -> SHA-256 of the picture that was scored.
        scorer: name of the model.
        graded: the scorer is the course's, so that the score counts.
    """

    text: str
    score: float
    prompts: list[tuple[str, float, int]]
    files: dict[str, float]
    hashes: dict[str, str]
    scorer: str
    graded: bool


@dataclass(frozen=True)
class Task:
    """One task, to be handed in.

    Attributes:
        title: heading of its pages.
        folder: where ``main.py`` left its pictures.
        place: folder of its pictures in the ZIP, with ``/`` between names.
        roles: every role of a file -> why it is not scored, or None where it is.
        wanted: the pictures that the course asks for.
        settings: options that the course prescribes, by name.
        full_points: that the course gives at most.
        make: the command that makes what is missing.
        score: the command that scores the folder.
    """

    title: str
    folder: Path
    place: str
    roles: Roles
    wanted: Sequence[PictureRequest]
    settings: Mapping[str, Any]
    full_points: float
    make: str
    score: str

    @cached_property
    def record(self) -> RunRecord:
        """What ``run.json`` says, checked.

        Raises:
            UserError: no such folder, no ``run.json``, or a damaged one.
        """
        return RunFolder.reopen(self.folder).read()

    @cached_property
    def pictures(self) -> list[PictureEntry]:
        """All pictures that are finished and have their files, in the order in which they were asked for."""
        return RunFolder.reopen(self.folder).finished()

    @property
    def scored(self) -> list[str]:
        """The files of finished pictures that ``eval.py`` scores."""
        return [
            entry["file"]
            for picture in self.pictures
            for entry in files_of(picture)
            if self.roles.get(entry["role"], entry["role"]) is None
        ]

    @property
    def archived(self) -> list[str]:
        """The files that go into the ZIP: pictures, ``run.json``, and the scores."""
        records = [name for name in (FILE, SCORES, DETAILS) if is_file(self.folder / name)]
        return [*(entry["file"] for picture in self.pictures for entry in files_of(picture)), *records]

    @cached_property
    def scores(self) -> Scores | None:
        """The scores; None where they are missing or cannot be read."""
        try:
            return read_scores(self.folder)
        except UserError:
            return None

    @property
    def points(self) -> float | None:
        """The points of the assignment's table; None where no score counts."""
        return points(self.scores.score, self.full_points) if self.scores and self.scores.graded else None


def files_of(picture: PictureEntry) -> list[FileEntry]:
    """Return the pictures among the files of a picture: no states, no moving ones."""
    return [entry for entry in picture["files"] if entry["role"] not in COMMON_ROLES]


def read_scores(folder: Path) -> Scores:
    """Read ``eval.json`` and ``eval_details.json`` of a folder.

    Raises:
        UserError: one is missing, cannot be read, has no hashes, or the two are of different runs of ``eval.py``.
    """
    if not is_file(folder / SCORES):
        raise UserError(f"no {SCORES}: the pictures are not scored")
    details = read_details(folder)
    try:
        text = (folder / SCORES).read_text(encoding="utf-8")
        scores = _of_details(text, details)
        listed = {Path(name).name: value for name, value in parse_json(text).items() if name != "source_dir"}
        expected = {"score": scores.score, **{row["files"][0]: row["score"] for row in details["prompts"]}}
    except (OSError, ValueError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise UserError(f"the scores cannot be read, or are of an older eval.py ({type(error).__name__})") from error
    if listed != expected:
        raise UserError(f"{SCORES} and {DETAILS} are of different runs of eval.py")
    return scores


def _of_details(text: str, details: Details) -> Scores:
    rows = details["pictures"]
    return Scores(
        text,
        details["score"],
        [(row["prompt"], row["score"], len(row["files"])) for row in details["prompts"]],
        {row["file"]: row["score"] for row in rows},
        {row["file"]: row["sha256"] for row in rows},
        details["clip"]["model"],
        details["grade"] is not None,
    )

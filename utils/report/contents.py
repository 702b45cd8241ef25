"""What a page shows of a folder: its pictures with prompts, seeds and scores, and what is not among them, and why."""

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

from utils.errors import UserError
from utils.prompts import FileEntry
from utils.run.run_folder import ANIMATION
from utils.run.run_record import PictureEntry, RunRecord
from utils.scoring.details import DETAILS, Details, changed_since, read_details
from utils.scoring.eval_plan import COMMON_ROLES, NamingRule, ScorePlan, list_files, make_plan, read_run

if TYPE_CHECKING:
    from utils.animation.views import Turning
    from utils.sphere import Band


class ReportedApp(Protocol):
    """What is asked of an app here."""

    name: ClassVar[str]
    roles: ClassVar[Mapping[str, str | None]]

    def main_file(self, picture: PictureEntry) -> str:
        """Return the file that stands for a picture."""
        ...

    def naming_rule(self, prompts_file: Path | None) -> NamingRule:
        """Return how file names map back to prompts, for files that no ``run.json`` knows."""
        ...

    def turning(self, folder: Path, picture: PictureEntry, record: RunRecord) -> "Turning | None":
        """Return a picture with the views that it turns to; None where there are none."""
        ...

    def figures(self, folder: Path, picture: PictureEntry, record: RunRecord) -> dict[str, float]:
        """Return what can be measured of a picture beside its score; nothing where what that needs is unknown."""
        ...

    def sphere(self, record: RunRecord, size: tuple[int, int]) -> "Band | None":
        """Return what a main file of this size shows of a sphere; None where it is flat or that is unknown."""
        ...


@dataclass(frozen=True)
class ShownFile:
    """A picture file; ``prompt`` is empty where it has none, ``role`` where no ``run.json`` knows it."""

    path: Path
    role: str
    prompt: str
    score: float | None


@dataclass(frozen=True)
class Shown:
    """A picture.

    Attributes:
        prompts: one per view.
        seed: None where no ``run.json`` knows it.
        main: the file that stands for it.
        files: of still pictures, ``main`` among them; ``movies``: those that move.
        score: mean of its files.
        alignment, concealment: A and C of its views.
        seconds: that it took.
        entry: of ``run.json``.
        rivals: how many pictures of the same prompts there are, where it is the best of them; else 0.
    """

    prompts: tuple[str, ...]
    seed: int | None
    main: Path
    files: list[ShownFile]
    movies: list[Path] = field(default_factory=list)
    score: float | None = None
    alignment: float | None = None
    concealment: float | None = None
    seconds: float | None = None
    entry: PictureEntry | None = None
    rivals: int = 0

    @property
    def merit(self) -> float | None:
        """What decides which is the best: A where there are views, else the score."""
        return self.score if self.alignment is None else self.alignment


@dataclass(frozen=True)
class Contents:
    """A folder.

    Attributes:
        folder: as given.
        record, details: of ``run.json`` and ``eval_details.json``, if they are there.
        pictures: in the order in which they were asked for; those of no record follow.
        by_design: kind of file that is never scored -> how many there are.
        unscored: file -> why it has no score where one would expect it.
        unmade: name of a picture -> what became of it.
        notes: what a reader has to know, one sentence each.
    """

    folder: Path
    record: RunRecord | None
    details: Details | None
    pictures: list[Shown]
    by_design: dict[str, int]
    unscored: dict[str, str]
    unmade: dict[str, str]
    notes: list[str]


def read_contents(folder: Path, app: ReportedApp, prompts_file: Path | None = None) -> Contents:
    """Read what there is to show of a folder.

    Args:
        folder: of pictures.
        app: that made them.
        prompts_file: for files that ``run.json`` does not know.

    Raises:
        UserError: no such folder, a damaged ``run.json`` or one of another app, or no picture at all.
    """
    record, paths = read_run(folder, app.name), list_files(folder)
    plan = make_plan(paths, app.naming_rule(prompts_file), app.roles, record)
    details, notes = _details_of(folder, app)
    scores = {row["file"]: row["score"] for row in details["pictures"]} if details else {}
    made = [*_by_record(folder, app, record, plan, scores), *_by_name(folder, record, plan, scores)]
    if not made:
        raise UserError(f"{folder} holds no finished picture to show: make some first.")
    pictures = _mark_best([_with_views(picture, details) for picture in made])
    scorable = {item.file for item in plan.files}  # that eval.py skipped, such as pictures it could not decode
    skipped = {row["file"]: row["reason"] for row in (details or {}).get("skipped", []) if row["file"] in scorable}
    kinds = {item.file: item.kind for item in plan.skipped if item.kind is not None}
    unscored = skipped | {item.file: item.reason for item in plan.skipped}
    return Contents(
        folder,
        record,
        details,
        pictures,
        dict(sorted(Counter(kinds.values()).items())),
        {file: reason for file, reason in sorted(unscored.items()) if file not in kinds},
        _unmade(record),
        [*notes, *_stale(folder, app, plan, details)],
    )


def how_to_score(folder: Path, app: ReportedApp) -> str:
    """Return the command that scores a folder and shows it again."""
    return f"python eval.py --fdir1 {shlex.quote(str(folder))} --app {app.name} --report"


# ---------------------------------------------------------------------------------------------- scores


def _details_of(folder: Path, app: ReportedApp) -> tuple[Details | None, list[str]]:
    """Return the scores of a folder, or None and a sentence on why there are none."""
    if not (folder / DETAILS).exists():
        return None, [f"These pictures have no scores yet. This adds them: {how_to_score(folder, app)}"]
    try:
        return read_details(folder), []
    except UserError as error:
        return None, [f"The scores are left out: {error} This makes them again: {how_to_score(folder, app)}"]


def _stale(folder: Path, app: ReportedApp, plan: ScorePlan, details: Details | None) -> list[str]:
    """Say which pictures are not the ones that were scored."""
    if details is None:
        return []
    seen = {row["file"] for row in details["pictures"]} | {row["file"] for row in details.get("skipped", [])}
    changed = changed_since(folder, {row["file"]: row["sha256"] for row in details["pictures"] if "sha256" in row})
    files = {item.file for item in plan.files}
    late = len(files - seen) + len(files.intersection(changed))
    if not late:
        return []
    return [
        f"The scores are older than {late} of {len(files)} files to score. This makes them again: "
        f"{how_to_score(folder, app)}"
    ]


def _with_views(picture: Shown, details: Details | None) -> Shown:
    """Add A and C to a picture whose views were scored together."""
    names = {file.path.name for file in picture.files}
    for row in (details or {}).get("pairs", []):
        if row["files"] and names.issuperset(row["files"]):
            return replace(picture, alignment=row["alignment"], concealment=row["concealment"])
    return picture


def _mark_best(pictures: Sequence[Shown]) -> list[Shown]:
    """Mark the best of each prompt, or of each set of prompts, where there is more than one to choose from."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for index, picture in enumerate(pictures):
        if picture.merit is not None:
            groups.setdefault(picture.prompts, []).append(index)
    best = {max(group, key=lambda index: pictures[index].merit or 0): len(group) for group in groups.values()}
    return [
        replace(picture, rivals=best[index]) if best.get(index, 0) > 1 else picture
        for index, picture in enumerate(pictures)
    ]


def mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of those that are known; None where none is."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


# ---------------------------------------------------------------------------------------------- pictures


def _by_record(
    folder: Path, app: ReportedApp, record: RunRecord | None, plan: ScorePlan, scores: Mapping[str, float]
) -> list[Shown]:
    """Return the finished pictures of ``run.json``, as far as their files are here."""
    absent = {item.file for item in plan.skipped if not (folder / item.file).is_file()}
    pictures = []
    for entry in record["pictures"] if record else []:
        here = [file for file in entry["files"] if file["file"] not in absent]
        still = [file for file in here if file["role"] not in COMMON_ROLES]
        if entry["status"] == "done" and still:
            files = [_shown_file(folder, file, scores) for file in still if _is_picture(file)]
            movies = [folder / file["file"] for file in here if file["role"] == ANIMATION]
            if files:
                pictures.append(_shown(entry, folder / app.main_file(entry), files, movies))
    return pictures


def _is_picture(file: FileEntry) -> bool:
    return file["file"].lower().endswith(".png")


def _shown_file(folder: Path, file: FileEntry, scores: Mapping[str, float]) -> ShownFile:
    return ShownFile(folder / file["file"], file["role"], file.get("prompt", ""), scores.get(file["file"]))


def _shown(entry: PictureEntry, main: Path, files: list[ShownFile], movies: list[Path]) -> Shown:
    paths = [file.path for file in files]
    return Shown(
        tuple(entry["prompts"]),
        entry["seed"],
        main if main in paths else paths[0],
        files,
        movies,
        score=mean(file.score for file in files),
        seconds=entry.get("seconds"),
        entry=entry,
    )


def _by_name(folder: Path, record: RunRecord | None, plan: ScorePlan, scores: Mapping[str, float]) -> list[Shown]:
    """Return the pictures that no record knows: views of one picture and wholes with their parts are one each."""
    known = {file["file"] for entry in (record["pictures"] if record else []) for file in entry["files"]}
    left = {item.file: item.prompt for item in plan.files if item.file not in known}
    wholes = [item.file for item in plan.skipped if item.kind and item.kind != ANIMATION and item.file not in known]
    groups = [list(views.files) for views in plan.views if left.keys() >= set(views.files)]
    groups += [parts for whole in wholes if (parts := [file for file in left if _is_part(file, whole)])]
    shown, taken = [], set()
    for files in [*groups, *([file] for file in left)]:
        if taken.isdisjoint(files):
            taken |= set(files)
            whole = next((whole for whole in wholes if all(_is_part(file, whole) for file in files)), None)
            shown.append(_unrecorded(folder, files, whole, left, scores))
    return shown


def _is_part(file: str, whole: str) -> bool:
    """Whether names say so: ``a_8`` is a crop of ``a``; ``a`` and ``b`` are what ``a-b`` shows side by side."""
    part, joined = Path(file).stem, Path(whole).stem
    return part.startswith(f"{joined}_") or joined.startswith(f"{part}-") or joined.endswith(f"-{part}")


def _unrecorded(
    folder: Path, files: Sequence[str], whole: str | None, prompts: Mapping[str, str], scores: Mapping[str, float]
) -> Shown:
    shown = [ShownFile(folder / file, "", prompts[file], scores.get(file)) for file in files]
    if whole is not None:
        shown.insert(0, ShownFile(folder / whole, "", "", None))
    texts = tuple(dict.fromkeys(prompts[file] for file in files))
    return Shown(texts, None, shown[0].path, shown, score=mean(file.score for file in shown))


def _unmade(record: RunRecord | None) -> dict[str, str]:
    """Say what became of the pictures that are not finished."""
    left = [entry for entry in (record["pictures"] if record else []) if entry["status"] != "done"]
    return {entry["name"]: f"{entry['status']}: {entry.get('error') or 'not made yet'}" for entry in left}

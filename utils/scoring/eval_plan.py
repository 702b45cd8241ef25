"""Which files of a results folder are scored, with which prompts; which are skipped, and why.

Prompts come from ``run.json`` where it knows a file, else from a rule about file names.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from utils.errors import UserError
from utils.images import is_moving, picture_size
from utils.prompts import FileEntry
from utils.run.run_folder import ANIMATION
from utils.run.run_record import FILE, RESERVED, PictureEntry, RunRecord, read_record

Roles = Mapping[str, str | None]  # role of a file -> why it is not scored, or None where it is
COMMON_ROLES: dict[str, str | None] = {
    "latents": "states of the networks, no picture",
    ANIMATION: "a moving picture; what it is made from is scored",
}


@dataclass(frozen=True)
class ScoredFile:
    """A file to score against a prompt."""

    file: str
    prompt: str


@dataclass(frozen=True)
class SkippedFile:
    """A file that is not scored, and the reason.

    Attributes:
        kind: what it is, where such files are never scored; None where one would expect a score.
    """

    file: str
    reason: str
    kind: str | None = None


@dataclass(frozen=True)
class Views:
    """The views of one picture: file i was made for prompt i."""

    name: str
    files: tuple[str, ...]
    prompts: tuple[str, ...]


@dataclass(frozen=True)
class ScorePlan:
    """What to do with a folder: scored and skipped files are sorted by name."""

    files: list[ScoredFile]
    skipped: list[SkippedFile]
    views: list[Views]


class NamingRule(ABC):
    """How file names map back to prompts, for files that no ``run.json`` knows."""

    @abstractmethod
    def find(self, paths: Sequence[Path], stems: Set[str]) -> list[ScoredFile | SkippedFile]:
        """Return for every file its prompt, or why it is not scored.

        Args:
            paths: pictures that can be read.
            stems: of all pictures in their folder.
        """

    def views(self, files: Sequence[ScoredFile]) -> list[Views]:
        """Return which of the files that were found are views of one picture."""
        return []


def list_files(folder: Path) -> list[Path]:
    """Return the files of the top level of a folder, sorted by name, without hidden ones and this tool's records.

    Raises:
        UserError: the folder is missing, no folder, or cannot be read.
    """
    try:
        if not folder.exists():
            raise UserError(f"the folder {folder} does not exist; --fdir1 takes a folder of pictures.")
        if not folder.is_dir():
            raise UserError(f"{folder} is a file; --fdir1 takes a folder of pictures.")
        paths = sorted(folder.iterdir(), key=lambda path: path.name)
    except OSError as error:
        raise UserError(f"the folder {folder} cannot be read: {error.strerror}.") from error
    return [path for path in paths if path.name not in RESERVED and path.name[0] != "." and not path.is_dir()]


def read_run(folder: Path, app: str) -> RunRecord | None:
    """Read ``run.json`` of a folder; None without one.

    Raises:
        UserError: it is damaged, or says that another app made these pictures.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    record = read_record(path, "remove it to take the prompts from the file names")
    if record["app"] != app:
        raise UserError(f"{path} says that {record['app']} made these pictures; pass --app {record['app']}.")
    return record


def header_fault(path: Path) -> SkippedFile | None:
    """Return why a file cannot be scored, judged by its header alone, or None."""
    try:
        picture_size(path)
    except ValueError as error:
        return SkippedFile(path.name, str(error))
    return SkippedFile(path.name, str(COMMON_ROLES[ANIMATION]), ANIMATION) if is_moving(path) else None


def make_plan(paths: Sequence[Path], rule: NamingRule, roles: Roles, record: RunRecord | None = None) -> ScorePlan:
    """Decide for every file whether and with which prompt it is scored.

    Args:
        paths: files of one folder.
        rule: for the files that ``run.json`` does not know.
        roles: of the app's files; ``COMMON_ROLES`` need not be among them.
        record: what ``run.json`` says, if there is one.
    """
    pictures = record["pictures"] if record else []
    known = {entry["file"]: (picture, entry) for picture in pictures for entry in picture["files"]}
    faults = {path.name: fault for path in paths if (fault := header_fault(path))}
    readable = [path for path in paths if path.name not in faults]
    by_record = [_by_record(*known[path.name], {**COMMON_ROLES, **roles}) for path in paths if path.name in known]
    by_record = [faults.get(item.file, item) if isinstance(item, ScoredFile) else item for item in by_record]
    by_name = rule.find([path for path in readable if path.name not in known], {path.stem for path in readable})
    broken = [fault for file, fault in faults.items() if file not in known]
    items = [*by_record, *by_name, *broken, *_missing(pictures, {path.name for path in paths})]
    return ScorePlan(
        sorted(_scored(items), key=lambda item: item.file),
        sorted((item for item in items if isinstance(item, SkippedFile)), key=lambda item: item.file),
        [*_views_of_record(pictures, _scored(by_record)), *rule.views(_scored(by_name))],
    )


def _scored(items: Iterable[ScoredFile | SkippedFile]) -> list[ScoredFile]:
    return [item for item in items if isinstance(item, ScoredFile)]


def _missing(pictures: Sequence[PictureEntry], present: Set[str]) -> list[SkippedFile]:
    files = [entry["file"] for picture in pictures if picture["status"] == "done" for entry in picture["files"]]
    return [SkippedFile(file, "named in run.json, but not in the folder") for file in files if file not in present]


def _by_record(picture: PictureEntry, entry: FileEntry, roles: Roles) -> ScoredFile | SkippedFile:
    """Return a file with its prompt, or the reason to skip it, as ``run.json`` has it."""
    file, role = entry["file"], entry["role"]
    if picture["status"] != "done":
        return SkippedFile(file, f"run.json says that its picture is {picture['status']}")
    if role not in roles:
        scored = " and ".join(f"a {name}" for name, reason in roles.items() if reason is None)
        return SkippedFile(file, f"run.json calls it a {role}; only {scored} is scored")
    reason = roles[role]
    if reason is not None:
        return SkippedFile(file, reason, role.replace("_", " "))
    if "prompt" not in entry:
        return SkippedFile(file, "run.json does not say which prompt it shows")
    return ScoredFile(file, entry["prompt"])


def _views_of_record(pictures: Sequence[PictureEntry], scored: Sequence[ScoredFile]) -> list[Views]:
    """Return the pictures of which there are as many scored files as prompts, more than one, and all are here."""
    prompts = {item.file: item.prompt for item in scored}
    views = []
    for picture in pictures:
        files = tuple(entry["file"] for entry in picture["files"] if entry["file"] in prompts)
        if len(files) > 1 and len(files) == len(picture["prompts"]):
            views.append(Views(picture["name"], files, tuple(prompts[file] for file in files)))
    return views

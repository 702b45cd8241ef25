"""Which files of a results folder are scored, with which prompts; which are skipped, and why.

Prompts come from ``run.json`` where it knows a file, else from a prompts file, else from the file name.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.errors import UserError
from utils.images import is_moving, picture_size
from utils.prompts import file_stem, prompt_from_stem

APPS = {"wide_image": "wide_image", "wide_images": "wide_image"}
APPS |= {"ambiguous_image": "ambiguous_image", "ambiguous_images": "ambiguous_image"}
SCORED_ROLE = {"wide_image": "crop", "ambiguous_image": "view"}
ROLE_REASONS = {
    "strip": "a whole strip; only crops are scored",
    "side_by_side": "views side by side; each view is scored alone",
    "whole": "the whole of which the views are parts; each part is scored alone",
    "latents": "states of the networks, no picture",
    "animation": "a moving picture; what it is made from is scored",
}
OWN_FILES = {"run.json", "eval.json", "eval_details.json"}
STRIP_RATIO = 1.5
NUMBERED = re.compile(r"(?P<stem>.*)_(?P<position>\d+)", re.DOTALL)
REPEATED = re.compile(r"(~view\d+)?(~\d+)?$")  # what utils/prompts.py appends to a name that is taken


@dataclass(frozen=True)
class Picture:
    """A file to score against a prompt."""

    file: str
    prompt: str


@dataclass(frozen=True)
class Skipped:
    """A file that is not scored, and the reason."""

    file: str
    reason: str


@dataclass(frozen=True)
class Views:
    """The views of one ambiguous picture: file i was made for prompt i."""

    name: str
    files: tuple[str, ...]
    prompts: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What to do with a folder: both lists are sorted by file name."""

    pictures: list[Picture]
    skipped: list[Skipped]
    views: list[Views]


@dataclass(frozen=True)
class RunRecord:
    """What ``run.json`` says: the app, the model's family, and the entry and picture of each file."""

    app: str
    family: str
    pictures: list[dict[str, Any]]
    files: dict[str, tuple[dict[str, Any], dict[str, Any]]]


def parse_app(name: str) -> str:
    """Return ``wide_image`` or ``ambiguous_image``; the assignment's plural forms are accepted.

    Raises:
        UserError: any other name.
    """
    if name not in APPS:
        raise UserError(f"unknown app {name!r}; choose one of {', '.join(APPS)}.")
    return APPS[name]


def list_files(folder: Path) -> list[Path]:
    """Return the files of the top level of a folder, sorted by name, without hidden ones and this tool's records.

    Raises:
        UserError: the folder is missing, no folder, or cannot be read.
    """
    if not folder.exists():
        raise UserError(f"the folder {folder} does not exist; --fdir1 takes a folder of pictures.")
    if not folder.is_dir():
        raise UserError(f"{folder} is a file; --fdir1 takes a folder of pictures.")
    try:
        paths = sorted(folder.iterdir(), key=lambda path: path.name)
    except OSError as error:
        raise UserError(f"the folder {folder} cannot be read: {error.strerror}.") from error
    return [path for path in paths if path.name not in OWN_FILES and path.name[0] != "." and not path.is_dir()]


def read_run(folder: Path, app: str) -> RunRecord | None:
    """Read ``run.json`` of a folder; None without one.

    Raises:
        UserError: it is malformed or says that the folder was made by the other app.
    """
    path = folder / "run.json"
    if not path.is_file():
        return None
    try:
        record = _run_record(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{path} is damaged ({type(error).__name__}: {error}): remove it to take the prompts from the file names."
        ) from error
    if record.app != app:
        raise UserError(f"{path} says that {record.app} made these pictures; pass --app {record.app}s.")
    return record


def _run_record(content: Any) -> RunRecord:
    files = {}
    for picture in content["pictures"]:
        if not all(isinstance(prompt, str) for prompt in picture["prompts"]) or not picture["prompts"]:
            raise ValueError("prompts must be a list of texts")
        _ = picture["status"], [_check_entry(entry) for entry in picture["files"]]
        files |= {entry["file"]: (picture, entry) for entry in picture["files"]}
    return RunRecord(str(content["app"]), str(content["model"]["family"]), content["pictures"], files)


def _check_entry(entry: dict[str, Any]) -> None:
    fields = {"crop": {"prompt": str}, "view": {"prompt": str, "view": int}}.get(entry["role"], {})
    for name, kind in {"file": str, "role": str, **fields}.items():
        if not isinstance(entry[name], kind):
            raise ValueError(f"{name} of {entry['file']!r} must be of type {kind.__name__}")


def header_fault(path: Path) -> str | None:
    """Return why a file cannot be scored, judged by its header alone, or None."""
    try:
        picture_size(path)
    except ValueError as error:
        return str(error)
    return ROLE_REASONS["animation"] if is_moving(path) else None


def make_plan(
    paths: Sequence[Path],
    app: str,
    run: RunRecord | None = None,
    prompts: Mapping[str, str] | None = None,
    pairs: Sequence[Sequence[str]] = (),
) -> Plan:
    """Decide for every file whether and with which prompt it is scored.

    Args:
        paths: files of one folder.
        app: ``wide_image`` or ``ambiguous_image``.
        run: what ``run.json`` says, if there is one.
        prompts: prompt by stem (of the strip, or of a view), from a prompts file.
        pairs: prompts that belong to one ambiguous picture, view by view, for files that ``run.json`` does not know.
    """
    prompts, pictures, skipped = prompts or {}, [], []
    faults = {path.name: header_fault(path) for path in paths}
    stems = {path.stem for path in paths if faults[path.name] is None}
    rule = _WideRule(stems, prompts) if app == "wide_image" else _AmbiguousRule(stems, prompts, pairs)
    for path in paths:
        known = run is not None and path.name in run.files
        found = _by_run(path.name, run, app) if known else faults[path.name] or rule(path)
        if isinstance(found, Picture) and faults[path.name]:
            found = faults[path.name]
        if isinstance(found, Picture):
            pictures.append(found)
        else:
            skipped.append(Skipped(path.name, found))
    skipped += _missing({path.name for path in paths}, run)
    views = _views_of_run(run, pictures) + _views_of_pairs(pairs, pictures, run) if app == "ambiguous_image" else []
    return Plan(pictures, sorted(skipped, key=lambda item: item.file), views)


def _by_run(file: str, run: RunRecord, app: str) -> Picture | str:
    """Return the picture with its prompt, or the reason to skip it, as ``run.json`` has it."""
    picture, entry = run.files[file]
    role, wanted = entry["role"], SCORED_ROLE[app]
    if picture["status"] != "done":
        return f"run.json says that its picture is {picture['status']}"
    if role != wanted:
        return ROLE_REASONS.get(role, f"run.json calls it a {role}; only a {wanted} is scored")
    return Picture(file, entry["prompt"])


def _missing(present: set[str], run: RunRecord | None) -> list[Skipped]:
    if run is None:
        return []
    done = [file for file, (picture, _) in run.files.items() if picture["status"] == "done"]
    return [Skipped(file, "named in run.json, but not in the folder") for file in done if file not in present]


class _WideRule:
    """The assignment's rule: ``<prompt>_<position>`` is a crop, ``<prompt>`` beside it the strip."""

    def __init__(self, stems: set[str], prompts: Mapping[str, str]):
        matches = [NUMBERED.fullmatch(stem) for stem in stems]
        self.strips = {match["stem"] for match in matches if match} & stems
        self.prompts = prompts

    def __call__(self, path: Path) -> Picture | str:
        if path.stem in self.strips:
            return "a whole strip beside its crops"
        width, height = picture_size(path)
        if width > STRIP_RATIO * height:
            return f"a whole strip: {width}x{height} is wider than {STRIP_RATIO} times its height"
        match = NUMBERED.fullmatch(path.stem)
        stem = match["stem"] if match and path.stem not in self.prompts else path.stem
        prompt = prompt_of(stem, self.prompts)
        return Picture(path.name, prompt) if prompt else "no prompt in its name"


class _AmbiguousRule:
    """The assignment's rule: the stem is the prompt; two or more stems joined by ``-`` are views side by side."""

    def __init__(self, stems: set[str], prompts: Mapping[str, str], pairs: Sequence[Sequence[str]]):
        self.stems, self.prompts = stems, prompts
        self.known = set(prompts) | {file_stem(prompt) for pair in pairs for prompt in pair}

    def __call__(self, path: Path) -> Picture | str:
        if is_joined(path.stem, self.stems - {path.stem}) or is_joined(path.stem, self.known):
            return ROLE_REASONS["side_by_side"]
        width, height = picture_size(path)
        if width > STRIP_RATIO * height:
            return f"{ROLE_REASONS['side_by_side']} ({width}x{height} is wider than {STRIP_RATIO} times its height)"
        prompt = prompt_of(path.stem, self.prompts)
        return Picture(path.name, prompt) if prompt else "no prompt in its name"


def prompt_of(stem: str, prompts: Mapping[str, str]) -> str:
    """Return the prompt of a stem, a number for repeated names left aside: from the prompts, else by its words."""
    plain = REPEATED.sub("", stem)
    return prompts.get(stem) or prompts.get(plain) or prompt_from_stem(plain).strip()


def is_joined(stem: str, parts: set[str]) -> bool:
    """Return whether a stem is two or more of the parts, joined by ``-``; parts may hold ``-`` themselves."""
    for match in re.finditer("-", stem):
        tail = stem[match.end() :]
        if stem[: match.start()] in parts and (tail in parts or is_joined(tail, parts)):
            return True
    return False


def _views_of_run(run: RunRecord | None, pictures: Sequence[Picture]) -> list[Views]:
    if run is None:
        return []
    scored = {picture.file: picture.prompt for picture in pictures}
    views = []
    for record in run.pictures:
        entries = sorted((e for e in record["files"] if e["role"] == "view"), key=lambda entry: entry["view"])
        files = tuple(entry["file"] for entry in entries)
        if len(files) > 1 and len(files) == len(record["prompts"]) and all(file in scored for file in files):
            views.append(Views(record["name"], files, tuple(scored[file] for file in files)))
    return views


def _views_of_pairs(pairs: Sequence[Sequence[str]], pictures: Sequence[Picture], run: RunRecord | None) -> list[Views]:
    """Return the pairs of which every view was found among the files that ``run.json`` does not know."""
    unknown = [picture for picture in pictures if run is None or picture.file not in run.files]
    files = {picture.prompt: picture.file for picture in reversed(unknown)}
    return [
        Views("-".join(file_stem(prompt) for prompt in pair), tuple(files[prompt] for prompt in pair), tuple(pair))
        for pair in pairs
        if all(prompt in files for prompt in pair)
    ]

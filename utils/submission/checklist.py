"""What the course asks for and what is missing of it: each item by its name, with the command that mends it."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from utils.errors import UserError
from utils.images import decode
from utils.prompts import PictureRequest
from utils.run.run_record import PictureEntry
from utils.scoring.clip_files import TINY
from utils.scoring.details import changed_since
from utils.submission.task import Task, files_of, read_scores

PROMPT_LENGTH = 100


@dataclass(frozen=True)
class Item:
    """One line of the checklist.

    Attributes:
        what: what is there, or what is missing.
        remedy: what to do about it; empty where nothing is missing.
    """

    what: str
    remedy: str = ""


def check_task(task: Task) -> list[Item]:
    """Compare a task with what the course asks for."""
    return [*_pictures(task), *_settings(task), *_weights(task), *_scores(task)]


def lines(items: Sequence[Item]) -> list[str]:
    """Return items as lines of text; a remedy of several items in a row stands below the last of them."""
    shown = []
    for item, following in zip(items, [*items[1:], Item("")], strict=True):
        shown.append(f"  {'MISSING' if item.remedy else 'ok':8} {item.what}")
        if item.remedy and item.remedy != following.remedy:
            shown.append(f"           -> {item.remedy}")
    return shown


def shorten(text: str, length: int = PROMPT_LENGTH) -> str:
    """Return one line of bounded length."""
    text = " ".join(text.split())
    return text if len(text) <= length else f"{text[: length - 3]}..."


def _pictures(task: Task) -> list[Item]:
    faults = [fault for request in task.wanted if (fault := _fault(request, task.pictures))]
    damaged = [item for picture in task.pictures for item in _damages(task, picture)]
    items = [*(Item(fault, task.make) for fault in faults), *damaged]
    return items or [Item(f"a picture of each of the {len(task.wanted)} prompts, with all of its parts")]


def _fault(request: PictureRequest, pictures: Sequence[PictureEntry]) -> str | None:
    """Return what is missing of a picture that the course asks for."""
    name = shorten(" | ".join(request.prompts))
    of_prompts = [picture for picture in pictures if tuple(picture["prompts"]) == request.prompts]
    if not of_prompts:
        return f"a picture of {name!r}"
    asked = set(request.inputs.get("eval_pos") or ())
    lacking = [asked - {entry.get("position") for entry in files_of(picture)} for picture in of_prompts]
    if all(lacking):
        positions = " ".join(map(str, sorted(min(lacking, key=len))))
        return f"crops of {name!r} at {positions}: they lie elsewhere"
    return None


def _damages(task: Task, picture: PictureEntry) -> list[Item]:
    """Return one item for each file of a picture that cannot be read."""
    items = []
    for entry in files_of(picture):
        path = task.folder / entry["file"]
        try:
            decode(path)
        except ValueError as error:
            items.append(Item(f"{path}, which is {error}", f"rm {shlex.quote(str(path))} && {task.make}"))
    return items


def _settings(task: Task) -> list[Item]:
    made = task.record["options"]
    return [
        Item(f"--{name} {_text(value)}: the folder was made with {_text(made.get(name))}", task.make)
        for name, value in task.settings.items()
        if made.get(name) != value
    ]


def _text(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else "none" if value is None else str(value)


def _weights(task: Task) -> list[Item]:
    family = task.record["model"]["family"]
    if family == TINY:
        return [Item("pictures by the course's models: these are by the embedded ones", task.make)]
    return [Item(f"made by pretrained weights ({family})")]


def _scores(task: Task) -> list[Item]:
    try:
        scores = read_scores(task.folder)
    except UserError as error:
        return [Item(f"scores: {str(error).rstrip('.')}", task.score)]
    items = _changes(task, scores.hashes)
    if not scores.graded:
        items.append(
            Item(f"scores by the course's CLIP, ViT-B/32 of OpenAI: these are by {scores.scorer!r}", task.score)
        )
    return items or [Item(f"scores of these pictures by the course's CLIP: {scores.score:.4f}")]


def _changes(task: Task, hashes: dict[str, str]) -> list[Item]:
    """Return what tells the pictures of the folder from those that were scored."""
    scored = task.scored
    known = {name: hashed for name, hashed in hashes.items() if name in scored}
    found = {
        "are newer than their scores, or not the ones that were scored": changed_since(task.folder, known),
        "have no score": [name for name in scored if name not in hashes],
        "were scored and are not among the pictures that run.json lists as finished": [
            name for name in hashes if name not in scored
        ],
    }
    return [
        Item(f"scores of these pictures: {len(names)} {what} ({shorten(names[0])})", task.score)
        for what, names in found.items()
        if names
    ]

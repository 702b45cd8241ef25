"""``run.json``: its schema, and the one reader that resuming, scoring and animating share.

The schema is the types below; :func:`read_record` checks a file against them. Version 1, which carries no number, is
read as version 2: there every field of a picture that is not the schema's own is an input of its request.
"""

import functools
import json
import math
import types
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import (
    Any,
    NotRequired,
    Required,
    TypedDict,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from utils.errors import UserError
from utils.prompts import FileEntry

VERSION = 2
FILE = "run.json"
RESERVED = (FILE, "eval.json", "eval_details.json", "report.html")  # names that no picture's file may have
STATUSES = ("pending", "done", "failed")
LONGEST_NAME = 255  # bytes, of what file systems take
LARGEST_SEED = 2**63 - 1
DEEPEST = 40  # levels of lists and objects


class SampleScore(TypedDict):
    """A sample among which the best was chosen."""

    seed: int
    score: float


class PictureEntry(TypedDict, total=False):
    """A picture; beside these fields stand the inputs of its request, see :func:`inputs_of`.

    ``name`` is a plain name, ``status`` one of ``STATUSES``; ``error`` says why it failed. Where the best of several
    ``samples`` is kept, ``seed`` is the best one's, and the first sample's is the one that was asked for. ``figures``
    were measured while it was made.
    """

    name: Required[str]
    prompts: Required[list[str]]
    seed: Required[int]
    status: Required[str]
    files: Required[list[FileEntry]]
    error: str | None
    seconds: float
    process: int
    samples: list[SampleScore]
    figures: dict[str, float]


class SourceEntry(TypedDict, total=False):
    """Weights: a commit of the Hub, or the hash of their files."""

    name: str
    commit: str | None
    sha256: str | None


class ModelEntry(TypedDict):
    """The model's family, and its weights by the option that names them."""

    family: str
    sources: dict[str, SourceEntry]


class ScorerEntry(TypedDict):
    """What chose among samples."""

    model: str
    sha256: str


class RunRecord(TypedDict):
    """All of ``run.json``; ``permutations``: paths of files that an option names by the hash of their content."""

    version: NotRequired[int]
    app: str
    options: dict[str, Any]
    model: ModelEntry
    scorer: NotRequired[ScorerEntry]
    permutations: NotRequired[dict[str, str]]
    sessions: list[dict[str, Any]]
    pictures: list[PictureEntry]


OWN_FIELDS = frozenset(PictureEntry.__annotations__)


def inputs_of(picture: PictureEntry) -> dict[str, Any]:
    """Return the inputs that a picture's request had besides its prompts, those that were not given left out."""
    return given({name: value for name, value in picture.items() if name not in OWN_FIELDS})


def given(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return inputs as JSON reads them back, without those that are None or empty: they were not given."""
    values = json.loads(json.dumps(dict(inputs)))
    return {name: value for name, value in values.items() if value not in (None, "", [])}


def first_seed(picture: PictureEntry) -> int:
    """Return the seed that was asked for."""
    samples = picture.get("samples")
    return samples[0]["seed"] if samples else picture["seed"]


# ---------------------------------------------------------------------------------------------- reading


def read_record(path: Path, remedy: str) -> RunRecord:
    """Read a ``run.json`` and check all of it.

    Args:
        path: of the file.
        remedy: what to do about one that cannot be read, as the end of a sentence.

    Raises:
        UserError: it cannot be read, is no such record, or a newer version of this program wrote it.
    """
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
        newest = content.get("version", 1) if isinstance(content, dict) else 1
        if type(newest) is int and newest > VERSION:
            raise UserError(
                f"{path} is of version {newest:.15g}, and this program knows none above {VERSION}: update the program."
            )
        check_record(content)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}): {remedy}.") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read ({error or type(error).__name__}): {remedy}.") from error
    return cast(RunRecord, {"version": VERSION} | content | {"version": VERSION})


def parse_json(text: str) -> Any:
    """Return what JSON from elsewhere holds; its numbers are finite, its names unique.

    Raises:
        ValueError: it is no such JSON; the message says what is wrong.
        RecursionError: it is nested too deeply.
    """
    return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite, object_pairs_hook=_without_duplicates)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"it holds {name}")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("it holds a number that is too large")
    return value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise ValueError(f"{_show(_first_twice(names))} stands twice in one object")
    return dict(pairs)


# ---------------------------------------------------------------------------------------------- checking


def check_record(content: Any) -> None:
    """Check that parsed JSON is a :class:`RunRecord`.

    Raises:
        ValueError: the message says what is wrong, and where.
    """
    _check_depth(content)
    check_type(content, RunRecord, "it")
    if content.get("version", 1) < 1:
        raise ValueError(f"version is {_show(content['version'])}, not a version")
    pictures = content["pictures"]
    for index, picture in enumerate(pictures):
        _check_picture(picture, f"pictures[{index}]")
    _check_unique((picture["name"] for picture in pictures), "pictures")
    _check_unique((entry["file"] for picture in pictures for entry in picture["files"]), "files")


def name_fault(name: str) -> str | None:
    """Return why a text is no plain file name, one that lies in its folder, in sight, and is no record's; or None."""
    if not _is_unicode(name):
        return "holds half a character"
    if not {"/", "\\", "\0"}.isdisjoint(name) or name in ("", ".", ".."):
        return "is no plain file name"
    if name.startswith("."):
        return "is hidden"
    if len(name.encode()) > LONGEST_NAME:
        return f"has more than {LONGEST_NAME} bytes"
    return "is the name of a record" if name.casefold() in RESERVED else None


def _check_depth(value: Any, left: int = DEEPEST) -> None:
    if isinstance(value, dict | list):
        if not left:
            raise ValueError("it is nested too deeply")
        for part in value.values() if isinstance(value, dict) else value:
            _check_depth(part, left - 1)


def check_type(value: Any, kind: Any, place: str) -> None:
    """Check JSON against a type made of TypedDict, list, dict, unions and plain types; whole numbers are floats too.

    Raises:
        ValueError: the message begins with ``place``.
    """
    if kind is Any or type(value) is kind:
        return
    kind = next((part for part in _members(kind) if _has_type(value, part)), kind)
    if is_typeddict(kind):
        _check_object(value, kind, place)
    elif not _has_type(value, kind):
        raise ValueError(f"{place} is {_show(value)}, not {_describe(kind)}")
    elif isinstance(value, list):
        for index, part in enumerate(value):
            check_type(part, get_args(kind)[0], f"{place}[{index}]")
    elif isinstance(value, dict):
        for name, part in value.items():
            check_type(part, get_args(kind)[1], f"{place}[{_show(name)}]")


def _check_object(value: Any, kind: Any, place: str) -> None:
    if not isinstance(value, dict):
        raise ValueError(f"{place} is {_show(value)}, not an object")
    inner = "" if place == "it" else f"{place}."
    for name, field in _fields(kind).items():
        if name in value:
            check_type(value[name], field, inner + name)
        elif name in kind.__required_keys__:
            raise ValueError(f"{place} lacks {name!r}")


@functools.cache
def _fields(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _members(kind: Any) -> tuple[Any, ...]:
    """Return the types of a union, of any other type itself."""
    return get_args(kind) if get_origin(kind) in (types.UnionType, Union) else (kind,)


def _has_type(value: Any, kind: Any) -> bool:
    if is_typeddict(kind):
        return type(value) is dict
    if kind is float:
        return type(value) is float or (type(value) is int and abs(value) <= LARGEST_SEED)
    return type(value) is (get_origin(kind) or kind)  # bool is no int here


def _describe(kind: Any) -> str:
    names = {str: "a text", int: "a whole number", float: "a number", list: "a list", dict: "an object"}
    kinds = [dict if is_typeddict(part) else get_origin(part) or part for part in _members(kind)]
    return " or ".join(names.get(one, "null") for one in kinds)


def _check_picture(picture: PictureEntry, place: str) -> None:
    _check_name(picture["name"], f"{place}.name")
    if picture["status"] not in STATUSES:
        raise ValueError(f"{place}.status is {_show(picture['status'])}, not one of {', '.join(STATUSES)}")
    if not picture["files"]:
        raise ValueError(f"{place}.files is empty")
    if not picture["prompts"] or not all(map(_is_unicode, picture["prompts"])):
        raise ValueError(f"{place}.prompts must be one text or more, without half characters")
    for seed in (picture["seed"], *(sample["seed"] for sample in picture.get("samples", ()))):
        if not 0 <= seed <= LARGEST_SEED:
            raise ValueError(f"{place} has a seed that is not between 0 and {LARGEST_SEED}")
    for index, entry in enumerate(picture["files"]):
        _check_name(entry["file"], f"{place}.files[{index}].file")
        if not _is_unicode(entry["role"] + entry.get("prompt", "")):
            raise ValueError(f"{place}.files[{index}] holds half a character")


def _check_name(name: str, place: str) -> None:
    fault = name_fault(name)
    if fault:
        raise ValueError(f"{place}, {_show(name)}, {fault}")


def _check_unique(names: Iterable[str], what: str) -> None:
    folded = [name.casefold() for name in names]
    if len(set(folded)) != len(folded):
        raise ValueError(f"two {what} are called {_show(_first_twice(folded))}")


def _first_twice(names: Sequence[str]) -> str:
    seen: set[str] = set()
    return next(name for name in names if name in seen or seen.add(name))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _show(value: Any) -> str:
    """Return a value as text of one line and bounded length."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."

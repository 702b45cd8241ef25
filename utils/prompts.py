"""Prompts: reading and checking them, and the only code that turns a prompt into a file name and back."""

import hashlib
import itertools
import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Required, TypedDict

from utils.errors import UserError

MAX_STEM_BYTES = 180  # leaves room for "_seed<number>", "~<number>" and "_<position>.png" in a file name's 255 bytes
NEGATIVE = "negative_prompt"


class FileEntry(TypedDict, total=False):
    """A file of a picture: its plain name and its role, one of the app's roles.

    ``prompt`` is what it is to show, ``position`` the left edge of a crop, ``view`` the index of a view.
    """

    file: Required[str]
    role: Required[str]
    prompt: str
    position: int
    view: int


@dataclass(frozen=True)
class PictureRequest:
    """One picture to make.

    Attributes:
        prompts: one prompt for a wide image, one per view for an ambiguous image.
        inputs: what else this picture alone is made of, as ``run.json`` keeps it: JSON values by name, such as
            ``eval_pos`` or ``negative_prompt``; one that is None or empty counts as not given.
    """

    prompts: tuple[str, ...]
    inputs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def texts(self) -> tuple[str, ...]:
        """Every text to encode: the prompts, and the negative one if there is one."""
        return (*self.prompts, *filter(None, [self.inputs.get(NEGATIVE)]))


# ---------------------------------------------------------------------------------------------- file names


def file_stem(prompt: str) -> str:
    """Turn a prompt into the stem of a file name: spaces become underscores, unsafe characters too.

    A stem of more than ``MAX_STEM_BYTES`` bytes is cut and ends in ``~`` and eight hexadecimal digits of its hash.
    """
    stem = re.sub(r"[^\w .,'()&+!-]", "_", unicodedata.normalize("NFC", prompt)).replace(" ", "_")
    return shorten(stem.strip(".") or "_")


def prompt_from_stem(stem: str) -> str:
    """Turn the stem of a file name back into a prompt by the assignment's rule: underscores are spaces."""
    return stem.replace("_", " ")


def shorten(stem: str) -> str:
    """Return a stem that leaves room for endings: cut after ``MAX_STEM_BYTES`` bytes, ``~`` and a hash at its end."""
    data = stem.encode("utf-8", "replace")
    if len(data) <= MAX_STEM_BYTES:
        return stem
    return f"{data[: MAX_STEM_BYTES - 9].decode('utf-8', 'ignore')}~{hashlib.sha256(data).hexdigest()[:8]}"


def unique_files(list_files: Callable[[str], list[FileEntry]], taken: set[str]) -> list[FileEntry]:
    """Return the first of ``list_files("")``, ``list_files("~2")``, ... that meets no name in ``taken``.

    Args:
        list_files: suffix of the stems -> files of one picture.
        taken: case-folded file names of other pictures; the chosen ones are added.
    """
    suffixes = itertools.chain([""], (f"~{number}" for number in itertools.count(2)))
    files = next(files for files in map(list_files, suffixes) if not _names(files) & taken)
    taken |= _names(files)
    return files


def _names(files: list[FileEntry]) -> set[str]:
    return {entry["file"].casefold() for entry in files}


# ---------------------------------------------------------------------------------------------- prompts files


class Entries(dict[str, dict[str, Any]]):
    """The entries of a prompts file by name.

    Attributes:
        path, text: the file and what it holds.
    """

    def __init__(self, path: Path, text: str, entries: Mapping[str, Any]):
        super().__init__(entries)
        self.path, self.text = path, text

    def place(self, name: str) -> str:
        """Say where in the file an entry stands."""
        return _place(self.path, self.text, name)


def read_entries(
    path: Path, fields_of: Callable[[Mapping[str, Any]], tuple[Sequence[str], Sequence[str]]], app: str
) -> Entries:
    """Read ``{name: {field: value, ...}}``; every field of text, and ``negative_prompt`` in any entry.

    Args:
        path: JSON file.
        fields_of: an entry -> the fields of text that it must have, and those that it may have besides, which the
            caller checks.
        app: whose prompts these are to be, for messages.

    Raises:
        UserError: unreadable, malformed, empty, a name twice, a missing or wrongly typed field (with line and column).
    """
    text, content = _read_json(path)
    entries = Entries(path, text, content)
    for name, fields in entries.items():
        if not isinstance(fields, dict):
            needed = ", ".join(fields_of({})[0])
            raise UserError(f"{entries.place(name)}: the entry {name!r} must be an object with {needed}.")
        required, optional = fields_of(fields)
        _check_fields(entries, name, required, optional, app)
    return entries


def negative_prompt_of(entry: Mapping[str, Any], default: str | None) -> dict[str, str]:
    """Return the negative prompt of an entry, else the default, as an input of a request; empty where there is none."""
    negative = entry.get(NEGATIVE, default)
    return {} if negative is None else {NEGATIVE: negative}


def _read_json(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise UserError(f"--prompts_file {path} cannot be read ({reason}): give a JSON file.") from error
    try:
        entries = json.loads(text, object_pairs_hook=lambda pairs: _without_duplicates(path, text, pairs))
    except UserError:
        raise
    except json.JSONDecodeError as error:
        place = f"{path}, line {error.lineno} column {error.colno}"
        raise UserError(f"{place}: this is no JSON ({error.msg}): correct it there.") from error
    except ValueError as error:
        raise UserError(f"{path}: a number has too many digits for a prompts file: correct it there.") from error
    except RecursionError as error:
        raise UserError(f"{path}: nested too deeply for a prompts file: give one object of entries.") from error
    if not isinstance(entries, dict) or not entries:
        raise UserError(f"{path}, line 1 column 1: expected an object with one entry per picture, as in data/*.json.")
    return text, entries


def _without_duplicates(path: Path, text: str, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise UserError(f"{_place(path, text, name, last=True)}: the name {name!r} stands twice: rename one.")
        seen.add(name)
    return dict(pairs)


def _check_fields(entries: Entries, name: str, required: Sequence[str], optional: Sequence[str], app: str) -> None:
    fields, place = entries[name], entries.place(name)
    if missing := sorted(set(required) - set(fields)):
        there = ", ".join(fields) or "nothing"
        raise UserError(
            f"{place}: the entry {name!r} lacks {', '.join(missing)}, which --app {app} needs; it has {there}: "
            "correct it, or give the app that this file belongs to."
        )
    known = sorted({*required, *optional, NEGATIVE})
    if unknown := sorted(set(fields) - set(known)):
        raise UserError(f"{place}: the entry {name!r} has the unknown field {unknown[0]!r}; known: {', '.join(known)}.")
    for field_name in sorted({*required, *({NEGATIVE} & fields.keys())}):
        text = fields[field_name]
        if not isinstance(text, str) or not text.strip():
            raise UserError(f"{place}: {field_name} of {name!r} must be a text that is not empty.")
        if not is_unicode(text):
            raise UserError(f"{place}: {field_name} of {name!r} holds half a character (a lone surrogate): correct it.")


def _place(path: Path, text: str, name: str, last: bool = False) -> str:
    """Say where in the file a name stands."""
    written = [json.dumps(name), json.dumps(name, ensure_ascii=False)]
    offsets = [text.rfind(form) if last else text.find(form) for form in written]
    offset = max(0, *offsets)
    line = text.count("\n", 0, offset) + 1
    return f"{path}, line {line} column {offset - text.rfind(chr(10), 0, offset)}"


# ---------------------------------------------------------------------------------------------- checks


def check_prompt(prompt: str) -> None:
    """Raise UserError for a prompt without a visible character, or that is no Unicode text."""
    if not prompt.strip():
        raise UserError("an empty prompt was given: say what to draw.")
    if not is_unicode(prompt):
        raise UserError(f"the prompt {prompt!r} is no valid text: give it in the terminal's encoding, such as UTF-8.")


def is_unicode(text: str) -> bool:
    """Return whether a text holds no half character (a lone surrogate)."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def quote(prompt: str) -> str:
    """Return a prompt in quotation marks, cut where it is long."""
    return repr(prompt if len(prompt) <= 80 else prompt[:77] + "...")

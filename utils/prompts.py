"""Prompts: reading and checking them, and the only code that turns a prompt into a file name and back."""

import dataclasses
import hashlib
import itertools
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.errors import UserError
from utils.run.run_record import FileEntry

REFERENCE_HEIGHT = 512  # eval_pos counts pixels of a strip of this height
DEFAULT_CROPS = 8
MAX_STEM_BYTES = 180  # leaves room for "_<position>.png" and "~<number>" within the 255 bytes of a file name


@dataclass(frozen=True)
class PictureRequest:
    """One picture to make.

    Attributes:
        prompts: one prompt for a wide image, one per view for an ambiguous image.
        inputs: what else belongs to this picture alone, values that JSON has a form for, such as ``eval_pos``. None and
            empty lists count as not given.
    """

    prompts: tuple[str, ...]
    inputs: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def eval_pos(self) -> Sequence[int] | None:
        """Left edges of a strip's crops in pixels of a 512-high strip; None where the canvas will decide."""
        return self.inputs.get("eval_pos")


# ---------------------------------------------------------------------------------------------- file names


def file_stem(prompt: str) -> str:
    """Turn a prompt into the stem of a file name: spaces become underscores, unsafe characters too.

    A stem of more than ``MAX_STEM_BYTES`` bytes is cut and ends in ``~`` and eight hexadecimal digits of its hash.
    """
    stem = re.sub(r"[^\w .,'()&+!-]", "_", unicodedata.normalize("NFC", prompt)).replace(" ", "_")
    return _shorten(stem.strip(".") or "_")


def prompt_from_stem(stem: str) -> str:
    """Turn the stem of a file name back into a prompt by the assignment's rule: underscores are spaces."""
    return stem.replace("_", " ")


def _shorten(stem: str) -> str:
    data = stem.encode("utf-8", "replace")
    if len(data) <= MAX_STEM_BYTES:
        return stem
    return f"{data[: MAX_STEM_BYTES - 9].decode('utf-8', 'ignore')}~{hashlib.sha256(data).hexdigest()[:8]}"


def wide_files(request: PictureRequest, suffix: str) -> list[FileEntry]:
    """List the files of a wide image: the strip, then its crops."""
    prompt, stem = request.prompts[0], file_stem(request.prompts[0]) + suffix
    crops = [
        {"file": f"{stem}_{position}.png", "role": "crop", "prompt": prompt, "position": position}
        for position in request.eval_pos or ()
    ]
    return [{"file": f"{stem}.png", "role": "strip", "prompt": prompt}, *crops]


def ambiguous_files(request: PictureRequest, suffix: str, held: int = 0, whole: bool = False) -> list[FileEntry]:
    """List the files of an ambiguous image: one per view, named by the view's prompt, then all side by side.

    Args:
        request, suffix: as for every app.
        held: number of views, the first ones, that have no prompt.
        whole: the views are components; the picture that they sum to is a file of its own.
    """
    stems: list[str] = []
    for index, prompt in enumerate(request.prompts):
        stem = file_stem(prompt)
        repeated = stem.casefold() in (other.casefold() for other in stems)
        stems.append(f"{stem}~view{index}" if repeated else stem)
    views = [
        {"file": f"{stem}{suffix}.png", "role": "view", "prompt": prompt, "view": index}
        for index, (stem, prompt) in enumerate(zip(stems, request.prompts, strict=True), start=held)
    ]
    joined = _shorten("-".join(stem + suffix for stem in stems) + ("" if len(stems) > 1 else "-views"))
    parts = [{"file": f"{_shorten(joined + '-whole')}.png", "role": "whole"}] if whole else []
    return [*views, *parts, {"file": f"{joined}.png", "role": "side_by_side"}]


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


def read_wide_prompts(path: Path) -> dict[str, dict[str, Any]]:
    """Read ``{name: {"prompt": str, "eval_pos": [int, ...] (optional)}}``.

    Raises:
        UserError: unreadable, malformed, empty, a name twice, a missing or wrongly typed field (with line and column).
    """
    text, entries = _read_entries(path)
    for name, fields in entries.items():
        _check_object(path, text, name, fields, ("prompt",))
        _check_fields(path, text, name, fields, required={"prompt"}, allowed={"prompt", "eval_pos"})
        positions = fields.get("eval_pos", [])
        if not isinstance(positions, list) or not all(type(position) is int for position in positions):
            raise UserError(f"{_place(path, text, name)}: eval_pos of {name!r} must be a list of whole numbers.")
    return entries


def read_ambiguous_prompts(path: Path, held: bool = False) -> dict[str, dict[str, str]]:
    """Read ``{name: {"canonical_prompt": str, "instance_prompt": str, "instance_prompt_2": str, ...}}``.

    The canonical prompt belongs to the first view, the others in their order to the following ones.

    Args:
        path: JSON file.
        held: a photograph stands for the first view, and there is no canonical prompt.

    Raises:
        UserError: as :func:`read_wide_prompts`.
    """
    text, entries = _read_entries(path)
    for name, fields in entries.items():
        needed = ("instance_prompt",) if held else ("canonical_prompt", "instance_prompt")
        _check_object(path, text, name, fields, needed)
        others = len(fields) - (not held or "canonical_prompt" in fields)
        names = [*needed, *(f"instance_prompt_{i}" for i in range(2, others + 1))]
        _check_fields(path, text, name, fields, required=set(names), allowed=set(names))
    return entries


def ambiguous_prompts(fields: dict[str, str]) -> tuple[str, ...]:
    """Return the prompts of one entry of :func:`read_ambiguous_prompts` in the order of the views."""
    others = [f"instance_prompt_{index}" for index in range(2, len(fields) + 1)]
    return tuple(fields[name] for name in ("canonical_prompt", "instance_prompt", *others) if name in fields)


def _read_entries(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise UserError(f"--prompts_file {path} cannot be read ({reason}): give a JSON file.") from error
    try:
        entries = json.loads(text, object_pairs_hook=lambda pairs: _without_duplicates(path, text, pairs))
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


def _check_object(path: Path, text: str, name: str, fields: Any, needed: Sequence[str]) -> None:
    if not isinstance(fields, dict):
        raise UserError(f"{_place(path, text, name)}: the entry {name!r} must be an object with {', '.join(needed)}.")


def _check_fields(
    path: Path, text: str, name: str, fields: dict[str, Any], required: set[str], allowed: set[str]
) -> None:
    place = _place(path, text, name)
    if missing := sorted(required - set(fields)):
        raise UserError(f"{place}: the entry {name!r} lacks {', '.join(missing)}.")
    if unknown := sorted(set(fields) - allowed):
        known = ", ".join(sorted(allowed))
        raise UserError(f"{place}: the entry {name!r} has the unknown field {unknown[0]!r}; known: {known}.")
    for field in sorted(required):
        if not isinstance(fields[field], str) or not fields[field].strip():
            raise UserError(f"{place}: {field} of {name!r} must be a text that is not empty.")
        if not _is_unicode(fields[field]):
            raise UserError(f"{place}: {field} of {name!r} holds half a character (a lone surrogate): correct it.")


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
    if not _is_unicode(prompt):
        raise UserError(f"the prompt {prompt!r} is no valid text: give it in the terminal's encoding, such as UTF-8.")


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def strip_positions(height: int, width: int) -> tuple[int, ...]:
    """Return the default crops of a canvas in pixels: 8 left edges, evenly spread, counted at 512 px height."""
    if width < height:
        return ()
    last = _last_position(height, width)
    return tuple(sorted({round(last * index / (DEFAULT_CROPS - 1)) for index in range(DEFAULT_CROPS)}))


def check_positions(positions: Iterable[int], height: int, width: int, prompt: str) -> None:
    """Check the crops of a prompt's strip against a canvas in pixels.

    Raises:
        UserError: a crop would leave the strip, stands twice, or the canvas is higher than wide.
    """
    positions = list(positions)
    if positions and width < height:
        raise UserError(f"eval_pos cuts squares, the canvas {height}x{width} is higher than wide: leave it out.")
    last = _last_position(height, width)
    for position in positions:
        if not 0 <= position <= last:
            raise UserError(
                f"eval_pos {position} of {_quote(prompt)} is outside the strip {height}x{width}: give 0 to {last} "
                f"(left edges, counted in pixels of a {REFERENCE_HEIGHT}-high strip)."
            )
    if len(set(positions)) != len(positions):
        raise UserError(
            f"eval_pos of {_quote(prompt)} has a position twice ({' '.join(map(str, positions))}): give each once."
        )


def _last_position(height: int, width: int) -> int:
    return (width - height) * REFERENCE_HEIGHT // height


def unknown_words(prompt: str, words: dict[str, list[str]]) -> list[str]:
    """Return the words of a prompt that a model with a closed vocabulary does not know.

    Args:
        prompt: any text.
        words: ``subjects`` and ``styles`` (words or phrases of up to three words) and ``filler``, all in lower case.

    Raises:
        UserError: no subject among the words: there is nothing the model could draw.
    """
    tokens = re.findall(r"[\w']+", prompt.lower())
    subjects, known = set(words["subjects"]), {phrase for group in words.values() for phrase in group}
    unknown, has_subject = [], False
    while tokens:
        phrase = next((p for p in _phrases(tokens) if p in known), None)
        has_subject |= phrase in subjects
        if phrase is None:
            unknown.append(tokens[0])
        tokens = tokens[len(phrase.split()) if phrase else 1 :]
    if not has_subject:
        raise UserError(
            f"the embedded model knows none of what {_quote(prompt)} asks for; it draws: "
            f"{', '.join(words['subjects'])}; as: {', '.join(words['styles'])}. "
            "For anything else take the pretrained model (--model sd or deepfloyd)."
        )
    return unknown


def _phrases(tokens: Sequence[str]) -> list[str]:
    """Return what starts a text, longest first: three words, two, one."""
    return [" ".join(tokens[:length]) for length in range(min(3, len(tokens)), 0, -1)]


def _quote(prompt: str) -> str:
    return repr(prompt if len(prompt) <= 80 else prompt[:77] + "...")

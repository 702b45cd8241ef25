"""The ZIP of a submission: its PDF, the code that git tracks, and the pictures with their scores."""

import io
import os
import subprocess
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from utils.errors import UserError
from utils.files import is_file
from utils.submission.task import Task

PICTURES = "results/"  # what is tracked there is no code
WEIGHTS, WEIGHT_FILES = "data/models/", (".safetensors",)
PACKED = (".png", ".jpg", ".jpeg", ".pdf", ".safetensors")  # deflating them again gains nothing


def tracked_files(root: Path, with_models: bool) -> dict[str, Path]:
    """Return the code that git tracks, name in the ZIP -> file: no generated pictures, no links that lead outside.

    Args:
        root: folder of the project.
        with_models: take the embedded weights, too.

    Raises:
        UserError: it is in no git checkout, or git tracks nothing in it.
    """
    names = _git(root, "ls-files", "-z")
    if not names:
        raise UserError(f"git tracks no file of {root}, and the ZIP holds what it tracks: git add and commit the code.")
    taken = [name for name in names if not name.startswith(PICTURES) and (with_models or not _is_weights(name))]
    return {name: root / name for name in taken if _is_own_file(root / name, root)}


def untracked_code(root: Path) -> list[str]:
    """Return the Python files that git neither tracks nor ignores, which the ZIP would lack."""
    return _git(root, "ls-files", "-z", "--others", "--exclude-standard", "--", "*.py")


def picture_files(tasks: Sequence[Task]) -> dict[str, Path]:
    """Return the pictures of all tasks with ``run.json`` and their scores, name in the ZIP -> file.

    Raises:
        UserError: one of them is a link, which may lead anywhere.
    """
    found = {f"{task.place}/{name}": task.folder / name for task in tasks for name in task.archived}
    for path in found.values():
        if path.is_symlink():
            raise UserError(f"{path} is a link: put a copy of the file in its place.")
    return found


def make_zip(pdf_name: str, pdf: bytes, files: Mapping[str, Path]) -> bytes:
    """Return the ZIP.

    Args:
        pdf_name, pdf: name and content of the PDF.
        files: name in the ZIP -> file, the PDF not among them.

    Raises:
        UserError: a file cannot be read.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as archive:
        archive.writestr(pdf_name, pdf)
        for name, path in sorted(files.items()):
            _add(archive, name, path)
    return buffer.getvalue()


def _add(archive: zipfile.ZipFile, name: str, path: Path) -> None:
    packed = name.lower().endswith(PACKED)
    try:
        archive.write(path, name, zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED)
    except (OSError, UnicodeEncodeError) as error:
        raise UserError(f"{path} cannot go into the ZIP ({error}): mend it, or move it away.") from error


def _git(root: Path, *arguments: str) -> list[str]:
    """Return what git lists, names by ``root``."""
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=True)
    except OSError as error:
        raise UserError(
            f"git does not run ({error.strerror}), and the ZIP holds what it tracks: install git."
        ) from error
    except subprocess.CalledProcessError as error:
        said = os.fsdecode(error.stderr).strip().splitlines() or ["no reason given"]
        raise UserError(
            f"{root} is no git checkout ({said[0]}), and the ZIP holds what git tracks: use submit.py in a clone."
        ) from error
    return [os.fsdecode(name) for name in done.stdout.split(b"\0") if name]


def _is_weights(name: str) -> bool:
    return name.startswith(WEIGHTS) and name.endswith(WEIGHT_FILES)


def _is_own_file(path: Path, root: Path) -> bool:
    return is_file(path) and path.resolve().is_relative_to(root.resolve())

"""Files that appear whole or not at all: written under a temporary name in their folder, then renamed."""

import contextlib
import hashlib
import json
import os
import secrets
from pathlib import Path
from typing import Any


def write_atomic(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path``; a reader sees the old file or the whole new one, never a part.

    The temporary file is hidden (``.<random>.tmp``), lies in the same folder and is removed when writing fails.

    Raises:
        OSError: the folder is missing or cannot be written, or the disk is full; ``path`` is then unchanged.
    """
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented UTF-8 JSON with a final line break, atomically.

    File names that are no valid text (lone surrogates) are kept as ``\\udcXX`` escapes, which JSON reads back.

    Raises:
        TypeError: ``value`` holds something that JSON has no form for.
        ValueError: ``value`` holds NaN or an infinity.
        OSError: as for :func:`write_atomic`.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    write_atomic(path, (text + "\n").encode("utf-8", errors="backslashreplace"))


def is_file(path: Path) -> bool:
    """Return whether a path names a regular file; one that no file can have, such as a name too long, does not."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """Return whether a path names a folder; one that no folder can have does not."""
    try:
        return path.is_dir()
    except OSError:
        return False


def is_inside(path: Path, folder: Path) -> bool:
    """Return whether what is written to ``path`` would lie in ``folder`` or deeper, links on the way resolved.

    A link in the place of the file itself counts as the file: :func:`write_atomic` replaces it.
    """
    return path.parent.resolve().is_relative_to(folder.resolve())


def sha256(path: Path) -> str:
    """Return the hash of a file's bytes in hexadecimal digits.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def content_hash(path: Path) -> str:
    """Return a file's hash with ``sha256:`` before it, as ``run.json`` names files by their content."""
    return f"sha256:{sha256(path)}"

"""The output folder of a run: what it holds, who made it, what is still to do.

``run.json`` is the only state. Processes share it under a lock file, so N of them fill one folder together, and a run
that was stopped goes on where it was.
"""

import datetime
import importlib.metadata
import itertools
import json
import os
import platform
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from utils.errors import UserError
from utils.files import write_json
from utils.prompts import FileEntry, PictureRequest, unique_files

PACKAGES = ("torch", "diffusers", "transformers", "accelerate", "numpy", "pillow", "safetensors")
Picture = dict[str, Any]  # an entry of run.json's "pictures"


class RunFolder:
    """A folder of pictures with its ``run.json``.

    Args:
        path: the folder; created by :meth:`open`, not before.
        header: what decides the pictures: ``app``, ``options`` (name -> value), ``model`` and, where the best of
            several samples is kept, ``scorer``; besides, where files lie that an option names by their content, as
            ``permutations``.
    """

    def __init__(self, path: Path, header: dict[str, Any]):
        self.path = path
        self.header = json.loads(json.dumps(header))  # as it will be read back: tuples become lists

    @classmethod
    def reopen(cls, path: Path) -> "RunFolder":
        """Return the folder that a run made, with the header it was made with.

        Raises:
            UserError: no such folder, no ``run.json`` in it, or one that is damaged.
        """
        folder = cls(path, {})
        if not folder._file.is_file():
            raise UserError(f"{path} holds no run.json: give a folder that main.py made.")
        content = folder._read()
        folder.header = {name: value for name, value in content.items() if name not in ("sessions", "pictures")}
        return folder

    @property
    def _file(self) -> Path:
        return self.path / "run.json"

    def check(self) -> None:
        """Check that the folder can take this run; writes nothing.

        Raises:
            UserError: the place cannot be written, or the folder was made with other options.
        """
        if not _is_writable(self.path):
            raise UserError(f"the output folder {self.path} cannot be written: choose another --save_top_dir or --tag.")
        if self._file.exists():
            self._check_same(self._read())

    def open(
        self,
        requests: Sequence[PictureRequest],
        list_files: Callable[[PictureRequest, str], list[FileEntry]],
        device: str,
        seeds: Sequence[int],
    ) -> list[Picture]:
        """Create the folder or go on in it, enter the requested pictures, and return those that are not finished.

        Args:
            requests: each is one picture for every seed.
            list_files: request, suffix of the stems -> files of one picture.
            device: for the session's entry.
            seeds: at least one.

        Raises:
            UserError: as :meth:`check`; or a file that is not from here would be overwritten.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with self._lock():
                content = self._read() if self._file.exists() else {**self.header, "sessions": [], "pictures": []}
                self._check_same(content)
                content.update({name: self.header[name] for name in {"permutations"} & self.header.keys()})
                _enter_session(content, device)
                wanted = list(itertools.product(requests, seeds))
                pictures = self._enter(content["pictures"], wanted, list_files)
                write_json(self._file, content)
        except OSError as error:
            reason = error.strerror or error
            raise UserError(f"the output folder {self.path} cannot be written ({reason}): choose another.") from error
        return [picture for picture in pictures if not self._is_finished(picture)]

    def record(self, picture: Picture, **fields: Any) -> None:
        """Write new fields of a picture, such as ``status``, into ``run.json``."""
        with self._lock():
            content = self._read()
            next(entry for entry in content["pictures"] if entry["name"] == picture["name"]).update(fields)
            write_json(self._file, content)

    def finished(self) -> list[Picture]:
        """Return all pictures of the folder that are done and have all their files."""
        return [picture for picture in self._read()["pictures"] if self._is_finished(picture)]

    def add_file(self, picture: Picture, entry: FileEntry) -> None:
        """List one more file of a picture in ``run.json``; a file of the same name is listed once."""
        with self._lock():
            content = self._read()
            files = next(one for one in content["pictures"] if one["name"] == picture["name"])["files"]
            if entry["file"] not in [other["file"] for other in files]:
                files.append(entry)
                write_json(self._file, content)

    def _lock(self) -> FileLock:
        return FileLock(self.path / ".run.lock")

    def _enter(
        self,
        pictures: list[Picture],
        wanted: Sequence[tuple[PictureRequest, int]],
        list_files: Callable[[PictureRequest, str], list[FileEntry]],
    ) -> list[Picture]:
        """Return the wanted entries; those that are new are appended to ``pictures`` with files of their own."""
        known = list(pictures)
        taken = {entry["file"].casefold() for picture in known for entry in picture["files"]}
        mine: list[Picture] = []
        for request, seed in wanted:
            picture = next((entry for entry in known if _is_same(entry, request, seed)), None)
            if picture is None:
                files = unique_files(lambda suffix, request=request: list_files(request, suffix), taken)
                self._check_free(files)
                picture = _new_entry(request, files, seed)
                pictures.append(picture)
            else:
                known.remove(picture)
            mine.append(picture)
        return mine

    def _is_finished(self, picture: Picture) -> bool:
        pictures = [entry for entry in picture["files"] if entry["role"] != "animation"]  # made from the others
        files_here = all((self.path / entry["file"]).exists() for entry in pictures)
        return picture["status"] == "done" and files_here

    def _check_free(self, files: list[FileEntry]) -> None:
        for entry in files:
            if (self.path / entry["file"]).exists():
                raise UserError(
                    f"{self.path / entry['file']} exists and is not in the folder's run.json: nothing is overwritten; "
                    "move it away or choose another --tag."
                )

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads(self._file.read_text(encoding="utf-8"))
            _check_shape(content)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise UserError(f"{self._file} cannot be read ({reason}): mend it, or choose another folder.") from error
        return content

    def _check_same(self, content: dict[str, Any]) -> None:
        before, now = _flatten(content), _flatten(self.header)
        differing = [name for name in sorted(before.keys() | now.keys()) if before.get(name) != now.get(name)]
        if "--app" in differing:
            differing = ["--app"]  # the other options of another app say nothing more
        if differing:
            shown = "; ".join(f"{name}: there {before.get(name)!r}, now {now.get(name)!r}" for name in differing)
            raise UserError(f"{self.path} was made with other options ({shown}): choose another --tag.")


def _is_writable(path: Path) -> bool:
    """Return whether a folder is here to write in, or could be made."""
    try:
        parent = next(place for place in (path, *path.parents) if place.exists())
    except OSError:  # a name that is too long
        return False
    return parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)


def _check_shape(content: dict[str, Any]) -> None:
    """Touch everything in a ``run.json`` that this module goes by: KeyError, TypeError or AttributeError if damaged."""
    _flatten(content)
    for session in content["sessions"]:
        session.items()
    for picture in content["pictures"]:
        _ = [picture[name] for name in ("name", "prompts", "eval_pos", "status")], _first_seed(picture)
        _ = [(entry["file"].casefold(), entry["role"]) for entry in picture["files"]]


def _flatten(header: dict[str, Any]) -> dict[str, Any]:
    """Return what must agree between runs into one folder, by the name a user knows it by."""
    options = {f"--{name}": value for name, value in header["options"].items()}
    models = {
        f"weights of {name}": source.get("commit") or source.get("sha256")
        for name, source in header["model"]["sources"].items()
    }
    scorer = header.get("scorer", {}).get("sha256")
    return {
        "--app": header["app"],
        "model": header["model"]["family"],
        **options,
        **models,
        "weights of the scorer": scorer,
    }


def _new_entry(request: PictureRequest, files: list[FileEntry], seed: int) -> Picture:
    return {
        "name": Path(files[0]["file"]).stem,
        "prompts": list(request.prompts),
        "eval_pos": list(request.eval_pos),
        "seed": seed,
        "status": "pending",
        "files": files,
    }


def _enter_session(content: dict[str, Any], device: str) -> None:
    """Note who works in the folder, unless the last session was the same but for its time."""
    session = {**_environment(), "device": device}
    if not content["sessions"] or {**content["sessions"][-1], "started": ""} != {**session, "started": ""}:
        content["sessions"].append(session)


def _is_same(picture: Picture, request: PictureRequest, seed: int) -> bool:
    wanted = list(request.prompts), list(request.eval_pos), seed
    return (picture["prompts"], picture["eval_pos"], _first_seed(picture)) == wanted


def _first_seed(picture: Picture) -> int:
    """Return the seed that was asked for; where the best of several samples is kept, ``seed`` is the best one's."""
    return (picture.get("samples") or [picture])[0]["seed"]


def _environment() -> dict[str, Any]:
    """Return what a reader needs to repeat a picture besides the options: versions and the state of the code."""
    return {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "git_revision": _git_revision(),
    }


def _git_revision() -> str | None:
    """Return the commit of this code, with ``-dirty`` if files differ from it; None outside a git checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        result = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return result.stdout.strip()

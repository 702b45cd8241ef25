"""The output folder of a run: what it holds, who made it, what is still to do.

``run.json`` is the only state. Processes share it under a lock file, so N of them fill one folder together, and a run
that was stopped goes on where it was.
"""

import itertools
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from filelock import FileLock

from utils.errors import UserError
from utils.files import is_file, is_inside, write_json
from utils.prompts import FileEntry, PictureRequest, unique_files
from utils.provenance import environment
from utils.run.run_record import (
    FILE,
    OWN_FIELDS,
    VERSION,
    PictureEntry,
    RunRecord,
    check_record,
    first_seed,
    given,
    inputs_of,
    read_record,
)

ANIMATION = "animation"  # role of the files that are made from the others


class RunFolder:
    """A folder of pictures with its ``run.json``.

    Args:
        path: the folder; created by :meth:`open`, not before.
        header: what decides the pictures: ``app``, ``options`` (name -> value), ``model`` and, where the best of
            several samples is kept, ``scorer``; besides, where files lie that an option names by their content, as
            ``permutations``.
    """

    def __init__(self, path: Path, header: Mapping[str, Any]):
        self.path = path
        self.header = json.loads(json.dumps(header))  # as it will be read back: tuples become lists

    @classmethod
    def reopen(cls, path: Path) -> "RunFolder":
        """Return the folder that a run made, with the header it was made with.

        Raises:
            UserError: no such folder, no ``run.json`` in it, or one that is damaged.
        """
        folder = cls(path, {})
        if not path.exists():
            raise UserError(f"the folder {path} does not exist: give a folder that main.py made.")
        if not is_file(path / FILE):
            raise UserError(f"{path} holds no run.json: give a folder that main.py made.")
        content = folder.read()
        folder.header = {name: value for name, value in content.items() if name not in ("sessions", "pictures")}
        return folder

    def check(self) -> None:
        """Check that the folder can take this run; writes nothing.

        Raises:
            UserError: the place cannot be written, or the folder was made with other options.
        """
        if not _is_writable(self.path):
            raise UserError(f"the output folder {self.path} cannot be written: choose another --save_top_dir or --tag.")
        if (self.path / FILE).exists():
            self._check_same(self.read())

    def read(self) -> RunRecord:
        """Return what ``run.json`` says, checked.

        Raises:
            UserError: it cannot be read, or is damaged.
        """
        return read_record(self.path / FILE, "mend it, or choose another folder")

    def open(
        self,
        requests: Sequence[PictureRequest],
        list_files: Callable[[PictureRequest, str], list[FileEntry]],
        device: str,
        seeds: Sequence[int],
    ) -> list[PictureEntry]:
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
                content = self.read() if (self.path / FILE).exists() else self._empty()
                self._check_same(content)
                if "permutations" in self.header:  # a folder does not pin where they lie
                    content["permutations"] = self.header["permutations"]
                _enter_session(content, device)
                wanted = list(itertools.product(requests, seeds))
                pictures = self._enter(content["pictures"], wanted, list_files)
                check_record(content)
                write_json(self.path / FILE, content)
        except OSError as error:
            reason = error.strerror or error
            raise UserError(f"the output folder {self.path} cannot be written ({reason}): choose another.") from error
        return [picture for picture in pictures if not self._is_finished(picture)]

    def record(self, picture: PictureEntry, **fields: Any) -> None:
        """Write new fields of a picture, such as ``status``, into ``run.json``.

        Raises:
            UserError: ``run.json`` is gone or damaged, or no longer lists the picture.
            OSError: it cannot be written.
        """
        if not fields.keys() <= OWN_FIELDS:
            raise ValueError(f"{sorted(fields.keys() - OWN_FIELDS)} are no fields of a picture")
        with self._changing(picture) as entry:
            entry.update(cast(PictureEntry, fields))

    def add_file(self, picture: PictureEntry, file: FileEntry) -> None:
        """List one more file of a picture in ``run.json``; a file of the same name is listed once.

        Raises:
            UserError, OSError: as :meth:`record`.
        """
        with self._changing(picture) as entry:
            if file["file"] not in [other["file"] for other in entry["files"]]:
                entry["files"].append(file)

    def finished(self) -> list[PictureEntry]:
        """Return all pictures of the folder that are done and have all their files."""
        return [picture for picture in self.read()["pictures"] if self._is_finished(picture)]

    def make_previews(self, picture: PictureEntry, part: str = "") -> Path:
        """Create the folder for the previews of a picture, ``previews/<name>`` or ``previews/<name>/<part>``.

        Raises:
            UserError: a link leads elsewhere.
            OSError: it cannot be created.
        """
        path = self.path / "previews" / picture["name"] / part
        if not is_inside(path / "preview", self.path):
            raise UserError(f"{path} lies outside of {self.path}, a link leads there: remove the link.")
        path.mkdir(parents=True, exist_ok=True)
        return path

    def _lock(self) -> FileLock:
        path = self.path / ".run.lock"
        if path.is_symlink():
            raise UserError(f"{path} is a link, and the lock of this folder belongs there: remove the link.")
        return FileLock(path)

    def _empty(self) -> RunRecord:
        return cast(RunRecord, {"version": VERSION, **self.header, "sessions": [], "pictures": []})

    @contextmanager
    def _changing(self, picture: PictureEntry) -> Iterator[PictureEntry]:
        """Give a picture's entry to be changed; it is written when the block ends."""
        path = self.path / FILE
        lost = f"the picture {picture['name']} was not saved: {path}"
        remedy = "put it back, and give the same command again"
        if not is_file(path):  # before the lock, which would make the folder anew
            raise UserError(f"{lost} was moved or deleted during this run: {remedy}.")
        with self._lock():
            content = read_record(path, f"{picture['name']} was not saved; {remedy}")
            entry = next((one for one in content["pictures"] if one["name"] == picture["name"]), None)
            if entry is None:
                raise UserError(f"{lost} no longer lists it, it was changed during this run: {remedy}.")
            yield entry
            write_json(path, content)

    def _enter(
        self,
        pictures: list[PictureEntry],
        wanted: Sequence[tuple[PictureRequest, int]],
        list_files: Callable[[PictureRequest, str], list[FileEntry]],
    ) -> list[PictureEntry]:
        """Return the wanted entries; those that are new are appended to ``pictures`` with files of their own.

        Where a folder has several seeds of one request, new files are named after their seed, too.
        """
        known, seeds = list(pictures), defaultdict(set)
        for request, seed in [*((request_of(entry), first_seed(entry)) for entry in pictures), *wanted]:
            seeds[_key(request)].add(seed)
        taken = {entry["file"].casefold() for picture in known for entry in picture["files"]}
        mine: list[PictureEntry] = []
        for request, seed in wanted:
            picture = next((entry for entry in known if _is_same(entry, request, seed)), None)
            if picture is None:
                mark = f"_seed{seed}" if seeds[_key(request)] - {seed} else ""
                files = unique_files(
                    lambda suffix, request=request, mark=mark: list_files(request, mark + suffix), taken
                )
                self._check_free(files)
                picture = _new_entry(request, files, seed)
                pictures.append(picture)
            else:
                known.remove(picture)
            mine.append(picture)
        return mine

    def _is_finished(self, picture: PictureEntry) -> bool:
        files = [entry["file"] for entry in picture["files"] if entry["role"] != ANIMATION]
        return picture["status"] == "done" and all((self.path / file).exists() for file in files)

    def _check_free(self, files: list[FileEntry]) -> None:
        for entry in files:
            if os.path.lexists(self.path / entry["file"]):
                raise UserError(
                    f"{self.path / entry['file']} exists and is not in the folder's run.json: nothing is overwritten; "
                    "move it away or choose another --tag."
                )

    def _check_same(self, content: RunRecord) -> None:
        before, now = _flatten(content), _flatten(self.header)
        differing = [name for name in sorted(before.keys() | now.keys()) if before.get(name) != now.get(name)]
        if "--app" in differing:
            differing = ["--app"]  # the other options of another app say nothing more
        if differing:
            shown = "; ".join(f"{name}: there {before.get(name)!r}, now {now.get(name)!r}" for name in differing)
            raise UserError(f"{self.path} was made with other options ({shown}): choose another --tag.")


def request_of(picture: PictureEntry) -> PictureRequest:
    """Return what was asked for when a picture was entered."""
    return PictureRequest(tuple(picture["prompts"]), inputs_of(picture))


def _is_writable(path: Path) -> bool:
    """Return whether a folder is here to write in, or could be made."""
    try:
        parent = next(place for place in (path, *path.parents) if place.exists())
    except OSError:  # a name that is too long
        return False
    return parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)


def _flatten(header: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must agree between runs into one folder, by the name a user knows it by."""
    per_picture = set() if "scorer" in header else {"seed"}  # which version 1 named for all of them
    options = {f"--{name}": value for name, value in header["options"].items() if name not in per_picture}
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


def _new_entry(request: PictureRequest, files: list[FileEntry], seed: int) -> PictureEntry:
    inputs = given(request.inputs)
    if not inputs.keys().isdisjoint(OWN_FIELDS):
        raise ValueError(f"inputs of a request may not be called {', '.join(sorted(inputs.keys() & OWN_FIELDS))}")
    own = {"seed": seed, "status": "pending", "files": files}
    name = Path(files[0]["file"]).stem
    return cast(PictureEntry, {"name": name, "prompts": list(request.prompts), **inputs, **own})


def _enter_session(content: RunRecord, device: str) -> None:
    """Note who works in the folder, unless the last session was the same but for its time."""
    session = {**environment(), "device": device}
    if not content["sessions"] or {**content["sessions"][-1], "started": ""} != {**session, "started": ""}:
        content["sessions"].append(session)


def _key(request: PictureRequest) -> str:
    """Return a text that is the same for equal requests."""
    return json.dumps([list(request.prompts), given(request.inputs)], sort_keys=True)


def _is_same(picture: PictureEntry, request: PictureRequest, seed: int) -> bool:
    wanted = list(request.prompts), given(request.inputs), seed
    return (picture["prompts"], inputs_of(picture), first_seed(picture)) == wanted

"""Finished pictures are encoded, written and entered in ``run.json`` while the next one is made."""

import sys
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Any

from utils.errors import UserError
from utils.files import write_atomic
from utils.images import save_png
from utils.run.run_folder import Picture, RunFolder

if TYPE_CHECKING:
    from utils.scoring.best_of import Sample


class Writer:
    """Writes the pictures of one process, in a thread of its own; leaving the ``with`` block waits for the last one.

    At most one picture is on its way, so that a slow disk holds making up instead of filling memory.

    Attributes:
        failures: name -> error of the pictures that could not be made or written.
    """

    def __init__(self, folder: RunFolder):
        self.folder = folder
        self.failures: dict[str, str] = {}
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._last: Future[None] | None = None

    def __enter__(self) -> "Writer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown()

    def write(self, picture: Picture, sample: "Sample", **fields: Any) -> None:
        """Write a picture's files once the one before is through, then ``fields`` of its entry; returns before."""
        if self._last is not None:
            self._last.result()
        self._last = self._thread.submit(self._write, picture, sample, fields)

    def fail(self, picture: Picture, error: Exception) -> None:
        """Enter a failure in ``run.json``; a full disk, the usual cause, may refuse even that."""
        failure = self.failures[picture["name"]] = f"{type(error).__name__}: {error}"
        try:
            self.folder.record(picture, status="failed", error=failure)
        except (OSError, UserError) as refusal:
            print(f"main.py: warning: the failure could not be recorded: {refusal}", file=sys.stderr)

    def _write(self, picture: Picture, sample: "Sample", fields: dict[str, Any]) -> None:
        try:
            write_files(self.folder, picture, sample)
            self.folder.record(picture, status="done", error=None, **fields)
        except Exception as error:  # one picture's failure must not stop the others
            self.fail(picture, error)


def write_files(folder: RunFolder, picture: Picture, sample: "Sample") -> None:
    """Write the files that ``run.json`` lists for a picture."""
    for entry in picture["files"]:
        if entry["role"] == "latents":
            write_atomic(folder.path / entry["file"], sample.latents)
        elif entry["role"] != "animation":
            save_png(folder.path / entry["file"], sample.images[entry["file"]])

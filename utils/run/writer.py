"""Finished pictures are encoded, written and entered in ``run.json`` while the next one is made."""

import json
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from PIL import Image

from utils.console import complain
from utils.files import write_atomic
from utils.images import png_bytes
from utils.prompts import FileEntry
from utils.provenance import PROGRAM
from utils.run.run_folder import ANIMATION, RunFolder
from utils.run.run_record import PictureEntry, inputs_of

Product = Image.Image | bytes  # an RGB picture, written as PNG; or the bytes of a file of any other kind


@dataclass(frozen=True)
class Sample:
    """A finished picture in memory.

    Attributes:
        seed: of its generator.
        products: what its files hold, by file name.
        figures: what was measured while it was made, by name.
    """

    seed: int
    products: Mapping[str, Product]
    figures: Mapping[str, float] = field(default_factory=dict)


class Writer:
    """Writes the pictures of one process, in a thread of its own; leaving the ``with`` block waits for the last one.

    At most one picture is on its way, so that a slow disk holds making up instead of filling memory. Where ``run.json``
    is lost, which all that follows would need, the next call or the end of the block raises UserError.

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
        if kind is None:
            self._wait()

    def write(self, picture: PictureEntry, sample: Sample, **fields: Any) -> None:
        """Write a picture's files once the one before is through, then ``fields`` of its entry; returns before.

        Raises:
            UserError: ``run.json`` is gone or damaged, or no longer lists the picture before.
        """
        self._wait()
        self._last = self._thread.submit(self._write, picture, sample, fields)

    def fail(self, picture: PictureEntry, error: Exception) -> None:
        """Enter a failure in ``run.json``; a full disk, the usual cause, may refuse even that.

        Raises:
            UserError: as :meth:`write`, of this picture.
        """
        failure = self.failures[picture["name"]] = f"{type(error).__name__}: {error}"
        try:
            self.folder.record(picture, status="failed", error=failure)
        except OSError as refusal:
            complain(f"main.py: warning: the failure could not be recorded: {refusal}")

    def _wait(self) -> None:
        if self._last is not None:
            self._last.result()

    def _write(self, picture: PictureEntry, sample: Sample, fields: dict[str, Any]) -> None:
        try:
            write_files(self.folder, picture, sample)
            self.folder.record(picture, status="done", error=None, **fields)
        except Exception as error:  # one picture's failure must not stop the others
            self.fail(picture, error)


def write_files(folder: RunFolder, picture: PictureEntry, sample: Sample) -> None:
    """Write the files that ``run.json`` lists for a picture; animations are made later, from these.

    Raises:
        KeyError: the sample lacks one of them.
        OSError: a file cannot be written.
    """
    for entry in picture["files"]:
        if entry["role"] != ANIMATION:
            data = sample.products[entry["file"]]
            if isinstance(data, Image.Image):
                data = png_bytes(data, texts_about(folder.header, picture, entry, sample.seed))
            write_atomic(folder.path / entry["file"], data)


def texts_about(header: Mapping[str, Any], picture: PictureEntry, entry: FileEntry, seed: int) -> dict[str, str]:
    """Return what a PNG says of itself, by keyword: enough to make it again with the same weights.

    Args:
        header: of the folder, as ``run.json`` keeps it.
        picture, entry: what the folder lists of the picture and of this file.
        seed: of the sample.
    """
    weights = {name: one.get("commit") or one.get("sha256") for name, one in header["model"]["sources"].items()}
    inputs = {name: value for name, value in inputs_of(picture).items() if isinstance(value, str)}
    place = {name: str(entry[name]) for name in ("view", "position") if name in entry}
    return {
        "prompt": entry["prompt"] if "prompt" in entry else "\n".join(picture["prompts"]),
        **inputs,
        "seed": str(seed),
        "role": entry["role"],
        **place,
        "options": json.dumps({"app": header["app"], **header["options"]}, ensure_ascii=False),
        "weights": json.dumps({"family": header["model"]["family"], **weights}, ensure_ascii=False),
        "Software": PROGRAM,
    }

"""A picture of a page with all that it embeds: what is seen at first, what opens large, how it turns."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from utils.images import decode
from utils.report.contents import Contents, ReportedApp, Shown, ShownFile
from utils.report.embed import (
    FRAMES,
    PART,
    THUMB,
    THUMB_SPHERE,
    THUMB_WIDE,
    Embedded,
    film,
    frames,
    thumbnail,
    webp,
    whole_picture,
)
from utils.scoring.figures import FIGURES, Figure

if TYPE_CHECKING:
    from utils.animation.views import Seen, Turning
    from utils.sphere import Band

WIDE = 2.5  # width by height from which on a picture is a strip, which scrolls
AGREES = 16  # of 255: by how much a view's file may differ from the picture that turns, in the mean
AS_THEY_ARE = 40 * 2**20  # bytes of all large pictures up to which a page holds the files themselves
FILMS = 60 * 2**20  # bytes of all moving pictures up to which a page holds them


@dataclass(frozen=True)
class Look:
    """One way to see a picture large.

    Attributes:
        label: its prompt, or what else it is.
        view: name of the view, if it is one.
        file: name, "" of what has no file of its own.
        picture: what is seen; ``kind`` is ``picture``, ``strip``, ``sphere`` or ``film`` (with controls: ``video``).
    """

    label: str
    picture: Embedded
    kind: str = "picture"
    view: str = ""
    file: str = ""
    score: float | None = None


@dataclass(frozen=True)
class Part:
    """A small picture beside the large one, such as a crop that was scored."""

    picture: Embedded
    file: str
    prompt: str
    score: float | None


@dataclass(frozen=True)
class Card:
    """A picture of a page.

    Attributes:
        key: its id in the page.
        shown: prompts, seed and scores.
        measured: figures that were measured of it, with their values, see :mod:`utils.scoring.figures`.
        thumb: what is seen at first; ``wide``: it is a strip; ``band``: what it shows of a sphere, if it shows one.
        turns: frames that lead to its views, one row each; ``poses``: how many rows.
        looks: the first of them is at rest, the following ``poses`` are its views.
    """

    key: str
    shown: Shown
    measured: list[tuple[str, Figure, float]]
    thumb: Embedded
    wide: bool
    looks: list[Look]
    parts: list[Part]
    turns: Embedded | None = None
    poses: int = 0
    frames: int = FRAMES
    band: "Band | None" = None

    @property
    def prompts(self) -> tuple[str, ...]:
        """What a reader is told that it shows: of a sphere what is level, not what every view was told."""
        level = (
            next((file.prompt for file in self.shown.files if file.path == self.shown.main), "") if self.band else ""
        )
        return (level,) if level else self.shown.prompts

    @property
    def title(self) -> str:
        """What a reader who does not see it is told."""
        prompts = "; turned: ".join(self.prompts)
        return prompts if self.shown.seed is None else f"{prompts} (seed {self.shown.seed})"


class CardMaker:
    """Makes the cards of a folder.

    Args:
        contents: of the folder.
        app: that made it.
        prefix: of the cards' keys.

    Attributes:
        failures: file -> why it cannot be shown.
        notes: what a reader has to know, one sentence each.
    """

    def __init__(self, contents: Contents, app: ReportedApp, prefix: str = "p"):
        self.contents, self.app, self.prefix = contents, app, prefix
        self.failures: dict[str, str] = {}
        self.still: dict[str, int] = {}
        large = {file.path for picture in contents.pictures for file in _large_files(picture)}
        self.as_they_are = _total(large) <= AS_THEY_ARE
        self.with_films = _total({path for picture in contents.pictures for path in picture.movies}) <= FILMS

    @property
    def notes(self) -> list[str]:
        """What is not shown as it is, one sentence each."""
        notes = [f"{count} of these pictures do not turn here: {reason}." for reason, count in self.still.items()]
        if not self.as_they_are:
            notes.append("Large pictures are shown as WebP, which keeps this page small; the folder has the files.")
        if not self.with_films:
            notes.append("The moving pictures are left out, which keeps this page small; the folder has them.")
        return notes

    def cards(self) -> list[Card]:
        """Return the cards of all pictures that can be read."""
        found = [self._card(f"{self.prefix}{index}", one) for index, one in enumerate(self.contents.pictures, start=1)]
        return [card for card in found if card is not None]

    def _card(self, key: str, shown: Shown) -> Card | None:
        try:
            main = decode(shown.main)
        except ValueError as error:
            self.failures[shown.main.name] = str(error)
            return None
        turning = self._turning(shown)
        films = [look for path in shown.movies if (look := self._film(path))]
        if turning is not None:
            views = self._views(turning, shown)
            looks, thumb, turns = [*views, *films], thumbnail(turning.picture, THUMB, THUMB), frames(turning)
            return Card(key, shown, [], thumb, False, looks, self._parts(shown, looks), turns, len(views) - 1)
        wide, band = main.width > WIDE * main.height, self._band(main)
        looks = [self._large(shown, main, "sphere" if band else "strip" if wide else "picture"), *films]
        thumb = thumbnail(main, *_box(wide, band is not None))
        return Card(key, shown, self._measured(shown), thumb, wide, looks, self._parts(shown, looks), band=band)

    # ------------------------------------------------------------------------------ what turns

    def _turning(self, shown: Shown) -> "Turning | None":
        """Return how a picture turns, unless it does not, or is not what its views show."""
        record = self.contents.record
        if record is None or shown.entry is None:
            return None
        try:
            turning = self.app.turning(self.contents.folder, shown.entry, record)
            if turning is None or not turning.others:
                return None
            if all(self._agrees(turning, one) for one in turning.others):
                return turning
            reason = "their views are pictures of their own"
        except Exception as error:  # a damaged record must not stop the page
            reason = str(error).rstrip(".") or type(error).__name__
        self.still[reason] = self.still.get(reason, 0) + 1
        return None

    def _agrees(self, turning: "Turning", seen: "Seen") -> bool:
        if seen.entry is None:
            return True
        turned = np.asarray(seen.view.frame(turning.picture, 1), dtype=np.float32)
        file = np.asarray(decode(self.contents.folder / seen.entry["file"]), dtype=np.float32)
        return file.shape == turned.shape and float(np.abs(file - turned).mean()) <= AGREES

    def _views(self, turning: "Turning", shown: Shown) -> list[Look]:
        """Return the picture at rest and its views, from their files where they have some."""
        files = {file.path.name: file for file in shown.files}
        rest = self._view(turning.rest, turning.picture, files) if turning.rest else None
        if rest is None:
            rest = Look("the whole picture", webp(turning.picture, 92))
        others = [self._view(one, one.view.frame(turning.picture, 1), files) for one in turning.others]
        return [rest, *others]

    def _view(self, seen: "Seen", picture: Image.Image, files: dict[str, ShownFile]) -> Look:
        file = files.get(seen.entry["file"]) if seen.entry else None
        if file is None:
            return Look(seen.caption or "the photograph", webp(picture, 92), view=seen.name)
        embedded = whole_picture(file.path, picture, self.as_they_are)
        return Look(seen.caption, embedded, view=seen.name, file=file.path.name, score=file.score)

    # ------------------------------------------------------------------------------ what does not

    def _large(self, shown: Shown, picture: Image.Image, kind: str) -> Look:
        score = next((file.score for file in shown.files if file.path == shown.main), None)
        embedded = whole_picture(shown.main, picture, self.as_they_are)
        return Look(f"the {kind}", embedded, kind, file=shown.main.name, score=score)

    def _film(self, path: Path) -> Look | None:
        if not self.with_films:
            return None
        embedded = film(path)
        if embedded is None:
            self.failures[path.name] = "not a moving picture that can be shown"
            return None
        return Look("in motion", embedded, "film" if embedded.width else "video", file=path.name)

    def _parts(self, shown: Shown, looks: Sequence[Look]) -> list[Part]:
        """Return small pictures of the other files that have a prompt."""
        large = {look.file for look in looks}
        parts = []
        for file in shown.files:
            if file.prompt and file.path.name not in large:
                try:
                    small = thumbnail(decode(file.path), PART, PART)
                except ValueError as error:
                    self.failures[file.path.name] = str(error)
                else:
                    parts.append(Part(small, file.path.name, file.prompt, file.score))
        return parts

    def _measured(self, shown: Shown) -> list[tuple[str, Figure, float]]:
        """Return the figures of a picture, as far as the app knows how to measure it."""
        record = self.contents.record
        if record is None or shown.entry is None:
            return []
        try:
            figures = self.app.figures(self.contents.folder, shown.entry, record)
        except Exception:  # a damaged record must not stop the page
            return []
        return [(name, figure, figures[name]) for name, figure in FIGURES.items() if name in figures]

    def _band(self, picture: Image.Image) -> "Band | None":
        """Return what a picture shows of a sphere, if the app knows that it does."""
        record = self.contents.record
        try:
            return None if record is None else self.app.sphere(record, picture.size)
        except Exception:  # a damaged record must not stop the page
            return None


def _box(wide: bool, sphere: bool) -> tuple[int, int]:
    """Return the width and height that a small picture has at most."""
    return THUMB_WIDE if wide else THUMB_SPHERE if sphere else (THUMB, THUMB)


def _large_files(picture: Shown) -> list[ShownFile]:
    """Return the files that may be opened large: the main one, and views, which are as large."""
    return [file for file in picture.files if file.path == picture.main or len(picture.prompts) > 1]


def _total(paths: set[Path]) -> int:
    return sum(path.stat().st_size for path in paths if path.is_file())

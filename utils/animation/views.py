"""How a picture moves to its views: the canonical picture is found among the files of a finished one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from utils.animation.movie import Movie, Pose, view_movie
from utils.errors import UserError
from utils.images import decode
from utils.prompts import FileEntry
from utils.views import get_views, with_paths

if TYPE_CHECKING:
    from utils.views.view_base import BaseView


@dataclass(frozen=True)
class Seen:
    """A view of a picture.

    Attributes:
        view, name: the view, and what ``run.json`` calls it.
        entry: the file that shows it, with its prompt; None of a view that a photograph holds.
    """

    view: "BaseView"
    name: str
    entry: FileEntry | None

    @property
    def caption(self) -> str:
        return self.entry["prompt"] if self.entry else ""


@dataclass(frozen=True)
class Turning:
    """A picture and the views that it turns to.

    Attributes:
        picture: RGB ``[h, h]``, the canonical picture.
        rest: the first identity view, or None.
        others: all views but identities.
    """

    picture: Image.Image
    rest: Seen | None
    others: list[Seen]


def views_movie(turning: Turning) -> Movie:
    """Let the canonical picture move to all its views but identity, with their prompts."""
    rest = turning.rest.caption if turning.rest else ""
    return view_movie(turning.picture, rest, [Pose(one.view, one.caption) for one in turning.others])


def read_turning(
    folder: Path,
    files: Sequence[FileEntry],
    names: Sequence[str],
    rotate_angle: float | None,
    permutations: Mapping[str, str],
) -> Turning:
    """Read a picture and its views from the files of a finished one.

    Args:
        folder: where the files are.
        files: of one picture; those of the role ``view`` have a ``prompt`` and a ``view``, an index of ``names``.
        names: of the views, as ``run.json`` keeps them.
        rotate_angle: see :func:`utils.views.get_views`.
        permutations: paths of permutation files by the hash of their content.

    Raises:
        UserError: names that are none of views, a permutation file that is not there, a file that is of no view.
        ValueError: a picture that cannot be read.
    """
    views = get_views(with_paths(names, permutations), rotate_angle)
    shown = [entry for entry in files if entry["role"] == "view"]
    for entry in shown:
        if entry.get("view") not in range(len(views)) or "prompt" not in entry:
            raise UserError(f"run.json in {folder} is damaged: {entry['file']!r} is of no view: mend it.")
    entries = {entry["view"]: entry for entry in shown}
    seen = [Seen(view, names[index], entries.get(index)) for index, view in enumerate(views)]
    resting = [one for one in seen if _rests(one.view)]
    others = [one for one in seen if not _rests(one.view)]
    return Turning(canonical_picture(folder, files, views), resting[0] if resting else None, others)


def canonical_picture(folder: Path, files: Sequence[FileEntry], views: Sequence["BaseView"]) -> Image.Image:
    """Return the picture of which all views are views, from the files of one picture.

    That is the file of the whole where the views are its components. Else it is the file of an identity view, or one
    of an orthogonal view turned back, which loses nothing, or one of a linear view turned back. Where the views were
    not synchronised, it is the first of these alone.
    """
    from utils.views.view_base import from_tensor, to_tensor

    whole = [entry for entry in files if entry["role"] == "whole"]
    if whole:
        return decode(folder / whole[0]["file"])
    shown = [entry for entry in files if entry["role"] == "view"]
    best = min(shown, key=lambda entry: (not _rests(views[entry["view"]]), views[entry["view"]].kind != "orthogonal"))
    picture, view = decode(folder / best["file"]), views[best["view"]]
    return picture if _rests(view) else from_tensor(view.inverse_view(to_tensor(picture)))


def _rests(view: "BaseView") -> bool:
    from utils.views.view_identity import IdentityView

    return isinstance(view, IdentityView)

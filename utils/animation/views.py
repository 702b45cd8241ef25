"""How a picture moves to its views: the canonical picture is found among the files of a finished one."""

from collections.abc import Mapping, Sequence
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


def views_movie(
    folder: Path,
    files: Sequence[FileEntry],
    names: Sequence[str],
    rotate_angle: float | None,
    permutations: Mapping[str, str],
) -> Movie:
    """Let the canonical picture move to all its views but identity, with their prompts.

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
    captions = {entry["view"]: entry["prompt"] for entry in shown}
    resting = [index for index, view in enumerate(views) if _rests(view)]
    poses = [Pose(view, captions.get(index, "")) for index, view in enumerate(views) if not _rests(view)]
    canonical = canonical_picture(folder, files, views)
    return view_movie(canonical, captions.get(resting[0], "") if resting else "", poses)


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

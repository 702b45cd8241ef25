"""Moving pictures for a folder of finished ones, from their PNG files and ``run.json`` alone: no weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from utils.animation.encoders import write_movie
from utils.animation.movie import Movie, Pose, strip_movie, view_movie
from utils.errors import UserError
from utils.files import write_atomic
from utils.images import decode
from utils.prompts import FileEntry
from utils.run.run_folder import RunFolder
from utils.run.run_record import PictureEntry as Picture
from utils.views import get_views, with_paths

if TYPE_CHECKING:
    from utils.views.view_base import BaseView

MAIN_ROLES = {"wide_image": "strip", "ambiguous_image": "side_by_side"}  # whose name an animation takes
ROLE = "animation"


def reopen(path: Path, app: str) -> RunFolder:
    """Return a folder of finished pictures, checked.

    Raises:
        UserError: it has no ``run.json``, a damaged one, one of the other app, no finished picture, or is read-only.
    """
    folder = RunFolder.reopen(path)
    folder.check()
    made_by = folder.header["app"]
    if made_by != app:
        raise UserError(f"{path} was made by --app {made_by}, not by --app {app}: give that.")
    pictures = folder.finished()
    if not pictures:
        raise UserError(f"{path} holds no finished picture: run the command that made it again.")
    try:
        _check(_views(folder), app, pictures)
    except (KeyError, TypeError, ValueError, AttributeError, StopIteration) as error:
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"{path / 'run.json'} is damaged ({reason}): mend it, or choose another folder.") from error
    return folder


def _views(folder: RunFolder) -> list["BaseView"]:
    """Return the views of a folder's pictures; a strip has none."""
    if folder.header["app"] == "wide_image":
        return []
    options = folder.header["options"]
    names = with_paths(options["views_names"], folder.header.get("permutations", {}))
    return get_views(names, options.get("rotate_angle"))


def _check(views: Sequence["BaseView"], app: str, pictures: Sequence[Picture]) -> None:
    """Touch everything that is read later."""
    for picture in pictures:
        _main_file(picture, app)
        for entry in picture["files"]:
            if Path(entry["file"]).name != entry["file"]:
                raise ValueError(f"{entry['file']!r} is no plain file name")
            if entry["role"] == "view" and not (
                entry["view"] in range(len(views)) and isinstance(entry["prompt"], str)
            ):
                raise ValueError(f"{entry['file']!r} is of no view")


def animate(folder: RunFolder, pictures: Sequence[Picture], name: str) -> dict[str, str]:
    """Write the animations of finished pictures beside them and into ``run.json``; files that are here stay.

    Args:
        folder: where the pictures are.
        pictures: as :meth:`RunFolder.finished` returns them.
        name: of the format.

    Returns:
        The errors of those that failed, by picture.
    """
    app, options = folder.header["app"], folder.header["options"]
    views = _views(folder)
    failures: dict[str, str] = {}
    for picture in pictures:
        path = (folder.path / _main_file(picture, app)).with_suffix(f".{name}")
        if path.exists():
            continue
        try:
            movie = _view_movie(folder.path, picture, views) if views else _strip_movie(folder.path, picture, options)
            write_atomic(path, write_movie(movie, name))
            folder.add_file(picture, {"file": path.name, "role": ROLE})
        except Exception as error:  # one picture's failure must not stop the others
            failures[picture["name"]] = f"{type(error).__name__}: {error}"
    return failures


def _main_file(picture: Picture, app: str) -> str:
    return next(entry["file"] for entry in picture["files"] if entry["role"] == MAIN_ROLES[app])


def _strip_movie(folder: Path, picture: Picture, options: dict[str, Any]) -> Movie:
    strip = decode(folder / _main_file(picture, "wide_image"))
    return strip_movie(strip, picture["prompts"][0], bool(options.get("circular")))


def _view_movie(folder: Path, picture: Picture, views: Sequence["BaseView"]) -> Movie:
    """Let the canonical picture move to all views but identity, with their prompts."""
    captions = {entry["view"]: entry["prompt"] for entry in picture["files"] if entry["role"] == "view"}
    resting = [index for index, view in enumerate(views) if _rests(view)]
    poses = [Pose(view, captions.get(index, "")) for index, view in enumerate(views) if not _rests(view)]
    canonical = canonical_picture(folder, picture["files"], views)
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

"""Moving pictures for a folder of finished ones, from their files and ``run.json`` alone: no weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol, cast

from utils.animation.encoders import write_movie
from utils.animation.movie import Movie
from utils.errors import UserError
from utils.files import write_atomic
from utils.run.run_folder import ANIMATION, RunFolder
from utils.run.run_record import PictureEntry, RunRecord

if TYPE_CHECKING:
    from accelerate import PartialState


class MovingApp(Protocol):
    """What is asked of an app here."""

    name: ClassVar[str]

    def main_file(self, picture: PictureEntry) -> str:
        """Return the file whose name an animation takes."""
        ...

    def movie(self, folder: Path, picture: PictureEntry, record: RunRecord) -> Movie:
        """Return how a picture moves; ValueError where its files are damaged, UserError where the record is wrong."""
        ...


def reopen(path: Path, app: MovingApp) -> RunFolder:
    """Return a folder of finished pictures, checked.

    Raises:
        UserError: it has no ``run.json``, a damaged one, one of another app, no finished picture, or is read-only.
    """
    folder = RunFolder.reopen(path)
    folder.check()
    record = folder.read()
    if record["app"] != app.name:
        raise UserError(f"{path} was made by --app {record['app']}, not by --app {app.name}: give that.")
    pictures = folder.finished()
    if not pictures:
        raise UserError(f"{path} holds no finished picture: run the command that made it again.")
    try:
        app.movie(path, pictures[0], record)
    except UserError:
        raise
    except ValueError:  # a damaged picture, which fails by itself and stops no other
        return folder
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"{path / 'run.json'} is damaged ({reason}): mend it, or choose another folder.") from error
    return folder


def animate(folder: RunFolder, pictures: Sequence[PictureEntry], app: MovingApp, name: str) -> dict[str, str]:
    """Write the animations of finished pictures beside them and into ``run.json``; files that are here stay.

    Args:
        folder: where the pictures are.
        pictures: as :meth:`RunFolder.finished` returns them.
        app: whose pictures they are.
        name: of the format.

    Returns:
        The errors of those that failed, by picture.
    """
    record = folder.read()
    failures: dict[str, str] = {}
    for picture in pictures:
        try:
            path = (folder.path / app.main_file(picture)).with_suffix(f".{name}")
            if not path.exists():
                write_atomic(path, write_movie(app.movie(folder.path, picture, record), name))
                folder.add_file(picture, {"file": path.name, "role": ANIMATION})
        except Exception as error:  # one picture's failure must not stop the others
            failures[picture["name"]] = f"{type(error).__name__}: {error}"
    return failures


def animate_share(folder: RunFolder, app: MovingApp, name: str, state: "PartialState") -> dict[str, str]:
    """Animate this process's share of the finished pictures, as :func:`animate` does; wait for the others."""
    with state.split_between_processes(folder.finished()) as share:
        failures = animate(folder, cast(list[PictureEntry], share), app, name)
    state.wait_for_everyone()
    return failures

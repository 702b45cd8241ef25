"""What a person sees of a run while it goes on: bars on a terminal, a line per picture in a log file."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

from utils.console import say
from utils.run.run_folder import RunFolder
from utils.run.run_record import PictureEntry

SHOWN_AT_END = 5  # paths of pictures


class Step(Protocol):
    """A step of a stage, counted from 1, among all steps of that stage."""

    @property
    def stage(self) -> int: ...
    @property
    def step(self) -> int: ...
    @property
    def steps(self) -> int: ...


StepType = TypeVar("StepType", bound=Step)


class Progress:
    """Shows how far a run is; of several processes, each shows its own share, the first one speaks for all.

    Args:
        speaks: whether lines are printed by this process.
    """

    def __init__(self, speaks: bool):
        self.speaks, self.started = speaks, time.monotonic()

    def say(self, *lines: str) -> None:
        """Print lines once, however many processes run."""
        if self.speaks:
            say(*lines)

    def tell_end(
        self, folder: RunFolder, todo: Sequence[PictureEntry], main_file: Callable[[PictureEntry], str]
    ) -> None:
        """Say what was made, in how many seconds, and where to look.

        Args:
            todo: the pictures that this run was to make.
            main_file: picture -> the file to look at.
        """
        if not todo:
            self.say(f"All pictures are there already: {folder.path}")
            return
        names = {picture["name"] for picture in todo}
        paths = [folder.path / main_file(picture) for picture in folder.finished() if picture["name"] in names]
        more = [f"  ... and {len(paths) - SHOWN_AT_END} more"] if len(paths) > SHOWN_AT_END else []
        what = f"{len(paths)} picture{'' if len(paths) == 1 else 's'} made in {time.monotonic() - self.started:.1f} s"
        how = ["To score them and see them on one page: eval.py with --report."] if len(paths) > 1 else []
        shown = [f"  {path}" for path in paths[:SHOWN_AT_END]]
        self.say(f"{what}; look at:" if paths else f"{what}.", *shown, *more, *how)

    def pictures(self, share: Sequence[PictureEntry]) -> Iterator[PictureEntry]:
        """Go through the pictures of this process."""
        from tqdm import tqdm

        if sys.stderr.isatty():
            yield from tqdm(share, desc="pictures", unit="picture", disable=len(share) < 2)
            return
        for number, picture in enumerate(share, start=1):
            started = time.monotonic()
            yield picture
            say(f"{number} of {len(share)}: {picture['name']} ({time.monotonic() - started:.1f} s)")

    def steps(self, name: str, states: Iterable[StepType]) -> Iterator[StepType]:
        """Go through the steps of one picture; its stages share one bar, which says which of them it is at."""
        from tqdm import tqdm

        with tqdm(desc=name[:40], unit="step", leave=False, disable=not sys.stderr.isatty()) as bar:
            for state in states:
                if state.step == 1:
                    bar.total = bar.n + state.steps
                    bar.set_postfix_str(f"stage {state.stage}" if state.stage > 1 else "")
                bar.update()
                yield state

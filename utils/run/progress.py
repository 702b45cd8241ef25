"""What a person sees of a run while it goes on: bars on a terminal, a line per picture in a log file."""

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

from utils.console import say
from utils.run.run_record import PictureEntry


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

    @property
    def seconds(self) -> float:
        """Since this run began."""
        return time.monotonic() - self.started

    def say(self, *lines: str) -> None:
        """Print lines once, however many processes run."""
        if self.speaks:
            say(*lines)

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

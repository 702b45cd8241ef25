"""One step against that of another revision: ``python benchmarks/bench_step.py --against REVISION``.

``one_step_process`` of this checkout and of a revision, each in processes of its own with one thread, in turns: with a
network that costs next to nothing, on the default strip of Stable Diffusion (41 windows) and on two turned views of
64x64 pixels. Times are the processor's, which other processes hardly disturb. The other revision is checked out into a
temporary folder. Writes ``bench_step.json`` and ``.md`` into ``benchmarks/results``.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.processes import ROOT
from benchmarks.report import RESULTS, Row, markdown, positive, write_report

WORKER = Path(__file__).with_name("step_worker.py")
# glibc: memory that was freed stays with the process, else its page faults, or their absence, are what is measured
KEEP_MEMORY = dict.fromkeys(("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"), str(2**32))
BEFORE_APPS = "1905192"  # the last revision whose cases were letters


class Worker:
    """A process that times the steps of one checkout.

    Args:
        checkout: whose code it runs, on one thread.

    Raises:
        SystemExit: the code there cannot be run.
    """

    def __init__(self, checkout: Path):
        self.checkout = checkout
        self.process = subprocess.Popen(
            [sys.executable, str(WORKER), str(checkout)], cwd=checkout, text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, env=os.environ | KEEP_MEMORY | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        self.settings: list[str] = self._answer()

    def seconds(self, setting: str, steps: int) -> float:
        """Return how long the processor takes over so many steps of a setting."""
        self.process.stdin.write(json.dumps([setting, steps]) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait()

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"bench_step.py: error: the steps of {self.checkout} cannot be timed: see above.")
        return json.loads(line)


@contextlib.contextmanager
def checked_out(revision: str) -> Iterator[Path]:
    """Check a revision out into a temporary folder, which is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "checkout"
        git("worktree", "add", "--quiet", "--detach", str(place), revision)
        try:
            yield place
        finally:
            git("worktree", "remove", "--force", str(place))


def git(*arguments: str) -> str:
    """Run git in this checkout; return what it prints.

    Raises:
        SystemExit: it failed.
    """
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"bench_step.py: error: git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


def compare(before: Path, now: Path, steps: int, rounds: int, starts: int) -> list[Row]:
    """Let two checkouts take the same steps in turns; return a row for each setting.

    Their processes are started anew so many times, the one first and then the other: where a process happens to find
    its memory makes it some percent faster or slower for as long as it lives. The ratio is the median of those of all
    rounds, each of two times that were taken one after the other.
    """
    pairs: dict[str, list[tuple[float, float]]] = {}
    for start in range(starts):
        with contextlib.ExitStack() as ending:
            workers: dict[Path, Worker] = {}
            for checkout in (before, now) if start % 2 else (now, before):
                workers[checkout] = Worker(checkout)
                ending.callback(workers[checkout].close)
            for setting, some in time_rounds(workers[before], workers[now], steps, max(1, rounds // starts)).items():
                pairs.setdefault(setting, []).extend(some)
    return [row_of(setting, some, steps) for setting, some in pairs.items()]


def time_rounds(before: Worker, now: Worker, steps: int, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Return the seconds before and now of every round by setting; one more round, which warms up, is left out."""
    pairs: dict[str, list[tuple[float, float]]] = {setting: [] for setting in now.settings}
    for number in range(1 + rounds):
        for setting, some in pairs.items():
            order = (before, now) if number % 2 else (now, before)
            seconds = {worker.checkout: worker.seconds(setting, steps) for worker in order}
            if number:
                some.append((seconds[before.checkout], seconds[now.checkout]))
    return pairs


def row_of(setting: str, pairs: Sequence[tuple[float, float]], steps: int) -> Row:
    """Return the row of a setting from the seconds before and now of every round."""
    before, now = (1000 * statistics.median(times) / steps for times in zip(*pairs, strict=True))
    ratios = sorted(before / now for before, now in pairs)
    quarter = len(ratios) // 4
    return {"step": setting, "before, ms": before, "now, ms": now,
            "before / now": round(statistics.median(ratios), 3),
            "half of all rounds, from": round(ratios[quarter], 3), "to": round(ratios[-1 - quarter], 3)}  # fmt: skip


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", default=BEFORE_APPS, help="revision to compare with [default: %(default)s]")
    parser.add_argument("--steps", type=positive, default=20, help="of each round [default: %(default)s]")
    parser.add_argument("--rounds", type=positive, default=100, help="turns of both [default: %(default)s]")
    parser.add_argument("--starts", type=positive, default=10, help="of both processes [default: %(default)s]")
    parser.add_argument("--output_dir", type=Path, default=RESULTS, help="where to write")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> list[Row]:
    """Compare, print and write; return the rows."""
    options = parse(argv)
    against = git("rev-parse", "--short", "--verify", f"{options.against}^{{commit}}")
    with checked_out(against) as place:
        rows = compare(place, ROOT, options.steps, options.rounds, options.starts)
    print(markdown(rows))
    write_report("bench_step", rows, options.output_dir, against=against, steps=options.steps,
                 rounds=options.rounds, starts=options.starts)  # fmt: skip
    return rows


if __name__ == "__main__":
    main()

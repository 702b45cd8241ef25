"""What idle threads should do while they wait for each other: ``python benchmarks/bench_waiting.py``.

OpenMP lets waiting threads spin for a while, which is quick on an idle machine; beside another job they take the
processor from the thread that they wait for. Here ``main.py`` makes the default strip of the embedded landscapes in
processes of their own, with OMP_WAIT_POLICY=PASSIVE and with the library's own way, in turns, alone and beside as many
busy processes as there are cores.
Writes ``bench_waiting.json`` and ``.md`` into ``benchmarks/results``.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.processes import run_main
from benchmarks.report import RESULTS, Row, markdown, positive, write_report

RUN = "import os, runpy, sys; {}; sys.argv[0] = 'main.py'; runpy.run_path('main.py', run_name='__main__')"
POLICIES = {
    "as OpenMP likes": ["-c", RUN.format("os.environ.pop('OMP_WAIT_POLICY', None)")],
    "passive": ["-c", RUN.format("os.environ['OMP_WAIT_POLICY'] = 'PASSIVE'")],
}


@contextmanager
def busy(jobs: int) -> Iterator[None]:
    """Keep some processes busy while the block runs."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(jobs)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def compare(beside: str, jobs: int, repeats: int, steps: int | None) -> list[Row]:
    """Make strips with both policies in turns, two processes each; return a row for each.

    The first strip of every process warms up and does not count.
    """
    argv = ["--app", "wide_image", "--model", "tiny", "--device", "cpu", "--num_samples", str(1 + repeats)]
    argv += [] if steps is None else ["--num_inference_steps", str(steps)]
    seconds: dict[str, list[float]] = {name: [] for name in POLICIES}
    with tempfile.TemporaryDirectory() as folder, busy(jobs):
        for number in range(2):
            for name, program in POLICIES.items():
                made = run_main(argv, Path(folder) / f"{name}_{number}".replace(" ", "_"), program=program)
                seconds[name] += made.picture_seconds[1:]
    median = {name: statistics.median(some) for name, some in seconds.items()}
    return [
        {"beside": beside, "threads wait": name, "seconds": round(median[name], 2),
         "least": min(some), "most": max(some),
         "times as fast": round(median["as OpenMP likes"] / median[name], 3)}
        for name, some in seconds.items()
    ]  # fmt: skip


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=positive, default=5, help="strips a process, of which the median counts")
    parser.add_argument("--jobs", type=positive, default=os.cpu_count() or 1, help="busy processes beside")
    parser.add_argument("--num_inference_steps", type=positive, help="[default: as main.py takes]")
    parser.add_argument("--output_dir", type=Path, default=RESULTS, help="where to write")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> list[Row]:
    """Compare, print and write; return the rows."""
    options = parse(argv)
    rows = [
        row
        for beside, jobs in (("nothing", 0), (f"{options.jobs} busy processes", options.jobs))
        for row in compare(beside, jobs, options.repeats, options.num_inference_steps)
    ]
    print(markdown(rows))
    write_report("bench_waiting", rows, options.output_dir, repeats=options.repeats)
    return rows


if __name__ == "__main__":
    main()

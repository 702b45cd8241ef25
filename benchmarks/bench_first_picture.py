"""How long a first picture takes: ``python benchmarks/bench_first_picture.py``.

``main.py`` makes one picture by the embedded models, each time in a process of its own, so that starting Python,
importing and loading weights count as they do for a user. Best on an idle machine. Writes
``bench_first_picture.json`` and ``.md`` into ``benchmarks/results``.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.processes import run_main
from benchmarks.report import RESULTS, Row, markdown, positive, write_report

PICTURES = {  # row of the table -> options of main.py
    "strip, default": ["--app", "wide_image"],
    "strip, reference": ["--app", "wide_image", "--preset", "reference"],
    "strip, balanced": ["--app", "wide_image", "--preset", "balanced"],
    "strip, draft": ["--app", "wide_image", "--preset", "draft"],
    "ambiguous, default": ["--app", "ambiguous_image"],
    "ambiguous, draft": ["--app", "ambiguous_image", "--preset", "draft"],
}


def measure(picture: str, repeats: int) -> Row:
    """Make one picture ``repeats`` times; return the medians, and the range of the whole process' seconds."""
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(repeats):
            argv = [*PICTURES[picture], "--model", "tiny", "--device", "cpu"]
            runs.append(run_main(argv, Path(folder) / str(number)))
    seconds = [run.seconds for run in runs]
    return {"picture": picture,
            "whole process, s": round(statistics.median(seconds), 1),
            "least": round(min(seconds), 1), "most": round(max(seconds), 1),
            "the picture alone, s": round(statistics.median(run.picture_seconds[0] for run in runs), 2),
            "peak memory GiB": round(statistics.median(run.peak_gib for run in runs), 2)}  # fmt: skip


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=positive, default=5, help="runs of each, of which the median counts")
    parser.add_argument("--output_dir", type=Path, default=RESULTS, help="where to write")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> list[Row]:
    """Measure, print and write; return the rows."""
    options = parse(argv)
    rows = [measure(picture, options.repeats) for picture in PICTURES]
    print(markdown(rows))
    write_report("bench_first_picture", rows, options.output_dir, repeats=options.repeats)
    return rows


if __name__ == "__main__":
    main()

"""What another number of CPU threads changes: ``python benchmarks/bench_threads.py``.

Floats are added in another order, so the last bits differ. ``main.py`` makes the ten strips of
``data/wide_image_prompts.json`` by the embedded landscapes with one thread and with two, in float32 and in bfloat16;
their pixels are compared. Writes ``bench_threads.json`` and ``.md`` into ``benchmarks/results``.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.processes import ROOT, run_main
from benchmarks.report import RESULTS, Row, markdown, write_report
from guidance.wide_image_app import read_strip_prompts
from utils.prompts import file_stem

PROMPTS = ROOT / "data" / "wide_image_prompts.json"
THREADS = (1, 2)


def strips(folder: Path) -> dict[str, np.ndarray]:
    """Return the strips of a run by prompt: ``[h, w, 3]``, uint8."""
    prompts = [entry["prompt"] for entry in read_strip_prompts(PROMPTS).values()]
    return {prompt: np.asarray(Image.open(folder / f"{file_stem(prompt)}.png")) for prompt in prompts}


def compare(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return by how many levels of 255 every value of every strip differs."""
    return {prompt: np.abs(strip.astype(int) - second[prompt]) for prompt, strip in first.items()}


def measure(dtype: str) -> tuple[Row, dict[str, int]]:
    """Make the strips with each number of threads; return a row, and each strip's largest difference."""
    with tempfile.TemporaryDirectory() as folder:
        made = [Path(folder) / str(threads) for threads in THREADS]
        for threads, place in zip(THREADS, made, strict=True):
            argv = ["--app", "wide_image", "--model", "tiny", "--device", "cpu", "--dtype", dtype,
                    "--prompts_file", str(PROMPTS)]  # fmt: skip
            run_main(argv, place, threads)
        levels = compare(*map(strips, made))
    values, differ = np.stack(list(levels.values())), [prompt for prompt, strip in levels.items() if strip.any()]
    row = {"dtype": dtype, "strips": len(levels), "of these differ": len(differ),
           "largest difference, levels": int(values.max()), "mean difference, levels": float(values.mean()),
           "values that differ, share": float((values > 0).mean()),
           "by more than 8 levels, share": float((values > 8).mean())}  # fmt: skip
    return row, {prompt: int(strip.max()) for prompt, strip in levels.items()}


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"], help="number formats of the networks")
    parser.add_argument("--output_dir", type=Path, default=RESULTS, help="where to write")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> list[Row]:
    """Measure, print and write; return the rows."""
    options = parse(argv)
    measured = {dtype: measure(dtype) for dtype in options.dtypes}
    rows = [row for row, _ in measured.values()]
    print(markdown(rows))
    write_report("bench_threads", rows, options.output_dir, compared_threads=THREADS,
                 largest_by_strip={dtype: largest for dtype, (_, largest) in measured.items()})  # fmt: skip
    return rows


if __name__ == "__main__":
    main()

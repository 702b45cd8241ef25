"""Time and memory over the width of a strip: ``python benchmarks/bench_scale.py``.

``main.py`` makes strips of 6 to 1,024 windows by the embedded landscapes, each in a process of its own, with windows
that are shifted. Time per megapixel, without loading, should not depend on the width, and memory should grow by no more
than the canvas and the picture. Writes ``bench_scale.json`` and ``.md`` into ``benchmarks/results``.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.processes import run_main
from benchmarks.report import RESULTS, Row, markdown, positive, write_report
from guidance.windows import extra_steps, shift_at, shifted_starts

WIDTHS = (6, 16, 64, 256, 1024)  # in windows
HEIGHT, WINDOW = 128, 32  # of the embedded landscapes in pixels, and their windows in cells, which are square


def measure(windows: int, steps: int) -> Row:
    """Make one strip in a new process; return its time and that process' largest resident memory."""
    width = windows * HEIGHT
    argv = ["--app", "wide_image", "--model", "tiny", "--window_schedule", "shifted", "--num_inference_steps",
            str(steps), "--panorama_width", str(width), "--device", "cpu"]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        measured = run_main(argv, Path(folder) / "strip")
    (seconds,) = measured.picture_seconds
    megapixels = width * HEIGHT / 1e6
    return {"windows": windows, "pixels": f"{HEIGHT}x{width}",
            "windows a step": round(windows_per_step(windows, steps), 2), "seconds": seconds,
            "seconds per megapixel": round(seconds / megapixels, 2),
            "peak memory GiB": round(measured.peak_gib, 2)}  # fmt: skip


def windows_per_step(windows: int, steps: int) -> float:
    """Return how many windows a step looks through, on average; at least ``windows``, which is canvas over window."""
    length, extra = windows * WINDOW, extra_steps(windows, steps)
    counts = [len(shifted_starts(length, WINDOW, shift_at(0, step), extra=step in extra)) for step in range(steps)]
    return sum(counts) / steps


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=positive, nargs="+", default=list(WIDTHS), help="widths, in windows")
    parser.add_argument("--num_inference_steps", type=positive, default=10, help="denoising steps")
    parser.add_argument("--output_dir", type=Path, default=RESULTS, help="where to write")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> list[Row]:
    """Measure, print and write; return the rows."""
    options = parse(argv)
    rows = [measure(windows, options.num_inference_steps) for windows in options.windows]
    print(markdown(rows))
    write_report("bench_scale", rows, options.output_dir, steps=options.num_inference_steps)
    return rows


if __name__ == "__main__":
    main()

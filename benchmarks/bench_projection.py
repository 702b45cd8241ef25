"""Windows cropped and averaged without a loop, against a loop over them: ``python benchmarks/bench_projection.py``.

Both ways work on the same canvas, take turns, and must agree. Writes ``bench_projection.json`` and ``.md`` into
``benchmarks/results``. Windows of 64 at stride 8, as for Stable Diffusion's assignment setting, and touching windows.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.report import RESULTS, markdown, positive, write_report
from guidance.windows import WindowGrid, paste

WINDOW, CHANNELS = 64, 4
COUNTS = (2, 4, 8, 16, 41, 64, 256, 1024, 4096)
STRIDES = (8, 64)


def looped(grid: WindowGrid, canvas: torch.Tensor, totals: torch.Tensor) -> torch.Tensor:
    """Crop window by window, paste window by window, divide by how many cover each cell."""
    windows = torch.cat([canvas[..., top:bottom, left:right] for top, bottom, left, right in grid.windows])
    return (paste(zip(grid.windows, windows.double(), strict=True), *canvas.shape[-2:]) / totals).float()


def vectorised(grid: WindowGrid, canvas: torch.Tensor, totals: torch.Tensor) -> torch.Tensor:
    """The same by ``WindowGrid``."""
    return (grid.add(grid.crop(canvas).double()) / totals).float()


def seconds(action: Callable[[], torch.Tensor], device: torch.device) -> float:
    """Return how long an action takes, until the device is done."""
    started = time.perf_counter()
    action()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def compare(count: int, stride: int, device: torch.device, repeats: int) -> dict[str, Any]:
    """Time both ways in turns; return medians in milliseconds, their ratio and the largest difference."""
    width = WINDOW + (count - 1) * stride
    grid = WindowGrid([0], range(0, width - WINDOW + 1, stride), WINDOW, WINDOW, width)
    canvas = torch.randn(1, CHANNELS, WINDOW, width, generator=torch.Generator().manual_seed(0)).to(device)
    ones = torch.ones(1, 1, WINDOW, WINDOW, dtype=torch.float64, device=device)
    totals = grid.add(ones.expand(count, -1, -1, -1))
    given = (grid, canvas, totals)
    difference = (looped(*given) - vectorised(*given)).abs().max().item()
    times: dict[str, list[float]] = {"loop": [], "vectorised": []}
    for _ in range(repeats):
        times["loop"].append(seconds(lambda: looped(*given), device))
        times["vectorised"].append(seconds(lambda: vectorised(*given), device))
    loop, fast = (1000 * statistics.median(values) for values in times.values())
    return {"device": device.type, "windows": count, "stride": stride, "loop ms": round(loop, 3),
            "vectorised ms": round(fast, 3), "ratio": round(loop / fast, 2), "difference": difference}  # fmt: skip


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=positive, nargs="+", default=list(COUNTS), help="numbers of windows")
    parser.add_argument("--repeats", type=positive, default=15, help="timings of each, of which the median counts")
    parser.add_argument("--output_dir", type=Path, default=RESULTS, help="where to write")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> list[dict[str, Any]]:
    """Compare, print and write; return the rows."""
    options = parse(argv)
    devices = [torch.device("cpu"), *([torch.device("cuda")] if torch.cuda.is_available() else [])]
    rows = [
        compare(count, stride, device, options.repeats)
        for device in devices for stride in STRIDES for count in options.windows
    ]  # fmt: skip
    print(markdown(rows))
    write_report("bench_projection", rows, options.output_dir)
    return rows


if __name__ == "__main__":
    main()

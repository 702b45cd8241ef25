"""What ``--compile`` gains: ``python benchmarks/bench_compile.py``.

    python benchmarks/bench_compile.py                                         # embedded landscapes
    python benchmarks/full_size_models.py --layout sd2 sd2_random --dtype bfloat16
    python benchmarks/bench_compile.py --sd_path sd2_random --dtype bfloat16 --panorama_width 1024 \\
        --num_inference_steps 1 --name bench_compile_full_size

The steps of one strip, with the networks as they are and translated, in turns; decoding is left out, since it is not
translated. The first run of each is told apart: it holds the translation, unless one of an earlier run was kept.
Writes into ``benchmarks/results``.
"""

import argparse
import collections
import statistics
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.report import Row, markdown, positive, write_report
from benchmarks.wide_runs import PROMPT, clock, load, strip_parser
from guidance.wide_image_model import WideImageModel
from utils.prompts import PictureRequest


def timed_steps(model: WideImageModel, seed: int) -> tuple[float, torch.Tensor]:
    """Go all steps of a strip; return their seconds and the final canvas ``[1, C, H, W]``."""
    device = model.latent_model.denoiser.device
    started = clock(device)
    state = collections.deque(model.generate(PictureRequest((PROMPT,)), seed), maxlen=1).pop()
    return clock(device) - started, state.z_t_1


def compare(models: dict[str, WideImageModel], repeats: int, seed: int) -> list[Row]:
    """Run all in turns, once to warm up and ``repeats`` times more; return a row for each, compared with the first."""
    runs = {name: [] for name in models}
    for _ in range(1 + repeats):
        for name, model in models.items():
            runs[name].append(timed_steps(model, seed))
    median = {name: statistics.median(seconds for seconds, _ in some[1:]) for name, some in runs.items()}
    plain = next(iter(models))
    canvas = runs[plain][-1][1]
    return [
        {"networks": name, "first run": round(some[0][0], 2), "seconds": round(median[name], 2),
         "times faster": round(median[plain] / median[name], 2),
         "largest difference": (some[-1][1] - canvas).abs().max().item(),
         "mean difference": (some[-1][1] - canvas).abs().mean().item()}
        for name, some in runs.items()
    ]  # fmt: skip


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Return the options."""
    parser = strip_parser(__doc__, dtype="auto", device="auto", repeats=3)
    parser.add_argument("--num_inference_steps", type=positive, help="denoising steps [default: as main.py takes]")
    parser.add_argument("--name", default="bench_compile", help="of the files written")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> list[Row]:
    """Compare, print and write; return the rows."""
    options = parse(argv)
    given = {name: getattr(options, name) for name in ("panorama_width", "num_inference_steps")}
    loaded = {name: load(options.sd_path, dtype=options.dtype, device=options.device, compile=compiled)
              for name, compiled in (("as they are", False), ("translated", True))}  # fmt: skip
    rows = compare({name: one.model(**given) for name, one in loaded.items()}, options.repeats, options.seed)
    print(markdown(rows))
    write_report(options.name, rows, options.output_dir, options=given,
                 dtype=str(loaded["translated"].latent.denoiser.unet.dtype))  # fmt: skip
    return rows


if __name__ == "__main__":
    main()

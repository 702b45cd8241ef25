"""Where the time of a strip goes: ``python benchmarks/bench_profile.py``.

The default strip of the embedded landscapes, and its presets: seconds inside the network, inside the decoder, and in
all the rest: windows, averages, steps, blending, pixels. Writes ``bench_profile.json`` and ``.md`` into
``benchmarks/results``.
"""

import argparse
import statistics
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.report import RESULTS, Row, markdown, positive, write_report
from benchmarks.wide_runs import Loaded, Meter, load, make_strip
from guidance.shared_options import PRESETS


def profile(loaded: Loaded, preset: str | None, repeats: int, **given: Any) -> Row:
    """Make a strip ``repeats`` times after one to warm up; return the medians."""
    model = loaded.model(preset=preset, **given)
    make_strip(model, 0)
    meters = [Meter() for _ in range(repeats)]
    for seed, meter in enumerate(meters):
        with meter.watch(loaded.latent):
            make_strip(model, seed)
    total = statistics.median(meter.seconds for meter in meters)
    network = statistics.median(meter.unet_seconds for meter in meters)
    decoder = statistics.median(meter.decoder_seconds for meter in meters)
    rest = total - network - decoder
    return {"preset": preset or "default", "samples": meters[0].samples, "decodes": meters[0].decodes,
            "seconds": round(total, 3), "network": round(network, 3), "decoder": round(decoder, 3),
            "rest": round(rest, 3), "rest, share": f"{rest / total:.1%}"}  # fmt: skip


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=positive, default=3, help="strips of each, of which the median counts")
    parser.add_argument("--num_inference_steps", type=positive, help="[default: as the presets say]")
    parser.add_argument("--dtype", default="auto", help="number format of the networks")
    parser.add_argument("--device", default="auto", help="where networks run")
    parser.add_argument("--output_dir", type=Path, default=RESULTS, help="where to write")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> list[Row]:
    """Measure, print and write; return the rows."""
    options = parse(argv)
    loaded = load(None, dtype=options.dtype, device=options.device)
    steps = options.num_inference_steps
    rows = [profile(loaded, preset, options.repeats, num_inference_steps=steps) for preset in (None, *PRESETS)]
    print(markdown(rows))
    write_report("bench_profile", rows, options.output_dir, dtype=str(loaded.latent.denoiser.unet.dtype))
    return rows


if __name__ == "__main__":
    main()

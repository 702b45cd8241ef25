"""What a panorama costs with full-size weights: ``python benchmarks/bench_panorama.py --sd_path FOLDER``.

Times the parts of one panorama of 22 views: a sample of the network, a decoded view, the set-up, f, g with corrections,
the noise, and the blend of the finished sphere; FOLDER may hold random weights (``full_size_models.py --layout sd2``).
Whole runs by preset are calculated from these parts, and the tables say so. Writes ``bench_panorama.json`` and ``.md``
into ``benchmarks/results``.
"""

import argparse
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from benchmarks.report import RESULTS, Row, markdown, positive, write_report
from benchmarks.wide_runs import clock
from guidance import load_pipeline
from guidance.panorama_model import Blend, PanoramaModel
from utils.images import to_unit_range

STEPS = {"reference": 50, "balanced": 20, "draft": 12}
Parts = dict[str, float]  # seconds by part


def seconds_of(make: Callable[[], object], repeats: int, device: torch.device) -> float:
    """Return the median time of a call."""
    times = []
    for _ in range(repeats):
        started = clock(device)
        make()
        times.append(clock(device) - started)
    return statistics.median(times)


def measure(sd_path: str, device: str, dtype: str, repeats: int) -> tuple[PanoramaModel, Parts]:
    """Load the weights and time every part once or more; return the model and the parts."""
    pipeline = load_pipeline("panorama", sd_path=sd_path, view_set="22", device=device, dtype=dtype)
    pipeline.prepare([pipeline.request("A beach at sunset")])
    model = cast(PanoramaModel, pipeline.model)
    with torch.inference_mode():
        return model, {**_networks(model, repeats), **_mapping(model, repeats), **_blending(model, repeats)}


def _networks(model: PanoramaModel, repeats: int) -> Parts:
    latent = model.latent_model
    unet, place = latent.denoiser.unet, latent.denoiser.device
    x_t = torch.randn(1, model.latent_model.channels, model.size, model.size, device=place, dtype=unet.dtype)
    text = model.embeddings[""].to(place, unet.dtype)
    return {
        "one sample": seconds_of(lambda: unet(x_t, torch.tensor(500, device=place), text), repeats, place),
        "one view decoded": seconds_of(lambda: latent.decode(x_t.float()), repeats, place),
    }


def _mapping(model: PanoramaModel, repeats: int) -> Parts:
    place, channels = model.latent_model.denoiser.device, model.latent_model.channels
    views = torch.randn(len(model.mapper), channels, model.size, model.size, device=place)
    noise = torch.randn(model.noise_shape({}), device=place)
    canvas = model.inverse_mapping(views)
    parts = {
        "set-up": model.init_mapper,
        "f": lambda: model.forward_mapping(canvas),
        "g, not corrected": lambda: model.projection.average(views),
        f"g with {model.options.corrections} corrections": lambda: model.inverse_mapping(views),
        "noise": lambda: model.project_noise(noise),
    }
    return {name: seconds_of(make, repeats, place) for name, make in parts.items()}


def _blending(model: PanoramaModel, repeats: int) -> Parts:
    """Time the blend of one decoded view, and what is done once all are in it."""
    side, cameras = model.size * model.scale, model.mapper
    decoded = to_unit_range(torch.randn(1, 3, side, side)).double()
    blend = Blend(model.options.panorama_height, len(cameras))
    times = []
    for camera in cameras:
        started = time.perf_counter()
        blend.add(camera, decoded)
        times.append(time.perf_counter() - started)
    finish = seconds_of(lambda: (blend.sphere(), blend.spread()), repeats, torch.device("cpu"))
    return {"one view blended": statistics.mean(times), "finish of the sphere": finish}


def whole_run(preset: str, parts: Parts, views: int) -> Row:
    """Calculate a whole run: two samples a view and step, every view decoded once, g and f once a step."""
    steps = STEPS[preset]
    samples = 2 * views * steps
    network, decoder = samples * parts["one sample"], views * parts["one view decoded"]
    g = next(seconds for name, seconds in parts.items() if name.endswith("corrections"))
    rest = parts["set-up"] + parts["noise"] + steps * (g + parts["f"])
    rest += views * parts["one view blended"] + parts["finish of the sphere"]
    total = network + decoder + rest
    return {"preset": preset, "steps": steps, "samples": samples, "seconds, calculated": round(total, 1),
            "network, %": round(100 * network / total, 2), "decoder, %": round(100 * decoder / total, 2),
            "all else, %, calculated": round(100 * rest / total, 3)}  # fmt: skip


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sd_path", required=True, help="weights of Stable Diffusion, random ones too")
    parser.add_argument("--device", default="cpu", help="where networks run")
    parser.add_argument("--dtype", default="auto", help="number format of the networks")
    parser.add_argument("--repeats", type=positive, default=3, help="times of each part, of which the median counts")
    parser.add_argument("--output_dir", type=Path, default=RESULTS, help="where to write")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> list[Row]:
    """Measure, calculate, print and write; return the rows of whole runs."""
    options = parse(argv)
    model, parts = measure(options.sd_path, options.device, options.dtype, options.repeats)
    rows = [whole_run(preset, parts, len(model.mapper)) for preset in STEPS]
    print(markdown([{"part": name, "seconds, measured": seconds} for name, seconds in parts.items()]))
    print(markdown(rows))
    write_report("bench_panorama", rows, options.output_dir, parts=parts, views=len(model.mapper),
                 peak_memory_gib=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2))  # fmt: skip
    return rows


if __name__ == "__main__":
    main()

"""Wide images against diffusers' own panorama pipeline: ``python benchmarks/bench_peers.py``.

``StableDiffusionPanoramaPipeline`` (MultiDiffusion, Bar-Tal et al., 2023) on the same weights, size, windows, steps and
seed: both make the same strip, in turns. It is given our windows, as its own are 64 cells of 8 pixels whatever the
model. Beside them what our presets make of the same seed. Writes ``bench_peers.json`` and ``.md`` into
``benchmarks/results``.
"""

import argparse
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, StableDiffusionPanoramaPipeline

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.report import Row, markdown, positive, write_report
from benchmarks.wide_runs import PROMPT, Loaded, Meter, load, make_strip, strip_parser
from guidance.wide_image_model import WideImageModel
from guidance.windows import Window

WARM_UP_STEPS = 2


class Panorama(StableDiffusionPanoramaPipeline):
    """Diffusers' pipeline, looking through given windows."""

    windows: list[Window]

    def get_views(self, *_: Any, **__: Any) -> list[Window]:
        """Return the windows, whatever the size of the canvas."""
        return self.windows


def load_peer(loaded: Loaded, windows: list[Window]) -> Panorama:
    """Load diffusers' pipeline from the same folder, with the network and the VAE that are in memory already."""
    latent = loaded.latent
    pipeline = Panorama.from_pretrained(
        loaded.source.fetch(None), unet=latent.denoiser.unet, vae=latent.space.vae, use_safetensors=True,
        local_files_only=True, safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, clip_sample=False)
    pipeline.windows = windows
    pipeline.to(latent.denoiser.device).set_progress_bar_config(disable=True)
    return pipeline


def run_peer(pipeline: Panorama, model: WideImageModel, seed: int, batch: int) -> torch.Tensor:
    """Make one strip, pixels too; return its final canvas."""
    options, canvas = model.options, None

    def keep(_: Any, __: int, ___: Any, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        nonlocal canvas
        canvas = tensors["latents"]
        return tensors

    pipeline(
        PROMPT, height=options.panorama_height, width=options.panorama_width, view_batch_size=batch,
        num_inference_steps=options.num_inference_steps, guidance_scale=options.guidance_scale,
        generator=torch.Generator().manual_seed(seed), callback_on_step_end=keep,
    )  # fmt: skip
    return canvas


def compare(loaded: Loaded, given: dict[str, Any], repeats: int, seed: int) -> list[Row]:
    """Run all in turns; return a row for each."""
    models = {preset: loaded.model(preset=preset, **given) for preset in ("reference", "balanced", "draft")}
    reference = models["reference"]
    pipeline = load_peer(loaded, reference.mapper)
    batch = reference.options.view_batch_size
    runs: dict[str, Callable[[], torch.Tensor]] = {
        "diffusers' panorama, one view a call (its default)": lambda: run_peer(pipeline, reference, seed, 1),
        f"diffusers' panorama, {batch} views a call": lambda: run_peer(pipeline, reference, seed, batch),
        **{f"ours, {name}": lambda model=model: make_strip(model, seed)[0].z_t_1 for name, model in models.items()},
    }
    make_strip(loaded.model(preset="draft", **given | {"num_inference_steps": WARM_UP_STEPS}), seed)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    meters, canvases = {}, {}
    for _ in range(repeats):
        for name, run in runs.items():
            meters[name] = Meter()
            with meters[name].watch(loaded.latent):
                canvases[name] = run()
            seconds[name].append(meters[name].seconds)
    first, same = next(iter(runs)), canvases["ours, reference"]
    median = {name: statistics.median(values) for name, values in seconds.items()}
    return [
        {"run": name, "seconds": round(median[name], 2), "times faster": round(median[first] / median[name], 2),
         "network samples": meters[name].samples, "decodes": meters[name].decodes,
         "largest difference of the canvas": (canvases[name] - same).abs().max().item()}
        for name in runs
    ]  # fmt: skip


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Return the options."""
    parser = strip_parser(__doc__, dtype="float32", device="cpu", repeats=1)
    parser.add_argument("--num_inference_steps", type=positive, help="of all runs [default: as our presets say]")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> list[Row]:
    """Compare, print and write; return the rows."""
    options = parse(argv)
    given = {"panorama_width": options.panorama_width, "num_inference_steps": options.num_inference_steps}
    loaded = load(options.sd_path, dtype=options.dtype, device=options.device)
    rows = compare(loaded, given, options.repeats, options.seed)
    print(markdown(rows))
    write_report("bench_peers", rows, options.output_dir, options=given, dtype=options.dtype)
    return rows


if __name__ == "__main__":
    main()

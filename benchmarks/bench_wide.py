"""Our wide images against the assignment's loop written out literally: ``python benchmarks/bench_wide.py``.

    python benchmarks/bench_wide.py                                            # embedded landscapes, float32
    python benchmarks/bench_wide.py --dtype bfloat16 --name bench_wide_bfloat16
    python benchmarks/full_size_models.py --layout sd2 sd2_random --dtype bfloat16
    python benchmarks/bench_wide.py --sd_path sd2_random --dtype bfloat16 --panorama_width 1024 \\
        --num_inference_steps 1 --log_step 1 --name bench_wide_full_size

The twin in this file does what the course's skeleton does: all windows are denoised in one batch, with the
unconditional and the conditional call apart, windows are pasted one by one, and every preview and the finished strip
decode each window by itself, weights laid out as they were loaded. Both make the same picture with the same weights, in
turns, with previews as often; what is compared is time, network samples, VAE decodes and the final canvas. What a whole
strip of the assignment takes is calculated from the times per sample and per decode. In 16 bits both are compared with
the canvas in float32, too. Writes into ``benchmarks/results``.
"""

import argparse
import statistics
import sys
from pathlib import Path
from typing import Any

import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.report import Row, markdown, positive, write_report
from benchmarks.wide_runs import PROMPT, Loaded, Meter, load, make_strip, strip_parser
from guidance.wide_image_model import WideImageModel
from utils.images import to_pil, to_unit_range

STEPS, LOG_STEP = 50, 5  # of the assignment


class LiteralTwin:
    """The assignment's wide image, window by window.

    Args:
        model: whose weights, windows and schedule it takes.
    """

    def __init__(self, model: WideImageModel):
        self.options, self.latent, self.windows = model.options, model.latent_model, model.mapper
        self.height, self.width, self.embeddings = model.height, model.width, model.embeddings

    @torch.inference_mode()
    def run(self, model: WideImageModel, seed: int) -> torch.Tensor:
        """Make one strip; return its final canvas ``[1, C, H, W]``."""
        schedule, device = model.stage.schedule, self.latent.denoiser.device
        shape = (1, self.latent.channels, self.height, self.width)
        canvas = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(device)
        xts = self.crop(canvas)
        for index, t in enumerate(schedule.timesteps, start=1):
            abar, abar_prev = schedule.alphas_cumprod[t].item(), schedule.alphas_cumprod_prev[t].item()
            eps = self.noise(xts, t)
            x0s = self.crop(self.paste((xts - (1 - abar) ** 0.5 * eps) / abar**0.5))
            xts = abar_prev**0.5 * x0s + ((1 - abar_prev) / (1 - abar)) ** 0.5 * (xts - abar**0.5 * x0s)
            if self.options.log_step and index % self.options.log_step == 0:
                self.picture(x0s)
        self.picture(xts)
        return self.paste(xts)

    def noise(self, xts: torch.Tensor, t: int) -> torch.Tensor:
        """Predict eps of all windows: one call without the prompt, one with it."""
        denoiser, rows = self.latent.denoiser, len(xts)
        outputs = []
        for prompt in ("", PROMPT):
            text = self.embeddings[prompt].expand(rows, -1, -1).to(denoiser.device, denoiser.unet.dtype)
            inputs = xts.to(denoiser.unet.dtype)
            outputs.append(denoiser.unet(inputs, t, encoder_hidden_states=text).sample.to(xts.dtype))
        output = outputs[0] + self.options.guidance_scale * (outputs[1] - outputs[0])
        if denoiser.predicts_v:
            abar = denoiser.alphas_cumprod[t].item()
            return abar**0.5 * output + (1 - abar) ** 0.5 * xts
        return output

    def crop(self, canvas: torch.Tensor) -> torch.Tensor:
        """Cut the windows out."""
        return torch.cat([canvas[:, :, top:bottom, left:right] for top, bottom, left, right in self.windows])

    def paste(self, windows: torch.Tensor, scale: int = 1) -> torch.Tensor:
        """Paste the windows one by one and divide by how many cover each cell."""
        value = windows.new_zeros(1, windows.shape[1], self.height * scale, self.width * scale)
        count = torch.zeros_like(value)
        for (top, bottom, left, right), window in zip(self.windows, windows, strict=True):
            place = (slice(None), slice(None), slice(top * scale, bottom * scale), slice(left * scale, right * scale))
            value[place] += window
            count[place] += 1
        return value / count

    def picture(self, xts: torch.Tensor) -> Image.Image:
        """Decode every window and average the pixels."""
        decoded = torch.cat([self.latent.decode(x_t) for x_t in xts.split(1)])
        return to_pil(to_unit_range(self.paste(decoded, self.latent.vae_scale))[0])


def compare(model: WideImageModel, repeats: int, seed: int) -> list[Row]:
    """Run both in turns; return a row for each, ours first."""
    twin, latent = LiteralTwin(model), model.latent_model
    runs = {
        "ours": (lambda: make_strip(model, seed)[0].z_t_1, torch.channels_last),
        "literal": (lambda: twin.run(model, seed), torch.contiguous_format),
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    meters, canvases = {}, {}
    for _ in range(repeats):
        for name, (run, layout) in runs.items():  # ours first: it opens the stage whose schedule the twin takes
            for network in (latent.denoiser.unet, latent.space.vae):
                network.to(memory_format=layout)
            meters[name] = Meter()
            with meters[name].watch(latent):
                canvases[name] = run()
            seconds[name].append(meters[name].seconds)
    difference = (canvases["ours"] - canvases["literal"]).abs().max().item()
    median = {name: statistics.median(values) for name, values in seconds.items()}
    return [
        {"loop": name, "seconds": round(median[name], 2), "ratio": round(median["literal"] / median[name], 2),
         "network samples": meters[name].samples, "decodes": meters[name].decodes, "windows": len(twin.windows),
         "seconds per sample": meters[name].unet_seconds / meters[name].samples,
         "seconds per decode": meters[name].decoder_seconds / meters[name].decodes,
         "largest difference": difference, "canvas": canvases[name]}
        for name in runs
    ]  # fmt: skip


def calculate(loaded: Loaded, rows: list[Row]) -> None:
    """Enter what a strip of the assignment takes: its samples and decodes times the seconds measured for one."""
    model = loaded.model(preset="reference")
    pictures, windows = 1 + STEPS // LOG_STEP, len(model.mapper)
    totals = {}
    for row, parts in zip(rows, (len(model.tiles), windows), strict=True):
        samples, decodes = 2 * STEPS * windows, pictures * parts
        totals[row["loop"]] = samples * row["seconds per sample"] + decodes * row["seconds per decode"]
        row |= {"whole strip, samples": samples, "whole strip, decodes": decodes}
    for row in rows:
        row["whole strip, minutes"] = round(totals[row["loop"]] / 60, 2)
        row["whole strip, ratio"] = round(totals["literal"] / totals[row["loop"]], 2)


def compare_with_float32(options: argparse.Namespace, given: dict[str, Any], rows: list[Row]) -> None:
    """Enter how far, on average, each loop's canvas is from ours in float32."""
    model = load(options.sd_path, dtype="float32", device=options.device).model(**given)
    exact = make_strip(model, options.seed)[0].z_t_1
    for row in rows:
        row["mean distance from float32"] = (row["canvas"] - exact).abs().mean().item()


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Return the options."""
    parser = strip_parser(__doc__, dtype="float32", device="cpu", repeats=1)
    parser.add_argument("--num_inference_steps", type=positive, default=STEPS, help="denoising steps")
    parser.add_argument("--log_step", type=int, default=LOG_STEP, help="previews, every so many steps; 0: none")
    parser.add_argument("--view_batch_size", type=positive, default=8, help="of ours; the twin takes all at once")
    parser.add_argument("--no_float32", action="store_true", help="in 16 bits, do not compare with float32")
    parser.add_argument("--name", default="bench_wide", help="of the files written")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> list[Row]:
    """Compare, print and write; return the rows."""
    options = parse(argv)
    given = {name: getattr(options, name) for name in
             ("panorama_width", "num_inference_steps", "log_step", "view_batch_size")}  # fmt: skip
    given["preset"] = "reference"
    loaded = load(options.sd_path, dtype=options.dtype, device=options.device)
    make_strip(loaded.model(**given | {"num_inference_steps": 1, "log_step": 0}), options.seed)  # to warm up
    rows = compare(loaded.model(**given), options.repeats, options.seed)
    calculate(loaded, rows)
    if options.dtype != "float32" and not options.no_float32:
        compare_with_float32(options, given, rows)
    rows = [{name: value for name, value in row.items() if name != "canvas"} for row in rows]
    print(markdown(rows))
    write_report(options.name, rows, options.output_dir, options=given, dtype=options.dtype)
    return rows


if __name__ == "__main__":
    main()

"""Our wide images against the assignment's loop written out literally: ``python benchmarks/bench_wide.py``.

The twin in this file does what the course's skeleton does: all windows are denoised in one batch, with the
unconditional and the conditional call apart, windows are pasted one by one, and every preview and the finished strip
decode each window by itself. Both make the same picture with the same weights, in turns, with previews as often; what
is compared is time, network samples, VAE decodes and the final canvas. Writes ``bench_wide.json`` and ``.md`` into
``benchmarks/results``.
"""

import argparse
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.report import markdown, write_report
from guidance.wide_image_model import WideImageModel
from utils.image_utils import to_pil, to_unit_range
from utils.model_source import open_source
from utils.options import WideImageOptions
from utils.runtime import Runtime

PROMPT = "A photo of a mountain range at twilight"


@dataclass
class Counts:
    """What a run asked of the networks."""

    samples: int = 0
    decodes: int = 0
    hooks: list[Any] = field(default_factory=list)

    def watch(self, model: WideImageModel) -> None:
        """Count from now on."""
        unet, vae = model.latent_model.denoiser.unet, model.latent_model.vae

        def sampled(_: Any, inputs: tuple[torch.Tensor, ...]) -> None:
            self.samples += len(inputs[0])

        def decoded(_: Any, inputs: tuple[torch.Tensor, ...]) -> None:
            self.decodes += len(inputs[0])

        self.hooks = [unet.register_forward_pre_hook(sampled), vae.decoder.register_forward_pre_hook(decoded)]

    def stop(self) -> None:
        """Count no more."""
        for hook in self.hooks:
            hook.remove()


class LiteralTwin:
    """The assignment's wide image, window by window.

    Args:
        model: whose weights, windows and schedule it takes.
    """

    def __init__(self, model: WideImageModel):
        self.options, self.latent, self.windows = model.options, model.latent_model, model.mapper
        self.height, self.width, self.embeddings = model.height, model.width, model.embeddings

    @torch.no_grad()
    def run(self, model: WideImageModel, seed: int) -> torch.Tensor:
        """Make one strip; return its final canvas ``[1, C, H, W]``."""
        schedule, device = model.schedule, self.latent.denoiser.device
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


def run_ours(model: WideImageModel, seed: int) -> torch.Tensor:
    """Make one strip as ``main.py`` does; return its final canvas."""
    log_step = model.options.log_step
    for state in model.generate((PROMPT,), seed):
        if log_step and state.step % log_step == 0:
            model.preview(state)
    model.render(state, [{"file": "strip", "role": "strip"}])
    return state.z_t_1


def load(options: argparse.Namespace) -> WideImageModel:
    """Load the model as ``main.py`` does."""
    given = {name: getattr(options, name) for name in ("sd_path", "num_inference_steps", "log_step", "dtype", "device")}
    wide = WideImageOptions("wide_image", preset="reference", view_batch_size=options.view_batch_size,
                            **{name: value for name, value in given.items() if value is not None})  # fmt: skip
    family = "tiny" if wide.sd_path is None else "sd"
    wide = wide.with_defaults(family)
    source = open_source(wide.sd_path, wide.PATHS["sd_path"], None, "sd_path")
    wide, _ = wide.fit({"sd_path": source}, [])
    model = WideImageModel.load(wide, {"sd_path": source}, Runtime.from_options(wide, PartialState(cpu=True)))
    model.encode([PROMPT])
    return model


def compare(model: WideImageModel, repeats: int, seed: int) -> list[dict[str, Any]]:
    """Run both in turns; return a row for each."""
    twin = LiteralTwin(model)
    runs = {"ours": lambda: run_ours(model, seed), "literal": lambda: twin.run(model, seed)}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    counts, canvases = {}, {}
    for _ in range(repeats):
        for name, run in runs.items():  # ours first: it begins the stage whose schedule the twin takes
            counts[name] = Counts()
            counts[name].watch(model)
            started = time.perf_counter()
            canvases[name] = run()
            seconds[name].append(time.perf_counter() - started)
            counts[name].stop()
    difference = (canvases["ours"] - canvases["literal"]).abs().max().item()
    median = {name: statistics.median(values) for name, values in seconds.items()}
    return [
        {"loop": name, "seconds": round(median[name], 2), "ratio": round(median["literal"] / median[name], 2),
         "network samples": counts[name].samples, "decodes": counts[name].decodes, "windows": len(twin.windows),
         "largest difference": difference, "dtype": str(model.latent_model.denoiser.unet.dtype)}
        for name in runs
    ]  # fmt: skip


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sd_path", help="weights [default: the embedded landscapes]")
    parser.add_argument("--num_inference_steps", type=int, help="denoising steps [default: the assignment's 50]")
    parser.add_argument("--log_step", type=int, default=5, help="both make a preview every so many steps; 0: none")
    parser.add_argument("--dtype", default="float32", help="number format of the networks")
    parser.add_argument("--device", default="cpu", help="where networks run")
    parser.add_argument("--view_batch_size", type=int, default=8, help="of ours; the twin takes all windows at once")
    parser.add_argument("--repeats", type=int, default=1, help="runs of each, of which the median counts")
    parser.add_argument("--seed", type=int, default=1, help="of the picture")
    parser.add_argument("--output_dir", type=Path, default=None, help="where to write [default: benchmarks/results]")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> list[dict[str, Any]]:
    """Compare, print and write; return the rows."""
    options = parse(argv)
    model = load(options)
    rows = compare(model, options.repeats, options.seed)
    print(markdown(rows))
    write_report("bench_wide", rows, options.output_dir, options={
        name: getattr(model.options, name) for name in ("num_inference_steps", "window_stride", "log_step", "sd_path")
    })  # fmt: skip
    return rows


if __name__ == "__main__":
    main()

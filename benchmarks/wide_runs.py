"""Wide images in a benchmark's own process, with what they ask of the networks."""

import argparse
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from benchmarks.report import RESULTS, positive
from guidance import load_pipeline
from guidance.base_model import StepState
from guidance.networks.stable_diffusion import LatentModel
from guidance.pipeline import Pipeline, make_plan
from guidance.wide_image_model import WideImageModel
from utils.models.model_source import ModelSource
from utils.options import Given
from utils.prompts import PictureRequest

PROMPT = "A photo of a mountain range at twilight"


@dataclass
class Meter:
    """What was asked of the networks, and how long they took.

    Attributes:
        samples: rows that the UNet was given, unconditional ones too.
        decodes: rows that the VAE's decoder was given, each a window or a tile.
        unet_seconds, decoder_seconds: inside these two.
        seconds: of all that was watched.
    """

    samples: int = 0
    decodes: int = 0
    seconds: float = 0.0
    unet_seconds: float = 0.0
    decoder_seconds: float = 0.0

    @contextmanager
    def watch(self, latent: LatentModel) -> Iterator[None]:
        """Count and time while the block runs."""
        device, hooks = latent.denoiser.device, []
        for module, count, seconds in (
            (latent.denoiser.unet, "samples", "unet_seconds"),
            (latent.space.vae.decoder, "decodes", "decoder_seconds"),
        ):
            hooks += self._hooks(module, count, seconds, device)
        started = clock(device)
        try:
            yield
        finally:
            self.seconds += clock(device) - started
            for hook in hooks:
                hook.remove()

    def _hooks(self, module: torch.nn.Module, count: str, seconds: str, device: torch.device) -> list[Any]:
        started = 0.0

        def before(_: Any, inputs: tuple[torch.Tensor, ...]) -> None:
            nonlocal started
            setattr(self, count, getattr(self, count) + len(inputs[0]))
            started = clock(device)

        def after(*_: Any) -> None:
            setattr(self, seconds, getattr(self, seconds) + clock(device) - started)

        return [module.register_forward_pre_hook(before), module.register_forward_hook(after)]


@dataclass(frozen=True)
class Loaded:
    """A pipeline whose weights are in memory and whose prompts are encoded, for models of any options."""

    pipeline: Pipeline

    @property
    def source(self) -> ModelSource:
        """Where the weights are."""
        return self.pipeline.plan.sources["sd_path"]

    @property
    def latent(self) -> LatentModel:
        """The networks, which all models share."""
        return self.pipeline.model.latent_model

    def model(self, **given: Any) -> WideImageModel:
        """Return the app's model with these options besides those of the pipeline, the others by default."""
        app, typed = self.pipeline.plan.app, self.pipeline.plan.given
        values = {name: typed.asked(name) for name in typed.typed} | given
        options = Given(app.options, values)
        app.check(options)
        model = WideImageModel(make_plan(app, options).options, self.latent)
        model.embeddings = self.pipeline.model.embeddings
        return model


def load(
    path: str | None,
    prompts: Sequence[str] = (PROMPT,),
    dtype: str = "auto",
    device: str = "auto",
    compile: bool = False,
) -> Loaded:
    """Load Stable Diffusion from a folder or a Hub id, or the embedded landscapes, and encode the prompts."""
    weights = {"model": "tiny"} if path is None else {"sd_path": path}
    pipeline = load_pipeline("wide_image", **weights, dtype=dtype, device=device, compile=compile)
    pipeline.prepare([pipeline.request(prompt) for prompt in prompts])
    return Loaded(pipeline)


def make_strip(model: WideImageModel, seed: int, prompt: str = PROMPT) -> tuple[StepState, Image.Image]:
    """Make one strip as ``main.py`` does, with previews where the options ask for them; return its last state too."""
    log_step = model.options.log_step
    for state in model.generate(PictureRequest((prompt,)), seed):
        if log_step and state.step % log_step == 0:
            model.preview(state)
    return state, model.render(state, [{"file": "strip", "role": "strip"}])["strip"]


def strip_parser(description: str | None, dtype: str, device: str, repeats: int) -> argparse.ArgumentParser:
    """Return a parser of what benchmarks of one strip ask alike: its weights, size and seed, and where results go."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sd_path", help="weights [default: the embedded landscapes]")
    parser.add_argument("--panorama_width", type=positive, help="of the canvas [default: six windows]")
    parser.add_argument("--dtype", default=dtype, help="number format of the networks")
    parser.add_argument("--device", default=device, help="where networks run")
    parser.add_argument("--repeats", type=positive, default=repeats, help="runs of each, of which the median counts")
    parser.add_argument("--seed", type=int, default=1, help="of the picture")
    parser.add_argument("--output_dir", type=Path, default=RESULTS, help="where to write")
    return parser


def clock(device: torch.device) -> float:
    """Return the time in seconds, once the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()

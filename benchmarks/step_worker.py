"""The steps of one checkout, timed on demand: ``python benchmarks/step_worker.py CHECKOUT``, see ``bench_step.py``.

Every line read is a setting and a number of steps, as JSON; the answer is a line with the processor's seconds for all
these steps. One file times the code of both revisions, so it also knows how models were set up before
``guidance/app.py`` was there. The network answers zeros, so that next to nothing but the step itself counts; x0 is not
clipped, guidance is off.
"""

import importlib.util
import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

CHECKOUT = Path(sys.argv[1]).resolve()
sys.path[0] = str(CHECKOUT)  # in place of this file's folder

WIDE = {"panorama_height": 512, "panorama_width": 3072, "window_stride": 8}  # 41 windows of 64x64 cells
VIEWS = {"views_names": ["identity", "rotate_cw"]}
X0, CANVAS = {"sync": "x0", "space": "instance"}, {"sync": "x0", "space": "canonical"}
SETTINGS = {  # row of the table -> app, options
    "41 windows, x0 of the views": ("wide_image", {**WIDE, **X0}),
    "41 windows, x0 on the canvas": ("wide_image", {**WIDE, **CANVAS}),
    "2 turned views, x0 of the views": ("ambiguous_image", {**VIEWS, **X0}),
    "2 turned views, x0 on the canvas": ("ambiguous_image", {**VIEWS, **CANVAS}),
}
SHARED = {"num_inference_steps": 50, "guidance_scale": 1.0, "view_batch_size": 64}
SCHEDULER = {"num_train_timesteps": 1000, "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012,
             "steps_offset": 1, "prediction_type": "epsilon", "clip_sample": False}  # fmt: skip


class Zeros(torch.nn.Module):
    """A UNet that predicts no noise."""

    dtype = torch.float32

    def forward(self, sample: torch.Tensor, *_: Any, **__: Any) -> tuple[torch.Tensor]:
        return (torch.zeros_like(sample),)


def latent_model(denoiser: Any) -> SimpleNamespace:
    """Return as much of Stable Diffusion as a step asks for."""
    return SimpleNamespace(denoiser=denoiser, window=64, vae_scale=8, channels=4)


def set_up_now(app_name: str, given: dict[str, Any]) -> tuple[Any, Any]:
    """Return a model whose stage is open, and what draws its states at T."""
    from guidance import get_app
    from guidance.ambiguous_image_model import AmbiguousImageModel
    from guidance.base_model import Stage
    from guidance.networks.denoisers import Conditioning, Denoiser
    from guidance.wide_image_model import WideImageModel
    from utils.options import Given

    app, denoiser = get_app(app_name), Denoiser(Zeros(), SCHEDULER, torch.device("cpu"))
    options = app.fill(Given(app.options, {"app": app_name, **given}), app.pretrained).complete()
    wide = app_name == "wide_image"
    model = WideImageModel(options, latent_model(denoiser)) if wide else AmbiguousImageModel(options, {}, None, [])
    model.open_stage(Stage.from_options(options, denoiser, Conditioning(*torch.zeros(2, 1, 77, 8))))
    return model, model.initial_states


def set_up_before(app_name: str, given: dict[str, Any]) -> tuple[Any, Any]:
    """Return the same by the code before ``guidance/app.py``."""
    from guidance.denoisers import Conditioning, Denoiser

    from guidance.ambiguous_image_model import AmbiguousImageModel
    from guidance.wide_image_model import WideImageModel
    from utils.options import APPS

    wide, denoiser = app_name == "wide_image", Denoiser(Zeros(), SCHEDULER, torch.device("cpu"))
    options = APPS[app_name](app_name, **given).with_defaults("sd" if wide else "deepfloyd")
    model = WideImageModel(options, latent_model(denoiser)) if wide else AmbiguousImageModel(options, {}, None, [])
    model.begin_stage(denoiser, Conditioning(*torch.zeros(2, 1, 77, 8)))
    return model, model.start


class Steps:
    """The steps of one setting; every state is that of T.

    Args:
        app: its name.
        given: options.
    """

    def __init__(self, app: str, given: dict[str, Any]):
        is_now = importlib.util.find_spec("guidance.app") is not None
        self.model, draw = (set_up_now if is_now else set_up_before)(app, {**SHARED, **given})
        wide, views = app == "wide_image", len(self.model.mapper)
        shapes = ((1, 4, 64, 384), (views, 4, 64, 64)) if wide else ((1, 3, 64, 64), (views, 3, 64, 64))
        self.states = draw(*shapes, torch.Generator().manual_seed(0))
        schedule = self.model.stage.schedule if is_now else self.model.schedule
        self.alphas, self.sigmas = schedule.alphas_cumprod.sqrt(), (1 - schedule.alphas_cumprod).sqrt()
        self.timesteps = schedule.timesteps

    @torch.inference_mode()
    def seconds(self, count: int) -> float:
        """Return how long the processor takes over so many steps."""
        started = time.process_time()
        for index in range(count):
            timestep = self.timesteps[index % len(self.timesteps)]
            self.model.one_step_process(self.states, timestep, self.alphas, self.sigmas)
        return time.process_time() - started


def serve() -> None:
    """Answer until the input ends."""
    import guidance

    if not Path(guidance.__file__).resolve().is_relative_to(CHECKOUT):
        raise SystemExit(f"{guidance.__file__} was imported, not the code in {CHECKOUT}.")
    steps = {name: Steps(*setting) for name, setting in SETTINGS.items()}
    print(json.dumps(list(steps)), flush=True)
    for line in sys.stdin:
        name, count = json.loads(line)
        print(json.dumps(steps[name].seconds(count)), flush=True)


if __name__ == "__main__":
    serve()

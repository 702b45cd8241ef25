"""Networks whose answers are known, and the apps built around them without weights on disk."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F

from guidance import get_app
from guidance.ambiguous_image_app import AmbiguousImageOptions
from guidance.ambiguous_image_model import AmbiguousImageModel
from guidance.base_model import BaseModel, Stage
from guidance.networks.deepfloyd import PixelStage
from guidance.networks.denoisers import Conditioning, Denoiser
from guidance.networks.spaces import LatentSpace
from guidance.networks.stable_diffusion import LatentModel
from guidance.panorama_model import PanoramaModel
from guidance.shared_options import SharedOptions
from guidance.wide_image_app import WideImageOptions
from guidance.wide_image_model import WideImageModel
from utils.models.runtime import Runtime
from utils.options import Given
from utils.prompts import PictureRequest

CPU = torch.device("cpu")
TEXT_SHAPE = (1, 5, 4)  # of one prompt's embedding

# as in the scheduler_config.json of Stable Diffusion 2 and of DeepFloyd IF
SD_SCHEDULER = {
    "num_train_timesteps": 1000, "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012,
    "skip_prk_steps": True, "set_alpha_to_one": False, "steps_offset": 1, "prediction_type": "epsilon",
    "clip_sample": False,
}  # fmt: skip
IF_SCHEDULER = {
    "num_train_timesteps": 1000, "beta_schedule": "squaredcos_cap_v2", "beta_start": 0.0001, "beta_end": 0.02,
    "prediction_type": "epsilon", "variance_type": "learned_range", "clip_sample": True, "clip_sample_range": 1.0,
    "thresholding": True, "dynamic_thresholding_ratio": 0.95, "sample_max_value": 1.5,
}  # fmt: skip

Answer = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None], torch.Tensor]


@dataclass
class Call:
    """What a network was asked once."""

    x_t: torch.Tensor
    timestep: int
    text: torch.Tensor
    labels: torch.Tensor | None


class FakeUNet(torch.nn.Module):
    """Answers ``answer(x_t, t, text, labels)`` and remembers every call."""

    def __init__(self, answer: Answer, dtype: torch.dtype = torch.float32):
        super().__init__()
        self.answer, self.dtype, self.calls = answer, dtype, []

    def forward(self, sample, timestep, encoder_hidden_states, class_labels=None, return_dict=True):
        assert sample.dtype == encoder_hidden_states.dtype == self.dtype
        assert len(sample) == len(encoder_hidden_states)
        assert not return_dict
        self.calls.append(Call(sample.clone(), int(timestep), encoder_hidden_states.clone(), class_labels))
        return (self.answer(sample, timestep, encoder_hidden_states, class_labels),)


def gaussian_answer(mean: float, deviation: float, alphas_cumprod: torch.Tensor) -> Answer:
    """The exact eps for data drawn from N(mean, deviation^2), independent in every cell."""

    def answer(x_t, timestep, text, labels):
        abar = alphas_cumprod[timestep].to(x_t.dtype)
        marginal_variance = abar * deviation**2 + 1 - abar
        return (1 - abar).sqrt() * (x_t - abar.sqrt() * mean) / marginal_variance

    return answer


def nonlinear_answer(channels: int, out_channels: int | None = None, seed: int = 0) -> Answer:
    """A small convolutional network that listens to its neighbours, the text, the time and the class label."""
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn(8, channels, 3, 3, generator=generator, dtype=torch.float64) / 3
    last = torch.randn(out_channels or channels, 8, 3, 3, generator=generator, dtype=torch.float64) / 6
    listen = torch.randn(TEXT_SHAPE[-1], 8, generator=generator, dtype=torch.float64)

    def answer(x_t, timestep, text, labels):
        told = text.mean(dim=1) @ listen.to(x_t.dtype) + torch.sin(timestep / 100).to(x_t.dtype)
        if labels is not None:
            told = told + (labels[:, None] / 300).to(x_t.dtype)
        hidden = F.conv2d(x_t, first.to(x_t.dtype), padding=1) + told[:, :, None, None]
        return F.conv2d(torch.tanh(hidden), last.to(x_t.dtype), padding=1)

    return answer


def turning_answer(x_t, timestep, text, labels):
    """A nonlinear network that does the same to a turned picture: it looks at each cell and at the whole."""
    return torch.tanh(x_t + x_t.mean(dim=(-2, -1), keepdim=True)) + text.mean(dim=(1, 2))[:, None, None, None] ** 2


class FakeVAE:
    """Decodes by ``decoding`` and counts its calls; latents are ``scaling_factor`` times what it decodes."""

    def __init__(
        self,
        decoding: Callable[[torch.Tensor], torch.Tensor],
        scaling_factor: float = 0.5,
        channels: int = 4,
        scale: int = 2,
    ):
        self.decoding, self.calls, self.dtype = decoding, [], torch.float32
        blocks = (1,) * scale.bit_length()
        self.config = SimpleNamespace(
            scaling_factor=scaling_factor, latent_channels=channels, block_out_channels=blocks
        )

    def decode(self, latents: torch.Tensor, return_dict: bool = True) -> tuple[torch.Tensor]:
        assert not return_dict
        self.calls.append(latents.clone())
        return (self.decoding(latents),)


def enlarge(latents: torch.Tensor) -> torch.Tensor:
    """Decode every cell by itself: its first three channels, as 2x2 equal pixels."""
    return latents[:, :3].repeat_interleave(2, dim=-2).repeat_interleave(2, dim=-1)


def text_of(*numbers: int) -> torch.Tensor:
    """Embeddings ``[N, L, D]`` of made-up prompts."""
    rows = [torch.randn(TEXT_SHAPE[1:], generator=torch.Generator().manual_seed(900 + number)) for number in numbers]
    return torch.stack(rows)


EMBEDDINGS = {"": text_of(0), "a": text_of(1), "b": text_of(2), "c": text_of(3)}


def complete(app: str, family: str, **given: Any) -> SharedOptions:
    """Options with all values, where nothing depends on weights."""
    typed = Given(get_app(app).options, {"app": app, **given})
    return get_app(app).fill(typed, family).complete()


def wide_options(height: int, width: int, **given: Any) -> WideImageOptions:
    return complete("wide_image", "sd", panorama_height=height, panorama_width=width, **given)


def ambiguous_options(**given: Any) -> AmbiguousImageOptions:
    return complete("ambiguous_image", "deepfloyd", **given)


def asking(*prompts: str, **inputs: Any) -> PictureRequest:
    return PictureRequest(prompts, inputs)


def wide_model(
    unet: torch.nn.Module,
    cells: tuple[int, int],
    window: int = 8,
    channels: int = 4,
    vae: FakeVAE | None = None,
    scheduler: dict[str, Any] = SD_SCHEDULER,
    device: torch.device = CPU,
    **given: Any,
) -> WideImageModel:
    """The app on a canvas of ``cells`` latent cells, 2x2 pixels each."""
    vae = vae or FakeVAE(enlarge, channels=channels)
    space = LatentSpace(vae, vae.config.scaling_factor, device)
    latent_model = LatentModel(Denoiser(unet, scheduler, device), space, None, window)
    model = WideImageModel(wide_options(cells[0] * 2, cells[1] * 2, **given), latent_model)
    model.embeddings = {prompt: embedding.to(device) for prompt, embedding in EMBEDDINGS.items()}
    return model


def sphere_model(vae: FakeVAE | None = None, **given: Any) -> PanoramaModel:
    """The panorama app on 16 views of 8x8 cells, 2x2 pixels each."""
    vae = vae or FakeVAE(enlarge)
    space = LatentSpace(vae, vae.config.scaling_factor, CPU)
    unet = FakeUNet(nonlinear_answer(4))
    told = {"num_inference_steps": 2, "guidance_scale": 2.0, "view_set": "16", "panorama_height": 32, **given}
    options = complete("panorama", "sd", **told)
    model = PanoramaModel(options, LatentModel(Denoiser(unet, SD_SCHEDULER, CPU), space, None, 8))
    model.embeddings = EMBEDDINGS
    return model


def open_stage(
    model: BaseModel, denoiser: Denoiser, conditioning: Conditioning, threshold: tuple[float, float] | None = None
) -> None:
    """Open the one stage that the options describe."""
    stage = Stage.from_options(model.options, denoiser, conditioning)
    model.open_stage(dataclasses.replace(stage, threshold=threshold))


def one_view_model(unet: torch.nn.Module, size: int = 4, **given: Any) -> WideImageModel:
    """One window that covers the canvas, no guidance: plain sampling. Its stage has begun."""
    model = wide_model(unet, (size, size), size, **{"guidance_scale": 1.0, "window_stride": 1, **given})
    open_stage(model, model.latent_model.denoiser, Conditioning(text_of(1), text_of(0)))
    return model


def ambiguous_model(stages: list[PixelStage], **given: Any) -> AmbiguousImageModel:
    model = AmbiguousImageModel(ambiguous_options(**given), {}, Runtime(CPU), stages)
    model.embeddings = EMBEDDINGS
    return model


def pixel_stages(
    dtype: torch.dtype = torch.float32, sizes: tuple[int, int] = (8, 16), answers: list[Answer] | None = None
) -> list[PixelStage]:
    """Two stages, both with a variance half; the second sees the enlarged picture and its noise level."""
    answers = answers or [nonlinear_answer(3, 6, seed=1), nonlinear_answer(6, 6, seed=2)]
    unets = [FakeUNet(answer, dtype) for answer in answers]
    noising = torch.linspace(0.99, 0.01, 1000, dtype=torch.float64)
    maxima = (1.5, 1.0)
    return [
        PixelStage(Denoiser(unet, {**IF_SCHEDULER, "sample_max_value": maximum}, CPU), size, levels)
        for unet, maximum, size, levels in zip(unets, maxima, sizes, (None, noising), strict=True)
    ]

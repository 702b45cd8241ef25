"""A third stage: Stable Diffusion's x4 upscaler, which enlarges pictures of any size, in latents of their size."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from guidance.networks.denoisers import Denoiser
from guidance.networks.loading import load_network
from guidance.networks.spaces import LatentSpace
from guidance.networks.text_encoders import Embeddings
from guidance.schedule import alphas_cumprod
from utils.models.model_source import ModelSource
from utils.models.runtime import Runtime

SCALING_FACTOR = 0.08333  # of the latents, where an older folder does not say


@dataclass
class LatentUpscaler:
    """The x4 upscaler in parts.

    Attributes:
        denoiser: on latents ``[N, C, h, h]``, beside which its network is shown the picture to enlarge,
            ``[N, 3, h, h]``.
        space: the latents of its VAE, four pixels per cell.
        noising_alphas_cumprod: abar of the noise on the picture to enlarge, ``[1000]``.
        embeddings: prompt -> embedding ``[1, L, D]`` of its own text encoder; may grow.
    """

    denoiser: Denoiser
    space: LatentSpace
    noising_alphas_cumprod: torch.Tensor
    embeddings: Embeddings

    threshold: ClassVar[None] = None  # a bound of pixels says nothing of latents

    @property
    def networks(self) -> list[torch.nn.Module]:
        """What is in memory while it runs, in the order of its turns."""
        return [self.denoiser.unet, self.space.vae]

    def shape(self, pictures: torch.Tensor | None) -> tuple[int, int, int]:
        """Return ``(C, h, w)`` of one view's state: latents of the size of the ``pictures`` ``[N, 3, h, w]``."""
        if pictures is None:
            raise ValueError("an upscaler is no first stage: it needs pictures to enlarge")
        return self.space.channels, pictures.shape[-2], pictures.shape[-1]

    def resize(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return the pictures to enlarge as they are: the network sees them in their own size."""
        return pictures


def load_upscaler(source: ModelSource, embeddings: Embeddings, runtime: Runtime) -> LatentUpscaler:
    """Load network, VAE and schedulers; ``embeddings`` are those of its :class:`ClipText`, the very dictionary.

    Raises:
        UserError: weight files are missing, damaged or incomplete.
    """
    unet = load_network(UNet2DConditionModel, source, "unet", runtime)
    vae = load_network(AutoencoderKL, source, "vae", runtime)
    if runtime.dtype == torch.float16 and vae.config.force_upcast:
        vae = vae.float()  # it overflows in float16
    scaling_factor = source.config("vae").get("scaling_factor", SCALING_FACTOR)
    return LatentUpscaler(
        denoiser=Denoiser(runtime.place(unet), source.config("scheduler"), runtime.device, runtime.compile),
        space=LatentSpace(runtime.place(vae), scaling_factor, runtime.device),
        noising_alphas_cumprod=alphas_cumprod(source.config("low_res_scheduler")),
        embeddings=embeddings,
    )

"""Stable Diffusion 1.x and 2.x: network, VAE and CLIP text encoder."""

from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from guidance.networks.controlnet import with_control
from guidance.networks.denoisers import Denoiser
from guidance.networks.loading import load_network
from guidance.networks.spaces import LatentSpace
from guidance.networks.text_encoders import ClipText
from utils.models.model_source import ModelSource
from utils.models.runtime import Runtime


@dataclass
class LatentModel:
    """Stable Diffusion in parts.

    Attributes:
        denoiser: on latents ``[N, C, h, h]``.
        space: the latents of its VAE.
        text: encodes prompts.
        window: side h of the latents that the network was trained on.
    """

    denoiser: Denoiser
    space: LatentSpace
    text: ClipText
    window: int

    @property
    def vae_scale(self) -> int:
        """Pixels per latent cell."""
        return self.space.scale

    @property
    def channels(self) -> int:
        """C of the latents."""
        return self.space.channels

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Decode ``[B, C, h, w]`` to ``[B, 3, h * vae_scale, w * vae_scale]``, meant to lie in [-1, 1], float32."""
        return self.space.decode(latents)


def load_stable_diffusion(
    source: ModelSource, runtime: Runtime, control: ModelSource | None = None, control_scale: float = 1.0
) -> LatentModel:
    """Load network and VAE of Stable Diffusion 1.x or 2.x from the Hub's layout; CLIP is loaded for new prompts.

    Args:
        source: of the model.
        runtime: device, number format and memory policy.
        control: of a ControlNet for it; the denoiser then needs a conditioning with control pictures.
        control_scale: how much that counts.

    Raises:
        UserError: weight files are missing, damaged or incomplete.
    """
    unet = load_network(UNet2DConditionModel, source, "unet", runtime)
    window = unet.config.sample_size
    if control is not None:
        unet = with_control(unet, control, control_scale, runtime)
    unet = runtime.place(unet)
    vae = runtime.place(load_network(AutoencoderKL, source, "vae", runtime))
    runtime.offload_in_turn([unet, vae])
    scheduler = source.config("scheduler") | {"steps_offset": 1}  # StableDiffusionPipeline's, whatever old files say
    return LatentModel(
        denoiser=Denoiser(unet, scheduler, runtime.device, runtime.compile),
        space=LatentSpace(vae, vae.config.scaling_factor, runtime.device),
        text=ClipText(source, runtime),
        window=window,
    )

"""Stable Diffusion 1.x and 2.x: network, VAE and CLIP text encoder."""

import gc
from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline

from guidance.networks.denoisers import Denoiser
from guidance.networks.loading import WITHOUT_SAFETY_CHECKER, loading, reading
from utils.models.model_source import ModelSource
from utils.models.runtime import Runtime


@dataclass
class LatentModel:
    """Stable Diffusion in parts.

    Attributes:
        denoiser: on latents ``[N, C, h, h]``.
        vae: from latents to pixels.
        pipeline: for its ``encode_prompt``; None once all prompts are encoded.
        window: side h of the latents that the network was trained on.
        vae_scale: pixels per latent cell.
        channels: C.
    """

    denoiser: Denoiser
    vae: AutoencoderKL
    pipeline: StableDiffusionPipeline | None
    window: int
    vae_scale: int
    channels: int

    @torch.inference_mode()
    def encode(self, prompts: list[str]) -> dict[str, torch.Tensor]:
        """Return prompt -> embedding ``[1, L, D]``, the empty prompt's too, and free the encoder."""
        embeddings = {}
        for prompt in dict.fromkeys(["", *prompts]):
            embeddings[prompt] = self.pipeline.encode_prompt(
                prompt, device=self.denoiser.device, num_images_per_prompt=1, do_classifier_free_guidance=False
            )[0]
        self.pipeline = None
        gc.collect()
        return embeddings

    @torch.inference_mode()
    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Decode ``[B, C, h, w]`` to ``[B, 3, h * vae_scale, w * vae_scale]``, meant to lie in [-1, 1]."""
        latents = latents.to(self.denoiser.device, self.vae.dtype) / self.vae.config.scaling_factor
        return self.vae.decode(latents, return_dict=False)[0].float()


def load_stable_diffusion(source: ModelSource, runtime: Runtime) -> LatentModel:
    """Load Stable Diffusion 1.x or 2.x from the Hub's layout.

    Raises:
        UserError: weight files are missing.
    """
    variant = source.weight_variant(runtime.variant, runtime.half)
    folder = source.fetch(variant)
    with reading(source):
        pipeline = StableDiffusionPipeline.from_pretrained(
            folder, **loading(variant, runtime), **WITHOUT_SAFETY_CHECKER
        )
    for module in (pipeline.text_encoder, pipeline.unet, pipeline.vae):
        runtime.place(module)
    runtime.offload_in_turn([pipeline.text_encoder])
    runtime.offload_in_turn([pipeline.unet, pipeline.vae])
    return LatentModel(
        denoiser=Denoiser(pipeline.unet, pipeline.scheduler.config, runtime.device, runtime.compile),
        vae=pipeline.vae,
        pipeline=pipeline,
        window=pipeline.unet.config.sample_size,
        vae_scale=pipeline.vae_scale_factor,
        channels=pipeline.unet.config.in_channels,
    )

"""A third stage: Stable Diffusion's x4 upscaler, which enlarges pictures of any size, in latents of their size."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from diffusers import AutoencoderKL, StableDiffusionUpscalePipeline, UNet2DConditionModel
from transformers import CLIPTextModel

from guidance.networks.denoisers import Denoiser
from guidance.networks.loading import free_memory, load_noising, loading, reading
from guidance.networks.spaces import LatentSpace
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
        embeddings: prompt -> embedding ``[1, L, D]`` of its own text encoder.
    """

    denoiser: Denoiser
    space: LatentSpace
    noising_alphas_cumprod: torch.Tensor
    embeddings: dict[str, torch.Tensor]

    threshold: ClassVar[None] = None  # a bound of pixels says nothing of latents

    @property
    def networks(self) -> list[torch.nn.Module]:
        """What is in memory while it runs, in the order of its turns."""
        return [self.denoiser.unet, self.space.vae]

    def shape(self, pictures: torch.Tensor) -> tuple[int, int, int]:
        """Return ``(C, h, w)`` of one view's state: latents of the size of the ``pictures`` ``[N, 3, h, w]``."""
        return self.space.channels, *pictures.shape[-2:]

    def resize(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return the pictures to enlarge as they are: the network sees them in their own size."""
        return pictures


@torch.inference_mode()
def load_clip_embeddings(source: ModelSource, prompts: list[str], runtime: Runtime) -> dict[str, torch.Tensor]:
    """Return prompt -> CLIP embedding ``[1, 77, D]`` on the device; the encoder is loaded alone and freed.

    Raises:
        UserError: weight files are missing.
    """
    variant = source.weight_variant(runtime.variant, runtime.half)
    folder = source.fetch(variant)
    with reading(source):
        encoder = CLIPTextModel.from_pretrained(folder / "text_encoder", **loading(variant, runtime))
        pipeline = _text_pipeline(folder, runtime.place(encoder))
    runtime.offload_in_turn([encoder])
    embeddings = {
        prompt: pipeline.encode_prompt(prompt, runtime.device, 1, do_classifier_free_guidance=False)[0]
        for prompt in dict.fromkeys(prompts)
    }
    del pipeline, encoder
    free_memory(runtime)
    return embeddings


def _text_pipeline(folder: Path, encoder: CLIPTextModel) -> StableDiffusionUpscalePipeline:
    without = dict.fromkeys(("unet", "vae", "safety_checker", "feature_extractor", "watermarker"))
    return StableDiffusionUpscalePipeline.from_pretrained(
        folder, text_encoder=encoder, local_files_only=True, **without
    )


def load_upscaler(source: ModelSource, embeddings: dict[str, torch.Tensor], runtime: Runtime) -> LatentUpscaler:
    """Load network, VAE and schedulers; ``embeddings`` as of :func:`load_clip_embeddings`.

    Raises:
        UserError: weight files are missing.
    """
    variant = source.weight_variant(runtime.variant, runtime.half)
    folder = source.fetch(variant)
    with reading(source):
        unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet", **loading(variant, runtime))
        vae = AutoencoderKL.from_pretrained(folder, subfolder="vae", **loading(variant, runtime))
    if runtime.dtype == torch.float16 and vae.config.force_upcast:
        vae = vae.float()  # it overflows in float16
    scaling_factor = source.config("vae").get("scaling_factor", SCALING_FACTOR)
    return LatentUpscaler(
        denoiser=Denoiser(runtime.place(unet), source.config("scheduler"), runtime.device, runtime.compile),
        space=LatentSpace(runtime.place(vae), scaling_factor, runtime.device),
        noising_alphas_cumprod=load_noising(folder, "low_res_scheduler"),
        embeddings=embeddings,
    )

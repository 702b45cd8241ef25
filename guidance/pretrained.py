"""Pretrained models as they are: Stable Diffusion, and DeepFloyd IF with its T5 encoder (the upscaler: upscaler.py).

All loading goes through diffusers' pipelines, from a local folder, safetensors only, without remote code.
"""

import contextlib
import gc
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, IFPipeline, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.schedulers import DDPMScheduler
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from transformers import T5EncoderModel
from transformers.utils import logging as transformers_logging

from guidance.denoisers import Denoiser
from guidance.spaces import PixelSpace
from utils.errors import UserError
from utils.files import write_atomic
from utils.model_source import ModelSource
from utils.runtime import Runtime, cache_folder

diffusers_logging.disable_progress_bar()
transformers_logging.disable_progress_bar()

# what no picture here needs: IF's safety checker cannot even be loaded by transformers 5
WITHOUT_SAFETY_CHECKER = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}


def loading(variant: str | None, runtime: Runtime) -> dict[str, Any]:
    """Return what every loader of weights is told: which files, in which format, no pickle, no network."""
    return {"variant": variant, "dtype": runtime.dtype, "use_safetensors": True, "local_files_only": True}


@contextlib.contextmanager
def reading(source: ModelSource) -> Iterator[None]:
    """Turn what loaders raise over damaged or incomplete files into one sentence."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"{source.name} cannot be loaded ({reason}): fetch it again, or give a complete model."
        ) from error


def free_memory(runtime: Runtime) -> None:
    """Give back at once what networks held that nothing names any more."""
    gc.collect()
    if runtime.device.type == "cuda":
        torch.cuda.empty_cache()


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


@dataclass
class PixelStage:
    """One stage of DeepFloyd IF.

    Attributes:
        denoiser: on pictures ``[N, 3, size, size]`` in [-1, 1].
        size: side in pixels.
        noising_alphas_cumprod: abar of the noise on the picture to enlarge, ``[1000]``; None in stage 1.
    """

    denoiser: Denoiser
    size: int
    noising_alphas_cumprod: torch.Tensor | None = None

    space: ClassVar[PixelSpace] = PixelSpace()
    embeddings: ClassVar[None] = None  # it reads T5's, which all of its cascade share

    @property
    def networks(self) -> list[torch.nn.Module]:
        """What is in memory while it runs, in the order of its turns."""
        return [self.denoiser.unet]

    def shape(self, pictures: torch.Tensor | None) -> tuple[int, int, int]:
        """Return ``(C, h, w)`` of one view's state, whatever ``pictures`` ``[N, 3, h', w']`` are enlarged."""
        return 3, self.size, self.size

    def resize(self, pictures: torch.Tensor) -> torch.Tensor:
        """Bring the pictures to enlarge to the size in which the network is shown them, unclipped."""
        return F.interpolate(pictures, (self.size, self.size), mode="bilinear", align_corners=True)


def load_deepfloyd_stage(source: ModelSource, runtime: Runtime) -> PixelStage:
    """Load the network and the schedulers of one stage; neither T5 nor safety checker nor watermarker.

    Raises:
        UserError: weight files are missing.
    """
    variant = source.weight_variant(runtime.variant, runtime.half)
    folder = source.fetch(variant)
    with reading(source):
        unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet", **loading(variant, runtime))
    noising = None
    if "image_noising_scheduler" in source.components:
        noising = load_noising(folder, "image_noising_scheduler")
    denoiser = Denoiser(runtime.place(unet), source.config("scheduler"), runtime.device, runtime.compile)
    return PixelStage(denoiser, unet.config.sample_size, noising)


def load_noising(folder: Path, component: str) -> torch.Tensor:
    """Return abar of the noise that pictures to enlarge are given, float64 ``[1000]``."""
    return DDPMScheduler.from_pretrained(folder, subfolder=component).alphas_cumprod.double()


# ---------------------------------------------------------------------------------------------- T5


def load_t5_embeddings(source: ModelSource, prompts: list[str], runtime: Runtime) -> dict[str, torch.Tensor]:
    """Return prompt -> T5 embedding ``[1, 77, D]`` on the device, from the disk cache where they are known.

    The encoder is loaded only if a prompt is new, alone, and freed before this returns. The cache key is the content:
    commit or hash of the weights, the weight files' variant, the number format, and the prompt.

    Raises:
        UserError: weight files are missing.
    """
    variant = source.weight_variant(runtime.variant, runtime.half)
    identity = source.identity()
    key = [identity["commit"] or identity["sha256"], variant, str(runtime.dtype)]
    paths = {prompt: _embedding_path([*key, prompt]) for prompt in prompts}
    known = {prompt: load_file(path)["embedding"] for prompt, path in paths.items() if path.exists()}
    missing = [prompt for prompt in paths if prompt not in known]
    new = {}
    if missing:
        folder = source.fetch(variant)
        with reading(source):
            new = _encode_t5(folder, variant, missing, runtime)
    for prompt, embedding in new.items():
        with contextlib.suppress(OSError):  # a cache that cannot be written costs time in the next run, no picture
            paths[prompt].parent.mkdir(parents=True, exist_ok=True)
            write_atomic(paths[prompt], save({"embedding": embedding}))
    return {prompt: embedding.to(runtime.device) for prompt, embedding in (known | new).items()}


def _embedding_path(key: list[str | None]) -> Path:
    name = hashlib.sha256(json.dumps(key).encode()).hexdigest()
    return cache_folder() / "t5_embeddings" / f"{name}.safetensors"


@torch.inference_mode()
def _encode_t5(folder: Path, variant: str | None, prompts: list[str], runtime: Runtime) -> dict[str, torch.Tensor]:
    encoder = T5EncoderModel.from_pretrained(folder / "text_encoder", **loading(variant, runtime))
    pipeline = IFPipeline.from_pretrained(
        folder,
        text_encoder=runtime.place(encoder),
        unet=None,
        watermarker=None,
        local_files_only=True,
        **WITHOUT_SAFETY_CHECKER,
    )
    runtime.offload_in_turn([encoder])
    embeddings = {}
    for prompt in prompts:
        embedding, _ = pipeline.encode_prompt(
            prompt, do_classifier_free_guidance=False, device=runtime.device, clean_caption=False
        )
        embeddings[prompt] = embedding.cpu().contiguous()
    del pipeline, encoder
    free_memory(runtime)
    return embeddings

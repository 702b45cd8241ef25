"""What both letter stages share: schedulers as DeepFloyd IF has them, the loss, saving."""

import shutil
from pathlib import Path

import torch
from diffusers import DDPMScheduler, DiffusionPipeline
from torch.nn import functional as F

FIXED_SMALL = -1.0


def make_scheduler(sample_max_value: float, timestep_spacing: str = "leading") -> DDPMScheduler:
    """Return IF's scheduler: cosine, learned variance, dynamic thresholding; it predicts v.

    "trailing" starts at the noisiest timestep whatever the number of steps: few of them need it.
    """
    return DDPMScheduler(
        beta_schedule="squaredcos_cap_v2",
        variance_type="learned_range",
        prediction_type="v_prediction",
        thresholding=True,
        dynamic_thresholding_ratio=0.95,
        sample_max_value=sample_max_value,
        timestep_spacing=timestep_spacing,
    )


def make_noising_scheduler() -> DDPMScheduler:
    """Return the scheduler that adds noise to the low-resolution picture of the super-resolution stage."""
    return DDPMScheduler(beta_schedule="squaredcos_cap_v2", thresholding=True)


def spread_timesteps(count: int, device: str) -> torch.Tensor:
    """Return one random timestep in each of ``count`` equal parts of 0..999, in random order."""
    parts = (torch.randperm(count) + torch.rand(count)) / count
    return (1000 * parts).long().clamp(max=999).to(device)


def diffusion_loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the loss of a network with IF's six output channels.

    The first half is compared with v. The variance half is held at -1, which the schedulers read as the posterior's
    own variance ("fixed small"), so that stock pipelines sample well.
    """
    v, variance = output.float().chunk(2, dim=1)
    return F.mse_loss(v, target) + 0.01 * (variance - FIXED_SMALL).square().mean()


def save_folder(pipeline: DiffusionPipeline, folder: Path, texts: dict[str, str]) -> None:
    """Save a pipeline as safetensors, and text files beside it; a folder that exists is replaced in one move."""
    fresh, old = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
    shutil.rmtree(fresh, ignore_errors=True)
    pipeline.save_pretrained(fresh, safe_serialization=True)
    for name, text in texts.items():
        (fresh / name).write_text(text)
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.replace(old)
    fresh.replace(folder)
    shutil.rmtree(old, ignore_errors=True)

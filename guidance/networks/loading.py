"""What every family's loader shares: local folders in the Hub's layout, safetensors only, no remote code."""

import contextlib
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from diffusers.schedulers import DDPMScheduler
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError
from transformers.utils import logging as transformers_logging

from utils.errors import UserError
from utils.models.model_source import ModelSource
from utils.models.runtime import Runtime

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


def load_noising(folder: Path, component: str) -> torch.Tensor:
    """Return abar of the noise that pictures to enlarge are given, float64 ``[1000]``."""
    return DDPMScheduler.from_pretrained(folder, subfolder=component).alphas_cumprod.double()

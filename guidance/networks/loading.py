"""What every family's loader shares: local folders in the Hub's layout, safetensors only, no remote code.

A network is loaded whole or not at all: libraries fill in at random what a file lacks, and only print that.
"""

import contextlib
import gc
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import torch
from diffusers.utils import logging as diffusers_logging
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from utils.models.model_source import ModelSource
from utils.models.runtime import Runtime

diffusers_logging.disable_progress_bar()
transformers_logging.disable_progress_bar()

# what a file of CLIP's text encoder may hold besides: parts of the whole CLIP
OTHER_PARTS = ("text_projection.", "vision_model.", "visual_projection.", "logit_scale")


def load_network(network_class: Any, source: ModelSource, component: str, runtime: Runtime) -> Any:
    """Load one component, in the runtime's number format, in main memory.

    Args:
        network_class: a model class of diffusers or transformers.
        component: its subfolder, or ``ALONE`` where the source is nothing but this network.

    Raises:
        UserError: weight files are missing or damaged, or they do not hold just what the configuration describes.
    """
    variant = source.weight_variant(runtime.variant, runtime.half)
    folder = source.fetch(variant)
    told: dict[str, Any] = {
        "variant": variant,
        "dtype": runtime.dtype,
        "use_safetensors": True,
        "local_files_only": True,
        "output_loading_info": True,
    }
    if issubclass(network_class, PreTrainedModel):
        told["ignore_mismatched_sizes"] = True  # in order to be told of them, below
    with reading(source):
        loaded: Any = network_class.from_pretrained(folder / component, **told)
    network, report = loaded
    _check_report(report, source, component)
    return network


def _check_report(report: Mapping[str, Collection[Any]], source: ModelSource, component: str) -> None:
    """Raise UserError unless a file held the tensors of its network, all of them and no others."""
    faults = {
        "lacks": list(report["missing_keys"]),
        "has other shapes of": [name for name, *_ in report["mismatched_keys"]],
        "has beside its network": [name for name in report["unexpected_keys"] if not name.startswith(OTHER_PARTS)],
    }
    for fault, names in faults.items():
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise source.unusable(f"{component or 'its file'} {fault} {min(names)}{more}")


@contextlib.contextmanager
def reading(source: ModelSource) -> Iterator[None]:
    """Turn whatever libraries raise over damaged or incomplete files into one sentence, and keep them from printing.

    Raises:
        UserError: the body raised.
    """
    levels = [(logging, logging.get_verbosity()) for logging in (diffusers_logging, transformers_logging)]
    for logging, _ in levels:
        logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError):
        raise  # of the machine, not of the files
    except Exception as error:  # libraries raise anything from KeyError to RuntimeError
        raise source.unusable(_first_sentence(error)) from error
    finally:
        for logging, level in levels:
            logging.set_verbosity(level)


def _first_sentence(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0].split(". ")[0].rstrip(".:") if lines else "") or type(error).__name__


def free_memory(runtime: Runtime) -> None:
    """Give back at once what networks held that nothing names any more."""
    gc.collect()
    if runtime.device.type == "cuda":
        torch.cuda.empty_cache()

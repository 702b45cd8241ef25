"""Kinds of components: of which class one is, and what its configuration has to say.

Libraries fill in what a configuration leaves out; the picture is then another one. So whatever decides a picture must
be said. Nothing here imports torch.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

LARGEST = 2**20  # no size in any configuration is above


class Kind(NamedTuple):
    """What a value must be: in words, and as a test."""

    words: str
    holds: Callable[[Any], bool]


def is_size(value: Any) -> bool:
    """True for a whole number from 1 on that can be a size."""
    return type(value) is int and 1 <= value <= LARGEST


def is_number(value: Any) -> bool:
    """True for a finite number."""
    return type(value) in (int, float) and math.isfinite(value)


def is_list(value: Any, holds: Callable[[Any], bool]) -> bool:
    """True for a list of one or more values for which ``holds`` is true."""
    return isinstance(value, list) and bool(value) and all(map(holds, value))


def one_of(*allowed: Any) -> Kind:
    """Return the kind of a value that is one of these."""
    return Kind(" or ".join(json.dumps(value) for value in allowed), lambda value: value in allowed)


SIZE = Kind("a whole number above 0", is_size)
SIZES = Kind("a list of whole numbers above 0", lambda value: is_list(value, is_size))
SIZE_OR_SIZES = Kind("a whole number above 0 or a list of them", lambda value: is_size(value) or SIZES.holds(value))
COUNT = Kind("a whole number", lambda value: type(value) is int and 0 <= value <= LARGEST)
NUMBER = Kind("a number", is_number)
POSITIVE = Kind("a number above 0", lambda value: is_number(value) and value > 0)
SHARE = Kind("a number above 0, at most 1", lambda value: is_number(value) and 0 < value <= 1)
FLAG = Kind("true or false", lambda value: isinstance(value, bool))
NAME = Kind("a name", lambda value: isinstance(value, str) and bool(value))
NAMES = Kind("a list of names", lambda value: is_list(value, NAME.holds))
NOTHING = one_of(None)


@dataclass(frozen=True)
class Part:
    """A kind of component.

    Attributes:
        classes: names of the classes that it may be of.
        wanted: what a message calls these.
        fields: what its configuration must say.
        optional: what it may say besides; older models do not.
    """

    classes: tuple[str, ...]
    wanted: str = ""
    fields: Mapping[str, Kind] = field(default_factory=dict)
    optional: Mapping[str, Kind] = field(default_factory=dict)


# those that describe their noise by betas; flow matching is something else
SCHEDULERS = tuple(
    f"{name}Scheduler"
    for name in (
        "DDIM", "DDIMParallel", "DDPM", "DDPMParallel", "PNDM", "LMSDiscrete", "EulerDiscrete",
        "EulerAncestralDiscrete", "HeunDiscrete", "KDPM2Discrete", "KDPM2AncestralDiscrete", "DPMSolverMultistep",
        "DPMSolverSinglestep", "DPMSolverSDE", "DEISMultistep", "UniPCMultistep", "SASolver", "LCM", "TCD",
    )
)  # fmt: skip
PARTS = {
    "unet": Part(
        ("UNet2DConditionModel",),
        fields={
            "sample_size": SIZE, "in_channels": SIZE, "out_channels": SIZE, "block_out_channels": SIZES,
            "down_block_types": NAMES, "up_block_types": NAMES, "layers_per_block": SIZE_OR_SIZES,
            "attention_head_dim": SIZE_OR_SIZES, "cross_attention_dim": SIZE_OR_SIZES, "norm_num_groups": SIZE,
            "norm_eps": POSITIVE, "act_fn": NAME, "flip_sin_to_cos": FLAG, "freq_shift": NUMBER,
        },
        optional={"addition_embed_type": one_of(None, "text")},
    ),
    "vae": Part(
        ("AutoencoderKL",),
        fields={
            "in_channels": one_of(3), "out_channels": one_of(3), "latent_channels": SIZE, "block_out_channels": SIZES,
            "down_block_types": NAMES, "up_block_types": NAMES, "layers_per_block": SIZE, "norm_num_groups": SIZE,
            "act_fn": NAME,
        },
        optional={
            "scaling_factor": POSITIVE, "shift_factor": one_of(None, 0), "latents_mean": NOTHING,
            "latents_std": NOTHING,
        },
    ),
    "controlnet": Part(
        ("ControlNetModel",),
        fields={
            "in_channels": SIZE, "block_out_channels": SIZES, "down_block_types": NAMES,
            "layers_per_block": SIZE, "attention_head_dim": SIZE_OR_SIZES, "cross_attention_dim": SIZE,
            "norm_num_groups": SIZE, "norm_eps": POSITIVE, "act_fn": NAME, "flip_sin_to_cos": FLAG,
            "freq_shift": NUMBER, "conditioning_embedding_out_channels": SIZES,
        },
        optional={
            "conditioning_channels": one_of(3), "class_embed_type": NOTHING, "num_class_embeds": NOTHING,
            "addition_embed_type": NOTHING, "encoder_hid_dim": NOTHING, "global_pool_conditions": one_of(False),
        },
    ),
    "clip": Part(
        ("CLIPTextModel",),
        fields={
            "model_type": one_of("clip_text_model"), "vocab_size": SIZE, "hidden_size": SIZE,
            "intermediate_size": SIZE, "num_hidden_layers": SIZE, "num_attention_heads": SIZE,
            "max_position_embeddings": SIZE, "hidden_act": NAME, "layer_norm_eps": POSITIVE,
        },
    ),
    "t5": Part(
        ("T5EncoderModel",),
        fields={
            "model_type": one_of("t5"), "vocab_size": SIZE, "d_model": SIZE, "d_kv": SIZE, "d_ff": SIZE,
            "num_layers": SIZE, "num_heads": SIZE, "relative_attention_num_buckets": SIZE, "feed_forward_proj": NAME,
            "layer_norm_epsilon": POSITIVE,
        },
    ),
    "clip_tokenizer": Part(("CLIPTokenizer", "CLIPTokenizerFast")),
    "t5_tokenizer": Part(("T5Tokenizer", "T5TokenizerFast")),
    "betas": Part(
        SCHEDULERS,
        "a scheduler with betas, such as DDIMScheduler",
        fields={
            "num_train_timesteps": SIZE, "beta_start": SHARE, "beta_end": SHARE,
            "beta_schedule": one_of("linear", "scaled_linear", "squaredcos_cap_v2"),
        },
        optional={
            "timestep_spacing": one_of("leading", "trailing", "linspace"), "steps_offset": COUNT,
            "set_alpha_to_one": FLAG, "rescale_betas_zero_snr": FLAG, "thresholding": FLAG,
            "dynamic_thresholding_ratio": SHARE, "sample_max_value": POSITIVE,
        },
    ),
}  # fmt: skip

"""Options of a ControlNet, which lets pictures such as depth steer Stable Diffusion. Nothing here imports torch."""

import dataclasses
from typing import TYPE_CHECKING

from utils.errors import UserError
from utils.models.components import ALONE, text_width
from utils.options import option

if TYPE_CHECKING:
    from utils.models.model_source import ModelSource


@dataclasses.dataclass(frozen=True, kw_only=True)
class ControlOptions:
    """The options that apps with depth share; they take them over by :func:`utils.options.refine`."""

    control_path: str | None = option(
        "for --depth: ControlNet for depth that belongs to --sd_path, folder or Hub id such as "
        "lllyasviel/control_v11f1p_sd15_depth for Stable Diffusion 1.5", weights={ALONE: "controlnet"},
    )  # fmt: skip
    control_scale: float | None = option("for --depth: how much the ControlNet counts; 0 is not at all", low=0.0,
                                         high=10.0, default_text="1")  # fmt: skip


def check_control(control: "ModelSource", model: "ModelSource") -> None:
    """Check that a ControlNet was made for a Stable Diffusion, as far as configurations say.

    Args:
        control: that ``--control_path`` names.
        model: that ``--sd_path`` names.

    Raises:
        UserError: their networks have other sizes.
    """
    config, unet, vae = control.config(ALONE), model.config("unet"), model.config("vae")
    pairs = {
        "reads text of width": (text_width(config), text_width(unet)),
        "works on latents with channels": (config["in_channels"], vae["latent_channels"]),
        "has blocks of channels": (config["block_out_channels"], unet["block_out_channels"]),
        "has layers per block": (config["layers_per_block"], unet["layers_per_block"]),
        "takes pixels per cell": (
            2 ** (len(config["conditioning_embedding_out_channels"]) - 1),
            2 ** (len(vae["block_out_channels"]) - 1),
        ),
    }
    for what, (has, wanted) in pairs.items():
        if has != wanted:
            raise UserError(
                f"--control_path {control.name} {what} {has}, --sd_path {model.name} {wanted}: give a ControlNet that "
                "was trained with this Stable Diffusion, or the Stable Diffusion that it belongs to."
            )

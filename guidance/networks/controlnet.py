"""ControlNet: pictures, such as depth, that steer a UNet by what is added to its inner layers."""

from typing import Any

import torch
from diffusers import ControlNetModel, UNet2DConditionModel

from guidance.networks.loading import load_network
from utils.models.components import ALONE
from utils.models.model_source import ModelSource
from utils.models.runtime import Runtime


class ControlledUNet(torch.nn.Module):
    """A UNet and the ControlNet that steers it as one network: they share their turn on the device.

    Both see the same x_t, timestep and text, with guidance in both halves, as in diffusers'
    ``StableDiffusionControlNetPipeline`` without its ``guess_mode``.

    Args:
        unet: ``UNet2DConditionModel`` or alike.
        control: ``ControlNetModel`` or alike, of the same dtype.
        scale: by which its residuals are multiplied.
    """

    def __init__(self, unet: Any, control: Any, scale: float):
        super().__init__()
        self.unet, self.control, self.scale = unet, control, scale

    @property
    def dtype(self) -> torch.dtype:
        """The number format of both."""
        return self.unet.dtype

    def forward(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        controlnet_cond: torch.Tensor,
        class_labels: torch.Tensor | None = None,
        return_dict: bool = False,
    ) -> tuple[torch.Tensor]:
        """Predict as the UNet does, ``[N, C, h, w]``.

        Args:
            sample, timestep, encoder_hidden_states, class_labels: as the UNet takes them.
            controlnet_cond: pictures ``[N, 3, h * scale, w * scale]`` in [0, 1].
            return_dict: False, for a tuple.
        """
        of_blocks, of_middle = self.control(
            sample, timestep, encoder_hidden_states, controlnet_cond, self.scale, return_dict=False
        )
        return self.unet(
            sample,
            timestep,
            encoder_hidden_states=encoder_hidden_states,
            class_labels=class_labels,
            down_block_additional_residuals=of_blocks,
            mid_block_additional_residual=of_middle,
            return_dict=return_dict,
        )


def with_control(unet: UNet2DConditionModel, source: ModelSource, scale: float, runtime: Runtime) -> ControlledUNet:
    """Load a ControlNet and let it steer a UNet, both in main memory.

    Raises:
        UserError: weight files are missing, damaged or incomplete.
    """
    return ControlledUNet(unet, load_network(ControlNetModel, source, ALONE, runtime), scale)

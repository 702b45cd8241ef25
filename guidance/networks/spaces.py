"""Where the state of a stage lives: in pixels, or in the latents of a VAE. The canvas is a picture in either."""

from typing import Any

import torch


class PixelSpace:
    """The state of a view is a picture.

    Attributes:
        latent: whether views act on something other than the state.
        scale: pixels per cell of the state.
    """

    latent = False
    scale = 1

    def encode(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return the states ``[N, C, h, w]`` of pictures ``[N, 3, h * scale, w * scale]`` in [-1, 1]."""
        return pictures

    def decode(self, x_ts: torch.Tensor) -> torch.Tensor:
        """Return the pictures ``[N, 3, h * scale, w * scale]`` of states ``[N, C, h, w]``."""
        return x_ts


class LatentSpace(PixelSpace):
    """The state of a view is what a VAE makes of its picture; one view at a time, which bounds memory.

    Args:
        vae: ``AutoencoderKL`` or alike, frozen, in its own dtype.
        scaling_factor: latents are this times what the VAE encodes.
        device: where ``vae`` runs.

    Attributes:
        channels: C of the latents.
    """

    latent = True

    def __init__(self, vae: Any, scaling_factor: float, device: torch.device):
        self.vae, self.scaling_factor, self.device = vae, scaling_factor, device
        self.channels = vae.config.latent_channels
        self.scale = 2 ** (len(vae.config.block_out_channels) - 1)

    @torch.inference_mode()
    def encode(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return the mean of the VAE's distribution: the same latents every time."""
        return torch.cat([self._encode(picture) for picture in pictures.split(1)])

    @torch.inference_mode()
    def decode(self, x_ts: torch.Tensor) -> torch.Tensor:
        """Return the pictures ``[N, 3, h * scale, w * scale]``, meant to lie in [-1, 1], float32."""
        return torch.cat([self._decode(x_t) for x_t in x_ts.split(1)])

    def _encode(self, picture: torch.Tensor) -> torch.Tensor:
        distribution = self.vae.encode(picture.to(self.device, self.vae.dtype), return_dict=False)[0]
        return distribution.mode().to(picture.dtype) * self.scaling_factor

    def _decode(self, x_t: torch.Tensor) -> torch.Tensor:
        latents = x_t.to(self.device, self.vae.dtype) / self.scaling_factor
        return self.vae.decode(latents, return_dict=False)[0].float()

"""Blurs that do the same to a picture at every size, and keep its mean."""

import math

import torch
import torch.nn.functional as F


def gaussian_blur(im: torch.Tensor, sigma: float) -> torch.Tensor:
    """Blur ``[C, h, h]`` by ``sigma`` (share of the side); beyond its edge the picture is mirrored."""
    kernel = _gaussian(im.shape[-1], sigma).to(im.dtype).to(im.device)
    return kernel @ im @ kernel.T


def _gaussian(size: int, sigma: float) -> torch.Tensor:
    """Return the symmetric matrix ``[size, size]`` that blurs a row, mirrored at both ends; float64.

    Every row and column sums to 1. The mirrored row repeats after twice its length.
    """
    width = sigma * size
    repeats = math.ceil(4 * sigma) + 1
    steps = torch.arange(2 * size, dtype=torch.float64)
    far = steps[:, None] + 2 * size * torch.arange(-repeats, repeats + 1)
    wrapped = torch.exp(-(far**2) / (2 * width**2)).sum(dim=1)
    wrapped = wrapped / wrapped.sum()
    pixel = torch.arange(size)
    apart, mirrored = (pixel[:, None] - pixel) % (2 * size), pixel[:, None] + pixel + 1
    return wrapped[apart] + wrapped[mirrored]


def motion_blur(im: torch.Tensor, length: float, angle: float) -> torch.Tensor:
    """Smear ``[C, h, h]`` along a line of ``length`` (share of the side), mirrored beyond its edge.

    Args:
        angle: degrees clockwise from level.
    """
    kernel = _smear(length * im.shape[-1], angle).to(im.dtype).to(im.device)
    reach = kernel.shape[-1] // 2
    padded = F.pad(im, (reach,) * 4, mode="reflect")
    shape = padded.shape[-2:]
    spectrum = torch.fft.rfft2(padded) * torch.fft.rfft2(kernel, s=shape)
    smeared = torch.fft.irfft2(spectrum, s=shape)
    return smeared[:, 2 * reach :, 2 * reach :].contiguous()


def _smear(length: float, angle: float) -> torch.Tensor:
    """Return the kernel ``[k, k]``, k odd, of a line of ``length`` pixels through its middle; its sum is 1; float64."""
    reach = math.ceil(length / 2) + 1
    along = torch.linspace(-length / 2, length / 2, 4 * reach + 1, dtype=torch.float64)
    x = reach + along * math.cos(math.radians(angle))
    y = reach + along * math.sin(math.radians(angle))
    pixel = torch.arange(2 * reach + 1)
    on_x = (1 - (x[:, None] - pixel).abs()).clamp(min=0)
    on_y = (1 - (y[:, None] - pixel).abs()).clamp(min=0)
    return on_y.T @ on_x / len(along)

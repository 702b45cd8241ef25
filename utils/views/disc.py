"""A disc around the picture's centre."""

import torch


def centred(size: int, device: torch.device) -> torch.Tensor:
    """Return the coordinates ``[size]`` of pixel centres, 0 in the middle of the picture; float32."""
    return torch.arange(size, device=device, dtype=torch.float32) - (size - 1) / 2


def disc(size: int, radius: float, device: torch.device) -> torch.Tensor:
    """Return the mask ``[size, size]`` of the pixels whose centre lies within ``radius`` (share of the side)."""
    axis = centred(size, device)
    return axis[:, None] ** 2 + axis[None, :] ** 2 <= (radius * size) ** 2

"""Views for tests: every name of the registry, some with parameters of their own."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageChops

from utils.views import VIEWS, get_views
from utils.views.view_base import BaseView, from_tensor

VARIANTS = (
    "rotate:angle=-270",
    "rotate:angle=30",
    "inner_rotate:angle=45",
    "inner_rotate:angle=-180",
    "inner_circle:turns=3,radius=0.5",
    "skew:slope=-0.3",
    "patch_permute:grid=2,seed=0",
    "patch_permute:grid=8,seed=7",
    "pixel_permute:grid=16,seed=4294967295",
    "jigsaw:grid=2,seed=5",
    "jigsaw:grid=8,seed=7",
    "square_hinge:grid=16",
    "low_pass:sigma=0.5",
    "band_pass:coarse=0.1,fine=0.001",
    "high_pass:sigma=0.01",
    "motion:length=0.3,angle=30",
    "motion_res:length=0.015625,angle=-90",
    "scale:weight=0.25",
)
SAMPLES = (*VIEWS, *VARIANTS)
LINEAR = {"rotate", "rotate:angle=30", "inner_rotate:angle=45"}
COMPONENTS = {"low_pass", "band_pass", "high_pass", "grayscale", "color", "motion", "motion_res", "scale"}
ORTHOGONAL = tuple(text for text in SAMPLES if text not in LINEAR and text.split(":")[0] not in COMPONENTS)


def permutation_file(folder: Path, grid: int = 8) -> Path:
    """Write a permutation of 8 by 8 cells."""
    path = folder / f"perm-{grid}.npy"
    if not path.exists():
        np.save(path, np.random.RandomState(3).permutation(grid * grid))
    return path


def text_of(sample: str, folder: Path) -> str:
    """Return what the command line takes: ``permutation`` needs a file, written to ``folder``."""
    return f"permutation:file={permutation_file(folder)}" if sample == "permutation" else sample


def build(sample: str, folder: Path, angle: float | None = 90.0) -> BaseView:
    return get_views([text_of(sample, folder)], angle)[0]


def noise(size: int, dtype: torch.dtype = torch.float32, channels: int = 3) -> torch.Tensor:
    """Every pixel is different, also in half precision, as far as it has numbers."""
    return torch.randn(channels, size, size, generator=torch.Generator().manual_seed(size)).to(dtype)


def smooth(size: int) -> torch.Tensor:
    """A picture ``[3, h, h]`` of waves in [-1, 1], the same at every size."""
    axis = (torch.arange(size) + 0.5) / size
    y, x = axis[:, None], axis[None, :]
    waves = [torch.sin(7 * x + 3 * y), torch.cos(5 * y - 2 * x) * x, torch.sin(9 * x * y + 1)]
    return torch.stack([wave.expand(size, size) for wave in waves])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("views")


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    return from_tensor(smooth(64) * 0.8)


def apart(a: Image.Image, b: Image.Image) -> float:
    """Mean difference in levels of 255."""
    return float(np.asarray(ImageChops.difference(a, b), dtype=float).mean())


def same(a: Image.Image, b: Image.Image) -> bool:
    return a.mode == b.mode and a.size == b.size and a.tobytes() == b.tobytes()

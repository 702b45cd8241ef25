"""Wide images: one latent canvas, seen through overlapping windows that Stable Diffusion can denoise."""

from collections.abc import Iterable, Iterator, Sequence

import torch
from PIL import Image

from guidance.base_model import BaseModel, Stage, StepState, mean_dtype
from guidance.networks.denoisers import Conditioning
from guidance.networks.stable_diffusion import LatentModel, load_stable_diffusion
from guidance.synchronization import ALONE, Tensors
from guidance.wide_image_app import WideImageOptions, crop_strip
from guidance.windows import (
    Window,
    WindowGrid,
    extra_steps,
    paste,
    shift_at,
    shifted_starts,
    window_starts,
    window_weights,
)
from utils.images import to_pil, to_unit_range
from utils.models.model_source import ModelSource
from utils.models.runtime import Runtime
from utils.prompts import FileEntry, PictureRequest

OVERLAP = 4  # decoded tiles share one part in so many with the next


class WideImageModel(BaseModel):
    """One prompt on a canvas of any size.

    Args:
        options: sizes are multiples of the VAE's scale.
        latent_model: network, VAE and text encoder; latents have C channels and windows of side h.
    """

    options: WideImageOptions

    def __init__(self, options: WideImageOptions, latent_model: LatentModel):
        self.latent_model = latent_model
        self.height = options.panorama_height // latent_model.vae_scale
        self.width = options.panorama_width // latent_model.vae_scale
        self.window = latent_model.window
        self.embeddings: dict[str, torch.Tensor] = {}
        super().__init__(options)

    @classmethod
    def load(cls, options: WideImageOptions, sources: dict[str, ModelSource], runtime: Runtime) -> "WideImageModel":
        """Load the weights that ``--sd_path`` names and return the model."""
        return cls(options, load_stable_diffusion(sources["sd_path"], runtime))

    def prepare(self, prompts: Sequence[str]) -> None:
        """Encode the prompts that are not known yet, and the empty one; the text encoder is freed afterwards."""
        self.embeddings = self.latent_model.text.encode_prompts(["", *prompts])

    # ------------------------------------------------------------------------------ mapping

    def init_mapper(self) -> None:
        """List the windows ``(h_start, h_end, w_start, w_end)`` and sum the weights with which they cover each cell.

        Raises:
            ValueError: a cell of the canvas that no window covers.
        """
        device = self.latent_model.denoiser.device
        self.window_weights = window_weights(self.options.reduction, self.options.weight_map, self.window)
        self.window_weights = self.window_weights.to(mean_dtype(device)).to(device)
        self.use(self._grid(self.options.window_stride), self.window_weights)
        if not (self.grid.rows.covered and self.grid.columns.covered):
            raise ValueError(f"windows of {self.window} at stride {self.options.window_stride} leave cells uncovered")

    def use(self, grid: WindowGrid, weights: torch.Tensor) -> None:
        """Look through these windows from now on, whose cells weigh ``[N, 1, h, w]``, or all the same ``[h, w]``."""
        self.grid, self.mapper, self.weights = grid, grid.windows, weights
        self.totals = grid.add(weights.expand(len(self.mapper), 1, -1, -1))

    def set_step(self, step_index: int) -> None:
        """With ``--window_schedule shifted``, move the windows."""
        super().set_step(step_index)
        if self.options.window_schedule == "shifted":
            grid = self._shifted_grid(step_index)
            self.use(grid, self.window_weights * grid.edge_mask(self.window_weights))

    def forward_mapping(self, z_t: torch.Tensor, bg: torch.Tensor | None = None) -> torch.Tensor:
        """Crop the windows: ``[1, C, H, W]`` -> ``[N, C, h, w]``. The canvas covers them all: ``bg`` never shows.

        The obvious loop is ``torch.cat([z_t[..., top:bottom, left:right] for top, bottom, left, right in mapper])``;
        ``tests/test_wide_mapping.py::test_windows_are_crops`` compares with it.
        """
        return self.grid.crop(z_t)

    def inverse_mapping(self, x_ts: torch.Tensor) -> torch.Tensor:
        """Paste the windows and average where they overlap: ``[N, C, h, w]`` -> ``[1, C, H, W]``.

        The obvious loop is, for each window, ``value[..., top:bottom, left:right] += weight * x_t`` and
        ``total[..., top:bottom, left:right] += weight``, then ``value / total``;
        ``tests/test_wide_mapping.py::test_the_mean_is_weighted_by_coverage`` compares with it.
        """
        sums = self.grid.add(x_ts.to(self.weights.dtype) * self.weights)
        return (sums / self.totals).to(x_ts.dtype)

    def _grid(self, stride: int) -> WindowGrid:
        rows = window_starts(self.height, self.window, stride)
        columns = window_starts(self.width, self.window, stride, self.options.circular)
        return WindowGrid(rows, columns, self.window, self.height, self.width)

    def _shifted_grid(self, step_index: int) -> WindowGrid:
        down, right = (shift_at(first, step_index) for first in self.shifts)
        rows, columns = (step_index in steps for steps in self.extra)
        tops = shifted_starts(self.height, self.window, down, extra=rows)
        lefts = shifted_starts(self.width, self.window, right, self.options.circular, columns)
        return WindowGrid(tops, lefts, self.window, self.height, self.width)

    def _extra_steps(self) -> list[range]:
        """Return the steps in which shifted windows may be one more row, and those of one more column."""
        sides, steps = (self.height, self.width), len(self.stage.schedule.timesteps)
        axes = sum(side > self.window for side in sides)
        return [extra_steps(-(-side // self.window), steps, max(1, axes)) for side in sides]

    # ------------------------------------------------------------------------------ making a picture

    def generate(self, request: PictureRequest, seed: int) -> Iterator[StepState]:
        """Go all steps of one picture; see :class:`guidance.app.Model`."""
        negative = request.inputs.get("negative_prompt") or ""
        conditioning = Conditioning(self.embeddings[request.prompts[0]], self.embeddings[negative])
        self.open_stage(Stage.from_options(self.options, self.latent_model.denoiser, conditioning))
        self.extra = self._extra_steps()
        shifts = torch.Generator("cpu").manual_seed(seed)  # apart from the noise: steps draw what they draw
        self.shifts = torch.rand(2, generator=shifts, dtype=torch.float64).tolist()
        generator = torch.Generator("cpu").manual_seed(seed)
        channels = self.latent_model.channels
        states = self.initial_states(
            (1, channels, self.height, self.width), (len(self.mapper), channels, self.window, self.window), generator
        )
        for state in self.denoise(states, generator):
            self.last = state
            yield state

    def render(self, state: StepState, files: Sequence[FileEntry]) -> dict[str, Image.Image | bytes]:
        """Return the strip and its crops by file name."""
        alone = self.options.case == ALONE
        strip = to_pil(self.decode_views(state.x_t_1) if alone else self.decode_canvas(state.z_t_1))
        return {
            entry["file"]: strip if entry["role"] == "strip" else crop_strip(strip, entry["position"])
            for entry in files
            if entry["role"] in ("strip", "crop")
        }

    def preview(self, state: StepState) -> Image.Image:
        """Return the strip of x0."""
        alone = self.options.case == ALONE
        return to_pil(self.decode_views(state.x0s) if alone else self.decode_canvas(state.z0s))

    def latents(self) -> Tensors:
        """Return ``canvas`` ``[1, C, H, W]``, or ``views`` ``[N, C, h, w]`` where ``--sync none`` averages nothing."""
        if self.options.case == ALONE:
            return {"views": self.last.x_t_1.float().cpu()}
        return {"canvas": self.last.z_t_1.float().cpu()}

    # ------------------------------------------------------------------------------ decoding

    @property
    def tiles(self) -> list[Window]:
        """The parts in which a canvas is decoded, in cells."""
        return self._grid(self.window - self.window // OVERLAP).windows

    def decode_canvas(self, z: torch.Tensor) -> torch.Tensor:
        """Decode a canvas once, in overlapping tiles that fade into each other.

        Args:
            z: latents ``[1, C, H, W]``.

        Returns:
            ``[3, H * vae_scale, W * vae_scale]`` in [0, 1].
        """
        ring = torch.cat([z, z[..., : self.window]], dim=-1) if self.options.circular else z
        scale, tiles = self.latent_model.vae_scale, self.tiles
        fade = _fade(self.window * scale, self.window // OVERLAP * scale)
        latents = (ring[..., top:bottom, left:right] for top, bottom, left, right in tiles)
        return self._blend(tiles, latents, [fade] * len(tiles))

    def decode_views(self, x_ts: torch.Tensor) -> torch.Tensor:
        """Decode every window by itself and show each where its centre is nearest: views as they are, not averaged.

        Args:
            x_ts: latents ``[N, C, h, w]``.

        Returns:
            ``[3, H * vae_scale, W * vae_scale]`` in [0, 1].
        """
        return self._blend(self.mapper, x_ts.split(1), self._ownership())

    def _blend(self, tiles: list[Window], latents: Iterable[torch.Tensor], weights: list[torch.Tensor]) -> torch.Tensor:
        """Return the mean of decoded tiles, each clamped to [0, 1], weighted per pixel by ``weights`` ``[h, w]``."""
        scale = self.latent_model.vae_scale
        places = [(top * scale, bottom * scale, left * scale, right * scale) for top, bottom, left, right in tiles]
        height, width = self.height * scale, self.width * scale
        decoded = (
            torch.cat([to_unit_range(self.latent_model.decode(latent))[0].cpu() * weight, weight[None]])
            for latent, weight in zip(latents, weights, strict=True)
        )
        sums = paste(zip(places, decoded, strict=True), height, width)[0]
        return sums[:3] / sums[3:]

    def _ownership(self) -> list[torch.Tensor]:
        """Return for every window a mask ``[h, w]`` in pixels: 1 where no other window's centre is nearer."""
        axis = torch.arange(self.window) - (self.window - 1) / 2
        distance = (axis[:, None] ** 2 + axis[None, :] ** 2).double()
        nearest = torch.full((self.height, self.width), float("inf"), dtype=torch.float64)
        owner = torch.zeros(self.height, self.width, dtype=torch.long)
        for index, (top, bottom, left, right) in enumerate(self.mapper):
            columns = torch.arange(left, right) % self.width
            rows = torch.arange(top, bottom)[:, None]
            nearer = distance < nearest[rows, columns]
            nearest[rows, columns] = torch.where(nearer, distance, nearest[rows, columns])
            owner[rows, columns] = torch.where(nearer, index, owner[rows, columns])
        scale = self.latent_model.vae_scale
        masks = []
        for index, (top, bottom, left, right) in enumerate(self.mapper):
            mask = owner[torch.arange(top, bottom)[:, None], torch.arange(left, right) % self.width] == index
            masks.append(mask.repeat_interleave(scale, 0).repeat_interleave(scale, 1).float())
        return masks


def _fade(size: int, overlap: int) -> torch.Tensor:
    """Return weights ``[size, size]`` that rise linearly over ``overlap`` pixels from each edge, never zero."""
    edge = torch.arange(size)
    ramp = (torch.minimum(edge, size - 1 - edge) + 1).clamp(max=max(1, overlap)).float()
    return ramp[:, None] * ramp[None, :]

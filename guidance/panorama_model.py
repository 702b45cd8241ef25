"""360-degree panoramas: an equirectangular canvas of latents, seen by cameras at the centre of the sphere."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from guidance.base_model import BaseModel, Stage, StepState
from guidance.networks.denoisers import Conditioning
from guidance.networks.stable_diffusion import LatentModel, load_stable_diffusion
from guidance.panorama_app import BANDS, CANVAS_HEIGHT, PanoramaOptions, band_index, place_shares
from guidance.projection import SphereProjection, corrected
from guidance.synchronization import Tensors
from guidance.windows import window_weights
from utils.cameras import CUBE, NOVEL, band_rows
from utils.depth import read_depth
from utils.gpano import sphere_xmp
from utils.images import XMP, to_pil, to_unit_range
from utils.models.model_source import ModelSource
from utils.models.runtime import Runtime
from utils.prompts import FileEntry, PictureRequest
from utils.scoring.sphere_figures import spread
from utils.sphere import Band, Camera, canvas_directions, look, look_along

SHARPEN = 4  # power of the weights in the finished picture: overlaps belong mostly to one view, which keeps them sharp


class PanoramaModel(BaseModel):
    """A sphere of which Stable Diffusion denoises perspective views.

    Args:
        options: complete.
        latent_model: network, VAE and text encoder; latents have C channels, views have side h.
    """

    options: PanoramaOptions

    def __init__(self, options: PanoramaOptions, latent_model: LatentModel):
        self.latent_model = latent_model
        self.size, self.scale = latent_model.window, latent_model.vae_scale
        self.height = CANVAS_HEIGHT * self.size
        self.embeddings: dict[str, torch.Tensor] = {}
        super().__init__(options)

    @classmethod
    def load(cls, options: PanoramaOptions, sources: dict[str, ModelSource], runtime: Runtime) -> "PanoramaModel":
        """Load the weights that ``--sd_path`` and ``--control_path`` name and return the model."""
        control, scale = sources.get("control_path"), options.control_scale or 0.0  # None where there is no ControlNet
        return cls(options, load_stable_diffusion(sources["sd_path"], runtime, control, scale))

    def prepare(self, prompts: Sequence[str]) -> None:
        """Encode the prompts that are not known yet, and the empty one; the text encoder is freed afterwards."""
        self.embeddings = self.latent_model.text.encode_prompts(["", *prompts])

    # ------------------------------------------------------------------------------ mapping

    def init_mapper(self) -> None:
        """Take the cameras of ``--view_set``, and work out what each sees of the canvas."""
        self.mapper = self.options.cameras()
        weights = window_weights(self.options.reduction, self.options.weight_map, self.size).numpy()
        device = self.latent_model.denoiser.device
        self.projection = SphereProjection(self.mapper, self.size, self.height, weights, device)
        height = self.options.panorama_height
        self.band = Band(*band_rows(self.mapper, height), height)
        self.control = None if self.options.depth is None else self._look_at_depth(Path(self.options.depth))

    def forward_mapping(self, z_t: torch.Tensor, bg: torch.Tensor | None = None) -> torch.Tensor:
        """Look at the canvas through the cameras: ``[1, C, H, 2 H]`` -> ``[N, C, h, h]``, bilinear.

        ``bg`` shows where a camera looks past the band that ``--view_set ring`` covers.
        """
        return self.projection.look(z_t, bg)

    def inverse_mapping(self, x_ts: torch.Tensor) -> torch.Tensor:
        """Average the views on the canvas: ``[N, C, h, h]`` -> ``[1, C, H, 2 H]``, and correct what that loses."""

        def residue(z: torch.Tensor) -> torch.Tensor:
            return self.projection.look(z, x_ts)

        return corrected(self.projection.average, residue, x_ts, self.options.corrections)

    def project_noise(self, noise: torch.Tensor) -> torch.Tensor:
        """Sum white noise on the sphere within the views' cells: ``[1, C, 1, K]`` -> ``[N, C, h, h]``, still white."""
        return self.projection.look_at_noise(noise)

    def noise_shape(self, states: Tensors) -> tuple[int, ...]:
        """Return the shape of noise on a grid finer than the canvas, see :class:`SphereProjection`."""
        return (1, self.latent_model.channels, 1, self.projection.noise_cells)

    def _look_at_depth(self, path: Path) -> torch.Tensor:
        """Return the inverse depth that every view shows, on one scale for the whole sphere: ``[N, 3, side, side]``."""
        depth, side = read_depth(path)[..., None], self.size * self.scale
        views = np.stack([look(depth, camera, side)[..., 0] for camera in self.mapper]).astype(np.float32)
        return torch.from_numpy(views)[:, None].expand(-1, 3, -1, -1)

    # ------------------------------------------------------------------------------ making a picture

    def generate(self, request: PictureRequest, seed: int) -> Iterator[StepState]:
        """Go all steps of one picture; see :class:`guidance.app.Model`."""
        self.open_stage(Stage.from_options(self.options, self.latent_model.denoiser, self._conditioning(request)))
        generator = torch.Generator("cpu").manual_seed(seed)
        channels = self.latent_model.channels
        views = (len(self.mapper), channels, self.size, self.size)
        states = self.initial_states(self.noise_shape({}), views, generator)
        for state in self.denoise(states, generator):
            self.last = state
            yield state

    def _conditioning(self, request: PictureRequest) -> Conditioning:
        """Tell every view the prompt of where it looks, between places a blend, and how much guidance it has there."""
        azimuths = request.inputs.get("azimuths") or [0.0]
        encoded = torch.cat([self.embeddings[prompt] for prompt in request.prompts])
        by_place = encoded.unflatten(0, (len(azimuths), len(BANDS)))
        rows = []
        for camera in self.mapper:
            shares = torch.tensor(place_shares(azimuths, camera.yaw), dtype=encoded.dtype, device=encoded.device)
            rows.append(torch.tensordot(shares, by_place[:, band_index(camera)], dims=1))
        null = self.embeddings[request.inputs.get("negative_prompt") or ""]
        return Conditioning(torch.stack(rows), null, guidance_shares=self._guidance_shares(), control=self.control)

    def _guidance_shares(self) -> torch.Tensor | None:
        """Return how much guidance every view has: all at the horizon, at the poles as ``--pole_guidance`` says."""
        level, pole = self.options.guidance_scale, self.options.pole_guidance
        if pole is None:
            return None
        slopes = [abs(camera.pitch) / 90 for camera in self.mapper]
        shares = [(level + (pole - level) * slope - 1) / (level - 1) for slope in slopes]
        return torch.tensor(shares, device=self.latent_model.denoiser.device)

    # ------------------------------------------------------------------------------ what comes out

    def render(self, state: StepState, files: Sequence[FileEntry]) -> dict[str, Image.Image | bytes]:
        """Return the sphere, the pictures at novel cameras, and the faces of a cube, by file name."""
        blend = self._blend(state.x_t_1)
        sphere, self.measured = blend.sphere(), {"spread": blend.spread(), "coverage": self.band.share}
        side, pixels = self.size * self.scale, sphere.permute(1, 2, 0).numpy()
        made: dict[str, Image.Image | bytes] = {}
        faces = iter(CUBE.values())
        for entry in files:
            match entry["role"]:
                case "sphere":
                    made[entry["file"]] = self._banded(sphere)
                case "level" | "up" | "down":
                    made[entry["file"]] = _picture(look(pixels, NOVEL[entry["view"]], side))
                case "cube":
                    made[entry["file"]] = _picture(look(pixels, next(faces), side))
        return made

    def preview(self, state: StepState) -> Image.Image:
        """Return the sphere of x0."""
        return self._banded(self.decode(state.x0s))

    def latents(self) -> Tensors:
        """Return ``views`` ``[N, C, h, h]`` and ``canvas`` ``[1, C, H, 2 H]``, their average."""
        views = self.last.x_t_1
        states = {"views": views, "canvas": self.inverse_mapping(views)}
        return {name: state.float().cpu().contiguous() for name, state in states.items()}

    def _banded(self, sphere: torch.Tensor) -> Image.Image:
        """Return a picture of the rows that the cameras see all of; it says of itself which those are."""
        picture = to_pil(sphere[:, self.band.first : self.band.end])
        picture.info[XMP] = sphere_xmp(self.band)
        return picture

    def figures(self) -> dict[str, float]:
        """Return ``spread``, by how much the decoded views differ from what their cameras see of the finished sphere,
        the mean absolute difference in [0, 1], and ``coverage``, the share of a whole sphere that the picture shows.
        """
        return self.measured

    def decode(self, x_ts: torch.Tensor) -> torch.Tensor:
        """Decode the views one by one and blend them on the sphere.

        Args:
            x_ts: latents ``[N, C, h, h]``.

        Returns:
            ``[3, panorama_height, 2 * panorama_height]`` in [0, 1], 0 where no camera looks.
        """
        return self._blend(x_ts).sphere()

    def _blend(self, x_ts: torch.Tensor) -> "Blend":
        blend = Blend(self.options.panorama_height, len(self.mapper))
        for camera, x_t in zip(self.mapper, x_ts.split(1), strict=True):
            blend.add(camera, to_unit_range(self.latent_model.decode(x_t)).double().cpu())
        return blend


class Blend:
    """Decoded views, blended on a sphere one after the other; of all of them together as much is kept as of one.

    Args:
        height: of the sphere in pixels.
        views: how many there will be.
    """

    def __init__(self, height: int, views: int):
        self.directions = canvas_directions(height)
        self.sums = torch.zeros(4, height, 2 * height, dtype=torch.float64)
        self.stride = next(odd for odd in itertools.count(1, 2) if odd**2 >= views)  # odd: all of a decoder's grid
        self.kept: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, camera: Camera, decoded: torch.Tensor) -> None:
        """Add a view ``[1, 3, side, side]``, in [0, 1] before it is blended."""
        x, y, inside = camera.places(self.directions)
        rows, columns = (torch.from_numpy(index) for index in np.nonzero(inside))
        places = torch.from_numpy(np.stack([x[inside], y[inside]], axis=-1))
        seen = F.grid_sample(decoded, places[None, None], padding_mode="border", align_corners=False)[0, :, 0]
        weights = (torch.cos(torch.pi / 2 * places) ** 2).prod(dim=-1).clamp(min=1e-4) ** SHARPEN
        self.sums[:, rows, columns] += torch.cat([seen * weights, weights[None]])
        few = slice(self.stride // 2, None, self.stride)
        self.kept.append(
            (camera.directions(decoded.shape[-1])[few, few], decoded[0, :, few, few].permute(1, 2, 0).numpy().copy())
        )

    def sphere(self) -> torch.Tensor:
        """Return the mean of what was added ``[3, height, 2 * height]``, 0 where no camera looks."""
        return self.sums[:3] / self.sums[3:].clamp(min=torch.finfo(self.sums.dtype).tiny)

    def spread(self) -> float:
        """Return by how much the views differ from what their cameras see of the sphere, where that is all covered."""
        sphere = torch.cat([self.sphere(), (self.sums[3:] > 0).double()]).permute(1, 2, 0).numpy()
        directions, views = (
            np.concatenate([part.reshape(-1, 3) for part in parts]) for parts in zip(*self.kept, strict=True)
        )
        seen = look_along(sphere, directions)
        covered = seen[:, 3] > 1 - 1e-9
        return spread(views[covered], seen[covered, :3])


def _picture(pixels: np.ndarray) -> Image.Image:
    return to_pil(torch.from_numpy(pixels).permute(2, 0, 1))

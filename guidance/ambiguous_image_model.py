"""Ambiguous images: one square picture that reads differently from each view, in DeepFloyd IF's two pixel stages.

A third stage may enlarge it, in latents.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from guidance.ambiguous_image_app import AmbiguousImageOptions
from guidance.base_model import BaseModel, Stage, StepState, mean_dtype
from guidance.networks.deepfloyd import PixelStage, load_deepfloyd_stage
from guidance.networks.denoisers import Conditioning
from guidance.networks.spaces import PixelSpace
from guidance.networks.text_encoders import ClipText, T5Text, TextEncoder
from guidance.networks.upscaler import LatentUpscaler, load_upscaler
from guidance.schedule import Schedule
from guidance.synchronization import ALONE, WORDS, Case, Tensors, get_case
from utils.images import crop_square, decode, side_by_side, to_pil, to_unit_range
from utils.models.model_source import ModelSource
from utils.models.runtime import Runtime
from utils.prompts import FileEntry, PictureRequest
from utils.views import get_views
from utils.views.weights import read_weight_map

Networks = PixelStage | LatentUpscaler
X0 = get_case(WORDS["x0", "instance"])  # how views agree in latents, where they do not act on eps or x_t


@dataclasses.dataclass(frozen=True)
class StageOptions:
    """What the options say of one stage.

    Attributes:
        num_inference_steps, guidance_scale: of its steps.
        case, noise_space: how its views are synchronised, and where noise of its steps is drawn.
        noise_level: timestep of the noise on the picture that it enlarges; None in the first stage.
        adds_noise: the network is shown that noise, not only told its level.
    """

    num_inference_steps: int
    guidance_scale: float
    case: Case
    noise_space: str
    noise_level: int | None = None
    adds_noise: bool = False


def stage_options(options: AmbiguousImageOptions) -> list[StageOptions]:
    """Return what the options say of the stages, smallest first.

    In the latents of the third one, views know two ways only: they agree on x0, or stay apart; noise is their own.
    """
    steps, guidance = options.num_inference_steps, options.guidance_scale
    noised = options.stage2_conditioning == "noised"
    how = (options.case, options.noise_space)
    first = StageOptions(steps, guidance, *how)
    second = StageOptions(options.stage2_num_inference_steps, options.stage2_guidance_scale, *how,
                          options.stage2_noise_level, noised)  # fmt: skip
    case = ALONE if options.case == ALONE else X0
    third = StageOptions(steps, guidance, case, "instance", options.stage3_noise_level, True)
    return [first, second, third]


class AmbiguousImageModel(BaseModel):
    """One prompt per view; every stage of the cascade is synchronised by the same code.

    Args:
        options: ``views_names`` name the views.
        sources: path option -> source of its weights, loaded by :meth:`prepare`.
        runtime: device, dtype and offloading.
        stages: the networks, smallest first; given by tests, loaded by :meth:`prepare` otherwise.
    """

    options: AmbiguousImageOptions

    def __init__(
        self,
        options: AmbiguousImageOptions,
        sources: Mapping[str, ModelSource],
        runtime: Runtime,
        stages: list[Networks] | None = None,
    ):
        self.sources, self.runtime, self.stages = sources, runtime, stages or []
        self.text_encoders: dict[str, TextEncoder] = {
            path: kind(sources[path], runtime)
            for path, kind in (("stage_1_path", T5Text), ("stage_3_path", ClipText))
            if path in sources
        }
        self.space = PixelSpace()
        self.embeddings: dict[str, torch.Tensor] = {}
        self.results: Tensors = {}
        photo = options.ref_image
        self.photo = None if photo is None else crop_square(decode(Path(photo), upright=True))
        self.photo_states: dict[tuple[PixelSpace, int, torch.dtype], torch.Tensor] = {}
        super().__init__(options)

    @classmethod
    def load(
        cls, options: AmbiguousImageOptions, sources: Mapping[str, ModelSource], runtime: Runtime
    ) -> "AmbiguousImageModel":
        """Return the model; T5 and the networks do not fit into memory together, so :meth:`prepare` loads them."""
        return cls(options, sources, runtime)

    def prepare(self, prompts: Sequence[str]) -> None:
        """Encode prompts that are not known yet, one text encoder alone in memory; then load the networks, once."""
        for encoder in self.text_encoders.values():
            encoder.encode_prompts(["", *prompts])
        self.embeddings = self.text_encoders["stage_1_path"].embeddings
        if not self.stages:
            self.stages = self._load_stages()
            self.runtime.offload_in_turn([network for stage in self.stages for network in stage.networks])

    def _load_stages(self) -> list[Networks]:
        paths = ("stage_1_path", "stage_2_path")
        stages: list[Networks] = [load_deepfloyd_stage(self.sources[path], self.runtime) for path in paths]
        if "stage_3_path" not in self.sources:
            return stages
        embeddings = self.text_encoders["stage_3_path"].embeddings
        return [*stages, load_upscaler(self.sources["stage_3_path"], embeddings, self.runtime)]

    # ------------------------------------------------------------------------------ mapping

    def init_mapper(self) -> None:
        """Build the views; each shows all of the canvas. Read their weights, ``[N, 1, h, h]``, if they have any."""
        self.mapper = get_views(self.options.views_names, self.options.rotate_angle)
        if self.options.weight_map is not None:
            weights = read_weight_map(Path(self.options.weight_map), len(self.mapper))
            self.weights = torch.from_numpy(weights)[:, None]
        elif self.options.view_weights is not None:
            self.weights = torch.tensor(self.options.view_weights, dtype=torch.float64)[:, None, None, None]

    def forward_mapping(self, z_t: torch.Tensor, bg: torch.Tensor | None = None) -> torch.Tensor:
        """Look through every view: ``[1, 3, H, H]`` -> ``[N, C, h, h]``. All is covered: ``bg`` never shows.

        The canvas is a picture in every stage. Of an upscaler's views the result is latents, four pixels per cell.
        """
        return self.space.encode(self._look(z_t))

    def inverse_mapping(self, x_ts: torch.Tensor) -> torch.Tensor:
        """Turn every view back and reduce them as ``--reduction`` says: ``[N, C, h, h]`` -> ``[1, 3, H, H]``."""
        return self._turn_back(self.space.decode(x_ts))

    def _look(self, picture: torch.Tensor) -> torch.Tensor:
        """Look at a picture through every view: ``[1, 3, H, H]`` -> ``[N, 3, H, H]``."""
        return torch.stack([view.view(picture[0]) for view in self.mapper])

    def _turn_back(self, pictures: torch.Tensor) -> torch.Tensor:
        """Make one picture of what the views show: ``[N, 3, H, H]`` -> ``[1, 3, H, H]``."""
        turned = torch.stack([view.inverse_view(one) for view, one in zip(self.mapper, pictures, strict=True)])
        return self._reduce(turned.to(mean_dtype(pictures.device))).to(pictures.dtype)

    def _reduce(self, turned: torch.Tensor) -> torch.Tensor:
        """Make one canvas of the views' parts of it: ``[N, C, H, W]`` -> ``[1, C, H, W]``."""
        match self.options.reduction:
            case "sum":
                return turned.sum(dim=0, keepdim=True)
            case "alternate":  # one view a step, in turn (Geng et al., Visual Anagrams, 2024)
                return turned[self.step_index % len(turned)][None]
            case "weighted":
                weights = F.interpolate(self.weights, turned.shape[-2:], mode="bilinear").to(turned)
                return (turned * weights).sum(dim=0, keepdim=True) / weights.sum(dim=0, keepdim=True)
            case _:
                return turned.mean(dim=0, keepdim=True)

    # ------------------------------------------------------------------------------ making a picture

    def generate(self, request: PictureRequest, seed: int) -> Iterator[StepState]:
        """Run all stages; see :class:`guidance.app.Model`.

        The generator draws of each stage its x_T, then the noise on the pictures that it enlarges.
        """
        generator = torch.Generator("cpu").manual_seed(seed)
        self.results = {}
        pictures: torch.Tensor | None = None
        for number, networks in enumerate(self.stages, start=1):
            states = self._open(number, networks, request, pictures, generator)
            for state in self.denoise(states, generator):
                if state.step == state.steps:
                    pictures = self.results[f"stage_{number}"] = self._pictures_of(state, "x_t_1")
                yield state

    def _open(
        self,
        number: int,
        networks: Networks,
        request: PictureRequest,
        pictures: torch.Tensor | None,
        generator: torch.Generator,
    ) -> Tensors:
        """Open a stage that enlarges ``pictures`` ``[N, 3, h, w]``, None in the first; return its states at T."""
        said, self.space = stage_options(self.options)[number - 1], networks.space
        embeddings = self.embeddings if networks.embeddings is None else networks.embeddings
        null_text = embeddings[request.inputs.get("negative_prompt") or ""]
        conditioning = Conditioning(torch.cat([embeddings[prompt] for prompt in request.prompts]), null_text)
        config = networks.denoiser.scheduler_config
        stage = Stage(
            networks.denoiser,
            conditioning,
            Schedule.from_config(config, said.num_inference_steps, self.options.timestep_spacing),
            said.case,
            said.guidance_scale,
            self.options.guidance_interval,
            said.noise_space,
            networks.threshold if self.options.thresholding == "dynamic" else None,
            number,
        )
        self.open_stage(stage)
        shape = networks.shape(pictures)
        states = self.initial_states((1, *shape), (len(self.mapper), *shape), generator)
        if pictures is not None:
            stage.conditioning = self._enlarging(networks, said, conditioning, pictures, generator)
        return states

    def initial_states(
        self, canonical_shape: tuple[int, ...], instance_shape: tuple[int, ...], generator: torch.Generator
    ) -> Tensors:
        """Draw the states at T. Noise on the canvas, once encoded, would be none: views in latents have their own.

        Components, which all see one picture, share theirs also there.
        """
        if not self.space.latent:
            return super().initial_states(canonical_shape, instance_shape, generator)
        shape = canonical_shape if self.mapper[0].kind == "component" else instance_shape
        return {"xts": self._randn(shape, generator).expand(instance_shape)}

    def compute_noise_preds(self, xts: torch.Tensor, timestep: torch.Tensor | int) -> torch.Tensor:
        """Predict eps ``[N, C, h, w]``; a view held by ``--ref_image`` gets the eps whose x0 is the photograph."""
        if self.photo is None:
            return super().compute_noise_preds(xts, timestep)
        abar = self.stage.schedule.alphas_cumprod[int(timestep)].item()
        eps = (xts[:1] - abar**0.5 * self._photo_state(self.photo, xts)) / (1 - abar) ** 0.5
        return torch.cat([eps, super().compute_noise_preds(xts[1:], timestep)])

    def _photo_state(self, photo: Image.Image, xts: torch.Tensor) -> torch.Tensor:
        """Return the photograph as a clean state ``[1, C, h, w]`` of the stage at hand, encoded once."""
        size = xts.shape[-1] * self.space.scale
        key = self.space, size, xts.dtype
        if key not in self.photo_states:
            picture = photo.resize((size, size), Image.Resampling.LANCZOS)
            pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].to(xts) / 127.5 - 1
            self.photo_states[key] = self.space.encode(pixels)
        return self.photo_states[key]

    def _enlarging(
        self,
        networks: Networks,
        said: StageOptions,
        conditioning: Conditioning,
        pictures: torch.Tensor,
        generator: torch.Generator,
    ) -> Conditioning:
        """Condition a stage on each view's own result of the stage before, in float and unclipped.

        The noise is one canonical draw seen through the views, so that the views of a synchronised picture stay alike.
        """
        low_res, levels = networks.resize(pictures), networks.noising_alphas_cumprod
        if said.adds_noise and levels is not None:
            abar = levels[said.noise_level].item()
            noise = self._look(self._randn((1, *low_res.shape[1:]), generator))
            low_res = abar**0.5 * low_res + (1 - abar) ** 0.5 * noise
        prompted = low_res[-len(conditioning.text) :]  # all views but one that a photograph holds
        return Conditioning(conditioning.text, conditioning.null_text, prompted, said.noise_level)

    # ------------------------------------------------------------------------------ showing it

    def _pictures_of(self, state: StepState, name: str) -> torch.Tensor:
        """Return the pictures that the views show of a state, ``[N, 3, H, H]``.

        Of latents that agreed in this step they are views of the canvas itself: encoded and decoded it would blur, and
        the views would agree no more.

        Args:
            name: ``x0s``, or ``x_t_1`` of the last step.
        """
        if self.space.latent and "z0s" in state.values:
            return self._look(state.z0s)
        return self.space.decode(getattr(state, name))

    def render(self, state: StepState, files: Sequence[FileEntry]) -> dict[str, Image.Image | bytes]:
        """Return every view as it is, averaged or not, and all of them side by side; of components also their sum."""
        views, whole = self._show(self.results[f"stage_{state.stage}"])
        pictures = {"side_by_side": side_by_side([*whole, *views]), **({"whole": whole[0]} if whole else {})}
        return {
            entry["file"]: views[entry["view"]] if entry["role"] == "view" else pictures[entry["role"]]
            for entry in files
            if entry["role"] in ("view", *pictures)
        }

    def preview(self, state: StepState) -> Image.Image:
        """Return x0 as every view shows it, side by side."""
        views, whole = self._show(self._pictures_of(state, "x0s"))
        return side_by_side([*whole, *views])

    def _show(self, pictures: torch.Tensor) -> tuple[list[Image.Image], list[Image.Image]]:
        """Return what a person sees through every view, and the whole picture if the views are its components."""
        if self.mapper[0].kind != "component":
            return [to_pil(to_unit_range(picture)) for picture in pictures], []
        whole = self._turn_back(pictures)[0]
        return [to_pil(to_unit_range(view.show(whole))) for view in self.mapper], [to_pil(to_unit_range(whole))]

    def latents(self) -> Tensors:
        """Return every stage's result, ``stage_1`` and on: the views' pictures ``[N, 3, H, H]`` before rounding."""
        return {name: result.float().cpu() for name, result in self.results.items()}

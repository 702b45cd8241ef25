"""The app ``ambiguous_image``: its options, prompts files, files, names and movie. Nothing here imports torch."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from guidance.app import App, Sources
from guidance.shared_options import EMBEDDED, SharedOptions, check_guidance, derive_shared
from utils.errors import UserError
from utils.models.components import text_width
from utils.models.model_source import ModelSource
from utils.options import Given, flags, option, refine
from utils.prompts import (
    Entries,
    FileEntry,
    PictureRequest,
    check_prompt,
    file_stem,
    negative_prompt_of,
    read_entries,
    shorten,
)
from utils.views import (
    check_combination,
    check_sizes,
    parse_views,
    permutation_files,
    reads_rotate_angle,
    with_contents,
)
from utils.views.weights import check_weights, read_weight_map

if TYPE_CHECKING:
    from PIL import Image

    from utils.animation.movie import Movie
    from utils.animation.views import Turning
    from utils.run.run_record import PictureEntry, RunRecord
    from utils.scoring.clip_model import ClipScorer
    from utils.scoring.eval_plan import NamingRule

FAMILIES = ("deepfloyd", "tiny")
PAIRS_FILE = EMBEDDED.parent / "ambiguous_image_prompts.json"  # of the assignment
UPSCALE = 4  # of stage 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class AmbiguousImageOptions(SharedOptions):
    """``--app ambiguous_image``: one square picture that reads differently from each view."""

    model: str = refine(SharedOptions, "model", choices=("auto", "tiny", "deepfloyd"))
    num_inference_steps: int = refine(
        SharedOptions, "num_inference_steps", families=dict.fromkeys(FAMILIES, 30),
        presets={"reference": 30, "balanced": 20, "draft": 10},
    )  # fmt: skip
    guidance_scale: float = refine(SharedOptions, "guidance_scale", families={"deepfloyd": 10.0, "tiny": 3.0})
    initialize_xt_from_zt: bool = refine(SharedOptions, "initialize_xt_from_zt",
                                         families=dict.fromkeys(FAMILIES, False))  # fmt: skip
    prompts: list[str] = option("one prompt per view", pinned=False, families={
        "deepfloyd": ["a horse", "a snowy mountain village"], "tiny": ["the letter N", "the letter Z"]})  # fmt: skip
    ref_image: str | None = option("photograph to which the first view is held; prompts are for the other views",
                                   by_content=True)  # fmt: skip
    view_weights: list[float] | None = option("for --reduction weighted: one weight per view")
    style: str = option("put before every prompt of --prompts", pinned=False,
                        families=dict.fromkeys(FAMILIES, "an oil painting of"))  # fmt: skip
    stage_1_path: str = option(
        "DeepFloyd IF stage 1: Hub id or folder",
        weights={"unet": "unet", "text_encoder": "t5", "tokenizer": "t5_tokenizer", "scheduler": "betas"},
        families={"deepfloyd": "DeepFloyd/IF-I-M-v1.0", "tiny": str(EMBEDDED / "letters-stage-1")},
    )  # fmt: skip
    stage_2_path: str = option(
        "DeepFloyd IF stage 2: Hub id or folder",
        weights={"unet": "unet", "scheduler": "betas", "image_noising_scheduler": "betas"},
        families={"deepfloyd": "DeepFloyd/IF-II-M-v1.0", "tiny": str(EMBEDDED / "letters-stage-2")},
    )  # fmt: skip
    views_names: list[str] = option("one view per prompt, with parameters as in patch_permute:grid=4,seed=7; listed at "
                                    "the end", default=("identity", "rotate_cw"))  # fmt: skip
    rotate_angle: float | None = option("degrees clockwise that inner_rotate turns", low=-3600, high=3600,
                                        families=dict.fromkeys(FAMILIES, 90.0))  # fmt: skip
    stage2_noise_level: int = option("noise on the picture that stage 2 enlarges", default=50, low=0, high=999)
    stage2_num_inference_steps: int = option("denoising steps of stage 2", low=1, high=1000, families={"tiny": 6},
                                             default_text="as of stage 1; tiny: 6")  # fmt: skip
    stage2_guidance_scale: float = option("guidance of stage 2", low=0.0, high=1000.0, families={"tiny": 1.0},
                                          default_text="as of stage 1; tiny: 1")  # fmt: skip
    stage2_conditioning: str = option("noised: as IF was trained; plain: the level is told, no noise added",
                                      default="noised", choices=("noised", "plain"))  # fmt: skip
    thresholding: str = option("of x0, before averaging, where the weights' scheduler asks for it, as IF's does; none: "
                               "the bare formulas", default="dynamic", choices=("dynamic", "none"))  # fmt: skip
    stage_3_path: str | None = option(
        "also enlarge x4, by Stable Diffusion's upscaler: Hub id such as stabilityai/stable-diffusion-x4-upscaler, or "
        "folder; takes the steps and the guidance of stage 1; its views agree on x0 in pixels whatever --sync, save "
        "none: each step decodes and encodes every view", default_text="off",
        weights={"unet": "unet", "vae": "vae", "text_encoder": "clip", "tokenizer": "clip_tokenizer",
                 "scheduler": "betas", "low_res_scheduler": "betas"},
    )  # fmt: skip
    stage3_noise_level: int | None = option("noise on the picture that stage 3 enlarges", low=0, high=350,
                                            default_text="20")  # fmt: skip

    def pinned(self) -> dict[str, Any]:
        return {**super().pinned(), "views_names": with_contents(self.views_names)}

    def permutations(self) -> dict[str, str]:
        return permutation_files(self.views_names)


class AmbiguousImageApp(App):
    """One picture, and what its views show of it, each scored against its own prompt."""

    name = "ambiguous_image"
    options = AmbiguousImageOptions
    model = "ambiguous_image_model:AmbiguousImageModel"
    pretrained = "deepfloyd"
    roles: ClassVar[Mapping[str, str | None]] = {
        "view": None,
        "whole": "the whole of which the views are parts; each part is scored alone",
        "side_by_side": "views side by side; each view is scored alone",
    }
    main_role = "side_by_side"

    def check(self, given: Given) -> None:
        super().check(given)
        if given.stage3_noise_level is not None and given.stage_3_path is None:
            raise UserError(
                f"--stage3_noise_level {given.stage3_noise_level} applies to stage 3: give --stage_3_path too."
            )
        for prompt in given.prompts or ():
            check_prompt(prompt)
        _check_views(given)
        _check_weights(given)
        _check_photograph(given)
        if given.prompts_file is not None and (given.prompts is not None or given.style is not None):
            raise UserError("--prompts_file holds whole prompts: leave out --prompts and --style.")
        if given.prompts is not None:
            _check_number(given, given.prompts)

    def requests(self, given: Given) -> list[PictureRequest]:
        if given.prompts_file is None:
            if given.asked("prompts") is None and prompts_wanted(given) != len(given.prompts):
                raise UserError(f"the default prompts are two, there are {_views_text(given)}: give --prompts.")
            return [self.request(given, given.prompts)]
        entries = read_view_prompts(Path(given.prompts_file), with_photo=given.ref_image is not None)
        requests = []
        for name, fields in entries.items():
            prompts, wanted = view_prompts(fields), prompts_wanted(given)
            if len(prompts) != wanted:
                raise UserError(
                    f"{given.prompts_file}: {name!r} has {len(prompts)} prompts for {len(given.views_names)} "
                    f"views ({' '.join(given.views_names)}): give {wanted}."
                )
            requests.append(PictureRequest(prompts, negative_prompt_of(fields, given.negative_prompt)))
        return requests

    def request(self, given: Given, prompts: Sequence[str]) -> PictureRequest:
        for prompt in prompts:
            check_prompt(prompt)
        _check_number(given, prompts)
        styled = tuple(f"{given.style} {prompt}".strip() for prompt in prompts)
        return PictureRequest(styled, negative_prompt_of({}, given.negative_prompt))

    def fill(self, given: Given, family: str) -> Given:
        filled = derive_shared(given.with_defaults(family))
        parts = check_combination(filled.views_names)
        steps, guidance = filled.stage2_num_inference_steps, filled.stage2_guidance_scale
        steps = filled.num_inference_steps if steps is None else steps
        guidance = filled.guidance_scale if guidance is None else guidance
        if filled.guidance_interval is not None and guidance != 1:
            check_guidance(filled, steps, "stage2_")
        level = 20 if filled.stage_3_path and filled.stage3_noise_level is None else filled.stage3_noise_level
        return filled.filled(
            stage2_num_inference_steps=steps,
            stage2_guidance_scale=guidance,
            stage3_noise_level=level,
            rotate_angle=filled.rotate_angle if reads_rotate_angle(filled.views_names) else None,
            reduction="sum" if parts else filled.reduction,
            initialize_xt_from_zt=parts or filled.initialize_xt_from_zt,
        )

    def fit(self, given: Given, sources: Sources) -> dict[str, Any]:
        sizes = [sources[name].config("unet")["sample_size"] for name in ("stage_1_path", "stage_2_path")]
        channels = sources["stage_2_path"].config("unet")["in_channels"]
        if sizes[1] <= sizes[0] or channels != 6:
            raise UserError(
                f"--stage_2_path {given.stage_2_path} does not enlarge the {sizes[0]} px of --stage_1_path: give a "
                f"super-resolution stage (6 input channels; this one has {channels} and {sizes[1]} px)."
            )
        written = sources["stage_1_path"].config("text_encoder")["d_model"]
        read = text_width(sources["stage_2_path"].config("unet"))
        if read not in (None, written):
            raise UserError(
                f"--stage_2_path {given.stage_2_path} reads text of width {read}, --stage_1_path writes {written}: "
                "give two stages of one family."
            )
        if "stage_3_path" in sources:
            _check_upscaler(sources["stage_3_path"])
            sizes.append(UPSCALE * sizes[1])
        check_sizes(given.views_names, sizes)
        return {}

    def steps(self, options: AmbiguousImageOptions) -> dict[str, int]:
        return {**super().steps(options), "stage_2_path": options.stage2_num_inference_steps}

    def list_files(self, options: AmbiguousImageOptions, request: PictureRequest, suffix: str) -> list[FileEntry]:
        """One file per view, named by the view's prompt, then all side by side; of components their sum, too."""
        stems = _distinct([file_stem(prompt) for prompt in request.prompts])
        first = len(options.views_names) - len(request.prompts)  # views that a photograph holds have no prompt
        views: list[FileEntry] = [
            {"file": f"{stem}{suffix}.png", "role": "view", "prompt": prompt, "view": index}
            for index, (stem, prompt) in enumerate(zip(stems, request.prompts, strict=True), start=first)
        ]
        joined = shorten("-".join(stem + suffix for stem in stems) + ("" if len(stems) > 1 else "-views"))
        parts = check_combination(options.views_names)
        whole: list[FileEntry] = [{"file": f"{shorten(joined + '-whole')}.png", "role": "whole"}] if parts else []
        return [*views, *whole, {"file": f"{joined}.png", "role": "side_by_side"}]

    def naming_rule(self, prompts_file: Path | None) -> "NamingRule":
        from utils.scoring.naming import ViewsNaming

        return ViewsNaming([view_prompts(fields) for fields in read_view_prompts(prompts_file or PAIRS_FILE).values()])

    def sample_score(self, scorer: "ClipScorer", pictures: "Sequence[tuple[Image.Image, str, str]]") -> float:
        """Return the smallest cosine over the views: an ambiguous picture is as good as its worse reading."""
        return float(scorer.cosines([(image, prompt) for image, prompt, _ in pictures]).min())

    def full_points(self, record: "RunRecord | None") -> float:
        views = [] if record is None else record["options"].get("views_names")
        turned = isinstance(views, list) and any(
            str(name).startswith(("inner_rotate", "inner_circle")) for name in views
        )
        return 5.0 if turned else 10.0

    def movie(self, folder: Path, picture: "PictureEntry", record: "RunRecord") -> "Movie":
        from utils.animation.views import views_movie

        return views_movie(self.turning(folder, picture, record))

    def turning(self, folder: Path, picture: "PictureEntry", record: "RunRecord") -> "Turning":
        from utils.animation.views import read_turning

        options = record["options"]
        return read_turning(folder, picture["files"], options["views_names"], options.get("rotate_angle"),
                            record.get("permutations", {}))  # fmt: skip


def read_view_prompts(path: Path, with_photo: bool = False) -> Entries:
    """Read ``{name: {"canonical_prompt": str, "instance_prompt": str, "instance_prompt_2": str, ...}}``.

    The canonical prompt belongs to the first view, the others in their order to the following ones.

    Args:
        path: JSON file.
        with_photo: a photograph stands for the first view, and there is no canonical prompt.

    Raises:
        UserError: unreadable, malformed, empty, a name twice, a missing or wrongly typed field (with line and column).
    """

    def fields_of(fields: Mapping[str, Any]) -> tuple[list[str], list[str]]:
        others = len(fields.keys() - {"canonical_prompt", "negative_prompt"})
        first = [] if with_photo else ["canonical_prompt"]
        return [*first, "instance_prompt", *(f"instance_prompt_{number}" for number in range(2, others + 1))], []

    return read_entries(path, fields_of, "ambiguous_image")


def view_prompts(fields: Mapping[str, str]) -> tuple[str, ...]:
    """Return the prompts of one entry of :func:`read_view_prompts` in the order of the views."""
    others = [f"instance_prompt_{index}" for index in range(2, len(fields) + 1)]
    return tuple(fields[name] for name in ("canonical_prompt", "instance_prompt", *others) if name in fields)


def prompts_wanted(given: Given) -> int:
    """Return how many prompts a picture has: one per view, but for the view that a photograph holds."""
    return len(given.views_names) - (given.ref_image is not None)


def _distinct(stems: Sequence[str]) -> list[str]:
    """Tell the stems of views with one prompt apart, on file systems that ignore case, too."""
    known: list[str] = []
    for index, stem in enumerate(stems):
        repeated = stem.casefold() in (other.casefold() for other in known)
        known.append(f"{stem}~view{index}" if repeated else stem)
    return known


def _check_views(given: Given) -> None:
    parse_views(given.views_names)
    if len(given.views_names) < 2:
        raise UserError("--views_names names one view: an ambiguous picture needs two or more.")
    if given.rotate_angle is not None and not reads_rotate_angle(given.views_names):
        raise UserError(f"--rotate_angle {given.rotate_angle:g} applies to inner_rotate: add that to --views_names.")
    parts, reduction = check_combination(given.views_names), given.asked("reduction")
    if parts and reduction not in (None, "sum"):
        raise UserError(f"--reduction {reduction} does not add up components of a picture: leave it out.")
    if parts and given.initialize_xt_from_zt is False:
        raise UserError("--no-initialize_xt_from_zt: components of one picture share its noise: leave it out.")
    if not parts and reduction == "sum":
        raise UserError("--reduction sum applies to components, such as low_pass high_pass: take mean.")


def _check_weights(given: Given) -> None:
    named = [name for name in ("view_weights", "weight_map") if getattr(given, name) is not None]
    if given.reduction != "weighted" and named:
        raise UserError(f"{flags(named)} is read by --reduction weighted alone: add that, or leave it out.")
    if given.reduction == "weighted" and len(named) != 1:
        raise UserError("--reduction weighted needs weights: give either --view_weights or --weight_map.")
    if given.view_weights is not None:
        check_weights(given.view_weights, len(given.views_names))
    if given.weight_map is not None:
        read_weight_map(Path(given.weight_map), views=len(given.views_names))


def _check_photograph(given: Given) -> None:
    if given.ref_image is None:
        return
    from utils.images import decode

    try:
        decode(Path(given.ref_image), upright=True)
    except ValueError as error:
        raise UserError(f"--ref_image {given.ref_image} is {error}: give a PNG or JPEG picture.") from error


def _views_text(given: Given) -> str:
    views = f"{len(given.views_names)} views ({' '.join(given.views_names)})"
    return views if given.ref_image is None else f"{views}, the first of them held by --ref_image"


def _check_number(given: Given, prompts: Sequence[str]) -> None:
    wanted = prompts_wanted(given)
    if len(prompts) != wanted:
        raise UserError(f"{len(prompts)} prompts for {_views_text(given)}: give --prompts {wanted}, one per view.")


def _check_upscaler(source: ModelSource) -> None:
    unet, vae = source.config("unet"), source.config("vae")
    channels = vae["latent_channels"]
    scale = 2 ** (len(vae["block_out_channels"]) - 1)
    found = (unet["in_channels"], unet["out_channels"], scale)
    if found != (channels + 3, channels, UPSCALE) or not unet.get("num_class_embeds"):
        raise UserError(
            f"--stage_3_path {source.name} is no x{UPSCALE} upscaler that is told the noise level: give one such as "
            f"stabilityai/stable-diffusion-x4-upscaler ({channels + 3} input channels, this has {found[0]}; a VAE of "
            f"x{UPSCALE}, this has x{scale})."
        )

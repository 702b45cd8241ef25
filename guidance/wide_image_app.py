"""The app ``wide_image``: its options, prompts files, files, names and movie. Nothing here imports torch."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from guidance.app import App, Sources
from guidance.latent_options import LatentOptions
from guidance.shared_options import EMBEDDED, SharedOptions, case_of, derive_shared
from guidance.synchronization import ALONE
from utils.errors import UserError
from utils.options import Given, option, options_of, refine
from utils.prompts import FileEntry, PictureRequest, check_prompt, file_stem, negative_prompt_of, quote, read_entries
from utils.views.weights import read_weight_map

if TYPE_CHECKING:
    from PIL import Image

    from utils.animation.movie import Movie
    from utils.run.run_record import PictureEntry, RunRecord
    from utils.scoring.clip_model import ClipScorer
    from utils.scoring.eval_plan import NamingRule

REFERENCE_HEIGHT = 512  # positions of crops count pixels of a strip of this height
DEFAULT_CROPS = 8
DEFAULT_WIDTH = 6  # windows


class Grid(NamedTuple):
    """A window's side in latent cells, and pixels per cell."""

    window: int
    scale: int


GRIDS = {"tiny": Grid(32, 4), "sd": Grid(64, 8)}  # family -> its default weights' own, of which run.json says nothing


@dataclasses.dataclass(frozen=True)
class WindowPart:
    """A default that is known once the window's size is: this part of it."""

    divisor: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class WideImageOptions(LatentOptions):
    """``--app wide_image``: one prompt on a canvas larger than the model's pictures."""

    reduction: str = refine(
        SharedOptions, "reduction", choices=("mean", "weighted"), families={"sd": "mean", "tiny": "weighted"},
        presets={"reference": "mean", "balanced": "weighted", "draft": "mean"},
        help="how overlapping windows become the canvas: their mean, or a weighted mean",
    )  # fmt: skip
    prompt: str = option("what to draw", pinned=False, families=dict.fromkeys(
        ("sd", "tiny"), "A photo of a mountain range at twilight"))  # fmt: skip
    sd_path: str = refine(LatentOptions, "sd_path", families={
        **options_of(LatentOptions)["sd_path"].families, "tiny": str(EMBEDDED / "landscapes")})  # fmt: skip
    panorama_height: int = option("canvas height in pixels", low=1, high=1_000_000,
                                  default_text="the model's own, 512 for SD 2")  # fmt: skip
    panorama_width: int = option("canvas width in pixels", low=1, high=1_000_000,
                                 default_text="six times the model's own, 3072")  # fmt: skip
    window_stride: int = option(
        "latent cells between windows, 1 to the window's own size (64 for SD 2)", low=1, high=100_000,
        families={"sd": 8, "tiny": 16}, presets={"reference": WindowPart(8), "balanced": WindowPart(2)},
    )  # fmt: skip
    window_schedule: str = option(
        "windows stay where they are, at --window_stride, or hardly overlap and lie elsewhere at every step (needs a "
        "case that carries the canvas alone, and takes --space canonical unless told)", default="fixed",
        choices=("fixed", "shifted"), presets={"draft": "shifted"},
    )  # fmt: skip
    circular: bool = option("the left edge continues the right edge", default=False)
    eval_pos: list[int] | None = option("left edges of the square crops, in pixels of a 512-high strip", pinned=False,
                                        default_text="8, evenly spread")  # fmt: skip


class WideImageApp(App):
    """One prompt on a wide canvas, and crops of it that are scored."""

    name = "wide_image"
    options = WideImageOptions
    model = "wide_image_model:WideImageModel"
    pretrained = "sd"
    roles: ClassVar[Mapping[str, str | None]] = {"strip": "a whole strip; only crops are scored", "crop": None}
    main_role = "strip"

    def check(self, given: Given) -> None:
        super().check(given)
        if given.weight_map is not None:
            read_weight_map(Path(given.weight_map))
        if given.prompt is not None:
            check_prompt(given.prompt)
        if given.prompts_file is not None and given.prompt is not None:
            raise UserError("--prompt and --prompts_file both say what to draw: give one of them.")
        if given.prompts_file is not None and given.eval_pos is not None:
            raise UserError(
                "--eval_pos applies to --prompt alone: with --prompts_file each entry has its own eval_pos."
            )

    def requests(self, given: Given) -> list[PictureRequest]:
        if given.prompts_file is None:
            return [self.request(given, [given.prompt])]
        entries = read_strip_prompts(Path(given.prompts_file))
        negative = given.negative_prompt
        return [PictureRequest((entry["prompt"],), {"eval_pos": entry.get("eval_pos"),
                                                    **negative_prompt_of(entry, negative)})
                for entry in entries.values()]  # fmt: skip

    def request(self, given: Given, prompts: Sequence[str]) -> PictureRequest:
        if len(prompts) != 1:
            raise UserError(f"{len(prompts)} prompts for one strip: give one.")
        check_prompt(prompts[0])
        return PictureRequest(
            (prompts[0],), {"eval_pos": given.eval_pos, **negative_prompt_of({}, given.negative_prompt)}
        )

    def fill(self, given: Given, family: str) -> Given:
        filled = given.with_defaults(family)
        if filled.window_schedule == "shifted":
            if (filled.space, filled.case_num) == (None, None) and filled.sync != "none":
                filled = filled.filled(space="canonical")
            _check_shifted(filled)
        filled = derive_shared(filled)
        if filled.weight_map is not None and filled.reduction != "weighted":
            raise UserError("--weight_map is read by --reduction weighted alone: add that, or leave it out.")
        return filled

    def fit(self, given: Given, sources: Sources) -> dict[str, Any]:
        window = sources["sd_path"].config("unet")["sample_size"]
        scale = 2 ** (len(sources["sd_path"].config("vae")["block_out_channels"]) - 1)
        height = window * scale if given.panorama_height is None else given.panorama_height
        width = DEFAULT_WIDTH * window * scale if given.panorama_width is None else given.panorama_width
        for name, size in (("panorama_height", height), ("panorama_width", width)):
            if size % scale or size < window * scale:
                raise UserError(
                    f"--{name} {size} does not suit the model: give a multiple of {scale}, at least its window of "
                    f"{window * scale} pixels."
                )
        stride = given.window_stride
        stride = max(1, window // stride.divisor) if isinstance(stride, WindowPart) else stride
        if stride > window:
            raise UserError(f"--window_stride {stride} skips cells: give 1 to the window's size {window}.")
        stride = window if given.window_schedule == "shifted" else stride
        return {"panorama_height": height, "panorama_width": width, "window_stride": stride}

    def fit_request(self, options: WideImageOptions, request: PictureRequest) -> PictureRequest:
        request = super().fit_request(options, request)
        height, width = options.panorama_height, options.panorama_width
        positions = request.inputs.get("eval_pos")
        positions = strip_positions(height, width) if positions is None else list(positions)
        check_positions(positions, height, width, request.prompts[0])
        return PictureRequest(request.prompts, {**request.inputs, "eval_pos": positions})

    def list_files(self, options: SharedOptions, request: PictureRequest, suffix: str) -> list[FileEntry]:
        prompt, stem = request.prompts[0], file_stem(request.prompts[0]) + suffix
        crops: list[FileEntry] = [
            {"file": f"{stem}_{position}.png", "role": "crop", "prompt": prompt, "position": position}
            for position in request.inputs.get("eval_pos") or ()
        ]
        return [{"file": f"{stem}.png", "role": "strip", "prompt": prompt}, *crops]

    def naming_rule(self, prompts_file: Path | None) -> "NamingRule":
        from utils.scoring.naming import StripNaming

        entries = read_strip_prompts(prompts_file) if prompts_file else {}
        stems = {
            stem: entry["prompt"] for name, entry in entries.items() for stem in (name, file_stem(entry["prompt"]))
        }
        return StripNaming(stems)

    def sample_score(self, scorer: "ClipScorer", pictures: "Sequence[tuple[Image.Image, str, str]]") -> float:
        """Return the mean cosine over the crops, or over crops at the default positions where none were asked for.

        A strip that is higher than wide counts as a whole.
        """
        crops = [(image, prompt) for image, prompt, role in pictures if role == "crop"]
        strip, prompt, _ = pictures[0]
        default = [(crop_strip(strip, position), prompt) for position in strip_positions(strip.height, strip.width)]
        return float(scorer.cosines(crops or default or [(strip, prompt)]).mean())

    def movie(self, folder: Path, picture: "PictureEntry", record: "RunRecord") -> "Movie":
        from utils.animation.movie import strip_movie
        from utils.images import decode

        strip = decode(folder / self.main_file(picture))
        return strip_movie(strip, picture["prompts"][0], bool(record["options"].get("circular")))

    def figures(self, folder: Path, picture: "PictureEntry", record: "RunRecord") -> dict[str, float]:
        """Return ``seams`` of a strip, where columns are known in which windows begin or end."""
        import numpy as np

        from utils.images import decode
        from utils.scoring.seams import seam_figure

        strip = decode(folder / self.main_file(picture))
        columns = self._seam_columns(record, strip.size)
        figure = seam_figure([np.asarray(strip)], columns) if columns else np.nan
        return {"seams": figure} if np.isfinite(figure) else {}

    def _seam_columns(self, record: "RunRecord", size: tuple[int, int]) -> list[int]:
        """Of strips of one row of windows that stay where they are, from models whose windows are known."""
        from guidance.windows import border_columns

        options, grid = record["options"], GRIDS.get(record["model"]["family"])
        fixed = options.get("window_schedule") == "fixed" and options.get("sync") != "none"
        as_told = size == (options.get("panorama_width"), options.get("panorama_height"))
        if grid is None or not (fixed and as_told) or size[1] != grid.window * grid.scale:
            return []
        circular = bool(options.get("circular"))
        return border_columns(size[0], grid.window, options["window_stride"], grid.scale, circular)[0]


def read_strip_prompts(path: Path) -> dict[str, dict[str, Any]]:
    """Read ``{name: {"prompt": str, "eval_pos": [int, ...] (optional), "negative_prompt": str (optional)}}``.

    Raises:
        UserError: unreadable, malformed, empty, a name twice, a missing or wrongly typed field (with line and column).
    """
    entries = read_entries(path, lambda _: (("prompt",), ("eval_pos",)), "wide_image")
    for name, fields in entries.items():
        positions = fields.get("eval_pos", [])
        if not isinstance(positions, list) or not all(type(position) is int for position in positions):
            raise UserError(f"{entries.place(name)}: eval_pos of {name!r} must be a list of whole numbers.")
    return entries


def crop_strip(strip: "Image.Image", position: int) -> "Image.Image":
    """Cut the square crop whose left edge is ``position``, counted in pixels of a 512-high strip."""
    left = min(round(position * strip.height / REFERENCE_HEIGHT), strip.width - strip.height)
    return strip.crop((left, 0, left + strip.height, strip.height))


def strip_positions(height: int, width: int) -> list[int]:
    """Return the default crops of a canvas in pixels: 8 left edges, evenly spread, counted at 512 px height."""
    if width < height:
        return []
    last = _last_position(height, width)
    return sorted({round(last * index / (DEFAULT_CROPS - 1)) for index in range(DEFAULT_CROPS)})


def check_positions(positions: Iterable[int], height: int, width: int, prompt: str) -> None:
    """Check the crops of a prompt's strip against a canvas in pixels.

    Raises:
        UserError: a crop would leave the strip, stands twice, or the canvas is higher than wide.
    """
    positions = list(positions)
    if positions and width < height:
        raise UserError(f"eval_pos cuts squares, the canvas {height}x{width} is higher than wide: leave it out.")
    last = _last_position(height, width)
    for position in positions:
        if not 0 <= position <= last:
            raise UserError(
                f"eval_pos {position} of {quote(prompt)} is outside the strip {height}x{width}: give 0 to {last} "
                f"(left edges, counted in pixels of a {REFERENCE_HEIGHT}-high strip)."
            )
    if len(set(positions)) != len(positions):
        raise UserError(
            f"eval_pos of {quote(prompt)} has a position twice ({' '.join(map(str, positions))}): give each once."
        )


def _last_position(height: int, width: int) -> int:
    return (width - height) * REFERENCE_HEIGHT // height


def _check_shifted(given: Given) -> None:
    """Check that windows may move: nothing of theirs goes from step to step."""
    case, said = case_of(given), "--window_schedule shifted"
    if "window_schedule" not in given.typed:
        said += f", which --preset {given.preset} takes,"
    if case == ALONE:
        raise UserError(
            f"{said} moves the windows, case 0, --sync none, makes each a picture of its own: "
            "take --window_schedule fixed, or another case."
        )
    if case.carried != ("zts",):
        other = "--space canonical" if given.case_num is None else "case 4 or 5"
        raise UserError(
            f"{said} moves the windows, case {case.number} carries their states from step to "
            f"step: take {other}, or --window_schedule fixed."
        )
    if "initialize_xt_from_zt" in given.typed and not given.initialize_xt_from_zt:
        raise UserError(
            f"--no-initialize_xt_from_zt: {said} carries the canvas: leave it out, or take --window_schedule fixed."
        )
    if given.sampling_method == "dpmpp_2m" and not case.steps_on_canvas:
        raise UserError(
            f"--sampling_method dpmpp_2m remembers x0 where case {case.number} steps, in windows that "
            f"{said} moves away: take case 4 or 5, or ddim."
        )
    if "window_stride" in given.typed:
        raise UserError(
            f"--window_stride {given.window_stride} applies to windows that stay, {said} moves them: leave it out, or "
            "add --window_schedule fixed."
        )
    if given.mvd_end != 1.0:
        raise UserError(
            f"--mvd_end {given.mvd_end} lets windows go their own ways, {said} leaves them none: take "
            "--window_schedule fixed."
        )

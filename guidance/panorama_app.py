"""The app ``panorama``: its options, prompts files, files, names and movie. Nothing here imports torch."""

import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from guidance.app import App, Sources
from guidance.control import ControlOptions, check_control
from guidance.latent_options import LatentOptions
from guidance.shared_options import EMBEDDED, SharedOptions, case_of, derive_shared
from utils.errors import UserError
from utils.files import content_hash
from utils.options import Given, option, options_of, refine
from utils.prompts import (
    FileEntry,
    PictureRequest,
    check_prompt,
    file_stem,
    is_unicode,
    negative_prompt_of,
    quote,
    read_entries,
)
from utils.views.weights import read_weight_map

if TYPE_CHECKING:
    from PIL import Image

    from utils.animation.movie import Movie
    from utils.run.run_record import PictureEntry, RunRecord
    from utils.scoring.clip_model import ClipScorer
    from utils.scoring.eval_plan import NamingRule
    from utils.sphere import Band, Camera

BANDS = ("level", "up", "straight up", "down", "straight down")  # the order of a picture's prompts
CANVAS_HEIGHT = 4  # of the canvas in windows, whatever the picture's: denser than the views, since it is interpolated
UP = {"sd": ["{}, looking up at the sky", "{}, the sky straight above"], "tiny": ["{}, looking up", "{}, straight up"]}
DOWN = {"sd": ["{}, looking down at the ground", "{}, the ground straight below"],
        "tiny": ["{}, looking down", "{}, straight down"]}  # fmt: skip
INDOORS = {  # what stands for the words above in a room; the embedded model has the same words for both
    UP["sd"][0]: "{}, looking up at the ceiling", UP["sd"][1]: "{}, the ceiling straight above",
    DOWN["sd"][0]: "{}, looking down at the floor", DOWN["sd"][1]: "{}, the floor straight below",
}  # fmt: skip
PLACE = re.compile(r"\s*(?P<azimuth>[+-]?\d{1,4}(\.\d+)?)\s*:\s*(?P<prompt>.*\S)\s*", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Windows:
    """A default that is known once the window's size is: so many times its side."""

    count: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class PanoramaOptions(LatentOptions):
    """``--app panorama``: a whole sphere, seen by cameras at its centre."""

    reduction: str = refine(
        SharedOptions, "reduction", choices=("mean", "weighted"), default="weighted",
        help="how overlapping views become the canvas: their mean, or a weighted mean",
    )  # fmt: skip
    prompt: str = option("what to draw", pinned=False, families=dict.fromkeys(("sd", "tiny"), "A beach at sunset"))
    prompt_up: list[str] = option(
        "prompt of views that look up, and a second one for straight up; {} stands for --prompt", pinned=False,
        metavar="TEXT", families=UP,
    )  # fmt: skip
    prompt_down: list[str] = option(
        "prompt of views that look down, and a second one for straight down; {} stands for --prompt", pinned=False,
        metavar="TEXT", families=DOWN,
    )  # fmt: skip
    indoor: bool = option("a room: the default words for up and down speak of ceiling and floor", default=False,
                          pinned=False)  # fmt: skip
    prompts_at: list[str] | None = option(
        "in place of --prompt: prompts by azimuth in degrees, 0 is ahead and 90 to the right, such as '0:a beach' "
        "'180:a city'; views in between take a blend", pinned=False, metavar="DEG:TEXT",
    )  # fmt: skip
    pole_guidance: float | None = option("guidance scale straight up and down; it falls from --guidance_scale with the "
                                         "angle", low=0.0, high=1000.0,
                                         default_text="as --guidance_scale")  # fmt: skip
    sd_path: str = refine(LatentOptions, "sd_path", families={
        **options_of(LatentOptions)["sd_path"].families, "tiny": str(EMBEDDED / "panoramas")})  # fmt: skip
    depth: str | None = option(
        "equirectangular depth that the sphere follows, 2:1: a grey picture in which near is bright, or a .npy file of "
        "inverse depth; needs --sd_path and --control_path", metavar="FILE", by_content=True,
    )  # fmt: skip
    control_path: str | None = refine(ControlOptions, "control_path")
    control_scale: float | None = refine(ControlOptions, "control_scale")
    view_set: str = option(
        "cameras: 22 or 16, which see the whole sphere, ring, which sees a band around it, or a JSON file with a list "
        "of yaw, pitch and fov", families={"sd": "22", "tiny": "16"},
    )  # fmt: skip
    corrections: int = option("how often the canvas is corrected by what it fails to show of the views: 0 is the plain "
                              "mean, which blurs", default=2, low=0, high=20)  # fmt: skip
    panorama_height: int = option("height of the whole sphere in pixels, half its width", low=1, high=8192,
                                  families={"sd": Windows(2), "tiny": Windows(4)},
                                  default_text="twice the model's own, 1024 for SD 2")  # fmt: skip
    cube: bool = option("also write the six faces of a cube", default=False)

    def pinned(self) -> dict[str, Any]:
        from utils.cameras import VIEW_SETS

        pinned = super().pinned()
        return pinned if self.view_set in VIEW_SETS else {**pinned, "view_set": content_hash(Path(self.view_set))}

    def cameras(self) -> "list[Camera]":
        """Return the cameras, one per view."""
        from utils.cameras import read_cameras

        return read_cameras(self.view_set)


class PanoramaApp(App):
    """A whole sphere on an equirectangular canvas, and perspective pictures of it that are scored."""

    name = "panorama"
    options = PanoramaOptions
    model = "panorama_model:PanoramaModel"
    pretrained = "sd"
    roles: ClassVar[Mapping[str, str | None]] = {
        "sphere": "a whole sphere; pictures at novel cameras are scored",
        "level": None,
        "up": None,
        "down": None,
        "cube": "a face of a cube; pictures at novel cameras are scored",
    }
    main_role = "sphere"

    def check(self, given: Given) -> None:
        super().check(given)
        if given.weight_map is not None:
            read_weight_map(Path(given.weight_map))
        _check_texts(given)
        if given.view_set is not None:
            from utils.cameras import read_cameras

            read_cameras(given.view_set)
        if given.view_set == "ring" and given.cube:
            raise UserError("--cube has faces up and down, which --view_set ring does not see: leave one of them out.")
        _check_case(given)
        _check_depth(given)

    def requests(self, given: Given) -> list[PictureRequest]:
        if given.prompts_file is None:
            places = read_places(given.prompts_at) if given.prompts_at else {}
            return [self.request(given, list(places.values()) or [given.prompt])]
        inputs = _inputs(given)
        return [
            PictureRequest((entry["prompt"],), {**inputs, **_inputs_of_entry(entry),
                                                **negative_prompt_of(entry, given.negative_prompt)})
            for entry in read_panorama_prompts(Path(given.prompts_file)).values()
        ]  # fmt: skip

    def request(self, given: Given, prompts: Sequence[str]) -> PictureRequest:
        places = list(read_places(given.prompts_at)) if given.prompts_at else []
        if len(prompts) != max(1, len(places)):
            wanted = f"one for each of the {len(places)} of --prompts_at" if places else "one"
            raise UserError(f"{len(prompts)} prompts for one sphere: give {wanted}.")
        for prompt in prompts:
            check_prompt(prompt)
        inputs = {**_inputs(given), "azimuths": places, **negative_prompt_of({}, given.negative_prompt)}
        return PictureRequest(tuple(prompts), inputs)

    def fill(self, given: Given, family: str) -> Given:
        filled = derive_shared(given.with_defaults(family))
        if family == "tiny" and filled.depth is not None:
            raise UserError(
                "--depth needs a ControlNet made for the weights, the embedded model has none: give --sd_path."
            )
        if family == "tiny" and not Path(filled.sd_path).exists():
            raise UserError(
                "there is no embedded model of panoramas yet: give --sd_path, the Hub id or folder of a Stable "
                "Diffusion 1.x or 2.x."
            )
        if filled.weight_map is not None and filled.reduction != "weighted":
            raise UserError("--weight_map is read by --reduction weighted alone: add that, or leave it out.")
        if filled.pole_guidance is not None and filled.guidance_scale == 1:
            raise UserError(
                f"--pole_guidance {filled.pole_guidance:g} is where guidance falls to, --guidance_scale 1 has none: "
                "leave one of them out."
            )
        is_open = filled.depth is not None and filled.control_scale is None
        return filled.filled(control_scale=1.0) if is_open else filled

    def fit(self, given: Given, sources: Sources) -> dict[str, Any]:
        from utils.cameras import VIEW_SETS, read_cameras, unseen_share

        window = sources["sd_path"].config("unet")["sample_size"]
        scale = 2 ** (len(sources["sd_path"].config("vae")["block_out_channels"]) - 1)
        side = window * scale
        height = given.panorama_height
        height = height.count * side if isinstance(height, Windows) else height
        if height % scale or height < side:
            raise UserError(
                f"--panorama_height {height} does not suit the model: give a multiple of {scale}, at least its window "
                f"of {side} pixels."
            )
        rows = max(height, CANVAS_HEIGHT * window)
        known = given.view_set in VIEW_SETS  # these see everything, or a band that is known
        share = 0.0 if known else unseen_share(read_cameras(given.view_set), rows)
        if share > 0:
            raise UserError(
                f"--view_set {given.view_set} leaves {100 * share:.2g} % of the sphere unseen: add cameras, or take 22 "
                "or 16 for all of it, ring for a band."
            )
        if "control_path" in sources:
            check_control(sources["control_path"], sources["sd_path"])
        return {"panorama_height": height}

    def steps(self, options: SharedOptions) -> dict[str, int]:
        return {"sd_path": options.num_inference_steps}  # a ControlNet takes those of its model

    def fit_request(self, options: PanoramaOptions, request: PictureRequest) -> PictureRequest:
        """Give every direction its prompt, see :data:`BANDS`: the places one after the other."""
        request = super().fit_request(options, request)
        inputs = dict(request.inputs)
        up, down = (inputs.pop(name, None) or getattr(options, name) for name in ("prompt_up", "prompt_down"))
        indoor = inputs.pop("indoor", False)
        prompts = [text for prompt in request.prompts for text in band_prompts(prompt, up, down, indoor)]
        return PictureRequest(tuple(prompts), inputs)

    def warnings(self, options: SharedOptions) -> list[str]:
        case, found = options.case, super().warnings(options)
        if case.averages_noise:
            found.append(
                f"case {case.number} averages what holds noise, which loses up to half of its variance where views are "
                "interpolated: expect blur, or take case 2, which averages x0"
            )
        return found

    def list_files(self, options: PanoramaOptions, request: PictureRequest, suffix: str) -> list[FileEntry]:
        from utils.cameras import CUBE, NOVEL

        level = request.prompts[:: len(BANDS)]
        stem = file_stem("-".join(level)) + suffix
        cameras = [camera for camera in NOVEL if options.view_set != "ring" or camera.pitch == 0]
        views: list[FileEntry] = [
            {"file": f"{stem}_{index}.png", "role": _role(camera), "view": index,
             "prompt": prompt_at(request, camera)}
            for index, camera in enumerate(cameras)
        ]  # fmt: skip
        faces: list[FileEntry] = [{"file": f"{stem}_{face}.png", "role": "cube"} for face in CUBE if options.cube]
        return [{"file": f"{stem}.png", "role": "sphere", "prompt": " / ".join(level)}, *views, *faces]

    def naming_rule(self, prompts_file: Path | None) -> "NamingRule":
        from utils.scoring.naming import StripNaming

        entries = read_panorama_prompts(prompts_file) if prompts_file else {}
        return StripNaming({file_stem(entry["prompt"]): entry["prompt"] for entry in entries.values()})

    def sample_score(self, scorer: "ClipScorer", pictures: "Sequence[tuple[Image.Image, str, str]]") -> float:
        """Return the mean cosine over the pictures at novel cameras."""
        views = [(image, prompt) for image, prompt, role in pictures if self.roles[role] is None]
        return float(scorer.cosines(views).mean())

    def movie(self, folder: Path, picture: "PictureEntry", record: "RunRecord") -> "Movie":
        from utils.animation.sphere import sphere_movie
        from utils.images import decode
        from utils.run.run_record import inputs_of

        file = self.main_file(picture)
        sphere = decode(folder / file)
        band = self.sphere(record, sphere.size)
        if band is None:
            raise UserError(f"run.json in {folder} does not say what {file!r} shows of a sphere: mend it.")
        request = PictureRequest(tuple(picture["prompts"]), inputs_of(picture))
        return sphere_movie(sphere, band, functools.partial(prompt_at, request))

    def figures(self, folder: Path, picture: "PictureEntry", record: "RunRecord") -> dict[str, float]:
        """Return ``wrap``, of a whole sphere ``pole``, of a known set of cameras ``seams``, and ``spread``."""
        import numpy as np

        from utils.cameras import VIEW_SETS
        from utils.images import decode
        from utils.scoring.sphere_figures import pole, seams, wrap

        pixels = np.asarray(decode(folder / self.main_file(picture)))
        band = self.sphere(record, (pixels.shape[1], pixels.shape[0]))
        if band is None:
            return {}
        cameras = VIEW_SETS.get(record["options"]["view_set"])
        measured = {
            "wrap": wrap(pixels),
            **({"pole": pole(pixels)} if len(pixels) == band.height else {}),
            **({"seams": seams(pixels, cameras, band.first, band.height)} if cameras else {}),
            **{name: value for name, value in picture.get("figures", {}).items() if name == "spread"},
        }
        return {name: value for name, value in measured.items() if np.isfinite(value)}

    def sphere(self, record: "RunRecord", size: tuple[int, int]) -> "Band | None":
        from utils.sphere import Band

        options, (width, rows) = record["options"], size
        height = options.get("panorama_height", 0)
        above, uneven = divmod(height - rows, 2)
        if width != 2 * height or uneven or not 0 <= above <= (height if options.get("view_set") == "ring" else 0):
            return None
        return Band(above, above + rows, height)


# ---------------------------------------------------------------------------------------------- prompts


def band_prompts(prompt: str, up: Sequence[str], down: Sequence[str], indoor: bool) -> list[str]:
    """Return the prompts of all :data:`BANDS`.

    Args:
        prompt: of level views.
        up, down: one text for both views that look there, or one more for straight up or down; ``{}`` is ``prompt``.
        indoor: take the words for rooms where the texts are the default ones.
    """
    texts = [up[0], up[-1], down[0], down[-1]]
    chosen = [INDOORS.get(text, text) if indoor else text for text in texts]
    return [prompt, *(text.replace("{}", prompt) for text in chosen)]


def prompt_at(request: PictureRequest, camera: "Camera") -> str:
    """Return the prompt of where a camera looks; of several places that of the nearest."""
    shares = place_shares(request.inputs.get("azimuths") or [0.0], camera.yaw)
    nearest = max(range(len(shares)), key=shares.__getitem__)
    return request.prompts[nearest * len(BANDS) + band_index(camera)]


def band_index(camera: "Camera") -> int:
    """Return where in :data:`BANDS` a camera looks."""
    from utils.cameras import band_of

    return BANDS.index(band_of(camera.pitch))


def place_shares(azimuths: Sequence[float], yaw: float) -> list[float]:
    """Return how much every place counts in a direction: the two neighbours by how near they are, the others nothing.

    Args:
        azimuths: of the places, in degrees.
        yaw: of the direction.
    """
    if len(azimuths) == 1:
        return [1.0]
    shares = [0.0] * len(azimuths)
    before = min(range(len(azimuths)), key=lambda index: (yaw - azimuths[index]) % 360)
    after = min((index for index in range(len(azimuths)) if index != before),
                key=lambda index: (azimuths[index] - yaw) % 360)  # fmt: skip
    gap = (azimuths[after] - azimuths[before]) % 360
    shares[after] = ((yaw - azimuths[before]) % 360) / gap
    shares[before] = 1 - shares[after]
    return shares


def read_places(texts: Sequence[str]) -> dict[float, str]:
    """Read ``DEG:TEXT`` of ``--prompts_at``: azimuth in degrees, 0 to 360 -> prompt.

    Raises:
        UserError: a text of another form, or an azimuth twice.
    """
    places: dict[float, str] = {}
    for text in texts:
        match = PLACE.fullmatch(text)
        if match is None:
            raise UserError(f"--prompts_at {quote(text)} has no place: give degrees and a prompt, such as '90:a city'.")
        azimuth = round(float(match["azimuth"]), 3) % 360
        if azimuth in places:
            raise UserError(f"--prompts_at gives {azimuth:g} degrees twice: give each place once.")
        places[azimuth] = match["prompt"]
    return places


def read_panorama_prompts(path: Path) -> dict[str, dict[str, Any]]:
    """Read ``{name: {"prompt": str}}``; also prompt_up, prompt_down, indoor, negative_prompt.

    Raises:
        UserError: unreadable, malformed, empty, a name twice, a missing or wrongly typed field (with line and column).
    """
    entries = read_entries(path, lambda _: (("prompt",), ("prompt_up", "prompt_down", "indoor")), "panorama")
    for name, fields in entries.items():
        if not isinstance(fields.get("indoor", False), bool):
            raise UserError(f"{entries.place(name)}: indoor of {name!r} must be true or false.")
        for field in ("prompt_up", "prompt_down"):
            texts = _listed(fields.get(field, "a text"))
            if len(texts) not in (1, 2) or not all(isinstance(text, str) and text.strip() for text in texts):
                raise UserError(f"{entries.place(name)}: {field} of {name!r} must be a text, or a list of two.")
            if not all(map(is_unicode, texts)):
                raise UserError(f"{entries.place(name)}: {field} of {name!r} holds half a character: correct it.")
    return entries


def _listed(texts: Any) -> list[Any]:
    return texts if isinstance(texts, list) else [texts]


def _inputs_of_entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    texts = {name: _listed(entry[name]) for name in ("prompt_up", "prompt_down") if name in entry}
    return {**texts, **({"indoor": entry["indoor"]} if "indoor" in entry else {})}


def _inputs(given: Given) -> dict[str, Any]:
    """Return what the command line says of every request; :meth:`PanoramaApp.fit_request` makes prompts of it."""
    return {"indoor": given.indoor}


def _check_texts(given: Given) -> None:
    """Check the prompts by themselves and against each other."""
    for text in [given.asked("prompt"), *(given.asked("prompt_up") or ()), *(given.asked("prompt_down") or ())]:
        if text is not None:
            check_prompt(text)
    for name in ("prompt_up", "prompt_down"):
        if len(given.asked(name) or ()) > 2:
            raise UserError(f"--{name} has {len(given.asked(name))} texts: give one, or one more for the pole.")
    said = [name for name in ("prompt", "prompts_at", "prompts_file") if name in given.typed]
    if len(said) > 1:
        raise UserError(f"--{said[0]} and --{said[1]} both say what to draw: give one of them.")
    if given.prompts_at:
        for prompt in read_places(given.prompts_at).values():
            check_prompt(prompt)


def _check_case(given: Given) -> None:
    """Refuse to carry the canvas: seen through interpolation, its noise would be too weak."""
    case = case_of(given)
    if "zts" in case.carried:
        raise UserError(
            f"--space canonical, which is case {case.number}, carries the canvas from step to step: views that "
            "interpolate it see less than half of its noise's variance; take --space instance."
            if given.case_num is None
            else f"--case_num {case.number} carries the canvas from step to step: views that interpolate it see less "
            "than half of its noise's variance; take one that carries the views, such as 2."
        )


def _check_depth(given: Given) -> None:
    """Check the depth, and that nothing of what belongs to it stands alone."""
    if given.depth is None:
        alone = [name for name in ("control_path", "control_scale") if getattr(given, name) is not None]
        if alone:
            raise UserError(f"--{alone[0]} belongs to --depth: give that too, or leave it out.")
        return
    if given.control_path is None:
        raise UserError(
            f"--depth {given.depth} is read by a ControlNet: give --control_path too, such as "
            "lllyasviel/control_v11f1p_sd15_depth for Stable Diffusion 1.5."
        )
    from utils.depth import read_depth

    read_depth(Path(given.depth))


def _role(camera: "Camera") -> str:
    from utils.cameras import band_of

    return band_of(camera.pitch).removeprefix("straight ")

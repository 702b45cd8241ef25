"""What all apps have options for: one dataclass, complete; and every check between its options.

Nothing here imports torch: ``--help`` and bad input answer at once.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from guidance.synchronization import ALONE, SPACES, SYNCS, WORDS, Case, get_case
from utils.errors import UserError
from utils.files import content_hash
from utils.options import Given, flags, may_be_none, option, options_of
from utils.prompts import check_prompt

DEVICES = ("auto", "cpu", "cuda", "mps", "xpu")
DTYPES = ("auto", "float32", "float16", "bfloat16")
PRESETS = ("reference", "balanced", "draft")
EMBEDDED = Path(__file__).resolve().parents[1] / "data" / "models"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SharedOptions:
    """The options of every app, with all values; those of one app are a subclass.

    Models see nothing else: what was typed, with its holes, is a :class:`utils.options.Given`.
    """

    app: str = option("what to make")
    tag: str = option(
        "name of the output folder inside --save_top_dir", default_text="the app's name", pinned=False, for_folders=True
    )
    save_top_dir: str = option(
        "folder that holds the output folders", default="results", pinned=False, for_folders=True
    )
    save_dir_now: bool = option(
        "append a time stamp to the output folder's name", default=False, pinned=False, for_folders=True
    )
    prompts_file: str | None = option(
        "JSON file of prompts: make all of them, loading the weights once", pinned=False, for_folders=True
    )
    negative_prompt: str | None = option("what not to draw: guidance leads away from it, in place of away from the "
                                         "empty prompt", pinned=False)  # fmt: skip
    model: str = option("auto: pretrained if a GPU is present or a path is given, else the embedded one (tiny)",
                        default="auto", pinned=False)  # fmt: skip
    revision: str | None = option("branch, tag or commit of the Hub repository (every repository of the run)")
    variant: str = option("weight files: auto, none, or a name as in model.NAME.safetensors (such as fp16)",
                          default="auto")  # fmt: skip
    device: str = option("where networks run", default="auto", choices=DEVICES, pinned=False)
    gpu: int | None = option("index of the GPU to use", low=0, high=1023, pinned=False,
                             default_text="0, or one per process")  # fmt: skip
    dtype: str = option("number format of the networks; auto is 16 bits on a GPU, bfloat16 on a processor with AMX or "
                        "AVX-512-BF16, float32 elsewhere", default="auto", choices=DTYPES)  # fmt: skip
    offload: bool = option("keep networks in main memory, move each to the device for its turn (accelerate)",
                           default=False, pinned=False)  # fmt: skip
    compile: bool = option("let torch.compile translate the networks: a minute or more at first, then often faster "
                           "steps; in float32 moves single pixels by a level, in 16 bits more",
                           default=False, pinned=False)  # fmt: skip
    seed: int = option("seed of every picture's own generator", default=1, low=0, high=2**63 - 1)
    num_samples: int = option(
        "pictures per prompt, with the seeds from --seed on", default=1, low=1, high=100_000, for_folders=True
    )
    keep_best: bool = option("of each prompt's samples write only the best, judged by CLIP or, for embedded models, by "
                             "the embedded scorer", default=False, for_folders=True)  # fmt: skip
    num_inference_steps: int = option("denoising steps", low=1, high=1000)
    guidance_scale: float = option("classifier-free guidance; 1 needs no unconditional pass", low=0.0, high=1000.0)
    timestep_spacing: str | None = option("how steps are spread", choices=("leading", "trailing"),
                                          default_text="as the weights' scheduler says")  # fmt: skip
    guidance_interval: list[float] | None = option("guidance only in this share of the steps, such as 0.1 0.8: the "
                                                   "others need no unconditional pass", nargs=2, low=0.0, high=1.0,
                                                   metavar=("LOW", "HIGH"), default_text="all steps")  # fmt: skip
    preset: str | None = option("what options left open are: reference as in the assignment, balanced with far less "
                                "work, draft to look", choices=PRESETS, default_text="the model's own",
                                pinned=False)  # fmt: skip
    sampling_method: str = option("the step: DDIM, the mean of the DDPM posterior, or DPM-Solver++(2M), which needs "
                                  "about half the steps", default="ddim", choices=("ddim", "ddpm", "dpmpp_2m"),
                                  presets={"reference": "ddim", "balanced": "dpmpp_2m",
                                           "draft": "dpmpp_2m"})  # fmt: skip
    eta: float = option("noise of each step in units of the DDPM posterior's; 0 is deterministic", default=0.0,
                        low=0.0, high=1.0)  # fmt: skip
    sync: str | None = option("which variable the views average at every step", choices=SYNCS, default_text="x0")
    space: str | None = option("which state goes from step to step, the views or the canvas", choices=SPACES,
                               default_text="instance")  # fmt: skip
    case_num: int = option("in place of --sync and --space: one of SyncTweedies' 60 cases", low=0, high=59)
    noise_space: str = option("where the noise of --eta is drawn: on the canvas, seen through the views, or for each "
                              "view", default="canonical", choices=("canonical", "instance"))  # fmt: skip
    reduction: str = option("how views become the canvas: their mean, the sum of components, one view a step in turn, "
                            "or a weighted mean", default="mean",
                            choices=("mean", "sum", "alternate", "weighted"))  # fmt: skip
    weight_map: str | None = option("for --reduction weighted: .npy file of weights per pixel, resized to fit: [h, w] "
                                    "of a window, or [views, h, h] on the canvas of an ambiguous picture",
                                    default_text="for windows: Hann's", by_content=True)  # fmt: skip
    mvd_end: float = option("share of the steps, from the first on, in which views are averaged", default=1.0, low=0.0,
                            high=1.0)  # fmt: skip
    initialize_xt_from_zt: bool = option("views start from one shared canonical noise, or each from its own")
    view_batch_size: int = option("views per network call: bounds memory, moves single pixels by one level at most",
                                  default=8, low=1, high=100_000, pinned=False)  # fmt: skip
    log_step: int = option("save a preview of x0 every so many steps; 0: never", default=0, low=0, high=1000,
                           pinned=False, for_folders=True)  # fmt: skip
    save_latents: bool = option(
        "save the float32 states as safetensors beside each picture", default=False, for_folders=True
    )
    animate: str | None = option("write a loop that moves beside each finished picture of the folder: to every view "
                                 "and back, or along the strip (mp4 needs imageio-ffmpeg)",
                                 choices=("gif", "webp", "mp4"), pinned=False, for_folders=True)  # fmt: skip
    animate_from: str | None = option("make no pictures: animate those of this folder", metavar="DIR", pinned=False,
                                      default_text="for --animate: gif", for_folders=True)  # fmt: skip
    report: bool = option("write report.html into the folder at the end, a page to look at: all its pictures, with "
                          "the scores that eval.py gave them", default=False, pinned=False,
                          for_folders=True)  # fmt: skip

    @property
    def case(self) -> Case:
        """How the views are synchronised."""
        return get_case(self.case_num)

    @property
    def seeds(self) -> range:
        """The seeds of every prompt's samples."""
        return range(self.seed, self.seed + self.num_samples)

    def pinned(self) -> dict[str, Any]:
        """Return the options that all pictures of a folder share: they decide what these look like or which files.

        Samples are pictures like any others, so a folder may get more of them; but the best of some is one of these.
        """
        free = {name for name, said in options_of(type(self)).items() if not said.pinned or said.weights}
        if not self.keep_best:
            free |= {"seed", "num_samples", "keep_best"}
        values = {name: value for name, value in dataclasses.asdict(self).items() if name not in free}
        named = {name: Path(values[name]) for name, said in options_of(type(self)).items()
                 if said.by_content and values.get(name)}  # fmt: skip
        return values | {name: content_hash(path) for name, path in named.items()}

    def permutations(self) -> dict[str, str]:
        """Return where the files lie that :meth:`pinned` names by their content inside another value: hash -> path.

        A folder does not pin it; what reads the folder later goes by it.
        """
        return {}


def case_of(given: Given) -> Case:
    """Return how the views are synchronised, by ``case_num`` or by the words ``sync`` and ``space``."""
    if given.case_num is not None:
        return get_case(given.case_num)
    return get_case(WORDS[given.sync or "x0", given.space or "instance"])


def weights_of(given: Given | SharedOptions, options_class: type) -> dict[str, Mapping[str, str]]:
    """Return every option that names weights of this run -> components needed of them, with their kinds."""
    named = {name: said.weights for name, said in options_of(options_class).items() if said.weights}
    return {name: parts for name, parts in named.items() if getattr(given, name) is not None}


def typed_weights(given: Given, options_class: type) -> list[str]:
    """Return the options that name other weights than the embedded ones, as far as they were typed.

    Weights that a run can do without, such as those of a further stage, may stand beside the embedded ones.
    """
    names = [name for name, said in options_of(options_class).items() if said.weights]
    return [name for name in names if name in given.typed and not may_be_none(options_class, name)]


def is_guided(interval: "tuple[float, ...] | list[float] | None", step_index: int, num_steps: int) -> bool:
    """Return whether step ``step_index`` of ``num_steps``, counted from 0, lies in the share that has guidance."""
    if interval is None:
        return True
    low, high = interval
    return low <= step_index / num_steps < high


def check_guidance(given: Given, num_steps: int, stage: str = "") -> None:
    """Check that a guidance interval holds a step of a stage.

    Args:
        num_steps: of the stage.
        stage: how the names of its options begin, such as ``stage2_``.

    Raises:
        UserError: it holds none.
    """
    interval = given.guidance_interval
    if not any(is_guided(interval, index, num_steps) for index in range(num_steps)):
        raise UserError(
            f"--guidance_interval {interval[0]:g} {interval[1]:g} holds none of the {num_steps} steps of "
            f"--{stage}num_inference_steps: make it wider, or take --{stage}guidance_scale 1."
        )


# ---------------------------------------------------------------------------------------------- what was typed


def check_shared(given: Given, weights: list[str]) -> None:
    """Check the options of every app against each other.

    Args:
        weights: as :func:`typed_weights` returns them.

    Raises:
        UserError: the sentence names the options, what was given, what is allowed.
    """
    _check_model(given, weights)
    if given.negative_prompt is not None:
        check_prompt(given.negative_prompt)
    if given.seed + given.num_samples > 2**63:
        raise UserError(f"--seed {given.seed} is out of range: give 0 to {2**63 - given.num_samples}.")
    if given.guidance_interval is not None and not given.guidance_interval[0] < given.guidance_interval[1]:
        low, high = given.guidance_interval
        raise UserError(f"--guidance_interval {low:g} {high:g} is no share of the steps: give 0 <= LOW < HIGH <= 1.")
    if given.compile and given.offload:
        raise UserError("--compile and --offload do not go together: give one of them.")
    _check_case(given)
    if given.animate is not None:
        from utils.animation.encoders import check_format

        check_format(given.animate)
    if given.keep_best and given.num_samples == 1:
        raise UserError("--keep_best chooses among samples, --num_samples 1 makes one: give 2 or more.")
    if given.tag is not None and (Path(given.tag).name != given.tag or given.tag == ".."):
        raise UserError(f"--tag {given.tag!r} must be a plain folder name: use --save_top_dir for where it lies.")


def _check_model(given: Given, weights: list[str]) -> None:
    if given.model == "tiny" and weights:
        raise UserError(f"--model tiny has weights of its own: leave out {flags(weights)}, or --model.")
    if given.model == "tiny" and given.revision is not None:
        raise UserError("--revision belongs to a Hub repository: leave it out with --model tiny.")
    if given.gpu is not None and given.device == "cpu":
        raise UserError(f"--gpu {given.gpu} contradicts --device cpu: give one of them.")


def _check_case(given: Given) -> None:
    if given.case_num is not None:
        words = dict(zip(("sync", "space"), words_of(given.case_num), strict=True))
        other = [name for name, word in words.items() if getattr(given, name) not in (None, word)]
        if other:
            raise UserError(f"--case_num {given.case_num} is not what {flags(other)} says: give one of them.")
    if given.sync == "none" and given.space == "canonical":
        raise UserError("--sync none leaves the views apart, --space canonical has none: give one of them.")
    case = case_of(given)
    if case == ALONE and given.mvd_end != 1.0:
        raise UserError(f"--mvd_end {given.mvd_end} ends an averaging that --sync none never starts: give one.")
    if case.canonical and given.initialize_xt_from_zt is False:
        raise UserError(f"--no-initialize_xt_from_zt: case {case.number} carries the canvas: leave it out.")
    if given.noise_space == "instance" and given.eta == 0:
        raise UserError("--noise_space instance says where the noise of --eta is drawn: give --eta above 0.")
    if given.noise_space == "instance" and not case.keeps_noise_apart:
        raise UserError(
            f"--noise_space instance: case {case.number} averages the stepped state, which would weaken noise of "
            "the views' own: take canonical."
        )


def words_of(case_num: int) -> tuple[str | None, str | None]:
    """Return the words ``sync`` and ``space`` of a case, None twice where it has none."""
    return next((words for words, number in WORDS.items() if number == case_num), (None, None))


# ---------------------------------------------------------------------------------------------- filled in


def derive_shared(given: Given) -> Given:
    """Fill in what follows from other options, and check what presets and families filled in.

    Raises:
        UserError: values that do not go together.
    """
    if given.eta > 0 and given.sampling_method == "dpmpp_2m":
        named = "" if "sampling_method" in given.typed else f", which --preset {given.preset} takes,"
        raise UserError(
            f"--eta {given.eta:g} adds noise to steps, dpmpp_2m{named} has none: take --sampling_method ddim."
        )
    check_guidance(given, given.num_inference_steps)
    case = case_of(given)
    sync, space = words_of(case.number)
    shared_start = case.canonical or given.initialize_xt_from_zt
    return given.filled(
        tag=given.tag or given.app, case_num=case.number, sync=sync, space=space, initialize_xt_from_zt=shared_start
    )


def warn_of_cases(options: SharedOptions) -> list[str]:
    """Return one sentence where the way to synchronise costs more network calls than others, or cannot work."""
    warnings, case = [], options.case
    if case.network_calls > 1:
        warnings.append(f"case {case.number} runs two processes side by side: twice the network calls of other cases")
    if case.averages_eps and not options.initialize_xt_from_zt:
        warnings.append(
            f"case {case.number} averages eps, but the views start from noise of their own, so that no eps is that of "
            "its neighbour: expect noise, or add --initialize_xt_from_zt"
        )
    return warnings

"""The form of an app, made of its options: which fields there are, what they offer, and what a filled one asks for.

A field shows the value that its option has where nobody types it. What still says so when the form is sent counts as
not typed, so that preset and weights decide as they do on the command line. Nothing here imports torch or gradio.
"""

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from guidance.app import App
from guidance.pipeline import Plan, make_plan
from guidance.shared_options import EMBEDDED, derive_shared
from utils.cameras import VIEW_SETS
from utils.errors import UserError
from utils.options import Option, kind_of, options_of, read
from utils.prompts import read_entries
from utils.views import VIEWS
from utils.vocabulary import Vocabulary

Value = str | bool | float | None  # of a field, as the browser sends it
Texts = dict[str, Any]  # option -> what the command line would read: a text, a list of texts, or True or False

LEFT_OUT = {  # option -> why it has no field
    "app": "is the tab",
    "tag": "every picture has a folder of its own",
    "save_top_dir": "belongs to whoever starts the page",
    "save_dir_now": "every picture has a folder of its own",
    "prompts_file": "would read a file of this machine",
    "weight_map": "would read a file of this machine",
    **dict.fromkeys(("depth", "control_path", "control_scale"), "depth would be read from a file of this machine"),
    "model": "follows from the weights: the embedded ones where no path is given",
    "log_step": "the page shows previews",
    "animate_from": "makes no pictures",
}
PROMPTS = ("prompt", "prompts", "style", "views_names", "ref_image")  # fields of their own
FRONT = ("preset", "seed", "num_samples")
GROUPS = {
    "Directions": ("prompt_up", "prompt_down", "indoor", "prompts_at"),
    "Size": ("panorama_width", "panorama_height", "circular", "cube"),
    "Steps and guidance": ("num_inference_steps", "guidance_scale", "sampling_method", "eta", "timestep_spacing",
                           "guidance_interval", "pole_guidance", "keep_best", "animate"),
    "How the views agree": ("view_set", "corrections", "sync", "space", "case_num", "reduction", "mvd_end",
                            "initialize_xt_from_zt", "noise_space", "window_stride", "window_schedule", "rotate_angle",
                            "view_weights"),
    "Stages 2 and 3": ("stage2_num_inference_steps", "stage2_guidance_scale", "stage2_noise_level",
                       "stage2_conditioning", "stage3_noise_level", "thresholding"),
}  # fmt: skip
LAST_GROUP = "Weights, machine and files"  # and what stands nowhere else
LABELS = {
    "prompt_up": "Looking up", "prompt_down": "Looking down", "prompts_at": "Places around",
    "pole_guidance": "Guidance straight up and down", "view_set": "Cameras", "cube": "Faces of a cube",
    "negative_prompt": "What not to draw", "num_samples": "Samples", "num_inference_steps": "Steps",
    "guidance_scale": "Guidance",
    "panorama_width": "Width", "panorama_height": "Height", "case_num": "Case",
    "mvd_end": "Share of synchronised steps",
    "initialize_xt_from_zt": "One noise for all views", "animate": "Moving picture",
    "stage2_num_inference_steps": "Steps of stage 2", "stage2_guidance_scale": "Guidance of stage 2",
    "stage2_noise_level": "Noise of stage 2", "stage2_conditioning": "Conditioning of stage 2",
    "stage3_noise_level": "Noise of stage 3", "sd_path": "Stable Diffusion", "stage_1_path": "DeepFloyd IF, stage 1",
    "stage_2_path": "DeepFloyd IF, stage 2", "stage_3_path": "Upscaler, stage 3", "dtype": "Number format",
}  # fmt: skip
# where sliders end, within the options' ranges: more can be asked for on the command line
SLIDER_ENDS = {"num_inference_steps": 100, "stage2_num_inference_steps": 100, "guidance_scale": 20.0,
               "stage2_guidance_scale": 20.0}  # fmt: skip
WIDEST_SLIDER = 1000  # a wider range is typed
EXAMPLES = EMBEDDED.parent / "wide_image_prompts.json"  # of the assignment
FILE_VIEWS = ("permutation",)  # views that would read a file of this machine
MENUS = {"view_set": tuple(VIEW_SETS)}  # of options that would read such a file where they are given no name


@dataclasses.dataclass(frozen=True)
class Field:
    """One field of the form.

    Attributes:
        name: of the option.
        label, info: what a person reads.
        kind: ``slider``, ``menu``, ``switch``, ``text``, or ``lines``: several texts, one a line.
        low, high, step: of a slider.
        choices: of a menu: what is read, and its value.
    """

    name: str
    label: str
    info: str
    kind: str
    low: float = 0.0
    high: float = 0.0
    step: float = 1.0
    choices: tuple[tuple[str, str], ...] = ()


def groups_of(app: App) -> dict[str, list[str]]:
    """Return the headings of the form with the names of the options below them; the front has none."""
    there = [name for name in options_of(app.options) if name not in LEFT_OUT and name not in PROMPTS]
    groups = {"": [name for name in FRONT if name in there]}
    groups |= {heading: [name for name in names if name in there] for heading, names in GROUPS.items()}
    placed = {"negative_prompt", *(name for names in groups.values() for name in names)}
    groups[LAST_GROUP] = [name for name in there if name not in placed]
    return {heading: names for heading, names in groups.items() if names}


def field_of(app: App, name: str) -> Field:
    """Return the field of an option, from what the option says of itself."""
    said, (kind, is_list) = options_of(app.options)[name], kind_of(app.options, name)
    label = LABELS.get(name, name.replace("_", " ").capitalize())
    info = said.help + (f" ({said.range})" if said.range else "")
    if kind is bool:
        return Field(name, label, info, "switch")
    if name in MENUS:
        return Field(name, label, info, "menu", choices=tuple((choice, choice) for choice in MENUS[name]))
    if said.choices:
        open_text = f"left open ({said.default_text})" if said.default_text else "none"
        none = ("standard" if name == "preset" else open_text, "")
        choices = [none] * _may_be_open(said) + [(choice, choice) for choice in said.choices]
        return Field(name, label, info, "menu", choices=tuple(choices))
    if kind in (int, float) and not is_list and said.high - said.low <= WIDEST_SLIDER and not _may_be_open(said):
        high = min(said.high, SLIDER_ENDS.get(name, said.high))
        return Field(name, label, info, "slider", said.low, high, 1 if kind is int else _fine_step(said.low, high))
    if _of_texts(app, name):
        return Field(name, label, f"{info}; one a line", "lines")
    return Field(name, label, info, "text")


def _of_texts(app: App, name: str) -> bool:
    """Whether an option takes several texts, which may hold spaces."""
    return kind_of(app.options, name) == (str, True) and not options_of(app.options)[name].choices


def _may_be_open(said: Option) -> bool:
    """Whether an option may have no value of its own until the weights are known, or none at all."""
    return said.default is None and not said.families


def _fine_step(low: float, high: float) -> float:
    return 0.05 if high - low <= 1 else 0.5


def defaults_of(app: App, texts: Texts) -> dict[str, Value]:
    """Return what every field says where nothing is typed but ``texts``, such as a preset and paths of weights.

    Raises:
        UserError: weights that cannot be found, or options that do not fit together.
    """
    return _fields(app, plan_of(app, texts).options, texts)


def defaults_without_weights(app: App) -> dict[str, Value]:
    """Return what every field says where the embedded weights are not here: what follows from them is left open."""
    given = read(app.options, {"app": app.name, "model": "tiny"})
    return _fields(app, derive_shared(given.with_defaults("tiny")), {})


def _fields(app: App, options: Any, texts: Texts) -> dict[str, Value]:
    shown = {name: _shown(getattr(options, name)) for name in options_of(app.options)}
    weights = [name for name, said in options_of(app.options).items() if said.weights]
    return shown | {name: texts.get(name, "") for name in weights} | {"preset": texts.get("preset", "")}


def _shown(value: Any) -> Value:
    if isinstance(value, (list, tuple)):
        return ("\n" if any(isinstance(one, str) for one in value) else " ").join(_text(one) for one in value)
    return value if isinstance(value, (bool, int, float, str)) else ""


def _text(value: Any) -> str:
    """Return a value as it would be typed."""
    is_whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if is_whole else value).strip()


def typed(app: App, values: Mapping[str, Value], defaults: Mapping[str, Value]) -> Texts:
    """Return what a filled form says besides its defaults, as texts of the command line.

    Args:
        values: field -> value.
        defaults: field -> value, as :func:`defaults_of` returned them.
    """
    texts: Texts = {}
    for name, value in values.items():
        if isinstance(value, bool):
            if value != defaults.get(name):
                texts[name] = value
        elif value is not None and _text(value) != _text(_shown(defaults.get(name))) and _text(value):
            texts[name] = _read(app, name, _text(value))
    return texts


def _read(app: App, name: str, text: str) -> str | list[str]:
    """Return what a field says as the command line takes it."""
    if _of_texts(app, name):
        return [line for line in text.splitlines() if line.strip()]
    return text.split() if kind_of(app.options, name)[1] else text


def view_texts(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Return views as they are typed, from menus and the parameters beside them.

    Raises:
        UserError: a view that the page does not offer.
    """
    for name, _ in rows:
        if name not in view_names():
            raise UserError(
                f"the view {name!r} is not among those of the page: choose one of {', '.join(view_names())}."
            )
    return [f"{name}:{parameters.strip()}" if (parameters or "").strip() else name for name, parameters in rows]


def view_names() -> list[str]:
    """Return the views that the page offers."""
    return [name for name in VIEWS if name not in FILE_VIEWS]


def plan_of(app: App, texts: Texts) -> Plan:
    """Check what was asked for, as ``main.py`` does, and find its weights: the embedded ones where no path is given.

    Raises:
        UserError: with the sentence of the command line.
    """
    given = read(app.options, {"app": app.name, **with_model(app, texts)})
    app.check(given)
    return make_plan(app, given)


def with_model(app: App, texts: Texts) -> Texts:
    """Return the texts with the embedded model, unless they name weights that would take its place."""
    own = any(said.weights and said.families and name in texts for name, said in options_of(app.options).items())
    return texts if own else {"model": "tiny", **texts}


def command(app: App, texts: Texts) -> str:
    """Return the command that makes the same pictures."""
    words = ["python", "main.py", "--app", app.name]
    for name, text in with_model(app, texts).items():
        if isinstance(text, bool):
            words.append(f"--{name}" if text else f"--no-{name}")
        else:
            words += [f"--{name}", *(text if isinstance(text, list) else [text])]
    return shlex.join(words)


# ---------------------------------------------------------------------------------------------- what can be drawn


def known_prompts(plan: Plan | None, examples: Sequence[str]) -> list[str]:
    """Return prompts to choose from: examples of which the model draws all, and every subject that it has.

    Args:
        plan: whose weights are asked for their words; those that read any text know all examples, as do none.
        examples: whole prompts.
    """
    vocabulary = None if plan is None else next(iter(plan.sources.values())).vocabulary()
    if vocabulary is None:
        return list(dict.fromkeys(examples))
    wanted = [*examples, *map(_as_prompt, vocabulary.subjects)]
    return list(dict.fromkeys(prompt for prompt in wanted if _is_drawn(prompt, vocabulary)))


def _as_prompt(subject: str) -> str:
    """Return a subject as it is asked for: a letter is a capital."""
    is_letter = subject[-2:-1] == " "
    return f"the {subject[:-1]}{subject[-1].upper()}" if is_letter else subject


def _is_drawn(prompt: str, vocabulary: Vocabulary) -> bool:
    try:
        return not vocabulary.doubts(prompt)
    except UserError:
        return False


def known_styles(plan: Plan, default: str) -> list[str]:
    """Return styles to choose from: the app's own, and those that an embedded model knows."""
    vocabulary = next(iter(plan.sources.values())).vocabulary()
    known = () if vocabulary is None else vocabulary.styles
    return list(dict.fromkeys([default, *(f"{'an' if style[0] in 'aeiou' else 'a'} {style} of" for style in known)]))


def examples_of(app: App) -> list[str]:
    """Return the prompts of the assignment and the default one of an app that takes one prompt."""
    default = str(options_of(app.options)["prompt"].families[app.pretrained])
    entries = read_entries(EXAMPLES, lambda _: (("prompt",), ("eval_pos",)), app.name)
    return [default, *(entry["prompt"] for entry in entries.values())]


def view_choices() -> list[tuple[str, str]]:
    """Return the views that the page offers: what they do, and their names."""
    return [(f"{VIEWS[name].help} ({name})", name) for name in view_names()]


def view_parameters(name: str) -> str:
    """Return the parameters of a view with their defaults, as they are typed; empty where it has none."""
    parameters = VIEWS[name].parameters if name in VIEWS else ()
    return ",".join(f"{one.name}={90 if one.default is None else one.default:.6g}" for one in parameters)

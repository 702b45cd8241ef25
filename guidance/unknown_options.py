"""What is wrong with an option that an app does not have, on the command line and from Python alike."""

import difflib
from collections.abc import Iterable, Mapping

from guidance.app import App
from utils.errors import UserError
from utils.options import options_of

# options of the course's skeleton that no code of it reads, or whose value belongs to the weights
OF_THE_SKELETON = {
    "latent_instance_size": "the size of a window belongs to the weights",
    "rgb_instance_size": "the size of a window belongs to the weights",
    "eval_w": "a crop is as wide as the strip is high",
    "eval_h": "a crop is as high as the strip",
    "ref_attention_end": "no attention is shared with a reference",
    "initialize_same_xt": "take --initialize_xt_from_zt, by which all views see one noise",
    "scaling_factor": "it belongs to the weights' VAE",
    "sd_model_name": "take --sd_path with a Hub id or a folder",
}


def check_names(names: Iterable[str], app: App, apps: Iterable[App]) -> None:
    """Check that an app has options of these names.

    Args:
        apps: all there are.

    Raises:
        UserError: it has not; the sentence is that of the command line.
    """
    for name in names:
        if name not in options_of(app.options):
            raise UserError(unknown_option(f"--{name}", app, apps))


def unknown_option(word: str, app: App, apps: Iterable[App]) -> str:
    """Say what is wrong with a word of the command line that the parser does not know.

    Args:
        app: the one at hand.
        apps: all there are.
    """
    option = word.split("=", maxsplit=1)[0]
    name = option.lstrip("-").removeprefix("no-")
    if not word.startswith("-"):
        return f"{word!r} belongs to no option: put texts with spaces in quotation marks, or see --help."
    if name in OF_THE_SKELETON:
        return f"{option} of the course's skeleton does nothing here: {OF_THE_SKELETON[name]}; leave it out."
    own = options_of(app.options)
    if name in own:
        meant = f"leave out --{name}." if option.startswith("--no-") else f"did you mean --{name}?"
        return f"{option} is not known: {meant}"
    apps_by_option: dict[str, list[str]] = {}
    for other in apps:
        for known in options_of(other.options):
            apps_by_option.setdefault(known, []).append(other.name)
    if name in apps_by_option:
        owners = ", ".join(apps_by_option[name])
        return f"{option} does not belong to --app {app.name}, but to {owners}: see --help for its options."
    return f"{option} is not known: {_meant(name, own, apps_by_option)}"


def _meant(name: str, own: Iterable[str], apps_by_option: Mapping[str, list[str]]) -> str:
    """Name the nearest option, of the app at hand if one is near enough."""
    if near := difflib.get_close_matches(name, own, n=1):
        return f"did you mean --{near[0]}?"
    if near := difflib.get_close_matches(name, apps_by_option, n=1):
        return f"--{near[0]} belongs to {', '.join(apps_by_option[near[0]])}; see --help for all options."
    return "see --help for all options."

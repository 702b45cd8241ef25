"""The command line of ``main.py``, made of the apps' options. Nothing here imports torch."""

import argparse
import difflib
from collections.abc import Sequence

from guidance import APPS, get_app
from guidance.app import App
from guidance.shared_options import SharedOptions
from utils.errors import OneLineParser, UserError
from utils.options import Given, add_options, default_text, flags, options_of, read
from utils.views import view_help

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


def parse(argv: Sequence[str] | None = None) -> tuple[App, Given]:
    """Turn a command line into an app and its options, as far as they were typed, checked.

    Raises:
        UserError: options that are unknown, belong to another app, or contradict each other.
        SystemExit: ``--help`` (0), or what argparse itself refuses (2).
    """
    first = _parser(list(APPS), with_options=False)
    named, _ = first.parse_known_args(argv)
    names = list(APPS) if named.app is None else [get_app(named.app).name]
    parsed, rest = _parser(names, with_options=True).parse_known_args(argv)
    texts = {name: value for name, value in vars(parsed).items() if name != "app"}
    if named.app is None:
        raise UserError(f"--app is missing: give one of {', '.join(APPS)}.")
    app = get_app(named.app)
    if rest:
        raise UserError(_unknown(app, rest[0]))
    given = read(app.options, {"app": app.name, **texts})
    if given.animate_from is not None:
        others = sorted(given.typed - {"app", "animate", "animate_from"})
        if others:
            raise UserError(f"--animate_from makes no pictures, so {flags(others)} does not apply: leave it out.")
    app.check(given)
    return app, given


def _unknown(app: App, word: str) -> str:
    """Say what is wrong with a word that the parser does not know."""
    option, name = word.split("=", maxsplit=1)[0], word.split("=", maxsplit=1)[0].lstrip("-").removeprefix("no-")
    if not word.startswith("-"):
        return f"{word!r} belongs to no option: put texts with spaces in quotation marks, or see --help."
    if name in OF_THE_SKELETON:
        return f"{option} of the course's skeleton does nothing here: {OF_THE_SKELETON[name]}; leave it out."
    own = options_of(app.options)
    if name in own:
        meant = f"leave out --{name}." if option.startswith("--no-") else f"did you mean --{name}?"
        return f"{option} is not known: {meant}"
    owners = [other for other in APPS if name in options_of(get_app(other).options)]
    if owners:
        return f"{option} does not belong to --app {app.name}, but to {', '.join(owners)}: see --help for its options."
    near = difflib.get_close_matches(name, own, n=1)
    return f"{option} is not known: {f'did you mean --{near[0]}?' if near else 'see --help for all options.'}"


def _parser(names: Sequence[str], with_options: bool) -> argparse.ArgumentParser:
    """Return the parser of some apps; their options share a parser only for the help."""
    parser = OneLineParser(
        prog="main.py",
        description="Pictures that no pretrained model makes by itself, from pretrained models as they are.",
        epilog=f"views of --app ambiguous_image:\n{view_help()}" if "ambiguous_image" in names else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
        add_help=with_options,
        conflict_handler="resolve",
    )
    parser.add_argument("--app", "-app", metavar="{" + ",".join(APPS) + "}", default=None, help="what to make")
    if with_options:
        apps = [get_app(name) for name in names]
        shared = [name for name in options_of(SharedOptions) if name != "app"]
        base = apps[0].options if len(apps) == 1 else SharedOptions
        defaults = {name: _defaults(apps, name) for name in shared}
        add_options(parser.add_argument_group("every app"), base, shared, defaults)
        for app in apps:
            own = [name for name in options_of(app.options) if name not in options_of(SharedOptions)]
            group = parser.add_argument_group(f"--app {app.name}")
            add_options(group, app.options, own, {name: _defaults([app], name) for name in own})
    return parser


def _defaults(apps: Sequence[App], name: str) -> str:
    """Return what the help says of a default: of every app with pretrained weights, and of the embedded ones."""
    saids = [(app, options_of(app.options)[name]) for app in apps]
    if not any(said.families for _, said in saids) or any(said.default_text for _, said in saids):
        return default_text(saids[0][1])
    texts = [default_text(said, app.pretrained) for app, said in saids]
    if len(set(texts)) == 1 < len(texts):
        return texts[0]
    return ", ".join(f"{app.pretrained}: {text}" for (app, _), text in zip(saids, texts, strict=True))

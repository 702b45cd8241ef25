"""The command line of ``main.py``, made of the apps' options. Nothing here imports torch."""

import argparse
from collections.abc import Sequence

from guidance import APPS, get_app
from guidance.app import App
from guidance.shared_options import SharedOptions
from guidance.unknown_options import unknown_option
from utils.errors import OneLineParser, UserError
from utils.options import Given, add_options, default_text, flags, options_of, read
from utils.views import view_help


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
        raise UserError(unknown_option(rest[0], app, map(get_app, APPS)))
    given = read(app.options, {"app": app.name, **texts})
    if given.animate_from is not None:
        others = sorted(given.typed - {"app", "animate", "animate_from"})
        if others:
            raise UserError(f"--animate_from makes no pictures, so {flags(others)} does not apply: leave it out.")
    app.check(given)
    return app, given


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

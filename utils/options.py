"""Options as dataclass fields: everything there is to say about an option stands on its field.

From such a dataclass come the parser of the command line, the checks of single values, the defaults and the help. What
was typed is a :class:`Given`, which may have holes; filled in, it becomes an instance of the dataclass, which has none.
Nothing here imports torch or knows an app.
"""

import argparse
import dataclasses
import functools
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from utils.errors import UserError

EVERY = (float("-inf"), float("inf"))
KINDS = {int: "a whole number", float: "a number", str: "text", bool: "True or False"}


@dataclasses.dataclass(frozen=True)
class Option:
    """What there is to say about an option besides its name and its type.

    Attributes:
        help: what it does, without range and default.
        default: where neither preset nor family says anything; None: it may be left out, or others decide.
        families: family of weights -> default.
        presets: word of ``--preset`` -> default, which comes before that of the family.
        low, high: the numbers allowed, both included.
        choices: the words allowed; empty: any.
        nargs: how many values a list takes, ``+`` or a number.
        metavar: what stands for the value in the help.
        default_text: what the help says of the default where the values above do not tell.
        pinned: all pictures of a folder share its value. Not so for what moves no pixel, or is said per picture.
        for_folders: it says what is written where; pictures that stay in memory have no use for it.
        by_content: it names a file of which only the content matters.
        weights: it names weights; the components that a run needs of them -> their kinds, keys of ``PARTS`` in
            :mod:`utils.models.parts`.
    """

    help: str
    default: Any = None
    families: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    presets: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    low: float = EVERY[0]
    high: float = EVERY[1]
    choices: tuple[str, ...] = ()
    nargs: str | int = "+"
    metavar: str | tuple[str, ...] | None = None
    default_text: str = ""
    pinned: bool = True
    for_folders: bool = False
    by_content: bool = False
    weights: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        """True where the default is known only once family and preset are."""
        return bool(self.families or self.presets)

    def fill(self, preset: str | None, family: str) -> Any:
        """Return the default of a preset, else of a family of weights, else of all."""
        return self.presets.get(preset or "", self.families.get(family, self.default))

    @property
    def range(self) -> str:
        """The numbers allowed, as text; empty where all are."""
        low, high = (f"{bound:g}" if isinstance(bound, float) else str(bound) for bound in (self.low, self.high))
        return f"{low} to {high}" if (self.low, self.high) != EVERY else ""


def option(help: str, **said: Any) -> Any:
    """Return a field of an options dataclass; ``said`` are attributes of :class:`Option`."""
    return dataclasses.field(metadata={"option": Option(help, **said)})


def refine(base: type, name: str, **said: Any) -> Any:
    """Return the field of a base class with more said about it, such as the defaults of one app."""
    return dataclasses.field(metadata={"option": dataclasses.replace(options_of(base)[name], **said)})


@functools.cache
def options_of(options_class: type) -> dict[str, Option]:
    """Return all options of a dataclass by name, in the order of its fields."""
    fields = dataclasses.fields(options_class)
    return {field.name: field.metadata["option"] for field in fields if "option" in field.metadata}


@functools.cache
def _types(options_class: type) -> dict[str, tuple[type, bool, bool]]:
    """Return for every field the type of a value, whether it is a list of such values, and whether it may be None."""
    return {name: _parts(hint) for name, hint in typing.get_type_hints(options_class).items()}


def _parts(hint: Any) -> tuple[type, bool, bool]:
    optional = isinstance(hint, types.UnionType)
    kind = next(arm for arm in typing.get_args(hint) if arm is not types.NoneType) if optional else hint
    is_list = typing.get_origin(kind) is list
    return (typing.get_args(kind)[0] if is_list else kind), is_list, optional


# ---------------------------------------------------------------------------------------------- what was typed


class Given:
    """Options as far as they are known; one that is still open reads as None.

    Args:
        options_class: the dataclass whose options these are.
        values: name -> value, checked here one by one; None counts as not given.

    Raises:
        UserError: an unknown name, or a value of the wrong kind, out of range, or not among the choices.
    """

    def __init__(self, options_class: type, values: Mapping[str, Any]):
        self._class = options_class
        self._values = {name: value for name, value in values.items() if value is not None}
        self.typed = frozenset(self._values)
        for name, value in self._values.items():
            _check(options_class, name, value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in options_of(self._class):
            raise AttributeError(name)
        said = options_of(self._class)[name]
        return self._values.get(name, None if said.is_open else said.default)

    def asked(self, name: str) -> Any:
        """Return what was typed for an option, None where nothing was."""
        return self._values[name] if name in self.typed else None

    def filled(self, **values: Any) -> "Given":
        """Return a copy with more values; :attr:`typed` stays what was typed."""
        copy = object.__new__(Given)
        copy._class, copy.typed, copy._values = self._class, self.typed, {**self._values, **values}
        return copy

    def with_defaults(self, family: str) -> "Given":
        """Return a copy in which what is open has the default of the preset, else of the family, else its own."""
        found = {name: said.fill(self.preset, family) for name, said in options_of(self._class).items()}
        return self.filled(**{name: value for name, value in found.items() if name not in self._values})

    def complete(self) -> Any:
        """Return the dataclass with all values.

        Raises:
            ValueError: one that may not be None is still open.
        """
        names = options_of(self._class)
        values = {name: getattr(self, name) for name in names}
        holes = [name for name, value in values.items() if value is None and not _types(self._class)[name][2]]
        if holes:
            raise ValueError(f"still open: {', '.join(holes)}")
        return self._class(**values)


def _check(options_class: type, name: str, value: Any) -> None:
    """Check one value by itself."""
    said = options_of(options_class).get(name)
    if said is None:
        raise UserError(f"--{name} is no option of this app: see --help for its options.")
    kind, is_list, _ = _types(options_class)[name]
    if is_list and not isinstance(value, (list, tuple)):
        raise UserError(f"--{name} {value!r} is no list: give a list of {KINDS[kind]} each.")
    values: list[Any] = list(value) if is_list else [value]
    if is_list and len(values) != said.nargs and (not values or said.nargs != "+"):
        wanted = "one or more" if said.nargs == "+" else said.nargs
        raise UserError(f"--{name} has {len(values)} values: give {wanted}.")
    for one in values:
        if not _is_kind(one, kind):
            raise UserError(f"--{name} {one!r} is of the wrong kind: give {KINDS[kind]}.")
        if said.choices and one not in said.choices:
            raise UserError(f"--{name} {one!r} is not known: give one of {', '.join(said.choices)}.")
        if kind in (int, float) and not said.low <= one <= said.high:  # NaN too
            raise UserError(f"--{name} {one} is out of range: give {said.range}.")


def _is_kind(value: Any, kind: type) -> bool:
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def may_be_none(options_class: type, name: str) -> bool:
    """Return whether an option may be left out for good."""
    return _types(options_class)[name][2]


def kind_of(options_class: type, name: str) -> tuple[type, bool]:
    """Return the type of an option's value, and whether it is a list of such values."""
    return _types(options_class)[name][:2]


def flags(names: Iterable[str]) -> str:
    """Return options as they are typed: ``--sync --space``."""
    return " ".join(f"--{name}" for name in names)


# ---------------------------------------------------------------------------------------------- the parser


def add_options(
    group: argparse._ArgumentGroup, options_class: type, names: Iterable[str], defaults: Mapping[str, str] | None = None
) -> None:
    """Add options of a dataclass to a parser; those that are not given leave no trace in its result.

    Args:
        names: which ones.
        defaults: what the help says of a default, by name, where it is not the option's own.
    """
    for name in names:
        said, (kind, is_list, _) = options_of(options_class)[name], _types(options_class)[name]
        default = (defaults or {}).get(name) or default_text(said)
        text = " ".join(
            [said.help, *([f"({said.range})"] if said.range else []), *([f"[default: {default}]"] if default else [])]
        ).replace("%", "%%")
        if kind is bool:
            action = "store_true" if said.default is False else argparse.BooleanOptionalAction
            group.add_argument(f"--{name}", help=text, action=action)
            continue
        metavar = said.metavar or ("{" + ",".join(said.choices) + "}" if said.choices else None)
        group.add_argument(f"--{name}", help=text, metavar=metavar, nargs=said.nargs if is_list else None)


def read(options_class: type, texts: Mapping[str, Any]) -> Given:
    """Turn what a parser of :func:`add_options` returned into checked values.

    Raises:
        UserError: see :class:`Given`; or a text that is no number where one is wanted.
    """
    return Given(options_class, {name: _convert(options_class, name, text) for name, text in texts.items()})


def _convert(options_class: type, name: str, text: Any) -> Any:
    kind, is_list, _ = _types(options_class)[name]
    if kind not in (int, float) or text is None:
        return text
    try:
        return [kind(one) for one in text] if is_list else kind(text)
    except ValueError:
        shown = " ".join(map(repr, text)) if is_list else repr(text)
        raise UserError(f"--{name} {shown} is of the wrong kind: give {KINDS[kind]}.") from None


def default_text(said: Option, family: str | None = None) -> str:
    """Return what the help says of an option's default, empty where there is nothing to say."""
    value = said.default if family is None else said.families.get(family, said.default)
    is_flag = value is False and not said.families  # which is off unless it is given
    return said.default_text or ("" if value is None or is_flag else _shown(value))


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)

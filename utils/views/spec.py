"""Views by name and parameters: ``patch_permute:grid=4,seed=7``, checked before torch is loaded."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from utils.errors import UserError
from utils.files import content_hash
from utils.views.permutation_file import read_permutation
from utils.views.registry import VIEWS, WHOLE, Entry, Parameter, Terms, Value, Values

OPTION = "--views_names"
TOLERANCE = 1e-6  # of the coefficients of a sum of components
PARTNERS = (
    "low_pass with high_pass of equal sigma (with a band_pass whose coarse and fine they are), grayscale with color, "
    "motion with motion_res of equal length and angle, scale with weights of total 1"
)


@dataclass(frozen=True)
class ViewSpec:
    """A view as asked for.

    Attributes:
        name: key of ``VIEWS``.
        given: the parameters that were given, checked.
        text: as on the command line.
    """

    name: str
    given: Values
    text: str

    @property
    def entry(self) -> Entry:
        return VIEWS[self.name]

    @property
    def values(self) -> Values:
        """Every parameter with its value; the angle of ``inner_rotate`` is None where it was not given."""
        return {one.name: self.given.get(one.name, one.default) for one in self.entry.parameters}

    @property
    def terms(self) -> Terms | None:
        """The part of the picture that this component is, as a sum of linear maps; None for other views."""
        return None if self.entry.terms is None else self.entry.terms(self.values)

    @property
    def grid(self) -> int | None:
        """Cells per side that a picture must be divisible into, or None where every size will do."""
        if self.name == "permutation":
            return math.isqrt(len(read_permutation(str(self.given["file"]))))
        grid = self.values.get("grid")
        return None if grid is None else int(grid)


def parse_view(view: str | ViewSpec) -> ViewSpec:
    """Read ``name`` or ``name:key=value,key=value``.

    Raises:
        UserError: unknown name or key, a value that is no number or out of range, a file that is no permutation.
    """
    if isinstance(view, ViewSpec):
        return view
    name, colon, rest = view.partition(":")
    if name not in VIEWS:
        raise UserError(f"{OPTION}: unknown view {name!r}; known are {', '.join(VIEWS)}.")
    given = _read_pairs(view, name, rest) if colon else {}
    spec = ViewSpec(name, given, view)
    if name == "permutation":
        if "file" not in given:
            raise UserError(f"{OPTION} {view}: the file is missing: give permutation:file=perm.npy.")
        read_permutation(str(given["file"]))
    wrong = spec.entry.check(spec.values) if spec.entry.check else None
    if wrong:
        raise UserError(f"{OPTION} {view}: {wrong}.")
    return spec


def parse_views(views: Iterable[str | ViewSpec]) -> list[ViewSpec]:
    """Read all, see :func:`parse_view`."""
    return [parse_view(view) for view in views]


def _read_pairs(view: str, name: str, rest: str) -> dict[str, Value]:
    parameters = {one.name: one for one in VIEWS[name].parameters}
    if not parameters:
        raise UserError(f"{OPTION} {view}: {name} takes no parameters: give {name} alone.")
    known = ", ".join(parameters)
    given: dict[str, Value] = {}
    only_path = [one.type for one in parameters.values()] == [str]  # which may hold commas
    for pair in [rest] if only_path else rest.split(","):
        key, equals, text = pair.partition("=")
        if not equals or not text:
            raise UserError(f"{OPTION} {view}: {pair!r} is not key=value: {name} takes {known}.")
        if key not in parameters:
            raise UserError(f"{OPTION} {view}: {name} has no parameter {key!r}: it takes {known}.")
        if key in given:
            raise UserError(f"{OPTION} {view}: {key} is given twice: give it once.")
        given[key] = _read_value(view, parameters[key], text)
    return given


def _read_value(view: str, parameter: Parameter, text: str) -> Value:
    if parameter.type is str:
        return text
    wanted = f"give {'a whole number' if parameter.type is int else 'a number'} {_range(parameter)}"
    try:
        value = parameter.type(text)
    except ValueError:
        raise UserError(f"{OPTION} {view}: {parameter.name}={text} is no such number: {wanted}.") from None
    if not parameter.low <= value <= parameter.high:  # NaN too
        raise UserError(f"{OPTION} {view}: {parameter.name}={text} is out of range: {wanted}.")
    return value


def _range(parameter: Parameter) -> str:
    return f"from {parameter.low:.12g} to {parameter.high:.12g}"


# ------------------------------------------------------------------------------ what a run's views have to be together


def check_combination(views: Sequence[str | ViewSpec]) -> bool:
    """Check that the views of one run go together: no components at all, or components that sum to the picture.

    Returns:
        Whether they are components, to be summed and not averaged.

    Raises:
        UserError: components beside other views, or components whose sum is not the whole picture.
    """
    specs = parse_views(views)
    parts = [spec.text for spec in specs if spec.terms is not None]
    others = [spec.text for spec in specs if spec.terms is None]
    if parts and others:
        raise UserError(f"{OPTION}: {_list(parts)} are parts of a picture, {_list(others)} are whole pictures: "
                        "give one sort only.")  # fmt: skip
    if parts and not _is_whole(specs):
        raise UserError(f"{OPTION} {' '.join(parts)}: these parts do not sum to the whole picture: give {PARTNERS}.")
    return bool(parts)


def _list(texts: list[str]) -> str:
    return ", ".join(texts)


def _is_whole(specs: list[ViewSpec]) -> bool:
    total: Terms = {WHOLE: -1.0}
    for spec in specs:
        for symbol, coefficient in (spec.terms or {}).items():
            total[symbol] = total.get(symbol, 0.0) + coefficient
    return all(abs(coefficient) < TOLERANCE for coefficient in total.values())


def check_sizes(views: Sequence[str | ViewSpec], sizes: Sequence[int]) -> None:
    """Check that every grid divides every stage's side ``sizes`` in pixels.

    Raises:
        UserError: one does not.
    """
    for spec in parse_views(views):
        for size in sizes:
            if spec.grid and size % spec.grid:
                raise UserError(f"{OPTION} {spec.text}: {spec.grid} cells per side do not divide {size} px evenly: "
                                f"give a divisor of {math.gcd(*sizes)}.")  # fmt: skip


def with_contents(views: Sequence[str]) -> list[str]:
    """Return the texts of views in which permutation files are named by their content: ``permutation:file=sha256:...``.

    Raises:
        UserError: see :func:`parse_view`.
    """
    names = {path: name for name, path in permutation_files(views).items()}
    specs = parse_views(views)
    return [f"permutation:file={names[str(spec.given['file'])]}" if spec.name == "permutation" else spec.text
            for spec in specs]  # fmt: skip


def permutation_files(views: Sequence[str]) -> dict[str, str]:
    """Return the paths of the permutation files of views, by the hash of their content."""
    paths = [str(spec.given["file"]) for spec in parse_views(views) if spec.name == "permutation"]
    return {content_hash(Path(path)): path for path in paths}


def with_paths(views: Sequence[str], files: Mapping[str, str]) -> list[str]:
    """Undo :func:`with_contents`.

    Args:
        views: texts of views.
        files: as :func:`permutation_files` returned them.

    Raises:
        UserError: a file is no longer there, or holds something else now.
    """
    return [_with_path(view, files) for view in views]


def _with_path(view: str, files: Mapping[str, str]) -> str:
    name, _, wanted = view.partition("file=")
    if name != "permutation:" or not wanted.startswith("sha256:"):
        return view
    path = Path(files[wanted])
    if not path.is_file() or content_hash(path) != wanted:
        raise UserError(f"{OPTION} permutation: {path} is not there, or not the file that these pictures were made "
                        "with: put that there.")  # fmt: skip
    return f"{name}file={path}"


def reads_rotate_angle(views: Sequence[str | ViewSpec]) -> bool:
    """Whether ``--rotate_angle`` is read: an ``inner_rotate`` without an angle of its own is among the views."""
    return any(spec.name == "inner_rotate" and "angle" not in spec.given for spec in parse_views(views))


def view_help() -> str:
    """Return one line per view: its name with the defaults of its parameters, and what it does."""
    return "\n".join(_help_line(name, entry) for name, entry in VIEWS.items())


def _help_line(name: str, entry: Entry) -> str:
    defaults = ",".join(f"{one.name}={_default(one)}" for one in entry.parameters)
    meanings = "; ".join(
        f"{one.name}: {one.help}" + (f", {one.low:.12g} to {one.high:.12g}" if math.isfinite(one.low) else "")
        for one in entry.parameters
    )
    return f"{name}{':' if defaults else ''}{defaults}  {entry.help}" + (f" ({meanings})" if meanings else "")


def _default(parameter: Parameter) -> str:
    if parameter.default is None:
        return "perm.npy" if parameter.type is str else "A"
    return f"{parameter.default:.6g}"

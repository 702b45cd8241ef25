"""Pages to look at: one HTML file each, which needs nothing besides, and no network."""

import base64
import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from utils.errors import UserError
from utils.files import write_atomic
from utils.report.cards import Card, CardMaker
from utils.report.contents import ReportedApp, read_contents
from utils.report.plot import axis_of, rows_of
from utils.report.viewer import viewer_script, viewer_style
from utils.run.run_record import RunRecord
from utils.scoring.clip_score import FULL_LIMIT, HALF_LIMIT
from utils.scoring.compare import Compared, compare
from utils.scoring.eval_scores import verdict
from utils.sphere import Band

HERE = Path(__file__).parent
REPORT, COMPARISON = "report.html", "comparison.html"
FEW_ROWS = 12  # of a plot, which is not folded away


def write_report(folder: Path, app: ReportedApp, prompts_file: Path | None = None) -> Path:
    """Write ``report.html`` into a folder of pictures; return its path.

    Args:
        folder: of pictures, scored or not.
        app: that made them.
        prompts_file: for files that ``run.json`` does not know.

    Raises:
        UserError: nothing to show, a damaged ``run.json`` or one of another app, a folder that cannot be written.
    """
    contents = read_contents(folder, app, prompts_file)
    maker = CardMaker(contents, app)
    cards = maker.cards()
    if not cards:
        name, reason = next(iter(maker.failures.items()))
        raise UserError(f"{folder} holds no picture to show: {name!r} is {reason}.")
    rows = rows_of(cards)
    limits = [HALF_LIMIT, FULL_LIMIT] if (contents.details or {}).get("grade") else []
    axis = axis_of([*limits, *(card.shown.score or 0.0 for row in rows for card in row.cards)]) if rows else None
    page = render(
        "report.html",
        any(card.band for card in cards),
        title=folder.resolve().name,
        contents=contents,
        cards=cards,
        seeds=sorted({card.shown.seed for card in cards if card.shown.seed is not None}),
        notes=[*contents.notes, *maker.notes],
        unscored=contents.unscored | maker.failures,
        rows=rows,
        axis=axis,
        limits=limits,
        folded=len(rows) > FEW_ROWS,
        verdict=verdict(contents.details) if contents.details else "",
        settings=settings_of(contents.record),
    )
    return _write(folder / REPORT, page)


@dataclass(frozen=True)
class Side:
    """A folder of a comparison: its letter, how it was made, and its scores over what all folders have."""

    letter: str
    name: str
    settings: dict[str, str]
    row: Compared


@dataclass(frozen=True)
class Line:
    """Pictures of the same prompts and seed, a card or None per folder."""

    prompts: tuple[str, ...]
    seed: int | None
    cards: list[Card | None]

    @property
    def best(self) -> Card | None:
        """The card of the highest score; None where no other is lower."""
        known = [card for card in self.cards if card is not None and card.shown.merit is not None]
        known.sort(key=lambda card: card.shown.merit or 0.0)
        return known[-1] if known and known[0].shown.merit != known[-1].shown.merit else None


def write_comparison(folders: Sequence[Path], apps: Sequence[ReportedApp]) -> Path:
    """Write ``comparison.html`` beside the first folder; return its path.

    Args:
        folders: scored by one model.
        apps: that made them, one per folder.

    Raises:
        UserError: as :func:`utils.scoring.compare.compare` and :func:`write_report`.
    """
    compared = compare(folders)
    contents = [read_contents(folder, app) for folder, app in zip(folders, apps, strict=True)]
    letters = [_letter(index) for index in range(len(folders))]
    makers = [CardMaker(one, app, f"{letter}-") for one, app, letter in zip(contents, apps, letters, strict=True)]
    lines = _lines([maker.cards() for maker in makers])
    names, shown = _short_names(folders), differing([settings_of(one.record) for one in contents])
    sides = [Side(*side) for side in zip(letters, names, shown, compared, strict=True)]
    ends = [row.score + sign * row.error for row in compared if row.error == row.error for sign in (-1, 1)]
    page = render(
        "comparison.html",
        any(card.band for line in lines for card in line.cards if card is not None),
        title=" / ".join(names),
        sides=sides,
        lines=lines,
        wide=any(card.wide for line in lines for card in line.cards if card is not None),
        axis=axis_of([*ends, *(row.score for row in compared)]),
        notes=list(dict.fromkeys(note for maker in makers for note in (*maker.contents.notes, *maker.notes))),
    )
    return _write(folders[0].resolve().parent / COMPARISON, page)


def _letter(index: int) -> str:
    """Return A, B, ..., Z, A1, B1, ..."""
    return chr(ord("A") + index % 26) + (str(index // 26) if index >= 26 else "")


def _short_names(folders: Sequence[Path]) -> list[str]:
    """Return the folders' names, with those above where names alone do not tell them apart."""
    names = [folder.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]


def _lines(cards: Sequence[Sequence[Card]]) -> list[Line]:
    """Return what all folders have, in the order of the first one."""
    by_key = [{(card.prompts, card.shown.seed): card for card in reversed(some)} for some in cards]
    common = [key for key in dict.fromkeys((card.prompts, card.shown.seed) for card in cards[0])
              if all(key in some for some in by_key)]  # fmt: skip
    return [Line(*key, [some[key] for some in by_key]) for key in common]


def settings_of(record: RunRecord | None) -> dict[str, str]:
    """Return how a folder was made, by the names that a user knows."""
    if record is None:
        return {}
    sources = record["model"]["sources"].items()
    weights = {f"--{name}": str(source.get("name") or source.get("sha256") or "") for name, source in sources}
    said_twice = {"case_num"} if record["options"].get("sync") else set()  # --sync and --space say it in words
    options = {f"--{name}": _text(value) for name, value in record["options"].items()
               if value is not None and name not in said_twice}  # fmt: skip
    last = record["sessions"][-1:]
    made = {name: str(session[name]) for session in last for name in ("device", "started") if name in session}
    return {"model": record["model"]["family"], **weights, **options, **made}


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def differing(settings: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Return of each what is not the same in all, but for when and where."""
    names = list(dict.fromkeys(name for one in settings for name in one if name not in ("device", "started")))
    unlike = [name for name in names if len({one.get(name) for one in settings}) > 1]
    return [{name: one.get(name, "") for name in unlike} for one in settings]


# ---------------------------------------------------------------------------------------------- HTML


@functools.cache
def environment() -> Environment:
    """Return what fills in templates: everything is escaped, a name that is not given is an error."""
    made = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made.filters["figure"] = lambda value, digits=3: f"{value:.{digits}f}"
    return made


def render(template: str, spheres: bool, **values: Any) -> str:
    """Fill in a template, with the style and the script that all pages share, which nothing else may run beside.

    Args:
        template: name of its file.
        spheres: there are some to look around in, so that the page holds their viewer.
        values: what else the template needs.
    """
    style, script = ((HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    styles, scripts = ([viewer_style()], [viewer_script()]) if spheres else ([], [])
    allowed = {"style": [*styles, style], "script": [*scripts, script]}
    return (
        environment()
        .get_template(template)
        .render(
            spheres=spheres,
            embedded={kind: [Markup(text) for text in texts] for kind, texts in allowed.items()},
            hashes={kind: " ".join(f"'{_hash(text)}'" for text in texts) for kind, texts in allowed.items()},
            **values,
        )
    )


def sphere_page(address: str, band: Band, title: str) -> str:
    """Return a page of one sphere to look around in, for a frame within another page.

    Args:
        address: of its equirectangular picture, as seen from the other page.
        band: which rows of the sphere the picture shows.
        title: what it shows.
    """
    style, script = Markup(viewer_style()), Markup(viewer_script())
    template = environment().get_template("sphere.html")
    return template.render(style=style, script=script, address=address, band=band, title=title)


def _hash(text: str) -> str:
    """Return what the page's security policy calls an embedded text."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _write(path: Path, page: str) -> Path:
    try:
        write_atomic(path, page.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror or error}): make room there.") from error
    return path

"""The PDF of a submission, A4: for each task its settings, its scores, ``eval.json`` as it is, and every picture."""

import io
import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

from utils.images import decode
from utils.prompts import FileEntry
from utils.run.run_record import PictureEntry
from utils.submission.checklist import shorten
from utils.submission.task import Task, files_of
from utils.submission.text import FONT, markup, register_fonts

if TYPE_CHECKING:
    from reportlab.platypus import Flowable

POINTS_PER_MM = 72 / 25.4
MARGIN, PAGE_WIDTH = 18 * POINTS_PER_MM, 210 * POINTS_PER_MM
PADDING = 6  # that reportlab leaves inside of its margins
WIDTH, MAX_HEIGHT = PAGE_WIDTH - 2 * MARGIN, 220 * POINTS_PER_MM
SHORT_SIDE, GAP = 41 * POINTS_PER_MM, 3 * POINTS_PER_MM
READABLE_HEIGHT, PIECE_RATIO = 15 * POINTS_PER_MM, 6  # a strip that would be lower is shown in pieces, too
PIXELS_PER_POINT, JPEG_QUALITY = 450 / 72, 92
CAPTION_LENGTH, CELL_LENGTH = 90, 200  # characters


@dataclass(frozen=True)
class Shown:
    """A picture on a page: JPEG data, width and height in points, and the text below it."""

    data: bytes
    width: float
    height: float
    caption: str


def make_pdf(title: str, tasks: Sequence[Task]) -> bytes:
    """Return the PDF; the same input gives the same bytes.

    Args:
        title: the student's name and number.
        tasks: in their order.
    """
    from reportlab import rl_config
    from reportlab.lib.pagesizes import A4
    from reportlab.platypus import SimpleDocTemplate

    rl_config.useA85 = 0  # pictures as bytes, not as text: much faster, and a fifth smaller
    register_fonts()
    buffer = io.BytesIO()
    document = SimpleDocTemplate(
        buffer, pagesize=A4, title=title, author=title, leftMargin=MARGIN - PADDING, rightMargin=MARGIN - PADDING,
        topMargin=MARGIN, bottomMargin=MARGIN, invariant=1,
    )  # fmt: skip
    footer = _footer(title)
    story = [*_overview(title, tasks), *(part for task in tasks for part in _task(task))]
    document.build(story, onFirstPage=footer, onLaterPages=footer)
    return buffer.getvalue()


def _footer(title: str) -> Callable[[Any, Any], None]:
    def draw(canvas: Any, document: Any) -> None:
        line = _text(f"{shorten(title)}, page {document.page}", 8)
        line.wrap(WIDTH, MARGIN)
        line.drawOn(canvas, MARGIN, MARGIN / 2)

    return draw


def _text(text: str, size: float = 9, above: float = 0, with_next: bool = False, indent: float = 0) -> "Flowable":
    """Return a paragraph."""
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.platypus import Paragraph

    style = ParagraphStyle(
        f"{FONT} {size}", fontName=FONT, fontSize=size, leading=1.3 * size, spaceBefore=above, spaceAfter=size / 3,
        keepWithNext=with_next, leftIndent=indent, embeddedHyphenation=0,
    )  # fmt: skip
    return Paragraph(markup(text), style)


def _table(rows: Sequence[Sequence[str]], widths: Sequence[float]) -> "Flowable":
    """Return a table whose first row is its heading; ``widths`` are shares of the page's."""
    from reportlab.lib import colors
    from reportlab.platypus import Table

    cells = [[_text(shorten(cell, CELL_LENGTH), 8) for cell in row] for row in rows]
    lines = [("LINEBELOW", (0, 0), (-1, 0), 0.8, colors.black), ("LINEBELOW", (0, 1), (-1, -1), 0.3, colors.lightgrey),
             ("VALIGN", (0, 0), (-1, -1), "TOP"), ("LEFTPADDING", (0, 0), (-1, -1), 0)]  # fmt: skip
    return Table(cells, [share * WIDTH for share in widths], repeatRows=1, style=lines, hAlign="LEFT", spaceAfter=8)


# ---------------------------------------------------------------------------------------------- the parts


def _overview(title: str, tasks: Sequence[Task]) -> "list[Flowable]":
    rows = [["task", "pictures", "score", "points"]]
    for task in tasks:
        scores = task.scores
        rows.append([task.title, str(len(task.pictures)), _score(scores and scores.score), _points(task)])
    heading = [_text(title, 20), _text("Diffusion synchronization (KAIST CS492(D), Assignment 5)", 11)]
    return [*heading, _table(rows, (0.52, 0.12, 0.12, 0.24))]


def _task(task: Task) -> "Iterator[Flowable]":
    from reportlab.platypus import PageBreak

    yield PageBreak()
    yield _text(task.title, 16)
    yield from _settings(task)
    yield from _scores(task)
    yield _text("Pictures", 13, above=10, with_next=True)
    for picture in task.pictures:
        yield from _picture(task, picture)


def _settings(task: Task) -> "Iterator[Flowable]":
    record = task.record
    sources = [
        f"{source['name']} ({source.get('commit') or source.get('sha256') or 'no revision'})"
        for source in record["model"]["sources"].values()
    ]
    seeds = dict.fromkeys(str(picture["seed"]) for picture in task.pictures)
    revisions = dict.fromkeys(str(session.get("git_revision")) for session in record["sessions"])
    made = {name: value for name, value in record["options"].items() if value is not None}
    yield _text(f"Model: {record['model']['family']}: {'; '.join(sources)}")
    yield _text(f"Seed: {', '.join(seeds) or 'no picture is finished'}")
    yield _text(f"Revision of the code: {', '.join(revisions)}")
    yield _text(f"Settings: {', '.join(f'{name} {json.dumps(value)}' for name, value in made.items())}", 7)


def _scores(task: Task) -> "Iterator[Flowable]":
    scores = task.scores
    yield _text("Scores", 13, above=10, with_next=True)
    if scores is None:
        yield _text("These pictures are not scored.")
        return
    yield _text(f"Cosine of picture and prompt by {scores.scorer}; mean over the pictures of a prompt, then prompts.")
    rows = [[prompt, str(count), _score(score)] for prompt, score, count in scores.prompts]
    overall = ["overall", str(sum(count for *_, count in scores.prompts)), _score(scores.score)]
    yield _table([["prompt", "pictures", "score"], *rows, overall], (0.76, 0.12, 0.12))
    yield _text(f"Points: {_points(task)}")
    yield _text("eval.json", 13, above=10, with_next=True)
    for line in scores.text.splitlines():
        yield _text(line, 7, indent=2.0 * (len(line) - len(line.lstrip())))


def _score(score: float | None) -> str:
    return "none" if score is None else f"{score:.4f}"


def _points(task: Task) -> str:
    return "no score that counts" if task.points is None else f"{task.points:g} of {task.full_points:g}"


# ---------------------------------------------------------------------------------------------- pictures


def _picture(task: Task, picture: PictureEntry) -> "Iterator[Flowable]":
    """Return the prompts of a picture in full, its seed, and all its files in rows."""
    yield _text(" | ".join(picture["prompts"]), 10, above=12, with_next=True)
    yield _text(f"seed {picture['seed']}", 8, with_next=True)
    shown = [part for entry in files_of(picture) for part in _show(task, entry)]
    yield from (_row(row) for row in _rows(shown))


def _show(task: Task, entry: FileEntry) -> list[Shown]:
    """Return a file whole, and in pieces from left to right where it would be too low to see something."""
    caption = _caption(task, entry)
    try:
        image = decode(task.folder / entry["file"])
    except ValueError as error:
        return [Shown(b"", SHORT_SIDE, 0, f"{caption}: {error}")]
    whole = _place(image, caption)
    if whole.height >= READABLE_HEIGHT or image.width <= image.height:
        return [whole]
    count = math.ceil(image.width / image.height / PIECE_RATIO)
    edges = [round(image.width * index / count) for index in range(count + 1)]
    pieces = [image.crop((left, 0, right, image.height)) for left, right in itertools.pairwise(edges)]
    return [whole, *(_place(piece, f"part {index} of {count}") for index, piece in enumerate(pieces, start=1))]


def _caption(task: Task, entry: FileEntry) -> str:
    """Return the position or the prompt of a file, its role, and its score."""
    score = task.scores.files.get(entry["file"]) if task.scores else None
    what = f"at {entry['position']}" if "position" in entry else entry["role"].replace("_", " ")
    prompt = [shorten(entry["prompt"], CAPTION_LENGTH)] if "view" in entry and "prompt" in entry else []
    return ": ".join([what, *prompt]) + ("" if score is None else f" ({score:.4f})")


def _place(image: Image.Image, caption: str) -> Shown:
    """Return a picture at its size on the page: its short side is fixed, unless it would leave the page."""
    scale = SHORT_SIDE / min(image.size)
    scale = min(scale, WIDTH / image.width, MAX_HEIGHT / image.height)
    width, height = scale * image.width, scale * image.height
    most = max(1, round(width * PIXELS_PER_POINT)), max(1, round(height * PIXELS_PER_POINT))
    if image.width > most[0]:
        image = image.resize(most, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=JPEG_QUALITY, subsampling=0)
    return Shown(buffer.getvalue(), width, height, caption)


def _rows(shown: Iterable[Shown]) -> list[list[Shown]]:
    """Lay pictures in rows that are as full as the page is wide."""
    rows: list[list[Shown]] = []
    for one in shown:
        if rows and sum(other.width + GAP for other in rows[-1]) + one.width <= WIDTH + 0.1:
            rows[-1].append(one)
        else:
            rows.append([one])
    return rows


def _row(row: Sequence[Shown]) -> "Flowable":
    from reportlab.platypus import Image as Picture
    from reportlab.platypus import Table

    cells: list[list[Any]] = [[_text(one.caption, 7, above=2)] for one in row]
    for cell, one in zip(cells, row, strict=True):
        if one.data:
            cell.insert(0, Picture(io.BytesIO(one.data), one.width, one.height, hAlign="LEFT"))
    widths = [one.width + GAP for one in row[:-1]] + [row[-1].width]
    style = [(f"{side}PADDING", (0, 0), (-1, -1), 0) for side in ("LEFT", "RIGHT", "TOP", "BOTTOM")]
    return Table([cells], widths, style=[*style, ("VALIGN", (0, 0), (-1, -1), "TOP")], hAlign="LEFT", spaceAfter=4)

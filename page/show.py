"""What the page shows of a job, as HTML: how far it is, what it will look like, and the finished picture.

Finished pictures are links to their files; views turn and strips scroll by style sheet alone, a sphere lies in a frame.
"""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from guidance.synchronization import ALONE
from page.maker import Job, News
from utils.images import picture_size
from utils.prompts import FileEntry
from utils.report.page import sphere_page
from utils.run.run_folder import RunFolder
from utils.run.run_record import PictureEntry

if TYPE_CHECKING:
    from PIL import Image

    from utils.sphere import Band

# view -> how a picture moves that is seen through it; others fade
TURNS = {
    "identity": "none",
    "rotate_cw": "rotate(90deg)",
    "rotate_ccw": "rotate(-90deg)",
    "rotate_180": "rotate(180deg)",
    "flip": "scaleY(-1)",
    "flip_horizontal": "scaleX(-1)",
}
IDLE = '<p class="ds-note">Your picture will appear here.</p>'


def progress(news: News, warnings: Sequence[str], several: bool) -> str:
    """Return bar and preview of a job that is running.

    Args:
        several: pictures are made, so that finished ones are counted.
    """
    share = 100 * news.step // max(1, news.steps)
    text = f"Step {news.step} of {news.steps}" if news.step else "Loading the model"
    made = f", {len(news.made)} made" if several and news.made else ""
    value = f' value="{news.step}"' if news.step else ""
    bar = f'<progress max="{news.steps}"{value} aria-label="{text}"></progress>'
    return f'<div class="ds-run" role="status"><p>{text}{made} <span>{share} %</span></p>{bar}{notes(warnings)}</div>'


def waiting() -> str:
    """Return what is said while others come first; the place in the queue stands beside it."""
    return ('<div class="ds-run" role="status"><p>Waiting for your turn</p>'
            '<progress aria-label="waiting"></progress></div>')  # fmt: skip


def error(sentence: str) -> str:
    """Return a mistake, or what went wrong."""
    return f'<p class="ds-error" role="alert">{html.escape(" ".join(sentence.split()))}</p>'


def stopped(job: Job) -> str:
    """Return what is said of a job that was stopped."""
    kept = f"; {len(job.made)} finished before and kept" if job.made else ""
    when = f"at step {job.step} of {job.steps}" if job.step else "before the first step"
    return f'<p class="ds-stopped" role="status">Stopped {when}{kept}.</p>'


def finished(job: Job, seconds: float) -> str:
    """Return what was made, how long it took, where it is, and how to make it again."""
    count = len(job.made)
    what = f"{count} picture{'' if count == 1 else 's'} in {seconds:.1f} s"
    command = (f"<details><summary>The same from the command line</summary><code>{html.escape(job.command)}</code>"
               "</details>")  # fmt: skip
    where = html.escape(str(job.folder))
    return (f'<div class="ds-done" role="status"><p>{what}, in <code>{where}</code></p>{notes(job.warnings)}{command}'
            "</div>")  # fmt: skip


def notes(warnings: Sequence[str]) -> str:
    """Return warnings, one paragraph each."""
    return "".join(f'<p class="ds-warning">{html.escape(warning)}</p>' for warning in warnings)


def preview(picture: "Image.Image") -> str:
    """Return a picture that is not finished, within the page itself."""
    buffer = io.BytesIO()
    picture.save(buffer, format="WEBP", quality=85)
    data = base64.b64encode(buffer.getvalue()).decode()
    kind = "ds-strip" if picture.width >= 2 * picture.height else "ds-square"
    return (f'<figure class="ds-preview {kind}"><img alt="preview" src="data:image/webp;base64,{data}">'
            "<figcaption>preview</figcaption></figure>")  # fmt: skip


def hero(job: Job) -> str:
    """Return the pictures that a job has finished: strips that scroll, views that turn."""
    if job.folder is None or not job.made:
        return IDLE
    return "".join(_one(job, picture, number) for number, picture in enumerate(job.made))


def _one(job: Job, picture: PictureEntry, number: int) -> str:
    views = [entry for entry in picture["files"] if entry["role"] == "view"]
    if len(views) > 1:
        return _views(job, picture, views, number)
    main = job.plan.app.main_file(picture)
    source, prompt = _address(job, main), html.escape(picture["prompts"][0])
    band = _band(job, main)
    if band is not None:
        page = html.escape(sphere_page(html.unescape(source), band, picture["prompts"][0]))
        return (f'<figure class="ds-sphere"><iframe title="{prompt}, to look around in" srcdoc="{page}"></iframe>'
                f"<figcaption>{prompt} <small>seed {picture['seed']}</small></figcaption></figure>")  # fmt: skip
    return (f'<figure class="ds-strip"><div class="ds-scroll" tabindex="0"><img alt="{prompt}" src="{source}"></div>'
            f"<figcaption>{prompt} <small>seed {picture['seed']}</small></figcaption></figure>")  # fmt: skip


def _band(job: Job, file: str) -> "Band | None":
    """Return what a finished file shows of a sphere; None where it is flat."""
    folder = RunFolder.reopen(job.folder or Path())
    return job.plan.app.sphere(folder.read(), picture_size(folder.path / file))


def _views(job: Job, picture: PictureEntry, views: Sequence[FileEntry], number: int) -> str:
    """Return one picture with a button for every view: it turns where all views do, else they fade."""
    names = job.plan.options.pinned()["views_names"][-len(views) :]
    group = f"views-{Path(job.folder or '').name}-{number}"
    prompts = [html.escape(entry["prompt"]) for entry in views]
    buttons = "".join(
        f'<input type="radio" name="{group}" id="{group}-{index}" aria-label="{prompt}"{"" if index else " checked"}>'
        f'<label for="{group}-{index}">{html.escape(name)}</label>'
        for index, (name, prompt) in enumerate(zip(names, prompts, strict=True))
    )
    captions = "".join(f"<span>{prompt}</span>" for prompt in prompts)
    sources = [_address(job, entry["file"]) for entry in views]
    turns = _turns(job, names)
    style = "".join(f"--turn-{index}: {turn};" for index, turn in enumerate(turns, start=1))
    shown = zip(sources[:1] if turns else sources, prompts, strict=False)
    pictures = "".join(f'<img alt="{prompt}" src="{source}">' for source, prompt in shown)
    return (f'<figure class="ds-views {"ds-turns" if turns else "ds-fades"}" style="{style}">{buttons}'
            f'<div class="ds-stage">{pictures}</div><figcaption>{captions} <small>seed {picture["seed"]}</small>'
            "</figcaption></figure>")  # fmt: skip


def _turns(job: Job, names: Sequence[str]) -> list[str]:
    """Return how the picture moves into each view; empty where a view shows more than the picture turned."""
    options = job.plan.options
    agree = options.case != ALONE and options.mvd_end == 1
    known = names[0] == "identity" and all(name in TURNS for name in names)
    return [TURNS[name] for name in names] if agree and known else []


def _address(job: Job, file: str) -> str:
    """Return where the page finds a file of a job."""
    return html.escape(f"gradio_api/file={quote(str(job.folder))}/{quote(file)}")

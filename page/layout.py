"""The page in gradio's components: a tab per app, with its form on the left and its pictures on the right."""

import dataclasses
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import gradio as gr

from guidance import APPS, get_app
from guidance.app import App
from guidance.pipeline import Plan
from page import show
from page.form import (
    FRONT,
    Field,
    Texts,
    Value,
    command,
    defaults_of,
    defaults_without_weights,
    examples_of,
    field_of,
    groups_of,
    known_prompts,
    known_styles,
    plan_of,
    typed,
    view_choices,
    view_parameters,
    view_texts,
)
from page.maker import Job, Maker, Stopped, files_of
from utils.errors import UserError
from utils.options import options_of
from utils.run.run_record import FILE

TITLES = {"wide_image": "Wide picture", "ambiguous_image": "Ambiguous picture", "panorama": "Panorama"}
MOST_VIEWS = 4
WIDTHS = {"preset": 140, "seed": 100, "num_samples": 96}  # pixels that fields side by side need for their texts
LARGEST_SEED = 2**31 - 1  # of those that the dice throw
PICTURES = (".png", ".gif", ".webp", ".mp4")
QUEUE = "making"  # all apps wait in one line
Updates = dict[Any, Any]  # component -> what it shows now


def build(maker: Maker) -> gr.Blocks:
    """Return the page, not started yet."""
    theme_free: dict[str, Any] = {"analytics_enabled": False, "title": "Diffusion synchronization"}
    with gr.Blocks(**theme_free, delete_cache=(3600, 24 * 3600)) as page:
        gr.HTML('<header class="ds-head"><h1>Diffusion synchronization</h1><p>Pictures that no pretrained model makes '
                "by itself, made by pretrained models as they are.</p></header>")  # fmt: skip
        jobs: dict[tuple[str, str], Job] = {}
        for name in APPS:
            with gr.Tab(TITLES.get(name, name), id=name):
                Studio(get_app(name), maker, jobs)
    return page


class Studio:
    """The tab of one app.

    Args:
        app: whose pictures are made.
        maker: makes them.
        jobs: what every visitor asked for last, by session and app; shared by all tabs.
    """

    def __init__(self, app: App, maker: Maker, jobs: dict[tuple[str, str], Job]):
        self.app, self.maker, self.jobs = app, maker, jobs
        self.mistakes: dict[tuple[str, str], str] = {}  # what is wrong with the form that a visitor has just sent
        self.plan, self.missing = _embedded(app)
        self.defaults = defaults_of(app, {}) if self.plan else defaults_without_weights(app)
        self.fields: dict[str, Any] = {}
        with gr.Row(equal_height=False):
            with gr.Column(scale=5, min_width=320):
                self.prompts = Views(self) if "views_names" in options_of(app.options) else OnePrompt(self)
                self._form()
            with gr.Column(scale=7, min_width=320):
                self._results()
        self._wire()

    # ------------------------------------------------------------------------------ what there is to see

    def _form(self) -> None:
        groups = groups_of(self.app)
        with gr.Row():
            for name in groups.pop("", []):
                self._add(name)
            self.dice = gr.Button("Another seed", size="sm", min_width=80, elem_classes="ds-dice")
        with gr.Row():
            self.make = gr.Button("Make it", variant="primary", scale=3, elem_classes="ds-make")
            self.stop = gr.Button("Stop", variant="stop", scale=1, interactive=False, elem_classes="ds-stop")
        with gr.Accordion("More", open=False):
            self._add("negative_prompt")
            for heading, names in groups.items():
                with gr.Accordion(heading, open=False):
                    for name in names:
                        self._add(name)

    def _add(self, name: str) -> None:
        field = field_of(self.app, name)
        brief = dataclasses.replace(field, info="") if name in FRONT else field
        self.fields[name] = component(brief, self.defaults[name], f"{self.app.name}-{name}", WIDTHS.get(name, 110))

    def _results(self) -> None:
        self.status = gr.HTML(self.missing, elem_classes="ds-status")
        self.hero = gr.HTML(show.IDLE, elem_classes="ds-result")
        self.gallery = gr.Gallery(
            label="All files", columns=4, object_fit="contain", height="auto", visible=False, interactive=False,
            buttons=["download", "fullscreen"], elem_classes="ds-gallery",
        )  # fmt: skip
        self.record = gr.DownloadButton(FILE, visible=False, size="sm", elem_classes="ds-record")

    def _wire(self) -> None:
        everything = {*self.fields.values(), *self.prompts.inputs}
        shown = [self.status, self.hero, self.gallery, self.record, self.make, self.stop]
        state = gr.State(self.defaults)
        private: dict[str, Any] = {"api_visibility": "private"}
        asked = self.make.click(
            self.ask, {*everything, state}, shown, queue=False, show_progress="hidden", **private,
        )  # fmt: skip
        self.state = state
        made = asked.then(
            self.go, None, shown, concurrency_limit=1, concurrency_id=QUEUE, show_progress="minimal",
            show_progress_on=[self.status], **private,
        )  # fmt: skip
        self.stop.click(self.end, None, shown, queue=False, cancels=[made], show_progress="hidden", **private)
        self.dice.click(another_seed, None, self.fields["seed"], queue=False, show_progress="hidden", **private)
        fields = [*self.fields.values()]
        for name in self._deciding():
            listen = self.fields[name].change if name == "preset" else self.fields[name].blur
            listen(self.refresh, {*fields, state}, [*fields, state, self.status, *self.prompts.menus], queue=False,
                   show_progress="hidden", **private)  # fmt: skip

    def _deciding(self) -> list[str]:
        """Return the options that decide what others are by default."""
        weights = [name for name, said in options_of(self.app.options).items() if said.weights]
        return [name for name in ("preset", *weights) if name in self.fields]

    # ------------------------------------------------------------------------------ what happens

    def ask(self, values: Mapping[Any, Value], request: gr.Request) -> Updates:
        """Take a filled form: a mistake is told at once, else the job waits for its turn."""
        key = self._key(request)
        self._stop(key)
        self.mistakes.pop(key, None)
        try:
            texts = self.texts(values)
            self.jobs[key] = Job.of(plan_of(self.app, texts), command(self.app, texts))
        except UserError as error:
            self.mistakes[key] = show.error(str(error))
            return {self.status: self.mistakes[key]}
        return {
            self.status: show.waiting(),
            self.make: gr.update(interactive=False),
            self.stop: gr.update(interactive=True),
        }

    def go(self, request: gr.Request) -> Iterator[Updates]:
        """Make what this visitor asked for; the queue lets one in at a time."""
        key, started = self._key(request), time.monotonic()
        job = self.jobs.get(key)
        if job is None or job.stopped.is_set():
            if mistake := self.mistakes.pop(key, ""):
                yield {self.status: mistake}  # once more: what this event does not say, it wipes away
            return
        try:
            for news in self.maker.make(job):
                several = len(job.seeds) * len(job.requests) > 1
                yield {self.status: show.progress(news, job.warnings, several)} | (
                    {self.hero: show.preview(news.preview)} if news.preview else {}
                )
        except Stopped:
            yield self._ended(job, show.stopped(job))
        except UserError as error:
            yield self._ended(job, show.error(str(error)))
        except Exception as error:
            yield self._ended(job, show.error(f"failed: {type(error).__name__}: {error}"))
        else:
            yield self._ended(job, show.finished(job, time.monotonic() - started))

    def end(self, request: gr.Request) -> Updates:
        """Stop what this visitor asked for, whether it runs or waits."""
        job = self._stop(self._key(request))
        return {} if job is None else self._ended(job, show.stopped(job))

    def refresh(self, values: Mapping[Any, Any]) -> Updates:
        """Show the defaults of another preset or other weights in all fields that nobody has changed."""
        old: dict[str, Value] = values[self.state]
        here = {name: values[field] for name, field in self.fields.items()}
        try:
            texts = {name: str(here[name]) for name in self._deciding() if here[name]}
            plan, new = plan_of(self.app, texts), defaults_of(self.app, texts)
        except UserError as error:
            return {self.status: show.error(str(error))}
        changed = typed(self.app, here, old)
        kept = {*self._deciding(), *changed}
        return {
            self.state: new | dict.fromkeys(self._deciding(), ""),  # what decides is said whenever the form is sent
            self.status: "",
            **{self.fields[name]: new[name] for name in self.fields if name in new and name not in kept},
            **self.prompts.offer(plan),
        }

    # ------------------------------------------------------------------------------ helpers

    def texts(self, values: Mapping[Any, Any]) -> Texts:
        """Return what a filled form asks for.

        Raises:
            UserError: views that the page does not offer.
        """
        fields = typed(self.app, {name: values[field] for name, field in self.fields.items()}, values[self.state])
        return fields if "prompts_at" in fields else {**self.prompts.texts(values), **fields}

    def _key(self, request: gr.Request) -> tuple[str, str]:
        return str(request.session_hash), self.app.name

    def _stop(self, key: tuple[str, str]) -> Job | None:
        job = self.jobs.pop(key, None)
        if job is not None:
            job.stopped.set()
        return job

    def _ended(self, job: Job, status: str) -> Updates:
        files = files_of(job)
        pictures = [str(path) for path in files if path.suffix in PICTURES]
        return {
            self.status: status,
            self.hero: show.hero(job),
            self.gallery: gr.update(value=pictures, visible=bool(pictures)),
            self.record: gr.update(value=str(files[-1]) if files else None, visible=bool(files)),
            self.make: gr.update(interactive=True),
            self.stop: gr.update(interactive=False),
        }


def _embedded(app: App) -> tuple[Plan | None, str]:
    """Return the plan of a form that nobody touched; None, and what is missing, where its weights are not here."""
    try:
        return plan_of(app, {}), ""
    except UserError as error:
        return None, show.notes([str(error)])


class OnePrompt:
    """What to draw, where one prompt says it."""

    def __init__(self, studio: Studio):
        self.studio = studio
        offered = known_prompts(studio.plan, examples_of(studio.app))
        self.prompt = gr.Dropdown(
            offered, value=studio.defaults["prompt"], allow_custom_value=True, label="What to draw",
            info="choose a scene, or write your own", elem_classes="ds-prompt",
            elem_id=f"{studio.app.name}-prompt",
        )  # fmt: skip
        self.inputs, self.menus = [self.prompt], [self.prompt]

    def texts(self, values: Mapping[Any, Any]) -> Texts:
        return {"prompt": values[self.prompt] or ""}

    def offer(self, plan: Any) -> Updates:
        """Offer the prompts that other weights know."""
        return {self.prompt: gr.update(choices=known_prompts(plan, examples_of(self.studio.app)))}


class Views:
    """What every view is to show."""

    def __init__(self, studio: Studio):
        assert studio.plan is not None, "its weights are in the repository"
        self.studio, given = studio, studio.plan.given
        offered = known_prompts(studio.plan, [])
        self.rows: list[tuple[Any, Any, Any]] = []
        for index in range(MOST_VIEWS):
            self._row(index, given, offered)
        with gr.Row():
            self.count = gr.Radio(list(range(2, MOST_VIEWS + 1)), value=len(given.views_names), label="Views")
            self.style = gr.Dropdown(
                known_styles(studio.plan, given.style), value=given.style, allow_custom_value=True, label="Style",
                info=options_of(studio.app.options)["style"].help,
            )  # fmt: skip
        with gr.Accordion("A photograph as the first view", open=False):
            self.photo = gr.File(
                label="The prompts are for the others", file_types=["image"], type="filepath", elem_classes="ds-photo"
            )
        self.menus = [prompt for prompt, _, _ in self.rows] + [self.style]
        self.inputs = [self.count, self.style, self.photo, *(part for row in self.rows for part in row)]
        self._wire()

    def _row(self, index: int, given: Any, offered: Sequence[str]) -> None:
        views, prompts = given.views_names, given.prompts
        with gr.Row(visible=index < len(views)) as box:
            prompt = gr.Dropdown(
                list(offered), value=prompts[index] if index < len(prompts) else prompts[0], allow_custom_value=True,
                label=f"View {index + 1} shows", scale=3, min_width=140, elem_classes="ds-prompt",
            )  # fmt: skip
            view = gr.Dropdown(
                view_choices(), value=views[index] if index < len(views) else ("rotate_180", "rotate_ccw")[index - 2],
                label="seen", scale=3, min_width=140, elem_classes="ds-view",
            )  # fmt: skip
            parameters = gr.Textbox(label="with", visible=False, scale=2, min_width=100)
        self.rows.append((prompt, view, parameters))
        view.change(_parameters, view, parameters, queue=False, show_progress="hidden", api_visibility="private")
        self.boxes = [*getattr(self, "boxes", []), box]

    def _wire(self) -> None:
        def show_rows(count: int) -> list[Any]:
            return [gr.update(visible=index < count) for index in range(MOST_VIEWS)]

        self.count.change(show_rows, self.count, self.boxes, queue=False, show_progress="hidden",
                          api_visibility="private")  # fmt: skip

    def texts(self, values: Mapping[Any, Any]) -> Texts:
        rows, photo = self.rows[: int(values[self.count])], values[self.photo]
        views = view_texts([(values[view], values[parameters] or "") for _, view, parameters in rows])
        prompts = [values[prompt] or "" for prompt, _, _ in rows]
        held = {"ref_image": str(photo)} if photo else {}
        return {"prompts": prompts[len(held) :], "style": values[self.style] or "", "views_names": views, **held}

    def offer(self, plan: Any) -> Updates:
        """Offer the prompts and styles that other weights know."""
        prompts, styles = known_prompts(plan, []), known_styles(plan, plan.given.style)
        return {**{prompt: gr.update(choices=prompts) for prompt, _, _ in self.rows},
                self.style: gr.update(choices=styles)}  # fmt: skip


def _parameters(view: str) -> Any:
    """Show the parameters of a view where it has some."""
    example = view_parameters(view)
    return gr.update(visible=bool(example), value="", placeholder=example)


def another_seed() -> str:
    """Return a seed by chance."""
    return str(random.randint(0, LARGEST_SEED))


def component(field: Field, value: Value, elem_id: str, width: int) -> Any:
    """Return the component of a field, at least ``width`` pixels wide."""
    said: dict[str, Any] = {"label": field.label, "info": field.info or None, "elem_id": elem_id, "min_width": width}
    match field.kind:
        case "switch":
            return gr.Checkbox(value=bool(value), **said)
        case "menu":
            return gr.Dropdown(list(field.choices), value=value or "", **said)
        case "slider":
            return gr.Slider(field.low, field.high, value=float(value or 0), step=field.step, **said)
        case _:
            return gr.Textbox(value=str(value), lines=2 if field.kind == "lines" else 1, **said)

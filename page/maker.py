"""Makes the pictures of the page, one job after the other, in a thread of its own; a job can be stopped at any step.

The pictures are those of ``main.py`` with the same options: the same plan, pipeline, folder and loop make them.
"""

import dataclasses
import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from guidance.pipeline import Pipeline, Plan
from utils.errors import UserError
from utils.prompts import PictureRequest
from utils.run.progress import Progress, StepType
from utils.run.run_folder import RunFolder
from utils.run.run_record import FILE, PictureEntry

if TYPE_CHECKING:
    from PIL import Image


PREVIEWS = 6  # of every stage
# options that say which pictures are made, not how: a model that is loaded serves any of them
OF_A_PICTURE = ("prompt", "prompts", "style", "negative_prompt", "eval_pos", "seed", "num_samples", "keep_best", "tag",
                "animate", "save_latents", "preset")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class News:
    """How far a job is.

    Attributes:
        step, steps: finished ones, and all of the job.
        preview: what x0 looks like, where this step shows it.
        made: the pictures that are finished, as ``run.json`` lists them.
    """

    step: int
    steps: int
    preview: "Image.Image | None" = None
    made: tuple[PictureEntry, ...] = ()


@dataclasses.dataclass
class Job:
    """Pictures that a visitor asked for.

    Attributes:
        plan: of all of them.
        requests: each is one picture for every seed.
        warnings: what the visitor may not expect of them.
        command: that makes the same ones.
        folder: where they are, once they are begun.
        stopped: set when the visitor does not want them any more.
        step, made: finished steps and pictures.
    """

    plan: Plan
    requests: list[PictureRequest]
    warnings: list[str]
    command: str
    folder: Path | None = None
    stopped: threading.Event = dataclasses.field(default_factory=threading.Event)
    step: int = 0
    made: tuple[PictureEntry, ...] = ()

    @classmethod
    def of(cls, plan: Plan, command: str) -> "Job":
        """Return the job of a plan.

        Raises:
            UserError: prompts that do not fit the options, or ask for nothing that the model knows.
        """
        requests = plan.requests()
        return cls(plan, requests, plan.warnings(requests), command)

    @property
    def steps(self) -> int:
        """All steps of all pictures, in all stages."""
        return sum(self.plan.app.steps(self.plan.options).values()) * len(self.plan.options.seeds) * len(self.requests)

    @property
    def seeds(self) -> range:
        """The seeds of the pictures that are kept; with ``--keep_best`` the others are tried beside the first."""
        options = self.plan.options
        return options.seeds[:1] if options.keep_best else options.seeds


class Stopped(Exception):
    """The visitor does not want the picture any more."""


class Watch(Progress):
    """Tells how far a job is after every step, and ends it there when it was stopped."""

    def __init__(self, job: Job, news: "SimpleQueue[News | None]"):
        super().__init__(speaks=False)
        self.job, self.news = job, news

    def steps(self, name: str, states: Iterable[StepType]) -> Iterator[StepType]:
        for state in states:
            self.job.step += 1
            self.check()
            self.tell(self._preview(state))
            yield state
            self.check()

    def tell(self, preview: "Image.Image | None" = None) -> None:
        """Say how far the job is."""
        self.news.put(News(self.job.step, self.job.steps, preview, self.job.made))

    def check(self) -> None:
        """Raise Stopped where the job was."""
        if self.job.stopped.is_set():
            raise Stopped

    def _preview(self, state: Any) -> "Image.Image | None":
        """Return what x0 looks like, at the first step of a stage and at some others."""
        every = max(1, state.steps // PREVIEWS)
        return state.preview() if (state.step - 1) % every == 0 else None


class Maker:
    """Makes one job at a time; the networks of the last one stay loaded for the next one of the same options.

    Args:
        top: every job makes a folder of its own in it.
    """

    def __init__(self, top: Path):
        self.top = top
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="maker")
        self._last: tuple[str, Pipeline] | None = None

    def make(self, job: Job) -> Iterator[News]:
        """Make the pictures of a job and tell of every step; when the iterator is closed, the job is stopped.

        Raises:
            Stopped: the job was stopped; what was finished before stays.
            Exception: whatever went wrong; a UserError is a mistake of the visitor.
        """
        news: SimpleQueue[News | None] = SimpleQueue()
        work = self._thread.submit(self._work, job, news)
        try:
            while (one := news.get()) is not None:
                yield one
        finally:
            job.stopped.set()
            work.exception()  # waits: nobody else's pictures begin before this thread is free
        work.result()

    def close(self) -> None:
        """Wait for the thread to end."""
        self._thread.shutdown()

    def _work(self, job: Job, news: "SimpleQueue[News | None]") -> None:
        try:
            self._make_all(job, Watch(job, news))
        finally:
            news.put(None)

    def _make_all(self, job: Job, watch: Watch) -> None:
        watch.check()
        watch.tell()
        pipeline = self._pipeline(job.plan)
        folder = RunFolder(self._new_folder(), pipeline.header())
        job.folder = folder.path
        try:
            todo = folder.open(job.requests, job.plan.list_files, pipeline.runtime.description, job.seeds)
            watch.check()
            pipeline.prepare(job.requests)
            for picture in todo:
                watch.check()
                _make_one(pipeline, folder, picture, watch)
                job.made = tuple(folder.finished())
                watch.tell()
            if job.plan.options.animate is not None:
                _animate(job, folder, job.plan.options.animate)
                watch.tell()
        finally:
            if not job.made:
                shutil.rmtree(folder.path, ignore_errors=True)
                job.folder = None

    def _pipeline(self, plan: Plan) -> Pipeline:
        """Return a pipeline for a plan; where its networks are those of the last one, they are not loaded again."""
        from utils.models.runtime import Runtime, process_state

        key = _key(plan)
        if self._last is not None and self._last[0] == key:
            last = self._last[1]
            plan = dataclasses.replace(plan, sources=last.plan.sources)  # whose files are hashed already
            pipeline = Pipeline(plan, last.runtime, last.model)
        else:
            self._last = None  # frees the other networks before these are loaded
            pipeline = Pipeline(plan, Runtime.from_options(plan.options, process_state(plan.options.device)))
        self._last = key, pipeline
        return pipeline

    def _new_folder(self) -> Path:
        """Make a folder that is named by the time.

        Raises:
            UserError: it cannot be made.
        """
        name, number = time.strftime("%Y-%m-%d_%H%M%S"), 1
        try:
            self.top.mkdir(parents=True, exist_ok=True)
            while True:
                path = self.top / (name if number == 1 else f"{name}_{number}")
                try:
                    path.mkdir()
                except FileExistsError:
                    number += 1
                else:
                    return path
        except OSError as error:
            raise UserError(f"the output folder {self.top} cannot be written ({error.strerror}): choose another "
                            "--save_top_dir.") from error  # fmt: skip


def _key(plan: Plan) -> str:
    """Return a text that two plans share where the networks of one serve the other."""
    options = {name: value for name, value in dataclasses.asdict(plan.options).items() if name not in OF_A_PICTURE}
    return repr((plan.app.name, plan.family, sorted(options.items())))


def _make_one(pipeline: Pipeline, folder: RunFolder, picture: PictureEntry, watch: Watch) -> None:
    """Make one picture and enter it in ``run.json``, or why it failed.

    Raises:
        Stopped, Exception: see :meth:`Maker.make`.
    """
    from guidance.sampling import make_picture
    from utils.run.writer import write_files

    started = time.monotonic()
    try:
        sample, choice = make_picture(pipeline, folder, picture, watch)
        write_files(folder, picture, sample)
    except Stopped:
        raise
    except Exception as error:
        folder.record(picture, status="failed", error=f"{type(error).__name__}: {error}")
        raise
    folder.record(picture, status="done", error=None, seconds=round(time.monotonic() - started, 2), **choice)


def _animate(job: Job, folder: RunFolder, name: str) -> None:
    from utils.animation.folder import animate

    failures = animate(folder, folder.finished(), job.plan.app, name)
    if failures:
        raise UserError(f"the pictures are made, but do not move: {next(iter(failures.values()))}")
    job.made = tuple(folder.finished())


def files_of(job: Job) -> list[Path]:
    """Return the files of a job's finished pictures, ``run.json`` last."""
    if job.folder is None:
        return []
    return [*(job.folder / entry["file"] for picture in job.made for entry in picture["files"]), job.folder / FILE]

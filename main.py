"""Make pictures by diffusion synchronisation: options -> prompts -> model -> pictures, one or a batch.

python main.py --app wide_image --prompt "A photo of a mountain range at twilight" --tag wide_image
python main.py --app ambiguous_image --tag ambiguous_image
python main.py --app wide_image --prompts_file data/wide_image_prompts.json --tag wide_images
"""

import sys

from utils.errors import tell_interrupts

if __name__ == "__main__":
    tell_interrupts("main.py")  # the imports below take a while

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from guidance.app import App
from guidance.command_line import parse
from guidance.pipeline import Pipeline, Plan, make_plan
from utils.console import complain, say
from utils.errors import UserError, exit_with
from utils.options import Given
from utils.run.progress import Progress
from utils.run.run_folder import RunFolder, request_of
from utils.run.run_record import PictureEntry

if TYPE_CHECKING:
    from accelerate import PartialState

    from utils.run.writer import Sample


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        0, or 1 when a picture failed.

    Raises:
        SystemExit: code 2 for a mistake of the user, told in one sentence.
    """
    try:
        app, given = parse(argv)
        return animate_from(app, given) if given.animate_from is not None else run(make_plan(app, given))
    except UserError as error:
        exit_with("main.py", error)
    except KeyboardInterrupt:
        complain("main.py: stopped; the same command goes on with what is missing")
        return 130


def run(plan: Plan) -> int:
    """Make all pictures of a plan that are not finished yet; return the exit code."""
    requests = plan.requests()
    warnings = plan.warnings(requests)

    from utils.models.runtime import Runtime, agree, process_state

    options, state = plan.options, process_state(plan.options.device)
    pipeline = Pipeline(plan, Runtime.from_options(options, state))
    stamp = agree(time.strftime("_%Y-%m-%d-%H%M%S"), state) if options.save_dir_now else ""
    folder = RunFolder(Path(options.save_top_dir) / f"{options.tag}{stamp}", pipeline.header())
    folder.check()
    progress = Progress(state.is_main_process)
    progress.say(f"Model: {plan.reason}", *(f"Warning: {warning}" for warning in warnings))

    seeds = options.seeds[:1] if options.keep_best else options.seeds
    with state.main_process_first():
        todo = folder.open(requests, plan.list_files, pipeline.runtime.description, seeds)
    state.wait_for_everyone()  # everyone has read what is still to do before anyone finishes a picture
    progress.say(f"{len(todo)} of {len(requests) * len(seeds)} pictures to make in {folder.path}")
    failures = make_pictures(pipeline, folder, todo, state, progress) if todo else {}
    state.wait_for_everyone()  # a launcher ends all processes when one ends with an error
    if options.animate is not None:
        failures |= animate_share(plan.app, folder, options.animate, state)
    progress.tell_end(folder, todo, plan.app.main_file)
    state.destroy_process_group()
    return report(failures)


def make_pictures(
    pipeline: Pipeline, folder: RunFolder, todo: list[PictureEntry], state: "PartialState", progress: Progress
) -> dict[str, str]:
    """Make this process's share of the pictures; return the failed ones with their errors.

    Raises:
        UserError: weights that cannot be loaded, or a ``run.json`` that was lost.
    """
    from utils.run.writer import Writer

    with state.main_process_first():  # the others find the embeddings that the first one encoded
        pipeline.prepare([request_of(picture) for picture in todo])
    with state.split_between_processes(todo) as share, Writer(folder) as writer:
        for picture in progress.pictures(cast(list[PictureEntry], share)):
            started = time.monotonic()
            try:
                sample, choice = make_picture(pipeline, folder, picture, progress)
            except Exception as error:  # one picture's failure must not stop the others
                writer.fail(picture, error)
            else:
                seconds = round(time.monotonic() - started, 2)
                writer.write(picture, sample, seconds=seconds, process=state.process_index, **choice)
    return writer.failures


def make_picture(
    pipeline: Pipeline, folder: RunFolder, picture: PictureEntry, progress: Progress
) -> tuple["Sample", dict[str, Any]]:
    """Make one picture in memory; with ``--keep_best`` it is the best of all samples.

    Returns:
        The picture, and what to record of the choice: ``seed`` of the best and ``samples``, the seeds with their
        scores, if there was a choice.
    """
    options = pipeline.plan.options
    if not options.keep_best:
        return make_sample(pipeline, folder, picture, picture["seed"], progress), {}

    from utils.scoring.best_of import choose_best

    samples = (make_sample(pipeline, folder, picture, seed, progress) for seed in options.seeds)
    best, scores = choose_best(pipeline.score, samples, picture["files"])
    return best, {"seed": best.seed, "samples": scores}


def make_sample(
    pipeline: Pipeline, folder: RunFolder, picture: PictureEntry, seed: int, progress: Progress
) -> "Sample":
    """Make one picture in memory; previews go to ``previews/`` where no score counts them."""
    from utils.images import save_png
    from utils.run.writer import Sample

    options = pipeline.plan.options
    for state in progress.steps(picture["name"], pipeline.generate(request_of(picture), seed)):
        if options.log_step and state.step % options.log_step == 0:
            previews = folder.make_previews(picture, f"seed_{seed}" if options.keep_best else "")
            save_png(previews / f"stage_{state.stage}_step_{state.step:04d}.png", state.preview())
    return Sample(seed, pipeline.products(state, picture["files"]))


def animate_share(app: App, folder: RunFolder, name: str, state: "PartialState") -> dict[str, str]:
    """Animate this process's share of the finished pictures; return the failed ones with their errors."""
    from utils.animation.folder import animate

    with state.split_between_processes(folder.finished()) as share:
        failures = animate(folder, cast(list[PictureEntry], share), app, name)
    state.wait_for_everyone()
    return failures


def animate_from(app: App, given: Given) -> int:
    """Animate the finished pictures of a folder; return the exit code.

    Raises:
        UserError: it is no folder of such pictures.
    """
    from utils.animation.folder import animate, reopen

    folder, name = reopen(Path(given.animate_from), app), given.animate or "gif"
    pictures = folder.finished()
    failures = animate(folder, pictures, app, name)
    say(f"{len(pictures) - len(failures)} of {len(pictures)} pictures have a moving one (.{name}) in {folder.path}")
    return report(failures)


def report(failures: dict[str, str]) -> int:
    """Print the errors of failed pictures; return the exit code."""
    for name, failure in failures.items():
        complain(f"main.py: failed: {name}: {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

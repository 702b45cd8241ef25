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
from typing import TYPE_CHECKING, cast

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
        from utils.animation.folder import animate_share

        failures |= animate_share(folder, plan.app, options.animate, state)
    progress.tell_end(folder, todo, plan.app.main_file)
    if options.report and state.is_main_process and folder.finished():
        from utils.report.page import write_report

        progress.say(f"Wrote {write_report(folder.path, plan.app)}: open it in a browser.")
    state.destroy_process_group()
    return report(failures)


def make_pictures(
    pipeline: Pipeline, folder: RunFolder, todo: list[PictureEntry], state: "PartialState", progress: Progress
) -> dict[str, str]:
    """Make this process's share of the pictures; return the failed ones with their errors.

    Raises:
        UserError: weights that cannot be loaded, or a ``run.json`` that was lost.
    """
    from guidance.sampling import make_picture
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


def animate_from(app: App, given: Given) -> int:
    """Animate the finished pictures of a folder; return the exit code.

    Raises:
        UserError: it is no folder of such pictures.
    """
    from utils.animation.folder import animate, reopen

    folder, name = reopen(Path(given.animate_from), app), given.animate or "gif"
    pictures = folder.finished()
    failures = animate(folder, pictures, app, name)
    moving, left = len(pictures) - len(failures), len(folder.read()["pictures"]) - len(pictures)
    others = f"; {left} more are not finished, or lack files" if left else ""
    say(f"{moving} of {len(pictures)} pictures have a moving one (.{name}) in {folder.path}{others}")
    return report(failures)


def report(failures: dict[str, str]) -> int:
    """Print the errors of failed pictures; return the exit code."""
    for name, failure in failures.items():
        complain(f"main.py: failed: {name}: {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

"""Make pictures by diffusion synchronisation: options -> prompts -> model -> pictures, one or a batch.

python main.py --app wide_image --prompt "A photo of a mountain range at twilight" --tag wide_image
python main.py --app ambiguous_image --tag ambiguous_image
python main.py --app wide_image --prompts_file data/wide_image_prompts.json --tag wide_images
"""

import functools
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guidance import load_app
from utils.errors import UserError, exit_with
from utils.models.model_source import ModelSource, open_source
from utils.options import Options, parse_options
from utils.prompts import PictureRequest
from utils.run.run_folder import RunFolder
from utils.run.run_record import PictureEntry
from utils.scoring.clip_files import DEFAULT_REPOSITORY, TINY, WEIGHT_FILES, ClipSource, find_clip

if TYPE_CHECKING:
    from accelerate import PartialState

    from guidance.base_model import BaseModel
    from utils.models.runtime import Runtime
    from utils.run.writer import Sample
    from utils.scoring.clip_model import ClipScorer


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        0, or 1 when a picture failed.

    Raises:
        SystemExit: code 2 for a mistake of the user, told in one sentence.
    """
    try:
        options = parse_options(argv)
        return animate_from(options) if options.animate_from is not None else run(plan(options))
    except UserError as error:
        exit_with("main.py", error)
    except KeyboardInterrupt:
        print("main.py: stopped; the same command goes on with what is missing", file=sys.stderr)
        return 130


@dataclass(frozen=True)
class Job:
    """A checked run: complete options, pictures to make, weights found but not loaded.

    Attributes:
        scorer: what chooses among samples; None where all are kept.
        reason: one line on why this model.
        warnings: one sentence each.
    """

    options: Options
    requests: list[PictureRequest]
    family: str
    sources: dict[str, ModelSource]
    scorer: ClipSource | None
    reason: str
    warnings: list[str]


def plan(options: Options) -> Job:
    """Find the model and check everything against it that can be checked before weights load.

    Raises:
        UserError: the options do not fit together, the model, or the prompts.
    """
    if options.prompts_file is not None:
        options.requests()  # a malformed file is told before anything slow is imported
    family, reason = choose_family(options)
    if family == "tiny" and options.revision is not None:
        raise UserError(
            f"--revision {options.revision} is for a Hub id, this run takes the embedded model: leave it out."
        )
    options = options.with_defaults(family)
    requests = options.requests()
    sources = {
        name: open_source(getattr(options, name), components, options.revision, name)
        for name, components in options.paths.items()
    }
    for source in sources.values():
        source.check_prediction()
    options, requests = options.fit(sources, requests)
    warnings = [*options.warn_of_words(sources, requests), *options.warn_of_cost()]
    scorer = find_scorer(family) if options.keep_best else None
    return Job(options, requests, family, sources, scorer, reason, warnings)


def run(job: Job) -> int:
    """Make all pictures of a run that are not finished yet; return the exit code."""
    from utils.models.runtime import Runtime, process_state

    options = job.options
    state = process_state(options)
    runtime = Runtime.from_options(options, state)
    for source in job.sources.values():
        source.weight_variant(runtime.variant, runtime.half)  # missing weight files are told before any are loaded
    folder = RunFolder(output_path(options, state), header(job, runtime))
    folder.check()
    say(state, f"Model: {job.reason}", *(f"Warning: {warning}" for warning in job.warnings))

    seeds = options.seeds[:1] if options.keep_best else options.seeds
    with state.main_process_first():
        todo = folder.open(job.requests, options.list_files, runtime.description, seeds)
    state.wait_for_everyone()  # everyone has read what is still to do before anyone finishes a picture
    say(state, f"{len(todo)} of {len(job.requests) * len(seeds)} pictures to make in {folder.path}")
    failures = {}
    if todo:
        scorer = load_scorer(job.scorer) if job.scorer else None
        model = load_app(options.app).load(options, job.sources, runtime)
        failures = make_pictures(model, scorer, folder, todo, options, state)
    state.wait_for_everyone()  # a launcher ends all processes when one ends with an error
    if options.animate is not None:
        failures |= animate_share(folder, options.animate, state)
    state.destroy_process_group()
    return report(failures)


def report(failures: dict[str, str]) -> int:
    """Print the errors of failed pictures; return the exit code."""
    for name, failure in failures.items():
        print(f"main.py: failed: {name}: {failure}", file=sys.stderr)
    return 1 if failures else 0


def animate_share(folder: RunFolder, name: str, state: "PartialState") -> dict[str, str]:
    """Animate this process's share of the finished pictures; return the failed ones with their errors."""
    from utils.animation.folder import animate

    with state.split_between_processes(folder.finished()) as share:
        failures = animate(folder, share, name)
    state.wait_for_everyone()
    return failures


def animate_from(options: Options) -> int:
    """Animate the finished pictures of a folder; return the exit code.

    Raises:
        UserError: it is no folder of such pictures.
    """
    from utils.animation.folder import animate, reopen

    folder, name = reopen(Path(options.animate_from), options.app), options.animate or "gif"
    pictures = folder.finished()
    failures = animate(folder, pictures, name)
    print(f"{len(pictures) - len(failures)} of {len(pictures)} pictures have a moving one (.{name}) in {folder.path}")
    return report(failures)


def header(job: Job, runtime: "Runtime") -> dict[str, Any]:
    """Return what ``run.json`` says of the whole folder: all that decides its pictures besides prompts and seeds."""
    scorer = {"scorer": {"model": scorer_name(job.scorer), "sha256": job.scorer.sha256}} if job.scorer else {}
    permutations = job.options.files_by_content()
    return {
        "app": job.options.app,
        "options": {**job.options.decisive(), "dtype": str(runtime.dtype).removeprefix("torch.")},
        "model": {"family": job.family, "sources": {name: source.identity() for name, source in job.sources.items()}},
        **scorer,
        **({"permutations": permutations} if permutations else {}),
    }


def say(state: "PartialState", *lines: str) -> None:
    """Print lines once, however many processes run."""
    if state.is_main_process:
        print(*lines, sep="\n", flush=True)


def choose_family(options: Options) -> tuple[str, str]:
    """Choose between the pretrained and the embedded model.

    Returns:
        The family, a key of ``options.DEFAULTS``, and one line that says which, why, and how to choose.
    """
    pretrained = options.FAMILY
    if options.model != "auto":
        return options.model, f"{options.model}, as --model says."
    if options.has_path:
        return pretrained, f"{pretrained}, since a path was given (--model tiny takes the embedded model)."

    from utils.models.runtime import accelerator_present

    if options.device != "cpu" and accelerator_present():
        return pretrained, f"{pretrained}, since a GPU is present (--model tiny takes the small embedded model)."
    why = "since no GPU is used" if options.device == "cpu" else "since no GPU is present"
    return "tiny", f"the small embedded one, {why} (--model {pretrained} takes the pretrained model)."


def find_scorer(family: str) -> ClipSource:
    """Find the CLIP model that chooses among samples: the embedded one for embedded models, else eval.py's default.

    Raises:
        UserError: its weights are not here and cannot be had.
    """
    if family == "tiny":
        return find_clip(TINY, None)
    try:
        return find_clip(None, None)
    except UserError as error:
        raise UserError(
            f"--keep_best needs CLIP's weights {DEFAULT_REPOSITORY}, which the Hub does not give: fetch them where "
            f"there is a network (hf download {DEFAULT_REPOSITORY} {WEIGHT_FILES[0]}), or leave out --keep_best."
        ) from error


def scorer_name(source: ClipSource) -> str:
    """Return what ``run.json`` calls a scorer, the same on every machine."""
    return TINY if source.is_tiny else f"{source.model} {source.pretrained}"


def load_scorer(source: ClipSource) -> "ClipScorer":
    """Load the scorer, float32 on the CPU."""
    from utils.scoring.clip_model import ClipScorer

    return ClipScorer(source)


def output_path(options: Options, state: "PartialState") -> Path:
    """Return the folder of the run; all processes agree on its time stamp, if it has one."""
    path = Path(options.save_top_dir) / options.tag
    if not options.save_dir_now:
        return path

    from accelerate.utils import broadcast_object_list

    stamp = [time.strftime("%Y-%m-%d-%H%M%S")]
    if state.num_processes > 1:
        broadcast_object_list(stamp)
    return path.with_name(f"{path.name}_{stamp[0]}")


def make_pictures(
    model: "BaseModel",
    scorer: "ClipScorer | None",
    folder: RunFolder,
    todo: list[PictureEntry],
    options: Options,
    state: "PartialState",
) -> dict[str, str]:
    """Make this process's share of the pictures; return the failed ones with their errors."""
    from tqdm import tqdm

    from utils.run.writer import Writer

    with state.main_process_first():  # the others find the embeddings that the first one encoded
        model.encode([prompt for picture in todo for prompt in picture["prompts"]])
    with state.split_between_processes(todo) as share, Writer(folder) as writer:
        for picture in tqdm(share, desc="pictures", unit="picture", disable=len(share) < 2):
            started = time.monotonic()
            try:
                sample, choice = make_picture(model, scorer, folder, picture, options)
            except Exception as error:  # one picture's failure must not stop the others
                writer.fail(picture, error)
            else:
                seconds = round(time.monotonic() - started, 2)
                writer.write(picture, sample, seconds=seconds, process=state.process_index, **choice)
    return writer.failures


def make_picture(
    model: "BaseModel", scorer: "ClipScorer | None", folder: RunFolder, picture: PictureEntry, options: Options
) -> tuple["Sample", dict[str, Any]]:
    """Make one picture in memory; with a scorer it is the best of all samples.

    Returns:
        The picture, and what to record of the choice: ``seed`` of the best and ``samples``, the seeds with their
        scores, if there was a choice.
    """
    from utils.scoring.best_of import choose_best, strip_score, views_score

    if scorer is None:
        return make_sample(model, folder, picture, picture["seed"], options), {}
    samples = (make_sample(model, folder, picture, seed, options) for seed in options.seeds)
    score = {"wide_image": strip_score, "ambiguous_image": views_score}[options.app]
    best, scores = choose_best(functools.partial(score, scorer), samples, picture["files"])
    return best, {"seed": best.seed, "samples": scores}


def make_sample(model: "BaseModel", folder: RunFolder, picture: PictureEntry, seed: int, options: Options) -> "Sample":
    """Make one picture in memory; previews go to ``previews/`` where no score counts them."""
    from safetensors.torch import save
    from tqdm import tqdm

    from utils.images import save_png
    from utils.run.writer import Sample

    bar = tqdm(desc=picture["name"][:40], unit="step", leave=False)
    for state in model.generate(tuple(picture["prompts"]), seed):
        bar.reset(state.steps) if state.step == 1 else None
        bar.update()
        if options.log_step and state.step % options.log_step == 0:
            previews = folder.make_previews(picture, f"seed_{seed}" if options.keep_best else "")
            save_png(previews / f"stage_{state.stage}_step_{state.step:04d}.png", model.preview(state))
    bar.close()
    latents = {entry["file"]: save(model.latents()) for entry in picture["files"] if entry["role"] == "latents"}
    return Sample(seed, {**model.render(state, picture["files"]), **latents})


if __name__ == "__main__":
    sys.exit(main())

"""One picture of a run, made in memory: its samples, their previews, and the choice of the best."""

from typing import Any

from guidance.pipeline import Pipeline
from utils.images import save_png
from utils.run.progress import Progress
from utils.run.run_folder import RunFolder, request_of
from utils.run.run_record import PictureEntry
from utils.run.writer import Sample
from utils.scoring.best_of import choose_best


def make_picture(
    pipeline: Pipeline, folder: RunFolder, picture: PictureEntry, progress: Progress
) -> tuple[Sample, dict[str, Any]]:
    """Make one picture in memory; with ``--keep_best`` it is the best of all samples.

    Returns:
        The picture, and what to record of it: its ``figures`` if there are any, and if there was a choice ``seed`` of
        the best and ``samples``, the seeds with their scores.
    """
    options = pipeline.plan.options
    if not options.keep_best:
        sample = make_sample(pipeline, folder, picture, picture["seed"], progress)
        return sample, _figures(sample)
    samples = (make_sample(pipeline, folder, picture, seed, progress) for seed in options.seeds)
    best, scores = choose_best(pipeline.score, samples, picture["files"])
    return best, {**_figures(best), "seed": best.seed, "samples": scores}


def make_sample(pipeline: Pipeline, folder: RunFolder, picture: PictureEntry, seed: int, progress: Progress) -> Sample:
    """Make one picture in memory; previews go to ``previews/`` where no score counts them."""
    options = pipeline.plan.options
    for state in progress.steps(picture["name"], pipeline.generate(request_of(picture), seed)):
        if options.log_step and state.step % options.log_step == 0:
            previews = folder.make_previews(picture, f"seed_{seed}" if options.keep_best else "")
            save_png(previews / f"stage_{state.stage}_step_{state.step:04d}.png", state.preview())
    return Sample(seed, pipeline.products(state, picture["files"]), pipeline.model.figures())


def _figures(sample: Sample) -> dict[str, Any]:
    return {"figures": dict(sample.figures)} if sample.figures else {}

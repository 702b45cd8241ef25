"""The letters' second stage: is what it makes of a small picture nearer to the truth than bicubic, and as sharp?

The truth are fresh renders. Averaged down as in the stage's training, they are enlarged by the stage, run as
``main.py`` runs it with its defaults, and by Pillow. The default noise level disturbs what the stage is shown, which
costs it PSNR; bicubic interpolation gets the undisturbed picture.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from guidance.ambiguous_image_app import AmbiguousImageApp, AmbiguousImageOptions
from guidance.ambiguous_image_model import AmbiguousImageModel
from guidance.app import Sources
from guidance.pipeline import load
from training.drawing import letters
from training.measure.judge import split_faces
from training.measure.report import Row, mean, number_row
from training.measure.tool import Tool
from utils.images import save_png, side_by_side, to_pil, to_unit_range
from utils.models.runtime import Runtime
from utils.options import Given, options_of
from utils.prompts import PictureRequest

SEED = 61_803  # the stream of the renders; trainings draw theirs from (seed, step), the judges from other seeds
PICTURES = 2 * len(letters.LETTERS)
SHEET_ROWS = 12


class Enlarger(AmbiguousImageModel):
    """The second stage alone, as ``main.py`` runs it for a single upright view of a picture that is given."""

    def enlarge(self, low: torch.Tensor, prompt: str, generator: torch.Generator) -> torch.Tensor:
        """Enlarge a picture ``[1, 3, h, h]``, about -1..1, to ``[1, 3, H, H]``; the generator is on the CPU."""
        low = low.to(self.runtime.device)
        states = self._open(2, self.stages[1], PictureRequest((prompt,)), low, generator)
        *_, last = self.denoise(states, generator)
        return last.x_t_1


class EnlargerApp(AmbiguousImageApp):
    """The app with one view, which it refuses of a user, and with a model that can run its second stage alone."""

    def check(self, given: Given) -> None:
        """Take all options: none is typed by a user."""

    def load(self, options: AmbiguousImageOptions, sources: Sources, runtime: Runtime) -> Enlarger:
        return Enlarger(options, sources, runtime)


@dataclass(frozen=True)
class Sample:
    """One letter in four pictures: the small one, both enlargements, the render that it came from."""

    label: int
    low: Image.Image
    bicubic: Image.Image
    stage_2: Image.Image
    truth: Image.Image


def measure_stage_2(tool: Tool) -> dict[str, Any]:
    """Compare both enlargements with the truth; other noise levels, where asked for, are reported in the details."""
    started, level = time.monotonic(), options_of(AmbiguousImageOptions)["stage2_noise_level"].default
    samples = enlarge_letters(tool, level)
    seconds = (time.monotonic() - started) / len(samples)
    save_png(tool.options.work_dir / "stage-2.png", sheet(samples[:SHEET_ROWS]))
    figures = compare(samples)
    styles = {style: [sample for sample in samples if style_of(sample.label) == style] for style in letters.STYLES}
    details = {
        "noise_level": level,
        "by_style": {style or "plain": compare(some) for style, some in styles.items() if some},
        "other_noise_levels": {n: compare(enlarge_letters(tool, n)) for n in tool.options.stage2_noise_levels},
        "renders": "a random stream of their own; faces of the judge's test, in the stage's training other renders",
        "pictures": len(samples),
        "seconds_per_picture": round(seconds, 2),
    }
    return {"rows": rows_of(figures, samples[0]), "details": {**figures, **details}}


def rows_of(figures: dict[str, float], sample: Sample) -> list[Row]:
    """Return the rows of what :func:`compare` found."""
    gain = figures["psnr"] - figures["psnr_bicubic"]
    sizes = f"{sample.low.width} to {sample.truth.width} px"
    return [
        number_row(f"stage 2: PSNR of letters enlarged from {sizes}", figures["psnr"], "dB"),
        number_row("bicubic interpolation of the same", figures["psnr_bicubic"], "dB"),
        Row("stage 2 above bicubic interpolation", gain, f"{gain:+.2f} dB", ">= 0 dB", gain >= 0),
        gradient_row("stage 2: mean gradient over that of the truth", figures, ""),
        gradient_row("bicubic interpolation: the same", figures, "_bicubic"),
    ]


def gradient_row(what: str, figures: dict[str, float], key: str) -> Row:
    """Return the row of an enlargement's gradients."""
    value = figures[f"gradient{key}"]
    return Row(what, value, f"{value:.3f} (root mean square: {figures[f'gradient_rms{key}']:.3f})")


# ---------------------------------------------------------------------------------------------- pictures


def enlarge_letters(tool: Tool, noise_level: int) -> list[Sample]:
    """Render letters, every one in some styles, and enlarge them both ways; the same renders every time."""
    glyphs = letters.load_glyphs(tool.options.checkpoint_dir / "glyphs.npz")
    sources = tool.plan("ambiguous_image").sources
    small, large = (sources[f"stage_{k}_path"].config("unet")["sample_size"] for k in (1, 2))
    labels = draw_labels(PICTURES)
    truths = letters.draw(split_faces(glyphs)[1], labels, large, np.random.default_rng(SEED))
    lows = letters.shrink(truths, small)
    captions = [letters.captions()[label] for label in labels]
    model = load_model(tool, captions, noise_level)
    samples = []
    for index, (label, low, truth) in enumerate(zip(labels, lows, truths, strict=True)):
        enlarged = model.enlarge(low[None], captions[index], torch.Generator().manual_seed(index))[0]
        given = picture_of(low)
        bicubic = given.resize((large, large), Image.Resampling.BICUBIC)
        samples.append(Sample(int(label), given, bicubic, picture_of(enlarged), picture_of(truth)))
    return samples


def draw_labels(count: int) -> np.ndarray:
    """Return indices into ``letters.captions()``, ``[count]``: letters and styles both in turn."""
    index = np.arange(count)
    return index % len(letters.STYLES) * len(letters.LETTERS) + index % len(letters.LETTERS)


def style_of(label: int) -> str:
    """Return the style of an index into ``letters.captions()``."""
    return letters.STYLES[label // len(letters.LETTERS)]


def load_model(tool: Tool, captions: list[str], noise_level: int) -> Enlarger:
    """Load the model with the defaults of ``main.py`` for embedded models, and encode the captions."""
    how = {"views_names": ["identity"], "dtype": tool.options.dtype, "stage2_noise_level": noise_level}
    model = load(EnlargerApp(), {**tool.weights("ambiguous_image"), **how}).model
    model.prepare(captions)
    return model


def picture_of(tensor: torch.Tensor) -> Image.Image:
    """Turn ``[3, H, W]``, about -1..1, into a picture."""
    return to_pil(to_unit_range(tensor))


def sheet(samples: Sequence[Sample]) -> Image.Image:
    """Return a row per letter: the small picture in large pixels, bicubic, stage 2, truth."""
    rows = []
    for sample in samples:
        coarse = sample.low.resize(sample.truth.size, Image.Resampling.NEAREST)
        rows.append(np.asarray(side_by_side([coarse, sample.bicubic, sample.stage_2, sample.truth])))
    return Image.fromarray(np.concatenate(rows))


# ---------------------------------------------------------------------------------------------- figures


def compare(samples: Sequence[Sample]) -> dict[str, float]:
    """Return mean PSNR and both gradient ratios of both enlargements."""
    truths = [np.asarray(sample.truth) for sample in samples]
    figures = {}
    for name, key in (("stage_2", ""), ("bicubic", "_bicubic")):
        pictures = [np.asarray(getattr(sample, name)) for sample in samples]
        figures[f"psnr{key}"] = mean([psnr(*both) for both in zip(pictures, truths, strict=True)])
        figures[f"gradient{key}"] = gradient_ratio(pictures, truths, 1)
        figures[f"gradient_rms{key}"] = gradient_ratio(pictures, truths, 2)
    return figures


def psnr(picture: np.ndarray, truth: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio of uint8 pictures in dB, infinite for equal ones."""
    error = np.mean((picture.astype(np.float64) - truth) ** 2)
    return math.inf if error == 0 else float(10 * np.log10(255**2 / error))


def gradient_ratio(pictures: Sequence[np.ndarray], truths: Sequence[np.ndarray], power: int) -> float:
    """Return the gradient of uint8 pictures over that of the truths: how sharp they are, noise included.

    Args:
        pictures, truths: ``[H, W, 3]`` each.
        power: 1 for the mean absolute gradient, which a blurred edge keeps as long as it rises by as much; 2 for the
            root mean square, which falls with blur.
    """
    means = [mean([gradient(picture, power) for picture in some]) for some in (pictures, truths)]
    return (means[0] / means[1]) ** (1 / power)


def gradient(picture: np.ndarray, power: int) -> float:
    """Return the mean of a power of the steps from pixel to pixel down and across, uint8 ``[H, W, 3]``."""
    return mean([(np.abs(np.diff(picture.astype(np.float64), axis=axis)) ** power).mean() for axis in (0, 1)])

"""Two plain classifiers that judge what the embedded models draw: ``python training/measure/judge.py`` trains them.

One tells the 26 letters apart in all styles or says that there is none, one tells the eleven scenes apart. They share
nothing with the shipped scorer but the code that draws: other networks, another random stream, other strips and another
split of the faces. The judge of letters also learns from pictures of the tool that a person has read. They are trained
at first use and kept as checkpoints.
"""

import argparse
import copy
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from training.common import LossFunction, Trainer
from training.drawing import letters, scenes, unreadable
from training.measure import by_eye

SIZE, SHIFT = 64, 2
SEED, TEST_SEED = 52_711, 52_712
FIRST_STRIP, FIRST_TEST_STRIP = 400_000, 450_000
STRIPS, TEST_STRIPS = 10, 4  # of every scene
STEPS = {"letters": 2400, "scenes": 250}
NONE, NONE_SHARE = "none", 0.35  # the class of what is no letter, and its share of the pictures that are drawn
BATCH, LEARNING_RATE = 96, 3e-3
# the judge of letters goes on with views that a person has read
VIEW_STEPS, VIEW_BATCH, VIEW_SHARE, VIEW_LEARNING_RATE = 600, 64, 0.5, 1e-3
POOL, POOL_SEED = 300, 5  # batches that are then drawn once and picked from: to draw takes longer than to learn
TEST_FACES = slice(5, None, 10)  # of all faces; the scorer is tested on 0, 10, 20, ...

Glyphs = tuple[torch.Tensor, torch.Tensor]
Draw = Callable[[int, np.random.Generator], tuple[torch.Tensor, torch.Tensor]]  # count, rng -> pictures, labels


# ---------------------------------------------------------------------------------------------- pictures


def split_faces(glyphs: Glyphs) -> tuple[Glyphs, Glyphs]:
    """Return the faces to train on and the faces to test on."""
    masks, aspects = glyphs
    test = torch.zeros(len(masks), dtype=torch.bool)
    test[TEST_FACES] = True
    return (masks[~test], aspects[~test]), (masks[test], aspects[test])


def letter_drawer(glyphs: Glyphs) -> Draw:
    """Return a function that draws letters in all styles, -1..1 ``[n, 3, SIZE, SIZE]``, with labels 0 to 25."""

    def draw(count: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        labels = rng.integers(len(letters.STYLES) * len(letters.LETTERS), size=count)
        return letters.draw(glyphs, labels, SIZE, rng), torch.from_numpy(labels % len(letters.LETTERS))

    return draw


def letter_or_none_drawer(glyphs: Glyphs) -> Draw:
    """Return a function that draws letters, some of them worn, with labels 0 to 25, and what is none, with label 26."""

    def draw(count: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        nones = round(count * NONE_SHARE)
        labels = rng.integers(len(letters.STYLES) * len(letters.LETTERS), size=count - nones)
        readable = unreadable.draw_worn(glyphs, labels, SIZE, rng)
        pictures = torch.cat([readable, unreadable.draw(glyphs, nones, SIZE, rng)])
        names = np.concatenate([labels % len(letters.LETTERS), np.full(nones, len(letters.LETTERS))])
        return pictures, torch.from_numpy(names)

    return draw


def none_drawer(glyphs: Glyphs) -> Draw:
    """Return a function that draws only what is no letter, label 26."""
    return lambda count, rng: (unreadable.draw(glyphs, count, SIZE, rng), torch.full((count,), len(letters.LETTERS)))


def read_view_drawer() -> Draw:
    """Return a function that picks and bends views that a person has read; what that person doubted counts as none."""
    pictures, rows = by_eye.read_sheet(by_eye.TO_LEARN)
    views, names = to_batch(pictures), (*letters.LETTERS, NONE)
    read = [row["letter"] if row["sure"] == "1" else NONE for row in rows]
    labels = torch.tensor([names.index(name) for name in read])

    def draw(count: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = torch.from_numpy(rng.integers(len(views), size=count))
        return bend(views[chosen], rng), labels[chosen]

    return draw


def pooled(draw: Draw, batches: int, batch_size: int) -> Draw:
    """Return a function that picks from pictures that ``draw`` draws once, kept in levels of 255."""
    rng = np.random.default_rng(POOL_SEED)
    parts = [draw(batch_size, rng) for _ in range(batches)]
    pictures = torch.cat([((part + 1) * 127.5).round().to(torch.uint8) for part, _ in parts])
    labels = torch.cat([part for _, part in parts])

    def pick(count: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = torch.from_numpy(rng.integers(len(pictures), size=count))
        return pictures[chosen].float() / 127.5 - 1, labels[chosen]

    return pick


def together(one: Draw, other: Draw, share: float) -> Draw:
    """Return a function that takes its pictures from ``one``, but a share of them from ``other``."""

    def draw(count: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        others = round(count * share)
        parts = one(count - others, rng), other(others, rng)
        return torch.cat([pictures for pictures, _ in parts]), torch.cat([labels for _, labels in parts])

    return draw


def letter_lessons(glyphs: Glyphs) -> Draw:
    """Return what the judge of letters goes on with: drawn pictures, and views that a person has read."""
    return together(pooled(letter_or_none_drawer(glyphs), POOL, BATCH), read_view_drawer(), VIEW_SHARE)


def scene_drawer(first_strip: int, strips: int, width: int = scenes.HEIGHT * 8) -> Draw:
    """Return a function that cuts squares out of ``strips`` strips of every scene, with labels as in ``SCENES``."""
    pool = torch.from_numpy(scenes.draw_pool(strips, width, first_strip)).flatten(0, 1)

    def draw(count: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        rows, lefts = rng.integers(len(pool), size=count), rng.integers(width - scenes.HEIGHT + 1, size=count)
        crops = [pool[row, :, left : left + scenes.HEIGHT] for row, left in zip(rows, lefts, strict=True)]
        pictures = torch.stack(crops).permute(0, 3, 1, 2).float() / 127.5 - 1
        return shrink(pictures), torch.from_numpy(rows // strips)

    return draw


def disturb(pictures: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Return pictures a little softer, flatter or noisier, as a generator may make them; -1..1 ``[N, 3, h, w]``."""

    def uniform(low: float, high: float) -> torch.Tensor:
        return torch.from_numpy(rng.uniform(low, high, (len(pictures), 1, 1, 1)).astype(np.float32))

    soft = F.avg_pool2d(F.pad(pictures, (1,) * 4, mode="replicate"), 3, stride=1)
    pictures = torch.lerp(pictures, soft, uniform(-0.2, 1.0))
    middle = pictures.mean((1, 2, 3), keepdim=True)
    pictures = middle + (pictures - middle) * uniform(0.75, 1.1)
    noise = torch.from_numpy(rng.standard_normal(pictures.shape, dtype=np.float32))
    return (pictures + noise * uniform(0, 0.08)).clamp(-1, 1)


def bend(pictures: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Return pictures turned, stretched, slanted and moved a little, their colours exchanged or inverted."""
    count = len(pictures)
    turn, slant = (rng.normal(0, spread, count) for spread in (0.06, 0.08))
    wide, high = np.exp(rng.normal(0, 0.08, (2, count)))
    right, down = rng.uniform(-0.08, 0.08, (2, count))
    rows = [[wide * np.cos(turn), slant - np.sin(turn), right], [np.sin(turn), high * np.cos(turn), down]]
    affine = torch.from_numpy(np.array(rows, np.float32)).permute(2, 0, 1)
    grid = F.affine_grid(affine, list(pictures.shape), align_corners=False)
    bent = F.grid_sample(pictures, grid, padding_mode="reflection", align_corners=False)
    colours = torch.from_numpy(rng.permuted(np.tile(np.arange(3), (count, 1)), axis=1))
    signs = torch.from_numpy(np.where(rng.random((count, 1, 1, 1)) < 0.25, -1, 1).astype(np.float32))
    return bent.gather(1, colours[:, :, None, None].expand_as(bent)) * signs


def shrink(pictures: torch.Tensor) -> torch.Tensor:
    """Return pictures ``[N, 3, h, h]`` at the judges' size, averaged down or smoothly enlarged."""
    if pictures.shape[-1] == SIZE:
        return pictures
    return F.interpolate(pictures, (SIZE, SIZE), mode="bilinear", antialias=True)


def to_batch(pictures: Sequence[Image.Image]) -> torch.Tensor:
    """Return square RGB pictures as the judges take them, -1..1 ``[N, 3, SIZE, SIZE]``."""
    arrays = [torch.from_numpy(np.array(picture.convert("RGB"))) for picture in pictures]
    return torch.cat([shrink(array.permute(2, 0, 1)[None].float() / 127.5 - 1) for array in arrays])


# ---------------------------------------------------------------------------------------------- networks


def make_network(classes: int) -> nn.Sequential:
    """Return an untrained classifier of pictures ``[N, 3, SIZE, SIZE]``."""

    def block(inputs: int, outputs: int, stride: int, kernel: int = 3) -> list[nn.Module]:
        convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]

    features = [*block(3, 24, 2, 5), *block(24, 48, 2), *block(48, 96, 2), *block(96, 96, 1), *block(96, 160, 2)]
    return nn.Sequential(*features, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.2), nn.Linear(640, classes))


class Steady(nn.Module):
    """A classifier that looks five times, moved by ``SHIFT`` pixels to each side, and takes the mean of it."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return probabilities ``[N, classes]`` of pictures ``[N, 3, SIZE, SIZE]``."""
        padded = F.pad(pictures, (SHIFT,) * 4, mode="replicate")
        corners = [(SHIFT, SHIFT), (0, SHIFT), (2 * SHIFT, SHIFT), (SHIFT, 0), (SHIFT, 2 * SHIFT)]
        looks = [padded[:, :, top : top + SIZE, left : left + SIZE] for top, left in corners]
        return torch.stack([self.network(look).softmax(1) for look in looks]).mean(0)


@torch.no_grad()
def halfway(before: nn.Module, after: nn.Module) -> nn.Module:
    """Return a network with the mean weights of two, one trained on from the other: it forgets less of the first."""
    network = copy.deepcopy(after)
    other = before.state_dict()
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            value.lerp_(other[name], 0.5)
    return network


def train(
    name: str,
    make_draw: Callable[[], Draw],
    classes: int,
    checkpoint_dir: Path,
    steps: int,
    batch_size: int = BATCH,
    learning_rate: float = LEARNING_RATE,
    start: nn.Module | None = None,
) -> tuple[nn.Module, list[float]]:
    """Train a judge, or take it from its finished checkpoint ``<checkpoint_dir>/judge-<name>.pt``.

    Args:
        name: of the checkpoint.
        make_draw: makes the function that draws what to learn from; called only where something is left to learn.
        classes: number of them.
        checkpoint_dir: folder of the checkpoint.
        steps: of the optimizer.
        batch_size: pictures a step.
        learning_rate: the highest.
        start: a judge to go on with, in place of random weights.

    Returns:
        The network, frozen, and the losses of the training.
    """
    torch.manual_seed(SEED)
    network = make_network(classes).to(memory_format=torch.channels_last)
    if start is not None:
        network.load_state_dict(start.state_dict())
    options = argparse.Namespace(
        steps=steps, batch_size=batch_size, learning_rate=learning_rate, seed=SEED, device="cpu",
        checkpoint_dir=checkpoint_dir, checkpoint_every=60.0,
    )  # fmt: skip
    trainer = Trainer(f"judge-{name}", network, options, ema_decay=0.99)
    if trainer.step < steps:
        print(f"training the judge of {name}", flush=True)
        trainer.fit(make_loss(network, make_draw(), options.batch_size))
    return trainer.ema, trainer.losses


def make_loss(network: nn.Module, draw: Draw, batch_size: int) -> LossFunction:
    """Return the function that draws a batch and returns its loss."""

    def loss(rng: np.random.Generator) -> torch.Tensor:
        pictures, labels = draw(batch_size, rng)
        pictures = disturb(pictures, rng).contiguous(memory_format=torch.channels_last)
        return F.cross_entropy(network(pictures).float(), labels, label_smoothing=0.05)

    return loss


@torch.inference_mode()
def classify(network: nn.Module, pictures: torch.Tensor) -> np.ndarray:
    """Return the class of every picture ``[N, 3, SIZE, SIZE]``."""
    return torch.cat([network(part).argmax(1) for part in pictures.split(256)]).numpy()


def accuracy(network: nn.Module, draw: Draw, count: int) -> float:
    """Return the share of ``count`` fresh pictures, not disturbed, that are told right."""
    pictures, labels = draw(count, np.random.default_rng(TEST_SEED))
    return float((classify(network, pictures) == labels.numpy()).mean())


# ---------------------------------------------------------------------------------------------- judges


@dataclass(frozen=True)
class Judge:
    """A trained classifier.

    Attributes:
        classes: names in the order of the labels: letters in lower case and ``NONE``, or keys of ``scenes.SCENES``.
        held_out: share of fresh pictures, of faces or strips that were not trained on, that are told right.
        none_held_out: the same of pictures that show no letter; None where the judge cannot say so.
    """

    network: nn.Module
    classes: tuple[str, ...]
    held_out: float
    none_held_out: float | None = None

    def __call__(self, pictures: Sequence[Image.Image]) -> list[str]:
        """Return the class of every square RGB picture, of any size."""
        return [self.classes[label] for label in classify(self.network, to_batch(pictures))]


def letter_judge(checkpoint_dir: Path, steps: int = STEPS["letters"], view_steps: int = VIEW_STEPS) -> Judge:
    """Return the judge of letters, trained if there is no finished checkpoint: on drawn letters, then on views, too."""
    known, unseen = split_faces(letters.load_glyphs(checkpoint_dir / "glyphs.npz"))
    classes = (*letters.LETTERS, NONE)
    drawn, _ = train("letters-or-none", lambda: letter_or_none_drawer(known), len(classes), checkpoint_dir, steps)
    learned, _ = train("letters-in-views", lambda: letter_lessons(known), len(classes), checkpoint_dir, view_steps,
                       VIEW_BATCH, VIEW_LEARNING_RATE, start=drawn)  # fmt: skip
    network = Steady(halfway(drawn, learned))
    held_out, none_held_out = (accuracy(network, make(unseen), 1560) for make in (letter_drawer, none_drawer))
    return Judge(network, classes, held_out, none_held_out)


def scene_judge(checkpoint_dir: Path, steps: int = STEPS["scenes"]) -> Judge:
    """Return the judge of scenes, trained if there is no finished checkpoint."""
    classes = tuple(scenes.SCENES)
    network, _ = train("scenes", lambda: scene_drawer(FIRST_STRIP, STRIPS), len(classes), checkpoint_dir, steps)
    return Judge(network, classes, accuracy(network, scene_drawer(FIRST_TEST_STRIP, TEST_STRIPS), 1100))


def main(argv: list[str] | None = None) -> None:
    """Train both judges if need be and print their held-out accuracies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--checkpoint_dir", type=Path, default=Path("checkpoints"), help="where the judges are kept")
    folder = parser.parse_args(argv).checkpoint_dir
    for name, make in (("letters", letter_judge), ("scenes", scene_judge)):
        print(f"judge of {name}: {make(folder).held_out:.2%} of held-out pictures right", flush=True)


if __name__ == "__main__":
    main()

"""A plain classifier of what a camera sees of a panorama: ``python training/measure/panorama_judge.py`` trains it.

It names the scene and the band (up, level or down), or says that a picture shows none: two horizons, a view upside
down, a blend, halves of two scenes or patches in disorder. Its panoramas, cameras and random stream are its own.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from training.drawing.panorama_scenes import SCENES, draw_panorama
from training.measure.judge import NONE, SIZE, Draw, Judge, accuracy, shrink, train
from utils.sphere import Camera, look

BANDS = {"level": (-14.0, 14.0), "up": (34.0, 90.0), "down": (-90.0, -34.0)}  # pitches
CLASSES = (*(f"{scene} {band}" for scene in SCENES for band in BANDS), NONE)
FIRST_PANORAMA, FIRST_TEST_PANORAMA = 500_000, 550_000
PANORAMAS, TEST_PANORAMAS = 24, 6  # of every scene
VIEWS = 8  # of a panorama in each band
NONE_SHARE = 0.3
STEPS = 900


def draw_pool(first_seed: int, panoramas: int) -> torch.Tensor:
    """Return views of ``panoramas`` panoramas of every scene, -1..1 ``[scenes * bands, views, 3, SIZE, SIZE]``."""
    rows = []
    for seed in range(first_seed, first_seed + panoramas):
        rng = np.random.default_rng((seed, 1))
        drawn = np.concatenate([draw_panorama(scene, seed, 256) for scene in SCENES], axis=-1)
        for low, high in BANDS.values():
            for _ in range(VIEWS):
                camera = Camera(rng.uniform(-180, 180), rng.uniform(low, high), rng.uniform(70, 100))
                rows.append(look(drawn, camera, 2 * SIZE).astype(np.float32) / 127.5 - 1)
    views = torch.from_numpy(np.stack(rows)).unflatten(-1, (len(SCENES), 3)).permute(3, 0, 4, 1, 2)
    views = shrink(views.flatten(0, 1)).unflatten(0, (len(SCENES), panoramas, len(BANDS), VIEWS))
    return views.transpose(1, 2).flatten(2, 3).flatten(0, 1)


def drawer(pool: torch.Tensor, none_share: float = NONE_SHARE) -> Draw:
    """Return a function that draws views of a pool with their classes, a share of them spoilt to show none."""

    def draw(count: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        nones = round(count * none_share)
        labels = rng.integers(len(pool), size=count)
        pictures = pool[labels, rng.integers(pool.shape[1], size=count)].clone()
        for number in range(nones):
            pictures[number] = spoil(pictures[number], int(labels[number]), pool, rng)
        labels[:nones] = len(pool)
        return pictures, torch.from_numpy(labels)

    return draw


def spoil(picture: torch.Tensor, label: int, pool: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Return a picture that shows none of the scenes whole: a view spoilt in one of six ways.

    Args:
        picture: a view, ``[3, SIZE, SIZE]``.
        label: its class.
        pool: other views to mix it with, as :func:`draw_pool` returns them.
        rng: draws how.
    """
    scene = label // len(BANDS)
    others = (scene + rng.integers(1, len(SCENES))) % len(SCENES) * len(BANDS) + rng.integers(len(BANDS))
    other = pool[others, rng.integers(pool.shape[1])]
    level = pool[scene * len(BANDS), rng.integers(pool.shape[1], size=2)]
    half, way = int(SIZE * rng.uniform(0.4, 0.6)), rng.integers(6)
    if way == 0:  # two horizons
        squeezed = F.interpolate(level, (SIZE // 2, SIZE), mode="bilinear", antialias=True)
        return torch.cat([squeezed[0], squeezed[1]], dim=1)
    if way == 1:  # upside down, or on its side
        return torch.rot90(level[0], int(rng.integers(1, 4)), (1, 2))
    if way == 2:  # a blend
        return torch.lerp(picture, other, float(rng.uniform(0.35, 0.65)))
    if way == 3:  # halves of two scenes, side by side or one above the other
        dim = int(rng.integers(1, 3))
        return torch.cat([picture.narrow(dim, 0, half), other.narrow(dim, half, SIZE - half)], dim=dim)
    if way == 4:  # patches in disorder
        patches = F.unfold(level[:1], 16, stride=16)
        return F.fold(patches[..., rng.permutation(16)], SIZE, 16, stride=16)[0]
    noise = torch.from_numpy(rng.standard_normal((1, 3, *[int(rng.choice((4, 8, 16, 64)))] * 2), dtype=np.float32))
    wild = F.interpolate(noise, (SIZE, SIZE), mode="bilinear")[0]
    return torch.lerp(picture, wild, float(rng.uniform(0.55, 1.0))).clamp(-1, 1)


def panorama_judge(checkpoint_dir: Path, steps: int = STEPS, panoramas: int = PANORAMAS) -> Judge:
    """Return the judge, trained if there is no finished checkpoint."""

    def make_draw() -> Draw:
        return drawer(draw_pool(FIRST_PANORAMA, panoramas))

    network, _ = train("panoramas", make_draw, len(CLASSES), checkpoint_dir, steps)
    test = draw_pool(FIRST_TEST_PANORAMA, min(panoramas, TEST_PANORAMAS))
    held_out, none_held_out = (accuracy(network, drawer(test, share), 1200) for share in (0.0, 1.0))
    return Judge(network, CLASSES, held_out, none_held_out)


def main(argv: Sequence[str] | None = None) -> None:
    """Train the judge if need be and print its held-out accuracies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--checkpoint_dir", type=Path, default=Path("checkpoints"), help="where the judge is kept")
    judge = panorama_judge(parser.parse_args(argv).checkpoint_dir)
    print(f"judge of panoramas: {judge.held_out:.2%} of held-out views and {judge.none_held_out:.2%} of none right")


if __name__ == "__main__":
    main()

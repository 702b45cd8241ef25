"""Search the pairs of letters that read both ways: ``python training/find_pairs.py``.

All ordered pairs go through the first stage alone, as ``main.py --app ambiguous_image`` would run it, many pictures in
a network call; the best go through it again, with more seeds and in every style. The shipped scorer reads the
pictures, not the judges of ``measure.py``, and seeds start at 100, so that what is chosen here is measured on pictures
that had no part in the choice.
"""

import argparse
import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from guidance.ambiguous_image_app import AmbiguousImageApp, AmbiguousImageOptions
from guidance.ambiguous_image_model import AmbiguousImageModel
from guidance.app import Sources
from guidance.networks.denoisers import Conditioning
from guidance.pipeline import load
from guidance.shared_options import EMBEDDED
from guidance.synchronization import Tensors
from training.drawing import letters
from training.measure.tool import FOLDERS, as_embedded
from training.train_scorer import NONE_CAPTION
from utils.files import write_json
from utils.images import to_pil, to_unit_range
from utils.models.runtime import Runtime
from utils.prompts import PictureRequest
from utils.scoring.clip_files import find_clip
from utils.scoring.clip_model import ClipScorer
from utils.scoring.clip_score import cosine_matrix, softmax

PAIRS = tuple(itertools.permutations(letters.LETTERS, 2))  # upright letter, letter of the turned view
STYLES = letters.STYLES[1:]
FIRST_SEED = 100


@dataclass(frozen=True)
class Trial:
    """One picture to make: a pair of letters, a style and a seed."""

    pair: tuple[str, str]
    style: str
    seed: int

    @property
    def prompts(self) -> tuple[str, ...]:
        """The captions of both views."""
        return tuple(letters.caption(self.style, letter) for letter in self.pair)


class ManyPairs(AmbiguousImageModel):
    """The first stage of many ambiguous pictures at once, each as :class:`AmbiguousImageModel` makes it alone.

    Canonical tensors are ``[P, C, H, W]`` for P pictures, instance tensors ``[P * V, C, H, W]``, picture by picture.
    """

    def forward_mapping(self, z_t: torch.Tensor, bg: torch.Tensor | None = None) -> torch.Tensor:
        """Look at every picture through every view: ``[P, C, H, W]`` -> ``[P * V, C, H, W]``."""
        of_one = super().forward_mapping
        return torch.cat([of_one(z[None]) for z in z_t])

    def inverse_mapping(self, x_ts: torch.Tensor) -> torch.Tensor:
        """Turn every view back and take the mean by picture: ``[P * V, C, H, W]`` -> ``[P, C, H, W]``."""
        of_one = super().inverse_mapping
        return torch.cat([of_one(views) for views in x_ts.split(len(self.mapper))])

    @torch.no_grad()
    def draw(self, trials: Sequence[Trial]) -> torch.Tensor:
        """Return the views of every trial's picture, ``[P, V, 3, H, H]``, about -1..1."""
        starts = [self._open_first(trial) for trial in trials]
        states = {name: torch.cat([start[name] for start in starts]) for name in starts[0]}
        text = torch.cat([self.embeddings[prompt] for trial in trials for prompt in trial.prompts])
        self.stage.conditioning = Conditioning(text, self.embeddings[""])
        *_, last = self.denoise(states, generator(0))
        return last.x_t_1.unflatten(0, (len(trials), len(self.mapper)))

    def _open_first(self, trial: Trial) -> Tensors:
        """Open the first stage of one trial; return its states at T."""
        return self._open(1, self.stages[0], PictureRequest(trial.prompts), None, generator(trial.seed))


class ManyPairsApp(AmbiguousImageApp):
    """The app with a model that makes many pictures at once."""

    def load(self, options: AmbiguousImageOptions, sources: Sources, runtime: Runtime) -> ManyPairs:
        return ManyPairs(options, sources, runtime)


def generator(seed: int) -> torch.Generator:
    """Return a picture's own generator."""
    return torch.Generator("cpu").manual_seed(seed)


def load_model(folder: Path, steps: int, dtype: str) -> ManyPairs:
    """Load the model and encode all captions; everything but the steps as the embedded models' defaults say."""
    app = ManyPairsApp()
    weights = as_embedded(app, {"stage_1_path": folder, "stage_2_path": EMBEDDED / FOLDERS["stage_2_path"]})
    how = {"num_inference_steps": steps, "view_batch_size": 32, "dtype": dtype, "device": "cpu"}
    model = load(app, {**weights, **how}).model
    model.prepare(letters.captions())
    return model


class Reader:
    """The shipped scorer as a reader of letters whose style is known, or of none.

    Args:
        folder: of the scorer.
    """

    def __init__(self, folder: Path):
        self.scorer = ClipScorer(find_clip(str(folder), None))
        self.texts = self.scorer.text_features([*letters.captions()[:-1], NONE_CAPTION])

    def read(self, pictures: torch.Tensor, trials: Sequence[Trial]) -> np.ndarray:
        """Return the probability of its own letter, among the 26 and none, for every view, ``[P, V]``.

        Args:
            pictures: ``[P, V, 3, H, H]``.
            trials: P of them.
        """
        flat = [self.scorer.prepare(to_pil(to_unit_range(picture))) for picture in pictures.flatten(0, 1)]
        cosines = cosine_matrix(self.scorer.image_features(flat), self.texts).reshape(*pictures.shape[:2], -1)
        rows = zip(cosines, trials, strict=True)
        return np.array([self._own(views, trial) for views, trial in rows])

    def _own(self, cosines: np.ndarray, trial: Trial) -> list[float]:
        start = letters.STYLES.index(trial.style) * len(letters.LETTERS)
        of_style = cosines[:, start : start + len(letters.LETTERS)]
        chances = softmax(np.concatenate([of_style, cosines[:, -1:]], 1) * self.scorer.logit_scale, axis=1)
        return [float(row[letters.LETTERS.index(letter)]) for row, letter in zip(chances, trial.pair, strict=True)]


def run_round(name: str, trials: Sequence[Trial], model: ManyPairs, reader: Reader, batch: int) -> dict[Trial, float]:
    """Return trial -> probability of the view that reads worse; tells how long it will take."""
    found, started = {}, time.monotonic()
    for part in batches(trials, batch):
        found |= dict(zip(part, reader.read(model.draw(part), part).min(axis=1).tolist(), strict=True))
        minutes = (time.monotonic() - started) / 60
        left = minutes * (len(trials) / len(found) - 1)
        print(f"{name}: {len(found)} of {len(trials)}, {minutes:.1f} minutes, {left:.1f} to go", flush=True)
    return found


def batches(items: Sequence[Trial], size: int) -> Iterator[Sequence[Trial]]:
    """Cut a sequence into parts of ``size``."""
    return (items[start : start + size] for start in range(0, len(items), size))


def rank(found: dict[Trial, float], by_style: bool) -> list[tuple[tuple[str, ...], float]]:
    """Return (first letter, second letter[, style]) with its mean over the trials, the best first."""
    groups: dict[tuple[str, ...], list[float]] = {}
    for trial, value in found.items():
        groups.setdefault((*trial.pair, trial.style) if by_style else trial.pair, []).append(value)
    means = {key: sum(values) / len(values) for key, values in groups.items()}
    return sorted(means.items(), key=lambda item: -item[1])


def best_style(ranking: Sequence[tuple[tuple[str, ...], float]]) -> list[tuple[tuple[str, ...], float]]:
    """Return of a ranking by style the first entry of every unordered pair: its better way up, its best style."""
    first: dict[frozenset[str], tuple[tuple[str, ...], float]] = {}
    for key, value in ranking:
        first.setdefault(frozenset(key[:2]), (key, value))
    return list(first.values())


def choose(ranking: Sequence[tuple[tuple[str, ...], float]], count: int = 10, letters_wanted: int = 12) -> list:
    """Return ``count`` unordered pairs, each the best that still lets all together show enough different letters."""
    chosen: list[tuple[tuple[str, ...], float]] = []
    for item in best_style(ranking):
        still_to_come = 2 * (count - len(chosen) - 1)
        if len(chosen) < count and len(shown([*chosen, item])) + still_to_come >= letters_wanted:
            chosen.append(item)
    return chosen


def shown(items: Sequence[tuple[tuple[str, ...], float]]) -> set[str]:
    """Return the letters of some pairs."""
    return {letter for key, _ in items for letter in key[:2]}


def entries(chosen: Sequence[tuple[tuple[str, ...], float]]) -> dict[str, dict[str, str]]:
    """Return a prompts file of pairs as ``main.py`` reads it."""
    prompts = [[letters.caption(style, letter.upper()) for letter in pair] for (*pair, style), _ in chosen]
    return {
        "-".join(both).replace(" ", "_"): {"canonical_prompt": both[0], "instance_prompt": both[1]} for both in prompts
    }


def show(title: str, ranking: Sequence[tuple[tuple[str, ...], float]]) -> None:
    """Print a ranking."""
    print(f"\n{title}")
    for place, ((first, second, *style), value) in enumerate(ranking, start=1):
        print(f"{place:4d}. {first.upper()}/{second.upper()} {value:.3f} {' '.join(style)}")


def sieve_trials(options: argparse.Namespace) -> list[Trial]:
    """Return the trials of the first round: every pair with the same few seeds, the styles in turn by seed."""
    seeds = range(options.first_seed, options.first_seed + options.sieve_seeds)
    pairs = PAIRS[: options.pairs]
    return [Trial(pair, STYLES[seed % len(STYLES)], seed) for seed in seeds for pair in pairs]


def final_trials(pairs: Sequence[tuple[str, ...]], options: argparse.Namespace) -> list[Trial]:
    """Return the trials of the second round: seeds that the first did not have, every style."""
    first = options.first_seed + options.sieve_seeds
    seeds = range(first, first + options.final_seeds)
    return [Trial((a, b), style, seed) for (a, b), style, seed in itertools.product(pairs, STYLES, seeds)]


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Return the options of a command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--stage_1_path", type=Path, default=EMBEDDED / "letters-stage-1", help="the model")
    parser.add_argument("--scorer", type=Path, default=EMBEDDED / "scorer", help="the scorer's folder")
    parser.add_argument("--pairs", type=int, default=len(PAIRS), help="ordered pairs to try, in alphabetical order")
    parser.add_argument("--first_seed", type=int, default=FIRST_SEED, help="measure.py has the seeds from 0 on")
    parser.add_argument("--sieve_steps", type=int, default=15, help="denoising steps of the first round")
    parser.add_argument("--sieve_seeds", type=int, default=2, help="seeds of each pair in the first round")
    parser.add_argument("--keep", type=int, default=40, help="pairs that reach the second round")
    parser.add_argument("--final_steps", type=int, default=30, help="denoising steps of the second round")
    parser.add_argument("--final_seeds", type=int, default=4, help="seeds of each pair and style in the second round")
    parser.add_argument("--batch", type=int, default=32, help="pictures at a time")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16", help="of the network")
    parser.add_argument("--output", type=Path, default=Path("results/pairs.json"), help="the ten best as prompts file")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> list[tuple[tuple[str, ...], float]]:
    """Search, print both rankings, write the best ten pairs and return the second ranking."""
    options = parse(argv)
    reader = Reader(options.scorer)
    model = load_model(options.stage_1_path, options.sieve_steps, options.dtype)
    sieved = rank(run_round("sieve", sieve_trials(options), model, reader, options.batch), by_style=False)
    show("Weaker view, mean probability, first round", sieved[: 2 * options.keep])

    kept = [pair for pair, _ in sieved[: options.keep]]
    model = load_model(options.stage_1_path, options.final_steps, options.dtype)
    ranking = rank(run_round("final", final_trials(kept, options), model, reader, options.batch), by_style=True)
    show("Weaker view, mean probability, second round, by style", ranking)
    show("Best style of each pair, either way up", best_style(ranking))

    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.output, entries(choose(ranking)))
    print(f"\nten pairs: {options.output}")
    return ranking


if __name__ == "__main__":
    main()

"""Train the small CLIP model that scores pictures of the embedded models: ``python training/train_scorer.py``.

It learns two domains at once, letters in styles and landscapes, by contrast: of all captions of both domains, each
once, a picture must pick its own, and a caption must pick its pictures. Shapes in which no letter can be read have a
caption of their own, so that they are far from those of all letters. Faces and strips of the final test are never
trained on.
"""

import argparse
import math
import sys
from pathlib import Path

import numpy as np
import open_clip
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training.common import Trainer, make_parser
from training.drawing import landscape_captions, letters, scenes, unreadable
from utils.files import write_json

IMAGE_SIZE = 64
MODEL_CONFIG = {
    "embed_dim": 128,
    "vision_cfg": {"layers": [1, 1, 1, 1], "width": 20, "image_size": IMAGE_SIZE, "head_width": 64},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 48, "heads": 2, "layers": 2},
}
PREPROCESS_CONFIG = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "shortest"}
STRIP_WIDTH = 1024
FIRST_STRIP, FIRST_TEST_STRIP = 700_000, 900_000
TEST_FACE_EVERY = 10
LETTER_SHARE, NONE_SHARE = 1 / 2, 1 / 5  # of a batch; the rest are landscapes
NONE_CAPTION = "no letter"

Glyphs = tuple[torch.Tensor, torch.Tensor]


def scene_wordings() -> list[list[str]]:
    """Return the captions of every scene, in the order of ``scenes.SCENES``; all captions of a scene mean the same."""
    return [landscape_captions.captions(scene) for scene in scenes.SCENES]


def letter_captions() -> list[str]:
    """Return the caption of every style and letter, in the order of the labels that ``letters.draw`` takes."""
    return letters.captions()[:-1]


def draw_strips(first_seed: int, per_scene: int) -> np.ndarray:
    """Return strips, uint8 ``[scenes, per_scene, 128, STRIP_WIDTH, 3]``."""
    seeds = range(first_seed, first_seed + per_scene)
    return np.stack([[scenes.draw_strip(scene, seed, STRIP_WIDTH) for seed in seeds] for scene in scenes.SCENES])


def split_faces(glyphs: Glyphs) -> tuple[Glyphs, Glyphs]:
    """Return the faces to train on and the faces to test on (every tenth)."""
    masks, aspects = glyphs
    test = torch.arange(len(masks)) % TEST_FACE_EVERY == 0
    return (masks[~test], aspects[~test]), (masks[test], aspects[test])


def crop(strip: np.ndarray, rng: np.random.Generator, smallest: int = 96) -> torch.Tensor:
    """Return a random square of a strip ``[128, W, 3]``, resized to -1..1 ``[3, IMAGE_SIZE, IMAGE_SIZE]``."""
    side = int(rng.integers(smallest, scenes.HEIGHT + 1))
    top, left = rng.integers(scenes.HEIGHT - side + 1), rng.integers(strip.shape[1] - side + 1)
    part = torch.from_numpy(strip[top : top + side, left : left + side]).permute(2, 0, 1).float()
    return F.interpolate(part[None], (IMAGE_SIZE,) * 2, mode="bilinear", antialias=True)[0] / 127.5 - 1


def augment(pictures: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Return pictures as a generator might make them: other light, soft, coarse or noisy; -1..1 ``[N, 3, h, w]``."""
    count, size = len(pictures), pictures.shape[-1]

    def uniform(low: float, high: float) -> torch.Tensor:
        return torch.from_numpy(rng.uniform(low, high, (count, 1, 1, 1)).astype(np.float32))

    grey, middle = pictures.mean(1, keepdim=True), pictures.mean((1, 2, 3), keepdim=True)
    pictures = grey + (pictures - grey) * uniform(0.6, 1.3)
    pictures = middle + (pictures - middle) * uniform(0.6, 1.2) + uniform(-0.2, 0.2)
    soft = F.avg_pool2d(F.pad(pictures, (1,) * 4, mode="replicate"), 3, stride=1)
    pictures = torch.lerp(pictures, soft, uniform(-0.4, 1.0))
    coarse = F.interpolate(F.avg_pool2d(pictures, 2), (size, size), mode="bilinear")
    pictures = torch.where(uniform(0, 1) < 0.3, coarse, pictures)
    noise = torch.from_numpy(rng.standard_normal(pictures.shape, dtype=np.float32))
    return (pictures + noise * uniform(0, 0.12)).clamp(-1, 1)


class Pictures:
    """Random pictures of both domains with their labels: letters first, then scenes, last what is no letter."""

    def __init__(self, glyphs: Glyphs, strips: np.ndarray):
        self.glyphs, self.strips = glyphs, strips
        self.letter_labels = len(letter_captions())

    def letters(self, labels: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
        """Return a letter per label, -1..1 ``[n, 3, IMAGE_SIZE, IMAGE_SIZE]``."""
        return letters.draw(self.glyphs, labels, IMAGE_SIZE, rng)

    def scenes(self, labels: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
        """Return a crop per index into ``scenes.SCENES``, -1..1 ``[n, 3, IMAGE_SIZE, IMAGE_SIZE]``."""
        chosen = rng.integers(self.strips.shape[1], size=len(labels))
        return torch.stack([crop(self.strips[label, k], rng) for label, k in zip(labels, chosen, strict=True)])

    def nones(self, count: int, rng: np.random.Generator) -> torch.Tensor:
        """Return pictures in which no letter can be read, -1..1 ``[count, 3, IMAGE_SIZE, IMAGE_SIZE]``."""
        return unreadable.draw(self.glyphs, count, IMAGE_SIZE, rng)

    def batch(self, size: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a batch of augmented pictures and their labels ``[size]``."""
        count, nones = round(size * LETTER_SHARE), round(size * NONE_SHARE)
        letter_labels = rng.integers(self.letter_labels, size=count)
        scene_labels = rng.integers(len(self.strips), size=size - count - nones)
        worn = unreadable.draw_worn(self.glyphs, letter_labels, IMAGE_SIZE, rng)
        pictures = torch.cat([worn, self.scenes(scene_labels, rng), self.nones(nones, rng)])
        none_labels = np.full(nones, self.letter_labels + len(self.strips))
        labels = np.concatenate([letter_labels, self.letter_labels + scene_labels, none_labels])
        return augment(pictures, rng), torch.from_numpy(labels)


class Wordings:
    """Tokens of one caption per label: the letters' only one, a random wording for each scene, that of no letter."""

    def __init__(self, context_length: int):
        tokenize = open_clip.SimpleTokenizer(context_length=context_length)
        self.letters = tokenize(letter_captions())
        self.scenes = [tokenize(wordings) for wordings in scene_wordings()]
        self.none = tokenize([NONE_CAPTION])

    def draw(self, rng: np.random.Generator) -> torch.Tensor:
        """Return tokens ``[labels, context_length]``."""
        scenes = [tokens[rng.integers(len(tokens))][None] for tokens in self.scenes]
        return torch.cat([self.letters, *scenes, self.none])

    def known_tokens(self) -> torch.Tensor:
        """Return every token id that occurs, sorted."""
        return torch.cat([self.letters, *self.scenes, self.none]).unique()


def contrastive_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the InfoNCE loss of pictures against one caption per label, symmetric, several pictures a caption allowed.

    Args:
        logits: scaled cosines ``[N, labels]``.
        labels: the right column of each row, ``[N]``.
    """
    right = F.one_hot(labels, logits.shape[1]).bool()
    present = right.any(0)
    by_picture = F.cross_entropy(logits, labels)
    columns = logits.log_softmax(0)[:, present]
    share = right[:, present].float()
    by_caption = -(columns * share).sum(0) / share.sum(0)
    return 0.5 * (by_picture + by_caption.mean())


def clip_logits(model: nn.Module, pictures: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Return the scaled cosines ``[N, M]`` of pictures and tokenised captions, the scale kept at 100 or below."""
    image = model.encode_image(pictures, normalize=True).float()
    text = model.encode_text(tokens, normalize=True).float()
    return model.logit_scale.clamp(max=math.log(100)).exp() * image @ text.T


@torch.no_grad()
def accuracy(model: nn.Module, pictures: torch.Tensor, labels: np.ndarray, captions: list[str]) -> float:
    """Return the share of pictures whose own caption comes first among all captions of its domain."""
    tokens = open_clip.SimpleTokenizer(context_length=model.context_length)(captions)
    logits = torch.cat([clip_logits(model, part, tokens) for part in pictures.split(64)])
    return float((logits.argmax(1).numpy() == labels).mean())


def test(model: nn.Module, pictures: Pictures, count: int = 1560) -> dict[str, float]:
    """Return the accuracy per domain on renders that were not trained on.

    "letters, or none": half of them letters, half what is none; all letters' captions and that of none.
    """
    rng = np.random.default_rng(1)
    letter_labels = np.arange(count) % pictures.letter_labels
    scene_labels = np.arange(count // 2) % len(pictures.strips)
    first_wordings = [wordings[0] for wordings in scene_wordings()]
    drawn = pictures.letters(letter_labels, rng)
    found = {
        "letters": accuracy(model, drawn, letter_labels, letter_captions()),
        "landscapes": accuracy(model, pictures.scenes(scene_labels, rng), scene_labels, first_wordings),
    }
    both = torch.cat([drawn, pictures.nones(count, rng)])
    labels = np.concatenate([letter_labels, np.full(count, pictures.letter_labels)])
    return {**found, "letters, or none": accuracy(model, both, labels, [*letter_captions(), NONE_CAPTION])}


def export(model: nn.Module, folder: Path, known_tokens: torch.Tensor) -> None:
    """Save a folder for open_clip's ``local-dir:``; float16, embeddings of words that were never seen set to zero."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    seen = torch.zeros(len(state["token_embedding.weight"]), 1)
    seen[known_tokens] = 1
    state["token_embedding.weight"] *= seen
    state["logit_scale"] = state["logit_scale"].clamp(max=math.log(100))
    state = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    save_file(state, folder / "open_clip_model.safetensors", metadata={"format": "pt"})
    (folder / "open_clip_model.safetensors").chmod(0o644)
    write_json(folder / "open_clip_config.json", {"model_cfg": MODEL_CONFIG, "preprocess_cfg": PREPROCESS_CONFIG})


def build_model(seed: int) -> open_clip.CLIP:
    """Return the untrained model."""
    torch.manual_seed(seed)
    return open_clip.CLIP(**MODEL_CONFIG)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Return the options of a command line."""
    parser = make_parser(__doc__, steps=1500, batch_size=144, learning_rate=1e-3)
    parser.set_defaults(seed=31)
    parser.add_argument("--strips_per_scene", type=int, default=24, help="strips of each scene to crop from")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> dict[str, float]:
    """Train, save to ``<output_dir>/scorer`` and return the accuracies of :func:`test`."""
    options = parse(argv)
    glyphs, test_glyphs = split_faces(letters.load_glyphs(options.checkpoint_dir / "scorer_glyphs.npz"))
    pictures = Pictures(glyphs, draw_strips(FIRST_STRIP, options.strips_per_scene))
    model = build_model(options.seed).to(options.device)
    wordings = Wordings(model.context_length)

    def loss(rng: np.random.Generator) -> torch.Tensor:
        batch, labels = (part.to(options.device) for part in pictures.batch(options.batch_size, rng))
        return contrastive_loss(clip_logits(model, batch, wordings.draw(rng).to(options.device)), labels)

    trainer = Trainer("scorer", model, options, ema_decay=0.99)
    trainer.fit(loss)
    scorer = trainer.ema.cpu().eval()
    export(scorer, options.output_dir / "scorer", wordings.known_tokens())
    accuracies = test(scorer, Pictures(test_glyphs, draw_strips(FIRST_TEST_STRIP, 6)))
    print(f"right caption first, unseen faces and strips: {accuracies}")
    return accuracies


if __name__ == "__main__":
    main()

"""The scorer's training: its loss, its pictures, its export; and the shipped scorer on pictures it never saw."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from training import train_scorer as training
from training.drawing import letters, scenes
from utils.scoring.clip_files import TINY, find_clip
from utils.scoring.clip_model import ClipScorer

SHIPPED = Path(__file__).parents[1] / "data" / "models" / "scorer"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Such small networks only lose by threads that wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def slow_loss(logits: np.ndarray, labels: list[int]) -> float:
    rows = [-math.log(math.exp(row[k]) / sum(map(math.exp, row))) for row, k in zip(logits, labels, strict=True)]
    columns = []
    for k in set(labels):
        total = sum(math.exp(value) for value in logits[:, k])
        right = [-math.log(math.exp(logits[i, k]) / total) for i, label in enumerate(labels) if label == k]
        columns.append(sum(right) / len(right))
    return (sum(rows) / len(rows) + sum(columns) / len(columns)) / 2


@pytest.mark.parametrize("labels", [[0, 1, 2], [0, 0, 3], [2, 2, 2], [4]])
def test_the_loss_equals_its_slow_twin(labels: list[int]) -> None:
    logits = np.random.default_rng(len(labels)).normal(size=(len(labels), 5)) * 3
    loss = training.contrastive_loss(torch.from_numpy(logits), torch.tensor(labels))
    assert float(loss) == pytest.approx(slow_loss(logits, labels), abs=1e-9)


def test_pictures_of_one_caption_do_not_push_each_other_away() -> None:
    right, labels = torch.full((4, 3), -30.0), torch.tensor([0, 0, 1, 1])
    right[range(4), labels] = 30.0
    assert float(training.contrastive_loss(right, labels)) == pytest.approx(math.log(2) / 2, abs=1e-6)


def test_captions_are_unique_and_follow_the_labels_that_letters_draw() -> None:
    captions = [*training.letter_captions(), *(text for group in training.scene_wordings() for text in group)]
    assert len(set(captions)) == len(captions) and "" not in captions
    style, letter = divmod(100, len(letters.LETTERS))
    assert training.letter_captions()[100] == letters.caption(letters.STYLES[style], letters.LETTERS[letter])
    assert len(training.scene_wordings()) == len(scenes.SCENES)


def test_every_caption_fits_the_text_tower() -> None:
    tokens = training.Wordings(training.MODEL_CONFIG["text_cfg"]["context_length"]).draw(np.random.default_rng(0))
    assert tokens.shape[0] == len(training.letter_captions()) + len(scenes.SCENES) + 1
    assert (tokens[:, -1] == 0).all()


@pytest.fixture(scope="module")
def pictures() -> training.Pictures:
    """Letters of an invented face, so that no font is needed, and one strip of each scene."""
    masks = torch.zeros(2, 26, letters.MASK_SIZE, letters.MASK_SIZE, dtype=torch.uint8)
    for letter in range(26):
        masks[:, letter, 10 + 2 * letter : 30 + 2 * letter, 10:-10] = 255
    return training.Pictures((masks, torch.ones(2, 26)), training.draw_strips(5, 1))


def test_a_batch_is_a_function_of_its_generator(pictures: training.Pictures) -> None:
    first, labels = pictures.batch(12, np.random.default_rng(3))
    again, _ = pictures.batch(12, np.random.default_rng(3))
    other, _ = pictures.batch(12, np.random.default_rng(4))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.shape == (12, 3, training.IMAGE_SIZE, training.IMAGE_SIZE)
    assert first.min() >= -1 and first.max() <= 1
    captions = len(training.letter_captions())
    assert (labels[:6] < captions).all() and (labels[6:] >= captions).all()
    assert (labels[6:10] < captions + len(scenes.SCENES)).all() and (labels[10:] == captions + len(scenes.SCENES)).all()


def test_no_test_face_is_trained_on() -> None:
    numbers = torch.arange(25)
    (train, _), (test, _) = training.split_faces((numbers, numbers))
    assert sorted([*train.tolist(), *test.tolist()]) == numbers.tolist()
    assert len(test) == 3


def test_a_few_steps_lower_the_loss() -> None:
    model, wordings = training.build_model(0), training.Wordings(32)
    batch, labels = torch.randn(12, 3, 64, 64), torch.arange(12) * 10
    optimizer, losses = torch.optim.Adam(model.parameters(), lr=1e-3), []
    for _ in range(4):
        loss = training.contrastive_loss(
            training.clip_logits(model, batch, wordings.draw(np.random.default_rng(0))), labels
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


def test_the_script_learns_goes_on_and_saves_a_folder_that_the_tool_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    masks = np.zeros((11, 26, letters.MASK_SIZE, letters.MASK_SIZE), np.uint8)
    for letter in range(26):
        masks[:, letter, 10 + 2 * letter : 30 + 2 * letter, 10:-10] = 255
    np.savez_compressed(tmp_path / "scorer_glyphs.npz", masks=masks, aspects=np.ones((11, 26), np.float32))
    draw_strips, test = training.draw_strips, training.test
    monkeypatch.setattr(training, "draw_strips", lambda first, count: draw_strips(first, 1))
    monkeypatch.setattr(training, "test", lambda model, pictures: test(model, pictures, 26))
    places = ["--checkpoint_dir", str(tmp_path), "--output_dir", str(tmp_path), "--device", "cpu"]
    for steps in ("2", "14"):
        found = training.main(["--steps", steps, "--batch_size", "18", *places])
    early, late = torch.load(tmp_path / "scorer.pt", weights_only=True)["losses"]
    assert late < early
    assert found.keys() == {"letters", "landscapes", "letters, or none"} and all(
        0 <= share <= 1 for share in found.values()
    )
    features = ClipScorer(find_clip(str(tmp_path / "scorer"), None)).text_features(["the letter n"])
    assert features.shape[0] == 1 and np.isfinite(features).all()


def test_an_export_loads_through_open_clip_with_the_same_features(tmp_path: Path) -> None:
    model, wordings = training.build_model(1).eval(), training.Wordings(32)
    training.export(model, tmp_path / "scorer", wordings.known_tokens())
    loaded, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{tmp_path / 'scorer'}")
    tokens, image = wordings.draw(np.random.default_rng(0)), torch.randn(2, 3, 64, 64)
    tokenize = open_clip.get_tokenizer(f"local-dir:{tmp_path / 'scorer'}")
    assert torch.equal(tokenize(training.letter_captions()), tokens[: len(training.letter_captions())])
    with torch.no_grad():
        for name, argument in (("encode_text", tokens), ("encode_image", image)):
            old, new = getattr(model, name)(argument), getattr(loaded.eval(), name)(argument)
            assert torch.cosine_similarity(old, new).min() > 0.999
    white = preprocess(Image.new("RGB", (128, 128), "white"))
    assert white.shape == (3, 64, 64) and torch.allclose(white, torch.ones(()))


def test_the_shipped_scorer_is_small() -> None:
    scorer = ClipScorer(find_clip(TINY, None))
    assert sum(parameter.numel() for parameter in scorer.model.parameters()) < 6_000_000
    assert scorer.logit_scale <= 100.01
    assert (SHIPPED / "open_clip_model.safetensors").stat().st_size < 12_000_000


def test_the_shipped_scorer_tells_unseen_landscapes_apart() -> None:
    scorer, right = ClipScorer(find_clip(TINY, None)), []
    texts = scorer.text_features([wordings[0] for wordings in training.scene_wordings()])
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    for index, strips in enumerate(training.draw_strips(950_000, 1)):
        crops = [Image.fromarray(np.ascontiguousarray(strips[0][:, left : left + 128])) for left in (0, 300, 600, 880)]
        cosines = scorer.image_features([scorer.prepare(crop) for crop in crops]) @ texts.T
        right += (cosines.argmax(1) == index).tolist()
    assert np.mean(right) >= 0.95

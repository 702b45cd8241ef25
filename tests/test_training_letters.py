"""The letter models' training scripts, at toy size: data, captions, both stages through the stock pipelines."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import IFPipeline, IFSuperResolutionPipeline

from training import train_letters_stage_1, train_letters_stage_2
from training.drawing import letters, strokes, unreadable
from training.networks import t5_text

WITHOUT_CHECKER = {
    "safety_checker": None,
    "feature_extractor": None,
    "watermarker": None,
    "requires_safety_checker": False,
}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with made-up glyphs: bars whose place depends on the letter."""
    folder = tmp_path_factory.mktemp("letters")
    masks = np.zeros((2, 26, letters.MASK_SIZE, letters.MASK_SIZE), np.uint8)
    for letter in range(26):
        masks[:, letter, 10 + 2 * letter : 30 + 2 * letter, 10:-10] = 255
    np.savez_compressed(folder / "glyphs.npz", masks=masks, aspects=np.ones((2, 26), np.float32))
    return folder


def arguments(folder: Path, steps: int, *widths: int) -> list[str]:
    """Return a toy run's command line."""
    options = {"steps": steps, "batch_size": 4, "device": "cpu", "checkpoint_dir": folder, "output_dir": folder}
    line = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    return [*line, "--widths", *map(str, widths)]


@pytest.fixture(scope="module")
def stage_1(workplace: Path) -> tuple[list[float], Path]:
    """Train four steps, then go on to forty: losses of both parts and the saved folder."""
    train_letters_stage_1.main(arguments(workplace, 4, 16, 16, 32))
    losses = train_letters_stage_1.main(arguments(workplace, 40, 16, 16, 32))
    return losses, workplace / "letters-stage-1"


@pytest.mark.parametrize("widths", [(8,), (16, 16), (16, 16, 48), (0, 16, 32), (8, 16, 32)])
def test_widths_that_make_no_network_are_refused(
    widths: tuple[int, ...], workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ending:
        train_letters_stage_1.main(arguments(workplace, 4, *widths))
    said = capsys.readouterr().err
    assert ending.value.code == 2 and f"--widths {' '.join(map(str, widths))} makes no network: give 2" in said


def test_pictures_depend_on_the_generator_only_and_stay_in_range(workplace: Path) -> None:
    glyphs, labels = letters.load_glyphs(workplace / "glyphs.npz"), np.arange(156)
    first = letters.draw(glyphs, labels, 64, np.random.default_rng(3))
    again = letters.draw(glyphs, labels, 64, np.random.default_rng(3))
    assert first.shape == (156, 3, 64, 64)
    assert torch.equal(first, again)
    assert first.min() >= -1 and first.max() <= 1
    assert not torch.equal(first, letters.draw(glyphs, labels, 64, np.random.default_rng(4)))
    assert letters.shrink(first, 32).shape == (156, 3, 32, 32)


def test_a_hand_draws_every_capital_alike_each_time_and_no_other_hand_does() -> None:
    masks, widths = strokes.draw_face(letters.MASK_SIZE, 3)
    assert masks.shape == (26, letters.MASK_SIZE, letters.MASK_SIZE) and masks.dtype == np.uint8
    assert (widths > 0).all() and len({mask.tobytes() for mask in masks}) == 26
    assert (masks == strokes.draw_face(letters.MASK_SIZE, 3)[0]).all()
    assert (masks != strokes.draw_face(letters.MASK_SIZE, 4)[0]).any()


def test_corners_are_cut_and_ends_stay() -> None:
    corner = strokes.cut_corners([(0, 0), (1, 0), (1, 1)], 0.25)
    assert corner[0] == (0, 0) and corner[-1] == (1, 1)
    assert max(x - y for x, y in corner) < 0.9  # of 1 at the corner
    ring = strokes.cut_corners([(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)], 0.25)
    assert ring[0] == ring[-1] and min(abs(x) + abs(y) for x, y in ring) > 0.1


def drawn_letters(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The faces of some hands, for which no font is needed."""
    faces = [strokes.draw_face(letters.MASK_SIZE, seed) for seed in range(count)]
    return tuple(torch.from_numpy(np.stack(parts)) for parts in zip(*faces, strict=True))


def test_what_is_no_letter_depends_on_the_generator_only() -> None:
    glyphs = drawn_letters(2)
    first, again = (unreadable.draw(glyphs, 23, 32, np.random.default_rng(3)) for _ in range(2))
    assert first.shape == (23, 3, 32, 32) and torch.equal(first, again)
    assert first.min() >= -1 and first.max() <= 1
    assert not torch.equal(first, unreadable.draw(glyphs, 23, 32, np.random.default_rng(4)))
    worn = unreadable.draw_worn(glyphs, np.arange(156), 32, np.random.default_rng(3))
    assert worn.shape == (156, 3, 32, 32) and worn.isfinite().all()


def test_no_letter_is_turned_or_mirrored_into_one() -> None:
    assert not {"h", "i", "n", "o", "s", "x", "z"} & unreadable.TURNS.keys()  # turned, they are themselves or another
    assert not set("ahimotuvwxy") & set(unreadable.MIRRORED)
    for letter, turn in (("u", 3), ("c", 1), ("e", 3), ("m", 1), ("w", 3), ("j", 3), ("a", 2), ("m", 2), ("w", 2)):
        assert turn not in unreadable.TURNS.get(letter, ()), (letter, turn)


def test_a_mixture_has_lost_much_of_both_letters() -> None:
    one, other = torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8)
    one[..., :4, :] = other[..., 2:6, :] = 1
    assert unreadable.overlap(one, one).item() == 1
    assert unreadable.overlap(one, other).item() == pytest.approx(1 / 3)


def test_every_style_darkens_the_paper_where_the_letter_is() -> None:
    ink = torch.zeros(4, 1, 64, 64)
    ink[:, :, 16:48, 16:48] = 1
    for draw_style in letters.DRAW.values():
        picture = draw_style(ink, letters.Brush(64, torch.Generator().manual_seed(0)))
        assert picture[:, :, 20:44, 20:44].mean() < picture[:, :, :8].mean() - 0.15


def test_captions_need_no_unknown_word_and_a_letter_is_one_token() -> None:
    tokenizer = t5_text.make_tokenizer(letters.captions())
    ids, mask = t5_text.tokenize(tokenizer, ["The letter N", "the letter z", ""])
    assert ids.shape == mask.shape == (3, 77)
    assert mask.sum(1).tolist() == [4, 4, 1]
    assert ids[0, :2].tolist() == ids[1, :2].tolist() and ids[0, 2] != ids[1, 2]
    assert tokenizer.unk_token_id not in t5_text.tokenize(tokenizer, letters.captions())[0]


def test_vocabulary_covers_the_captions() -> None:
    words = letters.vocabulary()
    for caption in filter(None, letters.captions()):
        rest = caption
        for phrase in [*words["subjects"], *sorted(words["styles"], key=len, reverse=True)]:
            rest = rest.replace(phrase, "") if rest.endswith(phrase) or f"{phrase} of" in rest else rest
        assert set(rest.split()) <= set(words["filler"]), caption


def test_stage_1_learns_and_runs_in_the_stock_pipeline(stage_1: tuple[list[float], Path]) -> None:
    losses, folder = stage_1
    assert len(losses) == 2 and np.isfinite(losses).all()
    assert losses[1] < losses[0]
    assert json.loads((folder / "words.json").read_text()) == letters.vocabulary()
    pipeline = IFPipeline.from_pretrained(folder, use_safetensors=True, **WITHOUT_CHECKER)
    picture = pipeline("the letter N", num_inference_steps=2, clean_caption=False, output_type="pt").images
    assert picture.shape == (1, 3, 32, 32) and picture.isfinite().all()


def test_training_goes_on_from_the_weights_of_a_folder(stage_1: tuple[list[float], Path], tmp_path: Path) -> None:
    cached = stage_1[1].parent / "glyphs.npz"
    (tmp_path / "glyphs.npz").write_bytes(cached.read_bytes())
    argv = [*arguments(tmp_path, 1, 16, 16, 32), "--start_from", str(stage_1[1]), "--learning_rate", "0"]
    train_letters_stage_1.main(argv)
    before, after = (
        IFPipeline.from_pretrained(folder, **WITHOUT_CHECKER) for folder in (stage_1[1], tmp_path / "letters-stage-1")
    )
    for part in ("unet", "text_encoder"):
        pairs = zip(getattr(before, part).parameters(), getattr(after, part).parameters(), strict=True)
        assert all(torch.allclose(old, new, atol=1e-6) for old, new in pairs)


@torch.no_grad()
def test_the_pipeline_encodes_prompts_as_training_did(stage_1: tuple[list[float], Path]) -> None:
    pipeline = IFPipeline.from_pretrained(stage_1[1], use_safetensors=True, **WITHOUT_CHECKER)
    embeds, negative = pipeline.encode_prompt("An oil painting of the letter N", clean_caption=False)
    trained = train_letters_stage_2.embed_captions(stage_1[1])
    told = letters.captions().index("an oil painting of the letter n")
    torch.testing.assert_close(embeds[0], trained[told])
    torch.testing.assert_close(negative[0], trained[-1])


def test_stage_2_learns_and_runs_in_the_stock_pipeline(stage_1: tuple[list[float], Path]) -> None:
    folder = stage_1[1].parent
    train_letters_stage_2.main(arguments(folder, 4, 8, 8, 32))
    losses = train_letters_stage_2.main(arguments(folder, 40, 8, 8, 32))
    assert len(losses) == 2 and np.isfinite(losses).all()
    assert losses[1] < losses[0]
    pipeline = IFSuperResolutionPipeline.from_pretrained(
        folder / "letters-stage-2", use_safetensors=True, **WITHOUT_CHECKER
    )
    embeds = train_letters_stage_2.embed_captions(stage_1[1])
    picture = pipeline(
        image=torch.zeros(1, 3, 32, 32),
        prompt_embeds=embeds[:1],
        negative_prompt_embeds=embeds[-1:],
        num_inference_steps=2,
        noise_level=50,
        output_type="pt",
    ).images
    assert picture.shape == (1, 3, 128, 128) and picture.isfinite().all()

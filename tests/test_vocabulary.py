"""What an embedded model cannot draw is told: nothing of it, words that it does not know, words of other subjects."""

import json
from pathlib import Path

import pytest

from guidance.shared_options import EMBEDDED
from training.drawing import landscape_captions, letters
from utils.errors import UserError
from utils.vocabulary import Vocabulary

SMALL = Vocabulary.from_json(
    {
        "subjects": {
            "a beach": {"names": ["beach", "sea at sunrise"], "words": ["boats", "sand"]},
            "a mountain range": {"names": ["mountain range"], "words": ["snow", "boats"]},
            "letter n": {"names": ["letter n"], "words": []},
        },
        "styles": ["photo", "oil painting"],
        "filler": ["a", "of", "at", "the", "with"],
    }
)


@pytest.mark.parametrize(
    "prompt",
    ["A photo of a BEACH", "beach beach!", "the sea at sunrise", "boats at a beach", "oil painting of the letter N",
     "a mountain range, with snow"],
)  # fmt: skip
def test_what_it_draws_raises_no_doubt(prompt: str) -> None:
    assert SMALL.doubts(prompt) == []


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("a mountain range at twilight", ["does not know 'twilight'"]),
        ("a purple mountain range range", ["does not know 'purple', 'range'"]),
        ("a beach with snow", ["draws 'a beach' without 'snow'"]),
        ("a beach with a mountain range", ["'a beach', 'a mountain range' at once"]),
        ("a green beach with snow", ["does not know 'green'", "without 'snow'"]),
    ],
)
def test_what_it_may_not_draw_is_told(prompt: str, words: list[str]) -> None:
    sentences = SMALL.doubts(prompt)
    assert len(sentences) == len(words)
    for sentence, word in zip(sentences, words, strict=True):
        assert word in sentence and repr(prompt) in sentence


@pytest.mark.parametrize("prompt", ["a cat", "range mountain", "photo", "🙂", "beaches", "boats", "the sea"])
def test_a_prompt_that_names_no_subject_is_refused_with_the_list(prompt: str) -> None:
    with pytest.raises(UserError, match="a mountain range") as refusal:
        SMALL.doubts(prompt)
    assert all(word in str(refusal.value) for word in (*SMALL.subjects, *SMALL.styles))


@pytest.mark.parametrize(
    "value",
    [{}, {"subjects": 3}, {"subjects": {}, "styles": [], "filler": []},
     {"subjects": {"a": {"names": [], "words": []}}, "styles": [], "filler": []},
     {"subjects": {"a": {"names": "beach", "words": []}}, "styles": [], "filler": []},
     {"subjects": ["beach"], "styles": [], "filler": []}],
)  # fmt: skip
def test_other_json_is_refused(value: dict) -> None:
    with pytest.raises(ValueError, match="no subjects with their words"):
        Vocabulary.from_json(value)


def test_every_caption_that_a_model_was_trained_on_names_its_own_subject_alone() -> None:
    scenes = Vocabulary.from_json(read("landscapes"))
    for scene in landscape_captions.PROMPTS:
        others = [name for name in scenes.subjects if name != landscape_captions.TITLES[scene]]
        without = Vocabulary({name: scenes.subjects[name] for name in others}, scenes.styles, scenes.filler)
        for caption in landscape_captions.captions(scene):
            assert scenes.doubts(caption) == []
            with pytest.raises(UserError):
                without.doubts(caption)
    capitals = Vocabulary.from_json(read("letters-stage-1"))
    assert all(capitals.doubts(caption) == [] for caption in filter(None, letters.captions()))


def test_the_shipped_lists_are_those_of_the_training() -> None:
    assert read("landscapes") == landscape_captions.vocabulary()
    assert read("letters-stage-1") == letters.vocabulary()


@pytest.mark.parametrize("prompt", ["mountains", "a photo of the sea", "trees", "boats", "a river", "fields"])
def test_words_of_several_scenes_name_none(prompt: str) -> None:
    with pytest.raises(UserError, match="a canyon, a city skyline"):
        Vocabulary.from_json(read("landscapes")).doubts(prompt)


def read(name: str) -> dict:
    return json.loads((Path(EMBEDDED) / name / "words.json").read_text(encoding="utf-8"))

"""Options of a toy dataclass: what was given, checked one by one; what is open, and who fills it."""

import argparse
import dataclasses
import math
from typing import Any

import pytest

from utils.errors import UserError
from utils.options import Given, add_options, default_text, option, options_of, read, refine


@dataclasses.dataclass(frozen=True, kw_only=True)
class Base:
    preset: str | None = option("which preset", choices=("quick", "slow"))
    steps: int = option("how many", low=1, high=9, families={"big": 8, "small": 4}, presets={"quick": 2})
    size: float = option("how large", default=1.0, low=0.0, high=2.5)
    mode: str = option("which way", default="here", choices=("here", "there"))
    loud: bool = option("aloud", default=False)
    shared: bool = option("together", families={"big": True, "small": False})
    places: list[int] | None = option("where", low=0, high=100)
    span: list[float] = option("from and to", default=(0.0, 1.0), nargs=2, low=0.0, high=1.0)
    unfilled: str = option("nobody says", families={"big": "x"})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Refined(Base):
    steps: int = refine(Base, "steps", families={"big": 6})
    own: int = option("of this one alone", default=3, low=0, high=5)


# ---------------------------------------------------------------------------------------------- what was given


def test_what_is_open_reads_as_none_and_the_rest_as_its_default() -> None:
    given = Given(Base, {"places": [1, 2], "mode": None})
    assert (given.steps, given.shared, given.unfilled, given.preset) == (None,) * 4
    assert (given.size, given.mode, given.loud, given.span, given.places) == (1.0, "here", False, (0.0, 1.0), [1, 2])
    assert given.typed == {"places"}
    assert (given.asked("places"), given.asked("mode"), given.asked("size")) == ([1, 2], None, None)
    with pytest.raises(AttributeError):
        _ = given.colour


def test_filling_adds_to_a_copy_and_nothing_to_what_was_typed() -> None:
    given = Given(Base, {"size": 2.0})
    filled = given.filled(steps=3, size=0.5)
    assert (filled.steps, filled.size, filled.typed) == (3, 0.5, {"size"})
    assert (given.steps, given.size) == (None, 2.0)
    assert filled.asked("steps") is None and filled.asked("size") == 0.5


@pytest.mark.parametrize(
    ("given", "family", "expected"),
    [
        ({}, "big", 8),
        ({}, "small", 4),
        ({}, "none of them", None),
        ({"preset": "slow"}, "big", 8),
        ({"preset": "quick"}, "big", 2),
        ({"preset": "quick", "steps": 5}, "big", 5),
        ({"steps": 5}, "small", 5),
    ],
)
def test_what_was_typed_comes_before_the_preset_and_that_before_the_family(
    given: dict, family: str, expected: int | None
) -> None:
    filled = Given(Base, given).with_defaults(family)
    assert filled.steps == expected and filled.typed == given.keys()


def test_false_is_a_default_and_no_hole() -> None:
    assert Given(Base, {}).with_defaults("small").shared is False
    assert Given(Base, {"shared": False}).with_defaults("big").shared is False


def test_what_has_holes_is_not_complete() -> None:
    with pytest.raises(ValueError, match="still open: steps, shared, unfilled"):
        Given(Base, {}).complete()
    with pytest.raises(ValueError, match=r"still open: unfilled$"):
        Given(Base, {}).with_defaults("small").complete()
    whole = Given(Base, {"steps": 7}).with_defaults("big").complete()
    assert whole == Base(preset=None, steps=7, size=1.0, mode="here", loud=False, shared=True, places=None,
                         span=(0.0, 1.0), unfilled="x")  # fmt: skip


def test_a_refined_option_keeps_what_was_said_of_it() -> None:
    said = options_of(Refined)["steps"]
    assert (said.help, said.low, said.high, said.presets) == ("how many", 1, 9, {"quick": 2})
    assert Given(Refined, {}).with_defaults("big").steps == 6 and options_of(Base)["steps"].families["big"] == 8


# ---------------------------------------------------------------------------------------------- single values

BAD = [
    ("colour", "red", "--colour is no option of this app"),
    ("own", 1, "--own is no option of this app"),
    ("steps", 0, "--steps 0 is out of range: give 1 to 9."),
    ("steps", 10, "--steps 10 is out of range: give 1 to 9."),
    ("steps", 2.0, "--steps 2.0 is of the wrong kind: give a whole number."),
    ("steps", True, "--steps True is of the wrong kind: give a whole number."),
    ("steps", "2", "--steps '2' is of the wrong kind: give a whole number."),
    ("steps", [2], "--steps [2] is of the wrong kind: give a whole number."),
    ("size", math.nan, "--size nan is out of range: give 0 to 2.5."),
    ("size", math.inf, "--size inf is out of range: give 0 to 2.5."),
    ("size", -0.1, "--size -0.1 is out of range: give 0 to 2.5."),
    ("size", False, "--size False is of the wrong kind: give a number."),
    ("mode", "nowhere", "--mode 'nowhere' is not known: give one of here, there."),
    ("mode", 5, "--mode 5 is of the wrong kind: give text."),
    ("loud", 1, "--loud 1 is of the wrong kind: give True or False."),
    ("loud", "yes", "--loud 'yes' is of the wrong kind: give True or False."),
    ("places", 3, "--places 3 is no list: give a list of a whole number each."),
    ("places", "12", "--places '12' is no list"),
    ("places", [], "--places has 0 values: give one or more."),
    ("places", [3, 101], "--places 101 is out of range: give 0 to 100."),
    ("places", [3, None], "--places None is of the wrong kind: give a whole number."),
    ("span", [0.5], "--span has 1 values: give 2."),
    ("span", (0.1, 0.2, 0.3), "--span has 3 values: give 2."),
    ("span", [0.5, math.nan], "--span nan is out of range: give 0 to 1."),
]


@pytest.mark.parametrize(("name", "value", "sentence"), BAD)
def test_a_value_that_is_wrong_is_told(name: str, value: Any, sentence: str) -> None:
    with pytest.raises(UserError) as refusal:
        Given(Base, {name: value})
    assert sentence in str(refusal.value)


def test_bounds_whole_numbers_and_tuples_are_taken() -> None:
    given = Given(Base, {"steps": 9, "size": 2, "places": (0, 100), "span": (0, 1)})
    assert (given.steps, given.size, given.places, given.span) == (9, 2, (0, 100), (0, 1))


# ---------------------------------------------------------------------------------------------- the parser


def parse(*words: str) -> Given:
    parser = argparse.ArgumentParser(argument_default=argparse.SUPPRESS)
    add_options(parser, Base, options_of(Base))
    return read(Base, vars(parser.parse_args(words)))


def test_texts_become_values() -> None:
    given = parse("--steps", "3", "--size", "1e-1", "--places", "1", "2", "--span", "0", "1", "--loud", "--no-shared")
    assert (given.steps, given.size, given.places, given.span) == (3, 0.1, [1, 2], [0.0, 1.0])
    assert given.loud is True and given.shared is False
    assert parse().typed == frozenset()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--steps", "three"), "--steps 'three' is of the wrong kind: give a whole number."),
        (("--steps", "3.0"), "--steps '3.0' is of the wrong kind: give a whole number."),
        (("--size", "1,5"), "--size '1,5' is of the wrong kind: give a number."),
        (("--size", "nan"), "--size nan is out of range: give 0 to 2.5."),
        (("--places", "1", "x"), "--places '1' 'x' is of the wrong kind: give a whole number."),
        (("--mode", "nowhere"), "--mode 'nowhere' is not known: give one of here, there."),
    ],
)
def test_texts_that_are_no_such_values_are_told(words: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(UserError) as refusal:
        parse(*words)
    assert sentence in str(refusal.value)


def test_the_help_says_ranges_choices_and_defaults() -> None:
    parser = argparse.ArgumentParser()
    add_options(parser, Base, options_of(Base), {"steps": "8, or fewer"})
    text = " ".join(parser.format_help().split())
    for part in ("--steps STEPS how many (1 to 9) [default: 8, or fewer]", "how large (0 to 2.5) [default: 1.0]",
                 "--mode {here,there} which way [default: here]", "--shared, --no-shared"):  # fmt: skip
        assert part in text
    assert default_text(options_of(Base)["steps"], "small") == "4"

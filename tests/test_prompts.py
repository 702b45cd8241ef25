"""Prompts become safe, unique file names; prompts files are read whole; a default style stays out of them."""

import json
import random
from pathlib import Path

import pytest

from guidance import get_app
from guidance.ambiguous_image_app import read_view_prompts, view_prompts
from guidance.command_line import parse
from guidance.panorama_app import read_panorama_prompts
from guidance.wide_image_app import check_positions, read_strip_prompts, strip_positions
from tests.analytic import ambiguous_options, wide_options
from utils.errors import UserError
from utils.prompts import (
    MAX_STEM_BYTES,
    FileEntry,
    PictureRequest,
    file_stem,
    prompt_from_stem,
    unique_files,
)

DATA = Path(__file__).resolve().parent.parent / "data"
NASTY = (
    "a", "A", "b", "_", "__", " ", "  ", ".", "..", "/", "\\", "\n", "\r\n", "\t", "\0", "~", "~2", "~view1", "-", "-a",
    "a-b", "é", "e\u0301", "ß", "SS", "ǆ", "İ", "🙂", "👨‍👩‍👧", "日本", "\u202e", "\u200b", ":", "*", "?", '"',
    "<", ">", "|", "%", "$",
    "'", ",", "(", ")", "&", "+", "!", "300", "_300", " 300", "x" * 179, "x" * 180, "x" * 181, "é" * 100, "🙂" * 50,
    "con",
)  # fmt: skip


def strip_files(request: PictureRequest, suffix: str) -> list[FileEntry]:
    return get_app("wide_image").list_files(wide_options(512, 3072), request, suffix)


def view_files(request: PictureRequest, suffix: str) -> list[FileEntry]:
    return get_app("ambiguous_image").list_files(
        ambiguous_options(views_names=["identity"] * len(request.prompts), prompts=list(request.prompts)),
        request,
        suffix,
    )


def nasty_prompts(count: int) -> list[str]:
    chance = random.Random(7)
    made = ["".join(chance.choices(NASTY, k=chance.randint(1, 6))) for _ in range(count)]
    return [prompt for prompt in made if prompt.strip()]


def check_name(name: str) -> None:
    assert "/" not in name and "\0" not in name and "\n" not in name and "\\" not in name
    assert not name.startswith(".") and len(name.encode()) <= 255
    assert name == Path(name).name and name.isprintable()


def batch_names(batch: list[list[FileEntry]]) -> list[str]:
    return [entry["file"] for files in batch for entry in files]


def test_plain_prompts_are_named_as_the_assignment_says() -> None:
    prompt = "A photo of a mountain range at twilight"
    assert file_stem(prompt) == "A_photo_of_a_mountain_range_at_twilight"
    assert prompt_from_stem(file_stem(prompt)) == prompt
    files = strip_files(PictureRequest((prompt,), {"eval_pos": (0, 2292)}), "")
    assert [entry["file"] for entry in files] == [
        f"{file_stem(prompt)}.png",
        f"{file_stem(prompt)}_0.png",
        f"{file_stem(prompt)}_2292.png",
    ]
    pair = ("an oil painting of a horse", "an oil painting of a snowy mountain village")
    assert [entry["file"] for entry in view_files(PictureRequest(pair), "")] == [
        "an_oil_painting_of_a_horse.png",
        "an_oil_painting_of_a_snowy_mountain_village.png",
        "an_oil_painting_of_a_horse-an_oil_painting_of_a_snowy_mountain_village.png",
    ]


def test_stems_are_safe() -> None:
    for prompt in [*nasty_prompts(500), "x" * 5000, "é/" * 2500, "...", ".hidden", "../../etc/passwd", "~", "_"]:
        stem = file_stem(prompt)
        check_name(stem + ".png")
        assert stem and len(stem.encode()) <= MAX_STEM_BYTES


def test_stems_are_composed_however_the_prompt_was_typed() -> None:
    composed, decomposed = "caf\u00e9 \u00fcber \uac00", "cafe\u0301 u\u0308ber \u1100\u1161"
    assert composed != decomposed and file_stem(composed) == file_stem(decomposed) == "caf\u00e9_\u00fcber_\uac00"


def test_long_prompts_that_begin_alike_differ() -> None:
    stems = {file_stem("x" * 4999 + last) for last in "abc"} | {file_stem("x" * 5000)}
    assert len(stems) == 4


def test_names_of_a_batch_are_unique_even_where_case_is_ignored() -> None:
    for seed in range(20):
        chance = random.Random(seed)
        prompts = chance.choices(nasty_prompts(40), k=25)
        taken: set[str] = set()
        batch = []
        for prompt in prompts:
            if chance.random() < 0.5:
                request = PictureRequest(
                    (prompt,), {"eval_pos": chance.sample((0, 2, 30, 300), k=chance.randint(0, 3))}
                )
                batch.append(unique_files(lambda suffix, r=request: strip_files(r, suffix), taken))
            else:
                request = PictureRequest((prompt, *chance.choices(prompts, k=chance.randint(1, 3))))
                batch.append(unique_files(lambda suffix, r=request: view_files(r, suffix), taken))
        names = [name.casefold() for name in batch_names(batch)]
        assert len(set(names)) == len(names)
        for name in batch_names(batch):
            check_name(name)


def test_a_strip_never_takes_the_name_of_another_prompts_crop() -> None:
    requests = [PictureRequest(("beach",), {"eval_pos": (300,)}), PictureRequest(("beach 300",))]
    for order in (requests, requests[::-1]):
        taken: set[str] = set()
        batch = [unique_files(lambda suffix, r=request: strip_files(r, suffix), taken) for request in order]
        assert len(set(batch_names(batch))) == 3


def test_equal_prompts_of_two_views_get_two_names() -> None:
    names = [entry["file"] for entry in view_files(PictureRequest(("A cat", "a cat", "a/cat")), "")]
    assert len({name.casefold() for name in names}) == 4


# ---------------------------------------------------------------------------------------------- crops


def test_default_crops_lie_inside_every_strip() -> None:
    chance = random.Random(3)
    sizes = [(64, 64), (512, 3072), (520, 1000), (88, 200), (64, 72), (512, 520), (512, 504), (3072, 512)]
    sizes += [(8 * chance.randint(1, 200), 8 * chance.randint(1, 800)) for _ in range(2000)]
    for height, width in sizes:
        positions = strip_positions(height, width)
        check_positions(positions, height, width, "a")
        assert len(positions) == (0 if width < height else len(set(positions)))
        assert all(round(position * height / 512) + height <= width for position in positions)
    assert strip_positions(512, 3072) == [0, 366, 731, 1097, 1463, 1829, 2194, 2560]


@pytest.mark.parametrize("positions", [(-1,), (2561,), (0, 0), (10**9,)])
def test_crops_outside_are_refused(positions: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="eval_pos"):
        check_positions(positions, 512, 3072, "a")
    check_positions((0, 2560), 512, 3072, "a")


# ---------------------------------------------------------------------------------------------- prompts files


def test_the_assignments_prompts_files_are_read() -> None:
    wide = read_strip_prompts(DATA / "wide_image_prompts.json")
    assert all(entry["prompt"] and len(entry["eval_pos"]) == 8 for entry in wide.values())
    for entry in wide.values():
        check_positions(entry["eval_pos"], 512, 3072, entry["prompt"])
    pairs = read_view_prompts(DATA / "ambiguous_image_prompts.json")
    first = view_prompts(next(iter(pairs.values())))
    assert first == ("an oil painting of a snowy mountain village", "an oil painting of a horse")
    assert all(len(view_prompts(entry)) == 2 for entry in pairs.values())


def test_the_panoramas_prompts_file_is_read() -> None:
    entries = read_panorama_prompts(DATA / "panorama_prompts.json")
    assert len(entries) == 10 and [name for name, entry in entries.items() if file_stem(entry["prompt"]) != name] == []
    assert sum(entry.get("indoor", False) for entry in entries.values()) == 2
    assert sum({"prompt_up", "prompt_down"} <= entry.keys() for entry in entries.values()) == 2
    assert sum("negative_prompt" in entry for entry in entries.values()) == 1
    given = parse(["--app", "panorama", "--prompts_file", str(DATA / "panorama_prompts.json")])[1]
    lake, room = (get_app("panorama").requests(given)[index].inputs for index in (1, 8))
    assert len(lake["prompt_up"]) == 2 and not lake["indoor"] and room["indoor"]


def test_prompts_come_in_the_order_of_the_views(tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    file.write_text('{"x": {"instance_prompt_2": "c", "instance_prompt": "b", "canonical_prompt": "a"}}')
    (entry,) = read_view_prompts(file).values()
    assert view_prompts(entry) == ("a", "b", "c")


def test_a_photograph_takes_the_place_of_the_canonical_prompt(tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    file.write_text('{"x": {"instance_prompt_2": "c", "instance_prompt": "b"}, "y": {"instance_prompt": "d"}}')
    entries = read_view_prompts(file, with_photo=True).values()
    assert [view_prompts(entry) for entry in entries] == [("b", "c"), ("d",)]
    with pytest.raises(UserError, match="lacks canonical_prompt"):
        read_view_prompts(file)
    file.write_text('{"x": {"canonical_prompt": "a", "instance_prompt": "b"}}')
    with pytest.raises(UserError, match="unknown field 'canonical_prompt'; known: instance_prompt, negative_prompt"):
        read_view_prompts(file, with_photo=True)


def test_prompts_of_a_file_are_taken_as_they_are(tmp_path: Path) -> None:
    """The default style belongs to prompts of the command line."""
    entries = {"x": {"canonical_prompt": "a horse", "instance_prompt": "a boat"}}
    (tmp_path / "p.json").write_text(json.dumps(entries))
    app, given = parse(["--app", "ambiguous_image", "--prompts_file", str(tmp_path / "p.json")])
    for known in (given, app.fill(given, "deepfloyd"), app.fill(given, "tiny")):
        assert [request.prompts for request in app.requests(known)] == [("a horse", "a boat")]

"""What ``training/measure_models.py`` computes besides making pictures; the judges' training; the search for pairs."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from guidance.ambiguous_image_app import read_view_prompts
from guidance.ambiguous_image_model import AmbiguousImageModel
from guidance.shared_options import EMBEDDED
from tests.analytic import asking
from training import find_pairs
from training import measure_models as measure
from training.drawing import letters, scenes, unreadable
from training.measure import by_eye, judge, stranger
from training.measure import letter_pictures as measure_letters
from training.measure import report as measure_report
from training.measure import shipped as measure_shipped
from training.measure import strips as measure_strips
from training.measure import tool as measure_tool
from training.measure.report import BEGIN, END
from utils.files import write_json

PART = {
    "seeds": 2, "baseline_seeds": 1, "dtype": "auto", "date": "2026-01-02T03:04:05+00:00", "minutes": 0.1,
    "machine": {"cpu": "some CPU", "cores": 2, "torch": "2"}, "details": {},
}  # fmt: skip


@pytest.fixture(scope="module")
def invented_glyphs() -> judge.Glyphs:
    """26 shapes for one face, so that no font is needed: two crossing bars whose places tell the letter."""
    masks = torch.zeros(1, 26, letters.MASK_SIZE, letters.MASK_SIZE, dtype=torch.uint8)
    for index in range(26):
        down, across = divmod(index, 6)
        masks[0, index, 12 + 14 * down : 24 + 14 * down, 10:86] = 255
        masks[0, index, 10:86, 10 + 12 * across : 20 + 12 * across] = 255
    return masks, torch.ones(1, 26)


# ---------------------------------------------------------------------------------------------- seams


def ramp(width: int, steps: dict[int, float] | None = None) -> np.ndarray:
    """Return a strip ``[4, width, 3]`` that rises by one level a column, and by more where ``steps`` says so."""
    rises = np.ones(width)
    rises[0] = 100
    for column, rise in (steps or {}).items():
        rises[column] = rise
    return np.broadcast_to(np.cumsum(rises)[None, :, None], (4, width, 3))


def test_borders_are_where_windows_begin_end_or_change() -> None:
    edges, middles = measure_strips.border_columns(width=768, window=32, stride=16, scale=4)
    assert edges == list(range(64, 768, 64))
    assert middles == list(range(96, 700, 64))


def test_the_last_window_is_moved_back_to_the_edge() -> None:
    edges, middles = measure_strips.border_columns(width=40, window=4, stride=3, scale=4)  # windows at 0, 3, 6
    assert edges == [12, 16, 24, 28]
    assert middles == [16, 28]  # a cell as near to both belongs to the first


def test_a_smooth_strip_has_a_figure_of_one_and_steps_at_borders_show() -> None:
    assert measure_strips.seam_figure([ramp(64)], [16, 32]) == pytest.approx(1)
    assert measure_strips.seam_figure([ramp(64, {16: 9, 32: 9})], [16, 32]) == pytest.approx(9)
    assert measure_strips.seam_figure([ramp(64, {15: 9, 33: 9})], [16, 32]) < 1


def test_steps_count_whatever_their_sign() -> None:
    assert measure_strips.seam_figure([ramp(64, {16: -9})], [16]) == pytest.approx(9)


def test_other_borders_are_not_elsewhere() -> None:
    strip = ramp(64, {16: 5, 24: 50})
    assert measure_strips.seam_figure([strip], [16], [24]) == pytest.approx(5)
    assert measure_strips.seam_figure([strip], [16]) < 5


def test_the_decoders_grid_can_be_left_out_of_account() -> None:
    strip = ramp(64, dict.fromkeys(range(4, 64, 4), 3.0))
    assert measure_strips.seam_figure([strip], [16, 32]) > 2
    assert measure_strips.seam_figure([strip], [16, 32], grid=4) == pytest.approx(1)


def test_all_strips_count_together() -> None:
    assert measure_strips.seam_figure([ramp(64), ramp(64, {16: 9})], [16]) == pytest.approx(5)


def test_both_kinds_of_columns_have_figures_of_their_own() -> None:
    figures = measure_strips.seam_figures([ramp(64, {16: 2, 24: 7})], [16], [24], 4)
    assert figures["begin_or_end"] == figures["begin_or_end_on_grid"] == pytest.approx(2)
    assert figures["nearest"] == figures["nearest_on_grid"] == pytest.approx(7)


# ---------------------------------------------------------------------------------------------- choosing and reading


def test_the_best_of_every_full_group_is_taken_the_first_of_equals() -> None:
    assert measure_letters.best_of_groups([0.1, 0.9, 0.2, 0.3, 0.5, 0.5, 0.1, 0.2, 0.9]) == [1, 4]
    assert measure_letters.best_of_groups([3.0, 2.0]) == []


def test_the_letters_of_the_prompts_are_all_and_in_all_styles() -> None:
    entries = [measure_letters.letter_entry(index, index + 13) for index in range(13)]
    prompts = [prompt for entry in entries for prompt in entry.values()]
    assert sorted(map(measure_letters.letter_of, prompts)) == list(letters.LETTERS)
    captions = {caption.lower() for caption in letters.captions()}
    assert {prompt.lower() for prompt in prompts} < captions
    for style in letters.STYLES[1:]:
        assert sum(style in prompt for prompt in prompts) >= 4


def shot_of(folder: Path, views: list[Image.Image], prompts: list[str]) -> measure_tool.Shot:
    files = [{"file": f"{k}.png", "role": "view", "prompt": prompt, "view": k} for k, prompt in enumerate(prompts)]
    for entry, view in zip(files, views, strict=True):
        view.save(folder / entry["file"])
    return measure_tool.Shot(folder, {"prompts": prompts, "files": files, "seed": 0}, {})


def top_half(dark: str) -> Image.Image:
    """Return a white square with one dark half."""
    pixels = np.full((8, 8, 3), 255, np.uint8)
    half = {"n": np.s_[:4], "e": np.s_[:, 4:], "s": np.s_[4:], "w": np.s_[:, :4]}[dark]
    pixels[half] = 0
    return Image.fromarray(pixels)


def compass(pictures: list[Image.Image]) -> list[str]:
    """Judge where a picture is darkest."""
    found = []
    for picture in pictures:
        pixels = np.asarray(picture.convert("L"), float)
        halves = {"n": pixels[:4], "e": pixels[:, 4:], "s": pixels[4:], "w": pixels[:, :4]}
        found.append(min(halves, key=lambda name, halves=halves: halves[name].mean()))
    return found


def test_one_picture_reads_in_its_views_and_in_their_mean(tmp_path: Path) -> None:
    shot = shot_of(tmp_path, [top_half("n"), top_half("e")], ["the letter N", "the letter E"])  # clockwise: up is right
    assert measure_letters.read(compass, shot) == measure_letters.Reading(own=True, one=True, apart=0.0)


def test_two_pictures_are_told_from_one(tmp_path: Path) -> None:
    shot = shot_of(tmp_path, [top_half("n"), top_half("s")], ["the letter N", "the letter S"])
    reading = measure_letters.read(compass, shot)
    assert reading.own and not reading.one and reading.apart > 100


def test_the_shipped_entries_are_ten_of_six_pairs_and_ten_letters_and_turned_ones_count_once() -> None:
    shipped = read_view_prompts(measure_tool.ROOT / measure_letters.PAIR_PROMPTS).values()
    names = [measure_letters.pair_name(list(fields.values())) for fields in shipped]
    assert measure_letters.variety_row(names).reached
    assert measure_letters.variety_row(["N/Z a photo", "Z/N a photo"]).shown == "2 entries, 1 pairs, 2 letters"


def test_the_views_that_were_read_are_squares_with_a_row_each_and_valid_labels() -> None:
    for sheet, count in ((by_eye.TEST, 160), (by_eye.TO_LEARN, 640)):
        views, rows = by_eye.read_sheet(sheet)
        assert len(views) == len(rows) == count and {view.size for view in views} == {(judge.SIZE, judge.SIZE)}
        assert len({view.tobytes() for view in views}) == count
        read = {row["letter" if "letter" in row else "letter_read_blind"] for row in rows}
        assert read <= {*letters.LETTERS, judge.NONE} and judge.NONE in read and len(read) > 10


def test_no_view_that_the_judge_learns_is_of_the_seeds_that_it_is_tested_on() -> None:
    learned, tested = (by_eye.read_sheet(sheet)[1] for sheet in (by_eye.TO_LEARN, by_eye.TEST))
    seeds = {int(row["seed"]) for row in learned}
    assert seeds.isdisjoint(int(row["seed"]) for row in tested)
    assert seeds.isdisjoint(range(measure.parse([]).seeds))
    assert {row["weights"] for row in learned} == {"1905192", "c27d239"}


def test_a_judge_that_says_yes_to_all_agrees_as_often_as_a_reader_says_yes() -> None:
    _, rows = by_eye.read_sheet(by_eye.TEST)
    wanted = [measure_letters.letter_of(row["prompt"]) for row in rows]
    knowing = np.mean([row["read_by_eye"] == "1" for row in rows])
    blind = np.mean([row["letter_read_blind"] == letter for row, letter in zip(rows, wanted, strict=True)])
    yes, no = (measure_letters.agreements(lambda _, said=said: said) for said in (wanted, ["none"] * 160))
    assert [row.value for row in yes[:2]] == pytest.approx([knowing, blind])
    assert [row.value for row in no[:2]] == pytest.approx([1 - knowing, 1 - blind])
    assert yes[2].value == no[2].value and 0.8 < yes[2].value < 1


def test_all_views_are_on_the_sheet_seed_by_seed(tmp_path: Path) -> None:
    shots = [shot_of(tmp_path, [top_half("n"), top_half("s")], ["the letter N", "the letter S"])] * 3
    measure_letters.save_sheet([shots, shots[:1]], tmp_path / "sheet.png", side=8)
    sheet = Image.open(tmp_path / "sheet.png")
    assert sheet.size == (48, 16)
    assert compass([sheet.crop((left, 0, left + 8, 8)) for left in range(0, 48, 8)]) == ["n", "s"] * 3


def test_a_stranger_gets_black_letters_on_white_paper() -> None:
    pixels = np.full((128, 128, 3), (120, 180, 120), np.uint8)
    pixels[40:90, 60:70] = (200, 20, 20)  # of nearly the same brightness
    small = np.asarray(stranger.prepare(Image.fromarray(pixels)))
    assert set(np.unique(small)) == {0, 255} and small.shape == (80, 68)
    assert small[16 + 24, 16 + 18] == 0 and small[:16].min() == 255 and small[20, 20] == 255
    assert stranger.threshold(np.array([[10, 12, 200, 210]], np.uint8)) in range(12, 200)


def test_the_stranger_is_missed_aloud(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(stranger, "installed", lambda: False)
    row, shares = measure_letters.measure_stranger({})
    assert row.reached is None and "not measured" in row.shown and shares == {}
    assert "apt install tesseract-ocr" in capsys.readouterr().out


@pytest.mark.skipif(not stranger.installed(), reason="needs the program tesseract")
def test_the_stranger_reads_drawn_letters_in_their_order() -> None:
    masks = letters.draw_face(letters.find_faces()[0])[0]
    views = [Image.fromarray(255 - mask).convert("RGB") for mask in masks]
    found = stranger.read(views)
    assert len(found) == 26 and sum(map(str.__eq__, found, letters.LETTERS)) >= 24


def test_shots_are_read_by_prompt_and_seed_and_only_those_asked_for(tmp_path: Path) -> None:
    pictures = [{"prompts": [p], "seed": s, "files": []} for s in (1, 0, 2) for p in ("b", "a")]
    (tmp_path / "run.json").write_text(json.dumps({"options": {}, "pictures": pictures}))
    shots = measure_tool.read_shots(tmp_path, 2)
    assert [(shot.prompts, shot.entry["seed"]) for shot in shots] == [
        (("b",), 0), (("b",), 1), (("a",), 0), (("a",), 1)
    ]  # fmt: skip


# ---------------------------------------------------------------------------------------------- what is written


def part_of(*rows: measure_report.Row) -> dict:
    return {"rows": [vars(row) for row in rows], **PART}


def test_bars_are_reached_or_missed() -> None:
    assert measure_report.share_row("x", 0.95, 0.95).reached is True
    assert measure_report.share_row("x", 0.94, 0.95).reached is False
    assert measure_report.number_row("x", 1.06, "", 1.05).reached is False
    assert measure_report.number_row("x", 9.0, "s").reached is None


def test_the_table_replaces_only_itself() -> None:
    text = f"# Title\n\nbefore\n\n{BEGIN}\nold\n{END}\n\nafter\n"
    new = measure_report.replace_between(text, "new")
    assert new.startswith("# Title\n\nbefore\n") and new.endswith("\n\nafter\n")
    assert "old" not in new and "new" in new
    assert measure_report.replace_between(new, "new") == new


@pytest.mark.parametrize("text", ["", BEGIN, END + BEGIN, 2 * (BEGIN + END)])
def test_a_text_without_its_markers_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="once each"):
        measure_report.replace_between(text, "new")


def test_a_part_replaces_only_itself(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(f"# Title\n{BEGIN}{END}\n")
    measure.update(tmp_path, "files", part_of(measure_report.number_row("weight", 5.0, "MiB", 16)))
    measure.update(tmp_path, "strips", part_of(measure_report.share_row("crops", 0.5, 0.95)))
    measures = measure.update(tmp_path, "files", part_of(measure_report.number_row("weight", 6.0, "MiB", 16)))
    assert list(measures) == ["strips", "files"]
    assert json.loads((tmp_path / "measures.json").read_text()) == measures
    readme = (tmp_path / "README.md").read_text()
    assert "| crops | 50.0% | >= 95% | **no** |" in readme and "| weight | 6.0 MiB | <= 16 MiB | yes |" in readme
    assert "5.0 MiB" not in readme and readme.startswith("# Title\n") and readme.endswith(f"{END}\n")


def test_the_files_of_a_folder_are_weighed_and_hashed(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"x" * 3 * measure_shipped.MIB)
    (tmp_path / "b.bin").write_bytes(b"")
    tool = measure_tool.Tool(measure.parse(["--models", str(tmp_path)]))
    part = measure_shipped.measure_files(tool)
    assert [row.reached for row in part["rows"]] == [True, True, False]
    assert part["rows"][0].value == part["rows"][1].value == 3
    assert list(part["details"]["sha256"]) == ["a.safetensors"]


def test_the_shipped_models_take_the_tools_own_defaults_and_others_get_them_spelt_out(tmp_path: Path) -> None:
    shipped, other = (measure_tool.Tool(measure.parse(argv)) for argv in ([], ["--sd_path", str(tmp_path)]))
    assert shipped.weights("wide_image") == {"model": "tiny"} == other.weights("ambiguous_image")
    settings = {"num_inference_steps": 25, "guidance_scale": 3.0, "window_stride": 16, "reduction": "weighted"}
    assert other.weights("wide_image") == {"sd_path": str(tmp_path), **settings}
    assert shipped.folder_of("stage_1_path") == EMBEDDED / "letters-stage-1"


# ---------------------------------------------------------------------------------------------- judges


def test_the_faces_of_the_judges_test_are_its_own() -> None:
    numbers = torch.arange(25)
    (train, _), (test, _) = judge.split_faces((numbers, numbers))
    assert test.tolist() == [5, 15] and sorted([*train.tolist(), *test.tolist()]) == numbers.tolist()


def test_the_judges_strips_are_nobody_elses() -> None:
    from training import train_landscapes_vae, train_scorer

    ranges = [judge.FIRST_STRIP, judge.FIRST_TEST_STRIP, train_scorer.FIRST_STRIP, train_scorer.FIRST_TEST_STRIP,
              train_landscapes_vae.FIRST_TEST_STRIP, 0]  # fmt: skip
    assert all(right - left >= 10_000 for left, right in itertools.pairwise(sorted(ranges)))


def test_scenes_are_drawn_with_their_labels() -> None:
    draw = judge.scene_drawer(3, 1, width=160)
    pictures, labels = draw(6, np.random.default_rng(0))
    assert pictures.shape == (6, 3, judge.SIZE, judge.SIZE) and pictures.abs().max() <= 1
    assert labels.max() < len(scenes.SCENES)
    again, _ = draw(6, np.random.default_rng(0))
    assert torch.equal(pictures, again)


def test_the_judge_is_shown_letters_and_what_is_none(invented_glyphs: judge.Glyphs) -> None:
    pictures, labels = judge.letter_or_none_drawer(invented_glyphs)(40, np.random.default_rng(0))
    assert pictures.shape == (40, 3, judge.SIZE, judge.SIZE) and pictures.abs().max() <= 1
    assert (labels == 26).sum() == 14 and labels.max() == 26
    none, told = judge.none_drawer(invented_glyphs)(5, np.random.default_rng(0))
    assert none.shape[0] == 5 and (told == 26).all()


def test_the_judge_also_learns_views_that_a_person_has_read(
    invented_glyphs: judge.Glyphs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge, "POOL", 1)
    drawn, names = judge.pooled(judge.letter_or_none_drawer(invented_glyphs), 1, 40)(200, np.random.default_rng(0))
    assert len(drawn) == len(names) == 200 and len({picture.numpy().tobytes() for picture in drawn}) <= 40
    pictures, labels = judge.letter_lessons(invented_glyphs)(100, np.random.default_rng(0))
    assert pictures.shape == (100, 3, judge.SIZE, judge.SIZE) and pictures.abs().max() <= 1 + 1e-6
    assert labels.min() >= 0 and labels.max() <= 26
    again, _ = judge.letter_lessons(invented_glyphs)(100, np.random.default_rng(0))
    assert torch.equal(again, pictures)


def test_what_the_reader_doubted_is_none_to_the_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    views, rows = by_eye.read_sheet(by_eye.TO_LEARN)
    doubted = [index for index, row in enumerate(rows) if row["sure"] == "0"]
    assert len(doubted) > 50 and judge.NONE not in {rows[index]["letter"] for index in doubted}
    chosen = [views[index] for index in doubted], [rows[index] for index in doubted]
    monkeypatch.setattr(by_eye, "read_sheet", lambda _: chosen)
    assert (judge.read_view_drawer()(20, np.random.default_rng(0))[1] == 26).all()


def test_bent_views_still_show_the_same_in_place() -> None:
    square = -torch.ones(64, 3, 64, 64)
    square[:, :, 20:44, 20:44] = torch.tensor([0.5, 0.6, 0.7])[None, :, None, None]
    bent = judge.bend(square, np.random.default_rng(0))
    middle, corner = bent[:, :, 28:36, 28:36].abs(), bent[:, :, 2:6, 2:6].abs()
    assert torch.allclose(middle.mean(1), torch.tensor(0.6), atol=1e-5) and torch.allclose(corner, torch.ones(()))
    assert len({picture.numpy().tobytes() for picture in bent}) == 64
    assert torch.equal(bent, judge.bend(square, np.random.default_rng(0)))


def test_pictures_come_to_the_judge_upright_and_in_its_range() -> None:
    batch = judge.to_batch([top_half("n"), Image.new("RGB", (128, 128), "white")])
    assert batch.shape == (2, 3, judge.SIZE, judge.SIZE)
    assert batch[0, :, 4].max() == -1 and batch[0, :, -4].min() == 1 and torch.allclose(batch[1], torch.ones(()))


def test_a_few_steps_lower_the_judges_loss_and_a_finished_one_is_taken_as_it_is(
    invented_glyphs: judge.Glyphs, tmp_path: Path
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    make_draw = lambda: judge.letter_drawer(invented_glyphs)  # noqa: E731
    network, _ = judge.train("letters", make_draw, 26, tmp_path, steps=1)
    pictures, labels = make_draw()(96, np.random.default_rng(7))
    loss = torch.nn.functional.cross_entropy
    early = loss(network(pictures), labels)
    network, losses = judge.train("letters", make_draw, 26, tmp_path, steps=12)
    late = loss(network(pictures), labels)
    again, known = judge.train("letters", lambda: pytest.fail("drawn again"), 26, tmp_path, steps=12)
    torch.set_num_threads(before)
    assert late < early and losses[-1] < losses[0]
    assert known == losses
    assert (judge.classify(again, pictures) == judge.classify(network, pictures)).all()


def test_a_steady_judge_takes_the_mean_of_what_it_sees_from_five_places() -> None:
    row = 32  # lit by none but the look that is moved up: two rows above it, the picture changes
    picture = torch.zeros(1, 3, judge.SIZE, judge.SIZE)
    picture[:, :, row + 1 :] = 9

    class Row(torch.nn.Module):
        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            return torch.stack([pictures[:, 0, row, 5], -pictures[:, 0, row, 5]], 1)

    low = torch.tensor([[0.5, 0.5]])
    high = torch.tensor([[9.0, -9.0]]).softmax(1)
    assert torch.allclose(judge.Steady(Row())(picture), 0.8 * low + 0.2 * high)


def test_halfway_between_two_judges_are_the_means_of_their_weights_and_both_stay() -> None:
    torch.manual_seed(0)
    one, other = judge.make_network(3), judge.make_network(3)
    before = [next(network.parameters()).clone() for network in (one, other)]
    middle = next(judge.halfway(one, other).parameters())
    assert torch.allclose(middle, (before[0] + before[1]) / 2, atol=1e-6)
    assert all(torch.equal(next(net.parameters()), was) for net, was in zip((one, other), before, strict=True))


def test_a_judge_goes_on_with_another(invented_glyphs: judge.Glyphs, tmp_path: Path) -> None:
    make_draw = lambda: judge.letter_drawer(invented_glyphs)  # noqa: E731
    first, _ = judge.train("first", make_draw, 26, tmp_path, steps=1, batch_size=8)
    second, _ = judge.train("second", make_draw, 26, tmp_path, 1, batch_size=8, learning_rate=0.0, start=first)
    same = zip(first.parameters(), second.parameters(), strict=True)
    assert all(torch.allclose(one, other) for one, other in same)


def test_the_judge_of_letters_is_kept_and_loaded_again(
    invented_glyphs: judge.Glyphs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    masks, aspects = (part.repeat(6, *[1] * (part.ndim - 1)).numpy() for part in invented_glyphs)
    np.savez_compressed(tmp_path / "glyphs.npz", masks=masks, aspects=aspects)
    accuracy = judge.accuracy
    monkeypatch.setattr(judge, "accuracy", lambda network, draw, count: accuracy(network, draw, 52))
    monkeypatch.setattr(judge, "POOL", 1)
    first, again = (judge.letter_judge(tmp_path, steps=2, view_steps=2) for _ in range(2))
    assert (tmp_path / "judge-letters-in-views.pt").exists() and first.classes == (*letters.LETTERS, judge.NONE)
    assert (first.held_out, first.none_held_out) == (again.held_out, again.none_held_out)
    assert first([top_half("n"), top_half("e")]) == again([top_half("n"), top_half("e")])


# ---------------------------------------------------------------------------------------------- pairs


def test_many_pictures_at_once_are_those_that_the_tool_makes_one_by_one() -> None:
    trials = [find_pairs.Trial(("n", "z"), "lithograph", 100), find_pairs.Trial(("a", "k"), "photo", 7)]
    many = find_pairs.load_model(EMBEDDED / "letters-stage-1", 3, "float32")
    one = AmbiguousImageModel(many.options, many.sources, many.runtime, many.stages[:1])
    one.embeddings = many.embeddings
    pictures = many.draw(trials)
    assert pictures.shape == (2, 2, 3, 32, 32)
    for trial, views in zip(trials, pictures, strict=True):
        *_, last = one.generate(asking(*trial.prompts), trial.seed)
        assert torch.allclose(last.x_t_1, views, atol=1e-4)
        assert torch.allclose(torch.rot90(views[1], 1, (1, 2)), views[0], atol=1e-6)


def test_the_reader_reads_the_letters_of_both_views_and_none_where_there_is_none() -> None:
    masks = torch.from_numpy(letters.draw_face(letters.find_faces()[0])[0])[None]
    glyphs, rng, reader = (masks, torch.ones(1, 26)), np.random.default_rng(3), find_pairs.Reader(EMBEDDED / "scorer")
    trials = [find_pairs.Trial(pair, "", 0) for pair in itertools.pairwise(letters.LETTERS)]
    labels = np.array([letters.LETTERS.index(letter) for trial in trials for letter in trial.pair])
    views = letters.draw(glyphs, labels, 64, rng).unflatten(0, (-1, 2))
    chances = reader.read(views, trials)
    assert chances.shape == (25, 2) and chances.mean() > 0.75
    assert reader.read(views.flip(1), trials).mean() < 0.1
    nothing = unreadable.draw(glyphs, 50, 64, rng).unflatten(0, (-1, 2))
    assert reader.read(nothing, trials).mean() < 0.1


def test_rankings_take_means_and_the_better_way_up() -> None:
    found = {
        find_pairs.Trial(("a", "b"), "photo", 1): 0.2,
        find_pairs.Trial(("a", "b"), "photo", 2): 0.4,
        find_pairs.Trial(("b", "a"), "photo", 1): 0.9,
        find_pairs.Trial(("b", "a"), "painting", 1): 0.5,
        find_pairs.Trial(("c", "a"), "photo", 1): 0.6,
    }
    by_style = find_pairs.rank(found, by_style=True)
    assert [key for key, _ in by_style] == [
        ("b", "a", "photo"), ("c", "a", "photo"), ("b", "a", "painting"), ("a", "b", "photo")
    ]  # fmt: skip
    assert dict(by_style)["a", "b", "photo"] == pytest.approx(0.3)
    assert dict(find_pairs.rank(found, by_style=False))["b", "a"] == pytest.approx(0.7)
    assert [key for key, _ in find_pairs.best_style(by_style)] == [("b", "a", "photo"), ("c", "a", "photo")]


def test_chosen_pairs_show_enough_letters_and_make_a_prompts_file(tmp_path: Path) -> None:
    ranking = [((*pair, "photo"), 1 - place / 100) for place, pair in enumerate(["ab", "ac", "bc", "ad", "ef", "gh"])]
    chosen = find_pairs.choose(ranking, count=3, letters_wanted=6)
    assert len(chosen) == 3 and len(find_pairs.shown(chosen)) >= 6
    assert (("a", "b", "photo"), 1.0) in find_pairs.choose(ranking, count=3, letters_wanted=3)
    write_json(tmp_path / "pairs.json", find_pairs.entries(chosen))
    assert len(read_view_prompts(tmp_path / "pairs.json")) == 3


def test_the_search_and_the_measurement_share_no_seed() -> None:
    options = find_pairs.parse([])
    sieve = find_pairs.sieve_trials(options)
    final = find_pairs.final_trials([("a", "b")], options)
    assert len(sieve) == 2 * 650 and len(final) == 5 * options.final_seeds
    assert {trial.seed for trial in sieve}.isdisjoint(trial.seed for trial in final)
    assert min(trial.seed for trial in sieve) >= 100 > measure.parse([]).seeds


def test_a_small_search_ranks_what_it_drew_and_writes_a_prompts_file(tmp_path: Path) -> None:
    output = tmp_path / "pairs.json"
    few = {"pairs": 3, "keep": 1, "sieve_steps": 1, "sieve_seeds": 1, "final_steps": 1, "final_seeds": 1, "batch": 8}
    argv = [part for name, value in few.items() for part in (f"--{name}", str(value))]
    ranking = find_pairs.main([*argv, "--dtype", "float32", "--output", str(output)])
    assert len(ranking) == len(find_pairs.STYLES)
    assert [value for _, value in ranking] == sorted((value for _, value in ranking), reverse=True)
    assert len(read_view_prompts(output)) == 1

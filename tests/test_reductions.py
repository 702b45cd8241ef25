"""How views become one canvas: sum of components, one view a step, weights; and a view that a photograph holds."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from guidance import get_app
from guidance.networks.denoisers import Conditioning
from tests.analytic import (
    FakeUNet,
    ambiguous_model,
    ambiguous_options,
    asking,
    nonlinear_answer,
    open_stage,
    pixel_stages,
    wide_model,
    wide_options,
)
from tests.runs import filled, typed
from utils.errors import UserError

F64 = torch.float64
AMBIGUOUS = ["--app", "ambiguous_image"]
HYBRID = {"views_names": ["low_pass:sigma=0.1", "high_pass:sigma=0.1"]}


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def save_array(path: Path, values: np.ndarray) -> str:
    np.save(path, values)
    return str(path)


def last_state(model, prompts=("a", "b"), seed: int = 5):
    *_, last = model.generate(asking(*prompts), seed)
    return last


# ---------------------------------------------------------------------------------------------- ambiguous


def test_the_sum_of_components_is_the_picture() -> None:
    model, picture = ambiguous_model(pixel_stages(), **HYBRID), noise(1, 3, 16, 16)
    assert (model.inverse_mapping(model.forward_mapping(picture)) - picture).abs().max() < 1e-12


def test_components_share_one_picture_and_show_their_parts() -> None:
    model = ambiguous_model(pixel_stages(), num_inference_steps=3, **HYBRID)
    state = last_state(model)
    assert (state.x_t_1[0] - state.x_t_1[1]).abs().max() < 1e-5
    files = [{"file": "a", "role": "view", "view": 0}, {"file": "b", "role": "view", "view": 1},
             {"file": "w", "role": "whole"}, {"file": "s", "role": "side_by_side"}]  # fmt: skip
    images = {name: np.asarray(image).astype(float) for name, image in model.render(state, files).items()}
    assert np.array_equal(images["s"], np.concatenate([images["w"], images["a"], images["b"]], axis=1))
    whole = state.z_t_1[0].double()
    low = model.mapper[0].inverse_view(whole)
    assert np.abs(images["a"] - ((low / 2 + 0.5).clamp(0, 1) * 255).permute(1, 2, 0).numpy()).max() < 1
    assert not np.array_equal(images["a"], images["w"])


def test_alternate_takes_one_view_after_the_other() -> None:
    model, x_ts = ambiguous_model(pixel_stages(), reduction="alternate"), noise(2, 3, 8, 8)
    for turn in range(5):
        model.step_index = turn
        view = model.mapper[turn % 2]
        assert torch.equal(model.inverse_mapping(x_ts)[0], view.inverse_view(x_ts[turn % 2]))


def test_alternating_counts_the_steps_of_each_stage() -> None:
    model = ambiguous_model(pixel_stages(), reduction="alternate", num_inference_steps=3)
    for state in model.generate(asking("a", "b"), 5):
        assert model.step_index == state.step - 1
        followed = model.mapper[(state.step - 1) % 2]
        assert torch.equal(state.x0s, model.forward_mapping(state.z0s))
        assert torch.equal(state.z0s[0], followed.inverse_view(state.x0s[(state.step - 1) % 2]))


@pytest.mark.parametrize("weights", [(2.0, 1.0), (0.0, 3.0), (1.0, 1.0)])
def test_view_weights_are_those_of_a_mean(weights: tuple[float, float]) -> None:
    model, x_ts = ambiguous_model(pixel_stages(), reduction="weighted", view_weights=list(weights)), noise(2, 3, 8, 8)
    turned = [view.inverse_view(x_t) for view, x_t in zip(model.mapper, x_ts, strict=True)]
    expected = (weights[0] * turned[0] + weights[1] * turned[1]) / sum(weights)
    assert (model.inverse_mapping(x_ts)[0] - expected).abs().max() < 1e-12


def test_a_weight_map_lies_on_the_canvas(tmp_path: Path) -> None:
    """Left half from the first view alone, right half from the second, at every size."""
    halves = np.zeros((2, 8, 8))
    halves[0, :, :4], halves[1, :, 4:] = 1, 1
    path = save_array(tmp_path / "map.npy", halves)
    model = ambiguous_model(pixel_stages(), reduction="weighted", weight_map=path)
    for size in (8, 16):
        x_ts, edge = noise(2, 3, size, size), size // 2
        canvas = model.inverse_mapping(x_ts)[0]
        turned = [view.inverse_view(x_t) for view, x_t in zip(model.mapper, x_ts, strict=True)]
        margin = 1 if size > 8 else 0  # enlarged maps blend at the border
        assert (canvas[..., : edge - margin] - turned[0][..., : edge - margin]).abs().max() < 1e-12
        assert (canvas[..., edge + margin :] - turned[1][..., edge + margin :]).abs().max() < 1e-12


# ---------------------------------------------------------------------------------------------- windows


def test_windows_may_weigh_less_at_their_edges(tmp_path: Path) -> None:
    """Against a plain double loop over windows and cells."""
    path = save_array(tmp_path / "map.npy", np.random.default_rng(0).uniform(0.1, 2, (8, 8)))
    for given in ({}, {"weight_map": path}):
        model = wide_model(FakeUNet(nonlinear_answer(4)), (8, 21), window_stride=3, reduction="weighted", **given)
        x_ts = noise(len(model.mapper), 4, 8, 8)
        sums, totals = torch.zeros(4, 8, 21, dtype=F64), torch.zeros(8, 21, dtype=F64)
        weights = torch.from_numpy(np.load(path)) if given else hann(8)
        for (top, _, left, _), x_t in zip(model.mapper, x_ts, strict=True):
            for i in range(8):
                for j in range(8):
                    sums[:, top + i, left + j] += weights[i, j] * x_t[:, i, j]
                    totals[top + i, left + j] += weights[i, j]
        assert (model.inverse_mapping(x_ts)[0] - sums / totals).abs().max() < 1e-12


def hann(size: int) -> torch.Tensor:
    ramp = torch.tensor([(1 - math.cos(2 * math.pi * (i + 0.5) / size)) / 2 for i in range(size)], dtype=F64)
    return ramp[:, None] * ramp[None]


def test_equal_weights_are_the_mean(tmp_path: Path) -> None:
    path = save_array(tmp_path / "map.npy", np.full((4, 4), 3.0))
    unet = FakeUNet(nonlinear_answer(4))
    plain = wide_model(unet, (8, 21), window_stride=3)
    weighted = wide_model(unet, (8, 21), window_stride=3, reduction="weighted", weight_map=path)
    x_ts = noise(len(plain.mapper), 4, 8, 8)
    assert (plain.inverse_mapping(x_ts) - weighted.inverse_mapping(x_ts)).abs().max() < 1e-12


# ---------------------------------------------------------------------------------------------- a photograph


@pytest.fixture
def photograph(tmp_path: Path) -> str:
    values = np.random.default_rng(1).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "photo.png")
    return str(tmp_path / "photo.png")


def at_size(path: str, size: int) -> torch.Tensor:
    square = Image.open(path).crop((4, 0, 20, 16)).resize((size, size), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.asarray(square).astype(np.float64)).permute(2, 0, 1) / 127.5 - 1


@pytest.mark.parametrize("case_num", [0, 1, 2, 4, 5, 6, 21])
def test_the_held_view_says_the_photograph_at_every_step(photograph: str, case_num: int) -> None:
    model = ambiguous_model(pixel_stages(), ref_image=photograph, prompts=["a"], case_num=case_num, **HYBRID)
    open_stage(model, model.stages[0].denoiser, conditioning_of(model, "a"))
    alphas, sigmas = model.stage.schedule.alphas_cumprod.sqrt(), (1 - model.stage.schedule.alphas_cumprod).sqrt()
    for timestep in model.stage.schedule.timesteps:
        x_ts = noise(2, 3, 8, 8, seed=timestep)
        eps = model.compute_noise_preds(x_ts, timestep)
        x0s = model.compute_tweedie(x_ts, eps, timestep, alphas, sigmas)
        assert (x0s[0] - at_size(photograph, 8)).abs().max() < 1e-9
    assert all(len(call.x_t) == 2 for call in model.stages[0].denoiser.unet.calls)  # guidance: one view, twice


def conditioning_of(model, prompt: str):
    return Conditioning(model.embeddings[prompt], model.embeddings[""])


def test_a_hybrid_keeps_the_low_frequencies_of_its_photograph(photograph: str) -> None:
    given = {"ref_image": photograph, "prompts": ["a"], "num_inference_steps": 4, "thresholding": "none"}
    model = ambiguous_model(pixel_stages(), **given, **HYBRID)
    state = last_state(model, ("a",))
    low = model.mapper[0].inverse_view
    assert (low(low(state.z_t_1[0].double())) - low(low(at_size(photograph, 16)))).abs().max() < 0.5
    plain = last_state(ambiguous_model(pixel_stages(), num_inference_steps=4, **HYBRID))
    far = (low(plain.z_t_1[0].double()) - low(at_size(photograph, 16))).abs().mean()
    assert (low(state.z_t_1[0].double()) - low(at_size(photograph, 16))).abs().mean() < far / 2


# ---------------------------------------------------------------------------------------------- what is refused


BAD = {
    "sum of whole pictures": ("--reduction sum", ["--reduction sum", "components"]),
    "mean of components": ("--views_names low_pass high_pass --reduction mean", ["--reduction mean"]),
    "components apart": ("--views_names low_pass high_pass --no-initialize_xt_from_zt", ["--no-initialize_xt_from_zt"]),
    "half a hybrid": ("--views_names low_pass identity", ["low_pass", "identity"]),
    "unequal halves": ("--views_names low_pass:sigma=0.1 high_pass:sigma=0.2", ["sum to the whole"]),
    "no weights": ("--reduction weighted", ["--view_weights", "--weight_map"]),
    "weights of nothing": ("--view_weights 1 2", ["--reduction weighted"]),
    "too few weights": ("--reduction weighted --view_weights 1", ["--view_weights", "2 views"]),
    "negative weight": ("--reduction weighted --view_weights 1 -1", ["--view_weights", "-1"]),
    "endless weight": ("--reduction weighted --view_weights 1e308 1e308", ["--view_weights", "1e+30"]),
    "no weight at all": ("--reduction weighted --view_weights 0 0", ["--view_weights"]),
    "no map": ("--reduction weighted --weight_map none.npy", ["none.npy"]),
    "no photograph": ("--ref_image none.png --prompts a", ["--ref_image none.png"]),
    "a prompt too many": ("--ref_image {photograph} --prompts a b", ["2 prompts", "--ref_image", "--prompts 1"]),
    "no prompt": ("--ref_image {photograph}", ["--prompts"]),
    "case beyond": ("--case_num 60", ["--case_num 60", "0 to 59"]),
    "case and word": ("--case_num 4 --sync x0", ["--case_num 4", "--sync"]),
    "case and space": ("--case_num 4 --space instance", ["--case_num 4", "--space"]),
    "case without words": ("--case_num 13 --sync x0", ["--case_num 13", "--sync"]),
    "no canvas to keep": ("--sync none --space canonical", ["--sync none", "--space canonical"]),
    "canvas with starts apart": ("--case_num 5 --no-initialize_xt_from_zt", ["case 5", "--no-initialize_xt_from_zt"]),
    "noise of nothing": ("--noise_space instance", ["--noise_space", "--eta"]),
    "averaged noise": ("--noise_space instance --eta 1 --sync xt", ["case 3", "canonical"]),
    "noise of the views on the canvas": ("--noise_space instance --eta 1 --case_num 41", ["case 41"]),
    "unread angle": ("--rotate_angle 45 --views_names identity inner_rotate:angle=30", ["--rotate_angle"]),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_fit_is_told_in_one_sentence(name: str, photograph: str) -> None:
    line, words = BAD[name]
    with pytest.raises(UserError) as error:
        options = filled(["--app", "ambiguous_image", *line.format(photograph=photograph).split()], "tiny")
        get_app("ambiguous_image").requests(options)
    message = str(error.value)
    assert all(word in message for word in words) and message.endswith(".") and "\n" not in message


@pytest.mark.parametrize("reduction", ["sum", "alternate"])
def test_windows_are_not_summed(reduction: str) -> None:
    with pytest.raises(UserError, match=f"--reduction .{reduction}. is not known: give one of mean, weighted"):
        typed(["--app", "wide_image", "--reduction", reduction])


ARRAYS = {
    "text": np.array([["a", "b"]]),
    "one number": np.float64(3),
    "negative": np.full((2, 4, 4), -1.0),
    "endless": np.full((2, 4, 4), 1e308),
    "nan": np.full((2, 4, 4), np.nan),
    "three views": np.ones((3, 4, 4)),
    "oblong": np.ones((2, 4, 5)),
    "a hole": np.zeros((2, 4, 4)),
    "empty": np.ones((2, 0, 0)),
}


@pytest.mark.parametrize("values", ARRAYS.values(), ids=ARRAYS)
def test_a_map_that_is_none_is_refused(values: np.ndarray, tmp_path: Path) -> None:
    path = save_array(tmp_path / "map.npy", values)
    with pytest.raises(UserError, match="--weight_map"):
        typed(["--app", "ambiguous_image", "--reduction", "weighted", "--weight_map", path])


def test_a_map_is_for_weighted_windows_however_they_were_asked_for(tmp_path: Path) -> None:
    path = save_array(tmp_path / "map.npy", np.ones((4, 4)))
    for line, family in (("", "tiny"), ("--preset balanced", "sd"), ("--reduction weighted", "sd")):
        options = filled(["--app", "wide_image", "--weight_map", path, *line.split()], family)
        assert options.reduction == "weighted"
    for line, family in (("", "sd"), ("--reduction mean", "tiny"), ("--preset draft", "tiny")):
        argv = ["--app", "wide_image", "--weight_map", path, *line.split()]
        with pytest.raises(UserError, match="--weight_map"):
            filled(argv, family)


def test_a_folder_is_pinned_to_the_content_of_its_files(tmp_path: Path) -> None:
    one, same, other = (save_array(tmp_path / f"{i}.npy", np.full((4, 4), 1.0 + (i == 2))) for i in range(3))
    pinned = [wide_options(512, 512, reduction="weighted", weight_map=path).pinned() for path in (one, same, other)]
    assert pinned[0] == pinned[1] != pinned[2]


def test_a_case_may_be_named_by_its_own_words_too() -> None:
    for line in (
        "--case_num 4 --sync eps",
        "--case_num 4 --space canonical",
        "--case_num 4 --sync eps --space canonical",
    ):
        assert filled([*AMBIGUOUS, *line.split()], "tiny").case_num == 4


def test_a_permutation_is_pinned_to_the_content_of_its_file(tmp_path: Path) -> None:
    orders = (np.arange(16)[::-1], np.arange(16)[::-1], np.roll(np.arange(16), 1))
    paths = [save_array(tmp_path / f"{i}.npy", order) for i, order in enumerate(orders)]
    options = [ambiguous_options(views_names=["identity", f"permutation:file={path}"]) for path in paths]
    pinned = [one.pinned() for one in options]
    assert pinned[0] == pinned[1] != pinned[2]
    assert str(tmp_path) not in json.dumps(pinned)
    (name,) = options[1].permutations()
    assert options[1].permutations() == {name: paths[1]} and f"permutation:file={name}" in pinned[0]["views_names"]
    assert ambiguous_options().permutations() == {}


def test_a_photograph_is_turned_upright(tmp_path: Path) -> None:
    lying = Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3))
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: to be turned clockwise by a quarter
    lying.save(tmp_path / "photo.png", exif=exif)
    path = str(tmp_path / "photo.png")
    model = ambiguous_model(pixel_stages(), ref_image=path, prompts=["a"], **HYBRID)
    assert np.array_equal(np.asarray(model.photo), np.rot90(np.asarray(lying), -1))


def test_a_prompts_file_goes_with_a_photograph(photograph: str, tmp_path: Path) -> None:
    file = tmp_path / "prompts.json"
    file.write_text('{"x": {"instance_prompt": "b"}}')
    argv = [*AMBIGUOUS, "--views_names", *HYBRID["views_names"], "--ref_image", photograph, "--prompts_file", str(file)]
    assert [request.prompts for request in get_app("ambiguous_image").requests(typed(argv))] == [("b",)]

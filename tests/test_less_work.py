"""What saves work and changes pictures: shifted windows, the multistep solver, guidance in some steps, presets."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler
from torch.utils._python_dispatch import TorchDispatchMode

from guidance import get_app
from guidance.base_model import BaseModel, Stage, StepState
from guidance.networks.denoisers import Conditioning, Denoiser
from guidance.networks.spaces import PixelSpace
from guidance.wide_image_app import WideImageOptions
from guidance.windows import paste, shifted_starts
from tests.analytic import (
    IF_SCHEDULER,
    SD_SCHEDULER,
    FakeUNet,
    ambiguous_model,
    ambiguous_options,
    asking,
    gaussian_answer,
    nonlinear_answer,
    one_view_model,
    open_stage,
    pixel_stages,
    text_of,
    wide_model,
    wide_options,
)
from utils.errors import UserError
from utils.options import Given

F64 = torch.float64
CONFIGS = {"sd": (SD_SCHEDULER, "sigma_min"), "if": (IF_SCHEDULER, "zero")}


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=F64)


def run(model, x_t: torch.Tensor) -> torch.Tensor:
    *_, last = model.denoise({"xts": x_t}, torch.Generator().manual_seed(5))
    return last.x_t_1


def cellwise(x_t, timestep, text, labels):
    """A nonlinear network that sees every cell by itself, so that it does not matter in which window it lies."""
    return torch.tanh(x_t * 1.3 + torch.sin(timestep / 100)) + text.mean(dim=(1, 2))[:, None, None, None] ** 2


def generate(unet: FakeUNet, cells: tuple[int, int], seed: int = 1, **given) -> tuple[torch.Tensor, list[StepState]]:
    model = wide_model(unet, cells, **given)
    states = list(model.generate(asking("a"), seed))
    return states[-1].z_t_1, states


# ---------------------------------------------------------------------------------------------- DPM-Solver++(2M)


def sigmas_of(model: BaseModel) -> torch.Tensor:
    """sigma / alpha at every timestep and at the end of the last step."""
    times = list(model.stage.schedule.timesteps)
    abars = torch.cat(
        [model.stage.schedule.alphas_cumprod[times], model.stage.schedule.alphas_cumprod_prev[times[-1:]]]
    )
    return ((1 - abars) / abars).sqrt()


@pytest.mark.parametrize("steps", [1, 2, 7, 14, 15, 25])
@pytest.mark.parametrize("spacing", ["leading", "trailing"])
@pytest.mark.parametrize("name", CONFIGS)
def test_dpmpp_equals_that_of_diffusers(name: str, spacing: str, steps: int) -> None:
    config, end = CONFIGS[name]
    answer, x_t, text = nonlinear_answer(4), noise(1, 4, 4, 4), text_of(1).double()
    given = {"scheduler": config, "num_inference_steps": steps, "timestep_spacing": spacing}
    model = one_view_model(FakeUNet(answer, F64), sampling_method="dpmpp_2m", **given)
    ours = run(model, x_t)
    plain = {key: config[key] for key in ("num_train_timesteps", "beta_schedule", "beta_start", "beta_end")}
    scheduler = DPMSolverMultistepScheduler(**plain, final_sigmas_type=end)
    scheduler.set_timesteps(timesteps=list(model.stage.schedule.timesteps))
    scheduler.sigmas = sigmas_of(model)  # its own are float32
    theirs = x_t
    for t in scheduler.timesteps:
        theirs = scheduler.step(answer(theirs, t, text, None), t, theirs).prev_sample
    assert (ours - theirs).abs().max() < 1e-6 * theirs.abs().max()  # its step is float32
    if steps > 2:
        ddim = run(one_view_model(FakeUNet(answer, F64), **given), x_t)
        assert (ours - ddim).abs().max() > 3e-6 * theirs.abs().max()


def test_dpmpp_is_of_second_order() -> None:
    """Twice the steps quarter the error where DDIM's is halved, on data whose flow is known."""
    errors = {"ddim": [], "dpmpp_2m": []}
    for method, found in errors.items():
        for steps in (80, 160):
            model = one_view_model(FakeUNet(lambda *a: None, F64), num_inference_steps=steps, sampling_method=method)
            abars = model.stage.schedule.alphas_cumprod
            model.stage.denoiser.unet.answer = gaussian_answer(0.3, 0.5, abars)
            x_t = noise(1, 4, 4, 4)
            start, end = abars[model.stage.schedule.timesteps[0]], model.stage.schedule.alphas_cumprod_prev[1]
            spread = ((end * 0.25 + 1 - end) / (start * 0.25 + 1 - start)).sqrt()
            exact = end.sqrt() * 0.3 + spread * (x_t - start.sqrt() * 0.3)
            found.append((run(model, x_t) - exact).abs().max().item())
    assert errors["ddim"][0] / errors["ddim"][1] == pytest.approx(2, rel=0.2)
    assert errors["dpmpp_2m"][0] / errors["dpmpp_2m"][1] > 3
    assert errors["dpmpp_2m"][1] < errors["ddim"][1] / 2


@pytest.mark.parametrize("circular", [False, True])
def test_views_and_canvas_look_ahead_alike(circular: bool) -> None:
    """From a shared start, x0 averaged: each view's history is its crop of the canvas' history."""
    results = [
        generate(FakeUNet(nonlinear_answer(4)), (8, 20), sampling_method="dpmpp_2m", num_inference_steps=6,
                 window_stride=3, space=space, circular=circular)[0]
        for space in ("instance", "canonical")
    ]  # fmt: skip
    torch.testing.assert_close(*results, rtol=0, atol=1e-4)


def test_a_picture_remembers_nothing_of_the_one_before() -> None:
    model = wide_model(FakeUNet(nonlinear_answer(4)), (8, 20), sampling_method="dpmpp_2m", num_inference_steps=4)
    first, _, again = ([*model.generate(asking(prompt), 1)][-1].z_t_1 for prompt in ("a", "b", "a"))
    assert torch.equal(first, again)


@pytest.mark.parametrize("case_num", [0, 1, 3, 4, 6, 13, 29, 54, 58, 59])
def test_every_kind_of_case_can_look_ahead(case_num: int) -> None:
    given = {"sampling_method": "dpmpp_2m", "num_inference_steps": 4, "case_num": case_num}
    model = ambiguous_model(pixel_stages(), views_names=["identity", "rotate_cw"], **given)
    *_, last = model.generate(asking("a", "b"), 1)
    assert last.x_t_1.isfinite().all() and last.x_t_1.shape == (2, 3, 16, 16)


# ---------------------------------------------------------------------------------------------- guidance in some steps


def rows(unet: FakeUNet) -> list[int]:
    return [len(call.x_t) for call in unet.calls]


def test_guidance_outside_its_interval_costs_and_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    unet = FakeUNet(nonlinear_answer(4))
    one_window = {"window_stride": 8, "num_inference_steps": 10}
    given, _ = generate(unet, (8, 8), guidance_interval=[0.2, 0.5], **one_window)
    assert rows(unet) == [1, 1, 2, 2, 2, 1, 1, 1, 1, 1]
    by_hand = wide_model(FakeUNet(nonlinear_answer(4)), (8, 8), **one_window)
    scales = iter([1, 1, 7.5, 7.5, 7.5, 1, 1, 1, 1, 1])
    monkeypatch.setattr(Stage, "guidance_at", lambda stage, step_index: next(scales))
    assert torch.equal([*by_hand.generate(asking("a"), 1)][-1].z_t_1, given)


def test_guidance_in_all_steps_is_the_default() -> None:
    unet = FakeUNet(nonlinear_answer(4))
    default, whole = (
        generate(unet, (8, 16), num_inference_steps=5, guidance_interval=given)[0] for given in (None, [0.0, 1.0])
    )
    assert torch.equal(default, whole)


def test_stage_2_may_have_steps_and_guidance_of_its_own() -> None:
    stages = pixel_stages()
    model = ambiguous_model(stages, num_inference_steps=5, stage2_num_inference_steps=3, stage2_guidance_scale=1.0)
    steps = [(state.stage, state.step, state.steps) for state in model.generate(asking("a", "b"), 1)]
    assert steps == [*((1, step, 5) for step in range(1, 6)), *((2, step, 3) for step in range(1, 4))]
    assert [rows(stage.denoiser.unet) for stage in stages] == [[4] * 5, [2] * 3]


def test_a_guidance_interval_is_a_share_of_each_stages_own_steps() -> None:
    stages, given = pixel_stages(), {"guidance_scale": 3.0, "guidance_interval": [0.2, 0.5]}
    model = ambiguous_model(stages, num_inference_steps=10, stage2_num_inference_steps=4, **given)
    assert len(list(model.generate(asking("a", "b"), 1))) == 14
    assert [rows(stage.denoiser.unet) for stage in stages] == [[2, 2, 4, 4, 4, 2, 2, 2, 2, 2], [2, 4, 2, 2]]


def test_a_guidance_interval_without_a_step_of_stage_2_is_refused() -> None:
    given = {"num_inference_steps": 10, "guidance_interval": [0.1, 0.2], "stage2_num_inference_steps": 4}
    with pytest.raises(UserError, match="none of the 4 steps of --stage2_num_inference_steps") as refusal:
        ambiguous_options(**given)
    assert "--stage2_guidance_scale 1" in str(refusal.value)
    ambiguous_options(**given, stage2_guidance_scale=1.0)
    ambiguous_options(**{**given, "guidance_interval": [0.1, 0.3]})


def test_stage_2_goes_on_as_stage_1_by_default() -> None:
    options = ambiguous_options(num_inference_steps=5, guidance_scale=4.0)
    assert (options.stage2_num_inference_steps, options.stage2_guidance_scale) == (5, 4.0)


# ---------------------------------------------------------------------------------------------- shifted windows


@pytest.mark.parametrize("cells", [(8, 8), (8, 13), (8, 24), (8, 41), (19, 24), (40, 8)])
@pytest.mark.parametrize("circular", [False, True])
@pytest.mark.parametrize("method", ["ddim", "dpmpp_2m"])
def test_where_windows_lie_matters_to_the_network_alone(cells: tuple[int, int], circular: bool, method: str) -> None:
    given = {"circular": circular, "num_inference_steps": 6, "sampling_method": method}
    fixed, _ = generate(FakeUNet(cellwise), cells, window_stride=2, **given)
    shifted, _ = generate(FakeUNet(cellwise), cells, window_schedule="shifted", **given)
    torch.testing.assert_close(shifted, fixed, rtol=0, atol=2e-4)


def test_shifted_windows_need_few_samples_and_move() -> None:
    unet = FakeUNet(nonlinear_answer(4))
    model = wide_model(unet, (8, 48), window_schedule="shifted", num_inference_steps=20, guidance_scale=1.0)
    places = [tuple(model.mapper) for _ in model.generate(asking("a"), 1)]
    assert set(rows(unet)) <= {6, 7} and rows(unet)[0] == 6 and sum(rows(unet)) <= 1.1 * 6 * 20
    assert len(set(places[-4:])) >= 3 and len(set(places)) >= 6


@pytest.mark.parametrize("circular", [False, True])
@pytest.mark.parametrize("seed", [1, 2])
def test_rows_and_columns_of_shifted_windows_are_drawn_apart_from_the_seed(seed: int, circular: bool) -> None:
    """Two shares of the seed's own, the first for rows; on a square canvas, where equal ones would show."""
    given = {"window_schedule": "shifted", "num_inference_steps": 7, "circular": circular}
    model = wide_model(FakeUNet(nonlinear_answer(4)), (28, 28), **given)
    shares = torch.rand(2, generator=torch.Generator().manual_seed(seed), dtype=F64).tolist()
    for step, _ in enumerate(model.generate(asking("a"), seed)):
        down, right = ((share + step * (5**0.5 - 1) / 2) % 1 for share in shares)
        tops, lefts = shifted_starts(28, 8, down), shifted_starts(28, 8, right, circular)
        assert [place[::2] for place in model.mapper] == [(top, left) for top in tops for left in lefts]


@pytest.mark.parametrize(("width", "circular"), [(12, False), (28, False), (28, True)])
def test_shifted_windows_weigh_as_they_are_told(width: int, circular: bool, tmp_path: Path) -> None:
    """Hann's weights or a map's, but nothing where a window at the end lies below its neighbour."""
    drawn, path = np.random.default_rng(0).uniform(0.1, 2, (8, 8)), str(tmp_path / "map.npy")
    np.save(path, drawn)
    middles = (torch.arange(8, dtype=F64) + 0.5) / 8
    hann = torch.outer((torch.pi * middles).sin() ** 2, (torch.pi * middles).sin() ** 2)
    means = []
    for told, weights in (({}, torch.ones(8, 8, dtype=F64)), ({"reduction": "weighted"}, hann),
                          ({"reduction": "weighted", "weight_map": path}, torch.from_numpy(drawn))):  # fmt: skip
        given = {"window_schedule": "shifted", "num_inference_steps": 3, "circular": circular, **told}
        model = wide_model(FakeUNet(nonlinear_answer(4)), (8, width), **given)
        for _ in model.generate(asking("a"), 1):
            x_ts = noise(len(model.mapper), 4, 8, 8)
            weighed = weights * model.grid.edge_mask(weights)
            sums, totals = (
                paste(zip(model.mapper, values.expand(len(x_ts), -1, -1, -1), strict=True), 8, width)
                for values in (x_ts * weighed, weighed)
            )
            torch.testing.assert_close(model.inverse_mapping(x_ts), sums / totals)
        means.append(model.inverse_mapping(x_ts))
    apart = (width, circular) != (28, False)  # else no two windows share a cell
    assert all(torch.allclose(one, other) != apart for one, other in combinations(means, 2))


@pytest.mark.parametrize("circular", [False, True])
def test_shifted_windows_come_from_the_seed(circular: bool) -> None:
    def picture(seed: int, **given) -> torch.Tensor:
        unet = FakeUNet(nonlinear_answer(4))
        given = {"window_schedule": "shifted", "num_inference_steps": 6, "circular": circular, **given}
        return generate(unet, (8, 29), seed, **given)[0]

    assert torch.equal(picture(1), picture(1))
    assert torch.equal(picture(1, eta=0.5), picture(1, eta=0.5))
    assert not torch.allclose(picture(1), picture(2), atol=1e-3)


# ---------------------------------------------------------------------------------------------- options


def test_shifted_windows_carry_the_canvas() -> None:
    options = wide_options(16, 64, window_schedule="shifted")
    assert (options.space, options.case_num) == ("canonical", 5)
    assert wide_options(16, 64, window_schedule="shifted", case_num=6).case_num == 6
    assert wide_options(16, 64).window_schedule == "fixed"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"window_schedule": "shifted", "space": "instance"}, ["--space canonical", "case 2"]),
        ({"window_schedule": "shifted", "sync": "none"}, ["--sync none", "--window_schedule fixed, or another case"]),
        ({"preset": "draft", "case_num": 0}, ["case 0", "--window_schedule fixed, or another case"]),
        ({"window_schedule": "shifted", "case_num": 55}, ["case 55", "take case 4 or 5"]),
        ({"window_schedule": "shifted", "initialize_xt_from_zt": False}, ["--no-initialize_xt_from_zt", "fixed"]),
        ({"preset": "draft", "initialize_xt_from_zt": False}, ["--no-initialize_xt_from_zt", "fixed"]),
        ({"window_schedule": "shifted", "window_stride": 8}, ["--window_stride 8", "fixed"]),
        ({"preset": "draft", "case_num": 6}, ["dpmpp_2m", "case 6", "4 or 5"]),
        ({"preset": "draft", "window_stride": 8}, ["--window_stride 8", "--window_schedule fixed"]),
        ({"window_schedule": "shifted", "mvd_end": 0.5}, ["--mvd_end 0.5"]),
        ({"sampling_method": "dpmpp_2m", "eta": 0.5}, ["--eta 0.5", "dpmpp_2m"]),
        ({"preset": "balanced", "eta": 0.5}, ["--eta 0.5", "--preset balanced", "ddim"]),
        ({"guidance_interval": [0.01, 0.02], "num_inference_steps": 12}, ["0.01 0.02", "none of the 12 steps"]),
        ({"guidance_interval": [0.5, 0.5]}, ["--guidance_interval 0.5 0.5"]),
        ({"guidance_interval": [-0.1, 0.5]}, ["--guidance_interval -0.1"]),
        ({"guidance_interval": [0.1, 1.5]}, ["--guidance_interval 1.5"]),
        ({"guidance_interval": [0.1, float("nan")]}, ["--guidance_interval nan"]),
    ],
)
def test_what_does_not_go_together(given: dict, words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        options = Given(WideImageOptions, {"app": "wide_image", **given})
        get_app("wide_image").check(options)
        get_app("wide_image").fill(options, "sd")
    for word in words:
        assert word in str(caught.value)


class FakeSource:
    """Weights of which only the sizes are asked for."""

    def __init__(self, window: int):
        self.configs = {"unet": {"sample_size": window}, "vae": {"block_out_channels": (1,) * 4}}

    def config(self, component: str) -> dict:
        return self.configs[component]


def complete(family: str, window: int = 64, **given) -> WideImageOptions:
    app = get_app("wide_image")
    options = app.fill(Given(WideImageOptions, {"app": "wide_image", **given}), family)
    return options.filled(**app.fit(options, {"sd_path": FakeSource(window)})).complete()


@pytest.mark.parametrize(("family", "window"), [("sd", 64), ("sd", 96), ("tiny", 32)])
def test_presets_fill_what_was_left_open(family: str, window: int) -> None:
    def made(**given) -> tuple:
        options = complete(family, window, **given)
        return (options.num_inference_steps, options.sampling_method, options.window_schedule, options.window_stride,
                options.reduction)  # fmt: skip

    assert made(preset="reference") == (50, "ddim", "fixed", window // 8, "mean")
    assert made(preset="balanced") == (20, "dpmpp_2m", "fixed", window // 2, "weighted")
    assert made(preset="draft") == (12, "dpmpp_2m", "shifted", window, "mean")
    own = {"num_inference_steps": 17, "sampling_method": "ddim", "window_schedule": "fixed", "window_stride": 5}
    for preset in ("reference", "balanced", "draft"):
        assert made(preset=preset, **own)[:4] == tuple(own.values())
    shifted = complete(family, window, preset="reference", window_schedule="shifted")
    assert (shifted.window_stride, shifted.sampling_method) == (window, "ddim")


def test_what_a_preset_filled_decides_a_picture_not_its_name() -> None:
    pinned = complete("sd", preset="draft").pinned()
    assert "preset" not in pinned
    assert {"window_schedule", "guidance_interval", "sampling_method", "window_stride"} <= pinned.keys()


def test_the_assignment_is_the_preset_called_reference() -> None:
    assert complete("sd").pinned() == complete("sd", preset="reference").pinned()
    default, reference = (
        ambiguous_options(**({"preset": preset} if preset else {})).pinned() for preset in (None, "reference")
    )
    assert default == reference


# ---------------------------------------------------------------------------------------------- full memory


class SmallMemory(FakeUNet):
    """A network on a GPU that has room for so many samples at once."""

    def __init__(self, room: int):
        super().__init__(nonlinear_answer(4))
        self.room = room

    def forward(self, sample, *given, **named):
        if len(sample) > self.room:
            raise torch.OutOfMemoryError("no room")
        return super().forward(sample, *given, **named)


def test_a_full_gpu_halves_the_batch_and_changes_no_picture(caplog: pytest.LogCaptureFixture) -> None:
    given = {"window_stride": 2, "num_inference_steps": 2, "view_batch_size": 64}
    whole, _ = generate(FakeUNet(nonlinear_answer(4)), (8, 20), **given)
    unet = SmallMemory(room=4)
    torch.testing.assert_close(generate(unet, (8, 20), **given)[0], whole, rtol=0, atol=1e-5)
    assert rows(unet) == [2] * 14  # 7 windows: 7, 3, 1 of them at a time, with guidance
    assert [record.args for record in caplog.records] == [(3,), (1,)]


def test_a_gpu_without_room_for_one_view_is_an_error() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        generate(SmallMemory(room=1), (8, 20), num_inference_steps=1)


# ---------------------------------------------------------------------------------------------- no waiting


class Crossings(TorchDispatchMode):
    """Lists the tensors that go from one device to another."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func is torch.ops.aten._to_copy.default and out.device != args[0].device:
            self.found.append(tuple(out.shape))
        return out


class Elsewhere(torch.nn.Module):
    """A network on a device that holds no numbers: whoever asks for one, and would wait for a GPU, gets an error."""

    dtype = torch.float32

    def forward(self, sample, timestep, encoder_hidden_states, class_labels=None, return_dict=True):
        assert sample.device == timestep.device == encoder_hidden_states.device == META
        return (sample.repeat(1, 2, 1, 1) if sample.shape[1] == 3 else sample,)


META = torch.device("meta")
LOOPS = {
    "windows": {},
    "weighted": {"reduction": "weighted"},
    "canvas": {"space": "canonical"},
    "shifted": {"preset": "draft", "guidance_interval": (0.2, 0.7)},
    "ddpm": {"sampling_method": "ddpm"},
}


@pytest.mark.parametrize("name", LOOPS)
def test_steps_never_wait_for_the_device(name: str) -> None:
    model = wide_model(Elsewhere(), (8, 30), num_inference_steps=6, device=META, **LOOPS[name])
    check_no_waiting(model.generate(asking("a"), 0))


@pytest.mark.parametrize("given", [{}, {"sampling_method": "dpmpp_2m"}, {"sync": "eps"}])
def test_steps_of_pixel_stages_never_wait_for_the_device(given: dict) -> None:
    model = ambiguous_model([], num_inference_steps=4, **given)
    model.space, model.noise_space = PixelSpace(), "canonical"
    denoiser = Denoiser(Elsewhere(), IF_SCHEDULER, META)
    open_stage(model, denoiser, Conditioning(text_of(1, 2).to(META), text_of(0).to(META)), (0.95, 1.5))
    start = model.initial_states((1, 3, 8, 8), (2, 3, 8, 8), torch.Generator())
    check_no_waiting(model.denoise(start, torch.Generator()))


def check_no_waiting(states) -> None:
    next(states)  # the noise comes from the CPU, before the first step
    with Crossings() as crossings:
        assert len(list(states)) > 2
    assert crossings.found == []

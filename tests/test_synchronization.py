"""All 60 cases against their formulas, written out by hand, on maps that lose, bend and mask; and who equals whom."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import pytest
import torch

from guidance.base_model import BaseModel, StepState, Tensors
from guidance.networks.denoisers import Conditioning, Denoiser
from guidance.schedule import posterior_variance
from guidance.shared_options import warn_of_cases
from guidance.synchronization import ALONE, get_case
from tests.analytic import (
    CPU,
    SD_SCHEDULER,
    FakeUNet,
    ambiguous_options,
    nonlinear_answer,
    open_stage,
    text_of,
    wide_options,
)

F64 = torch.float64
TIMESTEP, STEPS = 501, 10
VIEWS, CANVAS = 3, (1, 2, 5, 5)
CASES = range(60)

# x: states of the views, z: of the canvas; f, g: project, mean back; A: f(g(.)); h = A(x), c = g(x), v = f(z);
# e: network, T: Tweedie, S: step, m: mean of two; J(y, b): f(m(g(y), b)); A and J keep y off the canvas
_FORMULAS = """
0 S(x,T(x,e(x)))            1 S(x,T(x,A(e(x))))         2 S(x,A(T(x,e(x))))         3 A(S(x,T(x,e(x))))
7 S(x,T(x,e(h)))            8 S(x,T(x,A(e(h))))         9 S(x,T(h,e(x)))            10 S(x,T(h,e(h)))
11 S(x,T(h,A(e(x))))        12 S(x,T(h,A(e(h))))        13 S(x,A(T(x,e(h))))        14 S(x,A(T(x,A(e(x)))))
15 S(x,A(T(x,A(e(h)))))     16 S(x,A(T(h,e(x))))        17 S(x,A(T(h,e(h))))        18 S(x,A(T(h,A(e(x)))))
19 S(x,A(T(h,A(e(h)))))     20 S(h,T(x,e(x)))           21 S(h,T(x,e(h)))           22 S(h,T(x,A(e(x))))
23 S(h,T(x,A(e(h))))        24 S(h,T(h,e(x)))           25 S(h,T(h,A(e(x))))        26 S(h,T(h,A(e(h))))
27 S(h,A(T(x,e(x))))        28 S(h,A(T(x,e(h))))        29 S(h,A(T(x,A(e(x)))))     30 S(h,A(T(x,A(e(h)))))
31 S(h,A(T(h,e(x))))        32 S(h,A(T(h,e(h))))        33 S(h,A(T(h,A(e(x)))))     34 S(h,A(T(h,A(e(h)))))
35 S(x,f(T(c,g(e(x)))))     36 S(x,f(T(c,g(e(h)))))     37 S(h,f(T(c,g(e(x)))))     38 S(h,f(T(c,g(e(h)))))
39 f(S(c,T(c,g(e(x)))))     40 f(S(c,T(c,g(e(h)))))     41 f(S(c,g(T(x,e(x)))))     42 f(S(c,g(T(x,e(h)))))
43 f(S(c,g(T(x,A(e(x))))))  44 f(S(c,g(T(x,A(e(h))))))  45 f(S(c,g(T(h,e(x)))))     46 f(S(c,g(T(h,e(h)))))
47 f(S(c,g(T(h,A(e(x))))))  48 f(S(c,g(T(h,A(e(h))))))
4 S(z,T(z,g(e(v))))         5 S(z,g(T(v,e(v))))         6 g(S(v,T(v,e(v))))         49 S(z,g(T(v,A(e(v)))))
50 g(S(v,T(v,A(e(v)))))     51 g(S(v,A(T(v,e(v)))))     52 g(S(v,A(T(v,A(e(v))))))  53 g(S(v,f(T(z,g(e(v))))))
54 S(x,T(x,J(e(x),g(e(v)))))                            55 S(x,J(T(x,e(x)),T(z,g(e(v)))))
56 J(S(x,T(x,e(x))),S(z,T(z,g(e(v)))))                  57 S(z,T(z,m(g(e(v)),g(e(x)))))
58 S(z,m(g(T(v,e(v))),g(T(x,e(x)))))                    59 m(g(S(v,T(v,e(v)))),g(S(x,T(x,e(x)))))
"""
_WORDS = _FORMULAS.split()
FORMULA = {int(number): formula for number, formula in zip(_WORDS[::2], _WORDS[1::2], strict=True)}


@dataclass(frozen=True)
class Maps:
    """f from canvas to views, where it covers them, and g back."""

    project: Callable[[torch.Tensor], torch.Tensor]
    unproject: Callable[[torch.Tensor], torch.Tensor]
    covered: torch.Tensor


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def matrices(projections: torch.Tensor, unprojections: torch.Tensor) -> Maps:
    """Linear maps of flattened pictures: ``[N, h w, H W]`` there, ``[N, H W, h w]`` back, summed over the views."""
    side, canvas = (int(size**0.5) for size in projections.shape[1:])

    def project(z: torch.Tensor) -> torch.Tensor:
        return torch.einsum("nij,cj->nci", projections, z[0].flatten(1)).unflatten(-1, (side, side))

    def unproject(xs: torch.Tensor) -> torch.Tensor:
        return torch.einsum("nji,nci->cj", unprojections, xs.flatten(2)).unflatten(-1, (canvas, canvas))[None]

    return Maps(project, unproject, torch.ones(side, side, dtype=torch.bool))


def lossy() -> Maps:
    return matrices(noise(VIEWS, 16, 25, seed=3) / 4, noise(VIEWS, 25, 16, seed=4) / 9)


def left_inverse() -> Maps:
    """g(f(z)) = z, yet the views hold more than the canvas: f(g(x)) is not x."""
    project = noise(VIEWS, 16, 25, seed=5) / 4
    return matrices(project, torch.linalg.pinv(project.reshape(-1, 25)).reshape(25, VIEWS, 16).transpose(0, 1))


def bent() -> Maps:
    straight = lossy()
    return Maps(
        lambda z: straight.project(z) + 0.3 * torch.sin(2 * straight.project(z)),
        lambda xs: straight.unproject(torch.tanh(xs)) + 0.1,
        straight.covered,
    )


def masked() -> Maps:
    """The canvas covers half of every view; the rest is the views' own."""
    bending = bent()
    covered = torch.ones(4, 4, dtype=torch.bool)
    covered[:, 2:] = False
    return Maps(lambda z: bending.project(z) * covered, bending.unproject, covered)


def turning() -> Maps:
    """Permutations, which are undone exactly."""
    size = 25
    orders = torch.stack([torch.randperm(size, generator=torch.Generator().manual_seed(seed)) for seed in range(VIEWS)])
    project = torch.eye(size, dtype=F64)[orders]
    return matrices(project, project.transpose(1, 2) / VIEWS)


class MappedModel(BaseModel):
    """Views that are whatever ``maps`` makes of the canvas."""

    def __init__(self, maps: Maps, **given):
        self.maps = maps
        super().__init__(wide_options(512, 512, num_inference_steps=STEPS, guidance_scale=1.0, **given))
        conditioning = Conditioning(text_of(1).expand(VIEWS, -1, -1), text_of(0))
        open_stage(self, Denoiser(FakeUNet(nonlinear_answer(2), F64), SD_SCHEDULER, CPU), conditioning)

    def init_mapper(self):
        self.mapper = []

    def forward_mapping(self, z_t, bg=None):
        projected = self.maps.project(z_t)
        return projected if bg is None else torch.where(self.maps.covered, projected, bg)

    def inverse_mapping(self, x_ts):
        return self.maps.unproject(x_ts)


MAPS = {"lossy": lossy, "left_inverse": left_inverse, "bent": bent, "masked": masked, "turning": turning}


def states_of(model: MappedModel) -> Tensors:
    z = noise(*CANVAS, seed=7)
    return {"zts": z, "xts": noise(*model.maps.project(z).shape, seed=8)}


def by_formula(number: int, maps: Maps, model: MappedModel, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """The carried state after one step, by evaluating the case's formula."""
    abar = model.stage.schedule.alphas_cumprod[TIMESTEP].item()
    prev = model.stage.schedule.alphas_cumprod_prev[TIMESTEP].item()
    k = ((1 - prev) / (1 - abar)) ** 0.5

    def joint(values: torch.Tensor, canvas: torch.Tensor) -> torch.Tensor:
        return torch.where(maps.covered, maps.project((maps.unproject(values) + canvas) / 2), values)

    def average(values: torch.Tensor) -> torch.Tensor:
        return joint(values, maps.unproject(values))

    def network(values: torch.Tensor) -> torch.Tensor:
        text = text_of(1).expand(VIEWS, -1, -1)
        return model.stage.denoiser.unet.answer(values, torch.tensor(TIMESTEP), text.double(), None)

    names = {
        "x": x, "z": z, "f": maps.project, "g": maps.unproject, "A": average, "h": average(x), "c": maps.unproject(x),
        "v": maps.project(z), "e": network, "m": lambda a, b: (a + b) / 2, "J": joint,
        "T": lambda a, eps: (a - (1 - abar) ** 0.5 * eps) / abar**0.5,
        "S": lambda a, x0: k * a + (prev**0.5 - abar**0.5 * k) * x0,
    }  # fmt: skip
    return eval(FORMULA[number], {"__builtins__": {}}, names)


def by_model(number: int, model: MappedModel, states: Tensors) -> Tensors:
    tables = model.stage.schedule.alphas_cumprod.sqrt(), (1 - model.stage.schedule.alphas_cumprod).sqrt()
    case = get_case(number)
    return model.one_step_process({name: states[name] for name in case.carried}, TIMESTEP, *tables, case)


def host_state(number: int, out: Tensors) -> torch.Tensor:
    return out["z_t_1" if get_case(number).canonical else "x_t_1"]


@pytest.mark.parametrize("maps", MAPS.values(), ids=MAPS)
@pytest.mark.parametrize("number", CASES)
def test_a_case_is_its_formula(number: int, maps: Callable[[], Maps]) -> None:
    model = MappedModel(maps())
    states = states_of(model)
    out = host_state(number, by_model(number, model, states))
    assert (out - by_formula(number, model.maps, model, states["xts"], states["zts"])).abs().max() < 1e-12


@pytest.mark.parametrize("number", CASES)
def test_no_map_and_no_network_is_asked_the_same_twice_in_a_step(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = MappedModel(bent())
    asked: dict[str, list[torch.Tensor]] = {}

    def remember(name: str) -> None:
        original, known = getattr(model, name), asked.setdefault(name, [])

        def remembered(value: torch.Tensor, *rest: Any, **more: Any) -> torch.Tensor:
            assert not any(torch.equal(value, other) for other in known)
            known.append(value)
            return original(value, *rest, **more)

        monkeypatch.setattr(model, name, remembered)

    for name in ("compute_noise_preds", "inverse_mapping", "forward_mapping"):
        remember(name)
    by_model(number, model, states_of(model))
    assert len(asked["compute_noise_preds"]) == get_case(number).network_calls


@pytest.mark.parametrize("number", range(54, 60))
def test_the_partner_of_a_joint_case_goes_its_own_way(number: int) -> None:
    model = MappedModel(bent())
    states = states_of(model)
    out = by_model(number, model, states)
    beside = 4 if number < 57 else 0
    alone = by_model(beside, model, states)
    name = "z_t_1" if number < 57 else "x_t_1"
    assert torch.equal(out[name], alone[name])


def classes(maps: Maps) -> list[set[int]]:
    """Cases grouped by what one step makes of unrelated states of the views and of the canvas."""
    model = MappedModel(maps)
    states = states_of(model)
    groups: list[tuple[set[int], torch.Tensor]] = []
    for number in CASES:
        out = host_state(number, by_model(number, model, states))
        for group, value in groups:
            if value.shape == out.shape and (value - out).abs().max() < 1e-9:
                group.add(number)
                break
        else:
            groups.append(({number}, out))
    return [group for group, _ in groups]


@pytest.mark.parametrize(("maps", "count"), [(bent, 60), (masked, 60), (lossy, 40), (left_inverse, 22), (turning, 22)])
def test_how_many_cases_differ_in_one_step(maps: Callable[[], Maps], count: int) -> None:
    """On maps that undo each other most cases agree: crops and turns cannot tell them apart."""
    assert len(classes(maps())) == count


def trajectory(number: int, maps: Maps, states: Tensors, **given) -> list[StepState]:
    """All steps of a case, from the states it carries."""
    model = MappedModel(maps, case_num=number, **given)
    carried = {name: states[name] for name in get_case(number).carried}
    return list(model.denoise(carried, torch.Generator().manual_seed(3)))


@pytest.mark.parametrize("maps", [left_inverse, turning])
def test_final_pictures_from_a_shared_start_fall_into_eight_classes(maps: Callable[[], Maps]) -> None:
    z = noise(*CANVAS, seed=7)
    states = {"zts": z, "xts": maps().project(z)}
    finals = {number: trajectory(number, maps(), states)[-1].z_t_1 for number in CASES}
    loners = {0, 9, 20, 24, 57, 58, 59}
    for number in set(CASES) - loners:
        assert (finals[number] - finals[2]).abs().max() < 1e-9
    for one, other in combinations([*loners, 2], 2):
        assert (finals[one] - finals[other]).abs().max() > 1e-6


@pytest.mark.parametrize("maps", [lossy, bent])
def test_averaging_the_stepped_views_is_carrying_the_canvas(maps: Callable[[], Maps]) -> None:
    z = noise(*CANVAS, seed=7)
    states = {"zts": z, "xts": maps().project(z)}
    for of_views, of_canvas in zip(trajectory(3, maps(), states), trajectory(6, maps(), states), strict=True):
        assert (of_views.x_t_1 - maps().project(of_canvas.z_t_1)).abs().max() < 1e-9


@pytest.mark.parametrize(("of_canvas", "of_views"), [(50, 26), (51, 32), (52, 34), (53, 38)])
def test_cases_that_are_one_trajectory_in_two_spaces(of_canvas: int, of_views: int) -> None:
    x = noise(VIEWS, 2, 4, 4, seed=8)
    states = {"zts": bent().unproject(x), "xts": x}
    pairs = zip(trajectory(of_canvas, bent(), states), trajectory(of_views, bent(), states), strict=True)
    for canvas, views in pairs:
        assert (canvas.z_t_1 - bent().unproject(views.x_t_1)).abs().max() < 1e-9


@pytest.mark.parametrize("number", CASES)
def test_a_case_carries_what_it_needs_and_no_more(number: int) -> None:
    model = MappedModel(bent())
    out, case = by_model(number, model, states_of(model)), get_case(number)
    expected = {"xts": "x_t_1", "zts": "z_t_1"}
    assert {name for name in out if name.endswith("_t_1")} == {expected[name] for name in case.carried}
    assert len(model.stage.denoiser.unet.calls) == case.network_calls == (2 if number >= 54 else 1)
    assert case.carried == (("zts",) if number in (4, 5, 6, *range(49, 54)) else case.carried)


@pytest.mark.parametrize("number", [2, 4, 6, 41, 54, 57, 58, 59])
def test_after_mvd_end_every_view_goes_on_alone_from_what_was_synchronised(number: int) -> None:
    states = states_of(MappedModel(bent()))
    steps = trajectory(number, bent(), states, mvd_end=0.4)
    model = MappedModel(bent(), case_num=0)
    assert "x_t_1" in steps[4].values and "z_t_1" not in steps[-1].values
    tables = model.stage.schedule.alphas_cumprod.sqrt(), (1 - model.stage.schedule.alphas_cumprod).sqrt()
    before = steps[3].values
    x = bent().project(before["z_t_1"]) if get_case(number).canonical else before["x_t_1"]
    for timestep, state in zip(model.stage.schedule.timesteps[4:], steps[4:], strict=True):
        x = model.one_step_process({"xts": x}, timestep, *tables, ALONE)["x_t_1"]
        assert torch.equal(x, state.x_t_1)


# ---------------------------------------------------------------------------------------------- noise


@pytest.mark.parametrize(
    ("number", "shared"), [(54, False), (55, False), (56, False), *((n, True) for n in range(54, 60))]
)
def test_a_joint_case_draws_for_the_views_first_then_for_the_canvas(number: int, shared: bool) -> None:
    """So its views start where those of other cases do; from a shared start, both are one noise."""
    generator, shape = torch.Generator().manual_seed(3), (VIEWS, 2, 4, 4)
    model = MappedModel(lossy(), case_num=number, initialize_xt_from_zt=shared)
    model._randn = lambda shape, generator: torch.randn(shape, generator=generator, dtype=F64)
    views = None if shared else torch.randn(shape, generator=generator, dtype=F64)
    canvas = torch.randn(CANVAS, generator=generator, dtype=F64)
    states = model.initial_states(CANVAS, shape, torch.Generator().manual_seed(3))
    assert torch.equal(states["zts"], canvas)
    assert torch.equal(states["xts"], lossy().project(canvas) if views is None else views)


@pytest.mark.parametrize("number", [0, 1, 2, 3, 4, 5, 6, 20, 41, 54, 57])
@pytest.mark.parametrize("method", ["ddim", "ddpm"])
def test_noise_of_the_canvas_adds_what_the_posterior_asks_for(number: int, method: str) -> None:
    """Through orthogonal views the stepped state gets eta sigma n, whichever space it steps in."""
    model = MappedModel(turning(), case_num=number, eta=0.7, sampling_method=method)
    states, n = states_of(model), noise(*CANVAS, seed=11)
    tables = model.stage.schedule.alphas_cumprod.sqrt(), (1 - model.stage.schedule.alphas_cumprod).sqrt()
    carried = {name: states[name] for name in get_case(number).carried}
    silent = model.one_step_process(carried, TIMESTEP, *tables, noise=torch.zeros_like(n))
    noisy = model.one_step_process(carried, TIMESTEP, *tables, noise=n)
    schedule = model.stage.schedule
    variance = posterior_variance(schedule.alphas_cumprod, schedule.alphas_cumprod_prev)[TIMESTEP].item()
    sigma = 0.7 * variance**0.5
    for name, expected in (("x_t_1", turning().project(n)), ("z_t_1", n)):
        if name in noisy:
            assert (noisy[name] - silent[name] - sigma * expected).abs().max() < 1e-12


def test_noise_of_the_views_is_drawn_for_each() -> None:
    states = states_of(MappedModel(turning()))
    generator = torch.Generator().manual_seed(3)
    model = MappedModel(turning(), eta=1.0, noise_space="instance")
    drawn = torch.randn(states["xts"].shape, generator=generator).double()
    tables = model.stage.schedule.alphas_cumprod.sqrt(), (1 - model.stage.schedule.alphas_cumprod).sqrt()
    first = model.stage.schedule.timesteps[0]
    expected = model.one_step_process({"xts": states["xts"]}, first, *tables, noise=drawn)["x_t_1"]
    state = next(model.denoise({"xts": states["xts"]}, torch.Generator().manual_seed(3)))
    assert (state.x_t_1 - expected).abs().max() < 1e-12


@pytest.mark.parametrize("number", CASES)
def test_averaging_eps_of_views_that_start_apart_is_warned_of(number: int) -> None:
    """Their noises have nothing in common; where the canvas goes from step to step, views always share theirs."""
    averages = re.search(r"[gAJ]\(e\([xh]", FORMULA[number]) is not None
    for shared in (True,) if get_case(number).canonical else (False, True):
        said = warn_of_cases(ambiguous_options(case_num=number, initialize_xt_from_zt=shared))
        warned = [sentence for sentence in said if "--initialize_xt_from_zt" in sentence]
        assert len(warned) == (averages and not shared)
        assert all(f"case {number} averages eps" in sentence and "expect noise" in sentence for sentence in warned)


@pytest.mark.parametrize("number", CASES)
def test_a_joint_case_says_what_it_costs(number: int) -> None:
    said = warn_of_cases(wide_options(512, 512, case_num=number))
    assert len(said) == (number >= 54) and all("twice" in sentence for sentence in said)

"""What reaches a network, and what becomes of its answer."""

import json
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel

from guidance.networks.denoisers import Conditioning, Denoiser
from tests.analytic import CPU, IF_SCHEDULER, SD_SCHEDULER, FakeUNet, nonlinear_answer, text_of

F64 = torch.float64


def pictures(count: int, channels: int = 4, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(count, channels, 6, 6, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def denoiser(answer=None, dtype: torch.dtype = torch.float32, **config) -> Denoiser:
    return Denoiser(FakeUNet(answer or nonlinear_answer(4), dtype), {**SD_SCHEDULER, **config}, CPU)


def told(count: int) -> Conditioning:
    return Conditioning(text_of(*range(1, count + 1)), text_of(0))


# ---------------------------------------------------------------------------------------------- guidance


def test_the_null_half_comes_first() -> None:
    network, x_t = denoiser(), pictures(3)
    network.predict_eps(x_t, 500, told(3), 7.5, 8)
    (call,) = network.unet.calls
    assert torch.equal(call.x_t, torch.cat([x_t, x_t]))
    assert torch.equal(call.text, torch.cat([text_of(0, 0, 0), text_of(1, 2, 3)]))
    assert call.timestep == 500 and call.labels is None


def test_guidance_goes_from_null_to_prompt() -> None:
    """Where the answer is the text itself, eps is known: swapped halves would give another number."""
    network = denoiser(lambda x_t, t, text, labels: torch.zeros_like(x_t) + text[:, 0, 0].reshape(-1, 1, 1, 1))
    null, prompts = text_of(0)[0, 0, 0], text_of(1, 2)[:, 0, 0]
    for scale in (0.0, 0.5, 2.0, 7.5):
        eps = network.predict_eps(pictures(2), 500, told(2), scale, 8)
        expected = null + scale * (prompts - null)
        assert (eps - expected.reshape(2, 1, 1, 1)).abs().max() < 1e-6


@pytest.mark.parametrize("scale", [0.0, 0.5, 7.5])
def test_guidance_equals_two_calls(scale: float) -> None:
    answer, x_t, t = nonlinear_answer(4), pictures(3, dtype=F64), torch.tensor(40)
    null = answer(x_t, t, text_of(0, 0, 0).double(), None)
    prompted = answer(x_t, t, text_of(1, 2, 3).double(), None)
    eps = denoiser(answer, F64).predict_eps(x_t, 40, told(3), scale, 8)
    assert (eps - (null + scale * (prompted - null))).abs().max() < 1e-12


def test_guidance_one_needs_no_null_half() -> None:
    network, x_t = denoiser(), pictures(3)
    eps = network.predict_eps(x_t, 500, told(3), 1.0, 8)
    (call,) = network.unet.calls
    assert torch.equal(call.x_t, x_t)
    assert torch.equal(call.text, text_of(1, 2, 3))
    assert torch.equal(eps, nonlinear_answer(4)(x_t, torch.tensor(500), text_of(1, 2, 3), None))


# ---------------------------------------------------------------------------------------------- chunks


@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_chunks_change_no_eps(scale: float) -> None:
    x_t, low_res = pictures(5, 3), pictures(5, 3, seed=1)
    conditioning = Conditioning(text_of(1, 2, 3, 4, 5), text_of(0), low_res, 50)
    whole = denoiser(nonlinear_answer(6, 6)).predict_eps(x_t, 500, conditioning, scale, 100)
    for size, calls in ((1, 5), (2, 3), (3, 2), (5, 1)):
        network = denoiser(nonlinear_answer(6, 6))
        eps = network.predict_eps(x_t, 500, conditioning, scale, size)
        assert len(network.unet.calls) == calls
        assert max(len(call.x_t) for call in network.unet.calls) == size * (1 if scale == 1.0 else 2)
        assert (eps - whole).abs().max() < 1e-5


# ---------------------------------------------------------------------------------------------- what networks predict


def test_the_variance_half_is_dropped() -> None:
    """A network with six channels: eps, variance. The same eps comes out whatever the variance."""

    def answer(x_t, t, text, labels):
        eps = x_t[:, :3] * text[:, :1, :1, None]
        return torch.cat([eps, torch.full_like(eps, 1e6)], dim=1)

    x_t = pictures(2, 3)
    for scale in (1.0, 3.0):
        eps = denoiser(answer).predict_eps(x_t, 500, told(2), scale, 8)
        null, prompts = text_of(0)[0, 0, 0], text_of(1, 2)[:, 0, 0].reshape(2, 1, 1, 1)
        assert eps.shape == x_t.shape
        assert (eps - x_t * (null + scale * (prompts - null))).abs().max() < 1e-5


@pytest.mark.parametrize("scale", [1.0, 5.0])
def test_v_predictions_become_eps(scale: float) -> None:
    """v = sqrt(abar) eps - sqrt(1 - abar) x0: both ends are known, and diffusers steps to the same place."""
    x_t, answer = pictures(2, dtype=F64), nonlinear_answer(4)
    network = denoiser(answer, F64, prediction_type="v_prediction")
    scheduler = DDIMScheduler.from_config({**SD_SCHEDULER, "prediction_type": "v_prediction"})
    scheduler.set_timesteps(50)
    null = answer(x_t, torch.tensor(501), text_of(0, 0).double(), None)
    prompted = answer(x_t, torch.tensor(501), text_of(1, 2).double(), None)
    v = null + scale * (prompted - null)
    x0 = scheduler.step(v, 501, x_t).pred_original_sample
    abar = scheduler.alphas_cumprod[501].double()
    expected = (x_t - abar.sqrt() * x0) / (1 - abar).sqrt()
    assert (network.predict_eps(x_t, 501, told(2), scale, 8) - expected).abs().max() < 1e-6


def test_v_of_a_known_picture_gives_its_own_noise() -> None:
    x0, eps = pictures(2, dtype=F64), pictures(2, seed=1, dtype=F64)
    abar = DDIMScheduler.from_config(SD_SCHEDULER).alphas_cumprod[300].double()
    x_t, v = abar.sqrt() * x0 + (1 - abar).sqrt() * eps, abar.sqrt() * eps - (1 - abar).sqrt() * x0
    network = denoiser(lambda *_: v, F64, prediction_type="v_prediction")
    assert (network.predict_eps(x_t, 300, told(2), 1.0, 8) - eps).abs().max() < 1e-12


# ---------------------------------------------------------------------------------------------- what stage 2 is told


def test_the_picture_to_enlarge_follows_x_t_and_the_level_is_the_class_label() -> None:
    x_t, low_res = pictures(2, 3), pictures(2, 3, seed=1, dtype=F64)
    network = denoiser(nonlinear_answer(6, 6))
    network.predict_eps(x_t, 500, Conditioning(text_of(1, 2), text_of(0), low_res, 50), 3.0, 8)
    (call,) = network.unet.calls
    both = torch.cat([x_t, low_res.float()], dim=1)
    assert torch.equal(call.x_t, torch.cat([both, both]))
    assert call.labels.tolist() == [50, 50, 50, 50]


def test_level_zero_is_a_level() -> None:
    network = denoiser(nonlinear_answer(6, 6))
    network.predict_eps(pictures(2, 3), 5, Conditioning(text_of(1, 2), text_of(0), pictures(2, 3), 0), 1.0, 8)
    assert network.unet.calls[0].labels.tolist() == [0, 0]


# ---------------------------------------------------------------------------------------------- number formats


@pytest.mark.parametrize("of_network", [torch.bfloat16, torch.float16, torch.float32, F64])
@pytest.mark.parametrize("of_state", [torch.float32, F64])
def test_networks_run_in_their_own_format_and_the_state_keeps_its(of_network, of_state) -> None:
    network = denoiser(lambda x_t, t, text, labels: x_t * 0.5, of_network)
    x_t = pictures(2, dtype=of_state)
    eps = network.predict_eps(x_t, 500, told(2), 4.0, 8)  # the fake asserts that its inputs have its own format
    assert eps.dtype == of_state
    assert (eps - x_t * 0.5).abs().max() < 0.02


@torch.no_grad()
def test_guidance_is_added_in_the_format_of_the_state() -> None:
    """eps_null + w (eps_text - eps_null) in bfloat16 would lose digits that float32 keeps."""
    x_t = pictures(2)
    network = denoiser(lambda x_t, t, text, labels: x_t + text[:, :1, :1, None], torch.bfloat16)
    eps = network.predict_eps(x_t, 500, told(2), 7.5, 8)
    low, shift = x_t.bfloat16(), text_of(0, 1, 2)[:, :1, :1, None].bfloat16()
    null, prompted = (low + shift[:1]).float(), (low + shift[1:]).float()
    assert (eps - (null + 7.5 * (prompted - null))).abs().max() < 1e-6


@torch.no_grad()
@pytest.mark.parametrize("stage", [1, 2])
def test_a_bfloat16_network_stays_close_to_float32(request: pytest.FixtureRequest, stage: int) -> None:
    folder: Path = request.getfixturevalue(f"if_stage_{stage}_folder")
    unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet").eval()
    config = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    generator = torch.Generator().manual_seed(0)
    x_t = torch.randn(2, 3, 16, 16, generator=generator)
    text = torch.randn(3, 7, 32, generator=generator)
    low_res, level = (None, None) if stage == 1 else (x_t.tanh(), 50)
    conditioning = Conditioning(text[1:], text[:1], low_res, level)
    exact = Denoiser(unet, config, CPU).predict_eps(x_t, 500, conditioning, 2.0, 8)
    rough = Denoiser(unet.to(torch.bfloat16), config, CPU).predict_eps(x_t, 500, conditioning, 2.0, 8)
    assert rough.dtype == torch.float32
    assert torch.isfinite(rough).all()
    assert (rough - exact).abs().mean() < 0.05 * exact.abs().mean()


def test_the_schedule_is_read_whatever_else_the_config_says() -> None:
    """IF's learned variance and Stable Diffusion's PNDM fields are no part of DDIM, and do not change abar."""
    for config in (IF_SCHEDULER, SD_SCHEDULER):
        betas = {name: config[name] for name in ("beta_schedule", "beta_start", "beta_end")}
        network = Denoiser(FakeUNet(nonlinear_answer(4)), {**config, "_class_name": "PNDMScheduler"}, CPU)
        assert torch.equal(network.alphas_cumprod, DDIMScheduler(**betas).alphas_cumprod.double())


# ---------------------------------------------------------------------------------------------- compiled networks


@pytest.mark.parametrize("guidance_scale", [1.0, 3.0])
@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 8])
def test_compiled_networks_see_one_shape_and_answer_the_same(
    batch_size: int, guidance_scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeUNet, "compile", lambda self, dynamic: None)
    x_t, text = torch.randn(5, 4, 3, 3, generator=torch.Generator().manual_seed(0)), text_of(1, 2, 3, 1, 2)
    plain, compiled = (
        Denoiser(FakeUNet(nonlinear_answer(4)), SD_SCHEDULER, CPU, compile=compiled) for compiled in (False, True)
    )
    conditioning = Conditioning(text, text_of(0))
    answers = [one.predict_eps(x_t, 500, conditioning, guidance_scale, batch_size) for one in (plain, compiled)]
    torch.testing.assert_close(*answers, rtol=0, atol=1e-6)
    assert len({call.x_t.shape for call in compiled.unet.calls}) == 1


def test_a_compiled_network_keeps_its_shape_while_windows_come_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeUNet, "compile", lambda self, dynamic: None)
    denoiser = Denoiser(FakeUNet(nonlinear_answer(4)), SD_SCHEDULER, CPU, compile=True)
    conditioning = Conditioning(text_of(1), text_of(0))
    for views in (6, 7, 6, 7, 20, 7, 3):
        assert denoiser.predict_eps(torch.zeros(views, 4, 4, 4), 500, conditioning, 1.0, 8).shape[0] == views
    assert [len(call.x_t) for call in denoiser.unet.calls] == [6, 7, 7, 7, 7, 7, 7, 7, 7]
    denoiser.predict_eps(torch.zeros(3, 4, 4, 4), 500, conditioning, 1.0, 2)  # less fits into memory now
    assert [len(call.x_t) for call in denoiser.unet.calls[-2:]] == [2, 2]

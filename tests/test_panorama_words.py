"""What the views of a panorama are told: words by direction, places around, and guidance that falls to the poles."""

from typing import Any

import numpy as np
import pytest
import torch

from guidance import get_app
from guidance.panorama_app import BANDS, band_prompts, place_shares, prompt_at, read_places
from guidance.panorama_model import PanoramaModel
from tests.analytic import EMBEDDINGS, asking, complete, sphere_model
from utils.cameras import NOVEL
from utils.errors import UserError
from utils.prompts import PictureRequest

FIVE = ("a", "b", "b", "c", "c")  # of one place: level, up, straight up, down, straight down


@pytest.mark.parametrize("indoor", [False, True])
def test_every_band_has_its_words(indoor: bool) -> None:
    options = complete("panorama", "sd", panorama_height=32, indoor=indoor)
    texts = get_app("panorama").fit_request(options, PictureRequest(("a {} lake",), {"indoor": indoor})).prompts
    above, below, lake = *(("ceiling", "floor") if indoor else ("sky", "ground")), "a {} lake"
    assert dict(zip(BANDS, texts, strict=True)) == {
        "level": lake,
        "up": f"{lake}, looking up at the {above}", "straight up": f"{lake}, the {above} straight above",
        "down": f"{lake}, looking down at the {below}", "straight down": f"{lake}, the {below} straight below",
    }  # fmt: skip


def test_words_of_ones_own_stand_as_they_are() -> None:
    assert band_prompts("x", ["clouds"], ["{} from above, {}", "{a} %s"], True) == [
        "x", "clouds", "clouds", "x from above, x", "{a} %s",
    ]  # fmt: skip


def finished_views(**given: Any) -> torch.Tensor:
    *_, last = sphere_model(**given).generate(asking(*FIVE), 3)
    return last.x_t_1


def told(prompts: tuple[str, ...], azimuths: list[float], **given: Any) -> tuple[PanoramaModel, torch.Tensor]:
    """What every view of a model is told."""
    model = sphere_model(view_batch_size=100, guidance_scale=1.0, **given)
    next(model.generate(asking(*prompts, azimuths=azimuths), 1))
    return model, model.latent_model.denoiser.unet.calls[0].text


def test_views_are_told_the_prompt_of_where_they_look_and_between_places_a_blend() -> None:
    _, texts = told(FIVE, [])
    assert torch.equal(texts, torch.cat([EMBEDDINGS[text] for text in "a" * 6 + "b" * 4 + "c" * 4 + "bc"]))
    model, texts = told(("a",) * 5 + ("b",) * 5, [30.0, 330.0])  # not in order; a wide and a narrow way around
    for camera, text in zip(model.mapper, texts, strict=True):
        of_b = {0: 0.5, 60: 30 / 300, 90: 60 / 300, 120: 90 / 300, 180: 0.5, 240: 210 / 300, 270: 0.8, 300: 0.9}
        share = of_b[camera.yaw]
        assert torch.allclose(text, (1 - share) * EMBEDDINGS["a"][0] + share * EMBEDDINGS["b"][0], atol=1e-6)


def test_places_share_a_direction_by_how_near_they_are() -> None:
    assert place_shares([77.0], 300) == [1.0]
    assert place_shares([0, 90, 180, 270], 90) == [0, 1, 0, 0]
    assert place_shares([270, 90], 350) == pytest.approx([100 / 180, 80 / 180])
    assert place_shares([270, 90, 0], 350) == pytest.approx([10 / 90, 0, 80 / 90])
    assert place_shares([270, 90, 0], -10) == place_shares([270, 90, 0], 710) == place_shares([270, 90, 0], 350)
    draw = np.random.default_rng(0)
    for _ in range(50):
        azimuths, yaw = list(draw.uniform(0, 360, draw.integers(2, 6))), draw.uniform(-360, 360)
        shares = place_shares(azimuths, yaw)
        assert sum(shares) == pytest.approx(1) and min(shares) >= 0 and sum(share > 0 for share in shares) <= 2
        order = draw.permutation(len(azimuths))
        assert place_shares([azimuths[one] for one in order], yaw) == pytest.approx([shares[one] for one in order])


def test_places_are_read_as_degrees_and_a_prompt() -> None:
    read = read_places(["0:a beach", " -90 : a city: by night ", "+12.5:{x}", "720.25:12:30"])
    assert read == {0.0: "a beach", 270.0: "a city: by night", 12.5: "{x}", 0.25: "12:30"}
    for texts, said in (
        (["a beach"], "has no place"), (["0:"], "has no place"), (["x:a"], "has no place"), (["1e3:a"], "has no place"),
        (["0:a", "360:b"], "0 degrees twice"), (["-10:a", "350:b"], "350 degrees twice"),
        (["0:a", "-0.00000000000000000001:b"], "0 degrees twice"), (["9" * 400 + ":a"], "has no place"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=said):
            read_places(texts)


def test_novel_pictures_are_scored_by_the_nearest_place_and_their_band() -> None:
    prompts = tuple(f"{place} {band}" for place in "xy" for band in BANDS)
    request = PictureRequest(prompts, {"azimuths": [0.0, 180.0]})
    assert [prompt_at(request, camera) for camera in NOVEL] == [
        "x level", "y level", "y level", "x level", "x up", "y up", "x down", "y down",
    ]  # fmt: skip


def test_pole_guidance_gives_every_view_the_scale_of_its_pitch() -> None:
    """As if every view had a run of its own, with its own guidance scale."""
    options = {"sync": "none", "num_inference_steps": 3, "guidance_scale": 4.0}
    graded, slopes = finished_views(**options, pole_guidance=1.5), {0: 0, 6: 50 / 90, 10: 50 / 90, 14: 1, 15: 1}
    for number, slope in slopes.items():
        alone = finished_views(**{**options, "guidance_scale": 4 + (1.5 - 4) * slope})
        assert (graded[number] - alone[number]).abs().max() < 1e-5
    assert (graded - finished_views(**options)).abs().amax(dim=(1, 2, 3))[6:].min() > 1e-3

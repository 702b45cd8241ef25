"""The environment of all tests, set before any library reads it, and the folders with small random pipelines."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

CACHES = Path(tempfile.mkdtemp(prefix="diffusion_sync_tests_"))
atexit.register(shutil.rmtree, CACHES, ignore_errors=True)
os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "HF_HOME": str(CACHES / "huggingface"),
    "XDG_CACHE_HOME": str(CACHES / "xdg"),
    "DIFFUSION_SYNC_CACHE": str(CACHES / "diffusion_sync"),
    "TOKENIZERS_PARALLELISM": "false",
}

import pytest  # noqa: E402
import torch  # noqa: E402

from tests import hub_folders  # noqa: E402
from tests.browser import REMEDY, Browser, find_programs  # noqa: E402

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def sd_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A StableDiffusionPipeline with random weights."""
    return hub_folders.make_stable_diffusion(tmp_path_factory.mktemp("hub") / "stable_diffusion")


@pytest.fixture(scope="session")
def if_stage_1_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An IFPipeline with random weights, 16x16 pixels."""
    return hub_folders.make_if_stage_1(tmp_path_factory.mktemp("hub") / "if_stage_1")


@pytest.fixture(scope="session")
def if_stage_2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An IFSuperResolutionPipeline with random weights, 64x64 pixels, with the text encoder of stage 1."""
    return hub_folders.make_if_stage_2(tmp_path_factory.mktemp("hub") / "if_stage_2")


@pytest.fixture(scope="session")
def _chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests, started for the first that asks for it."""
    programs = find_programs()
    if programs is None:
        refuse = pytest.fail if os.environ.get("REQUIRE_BROWSER") else pytest.skip
        refuse(REMEDY)
    browser = Browser(programs, tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.quit()


@pytest.fixture
def browser(_chromium: Browser) -> Browser:
    """A headless Chromium with an empty page; without one on this machine the test is skipped.

    With ``REQUIRE_BROWSER`` in the environment it fails instead.
    """
    _chromium.reset()
    return _chromium

"""What a sphere's PNG says of itself, so that photo viewers open it as one."""

import io
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import main
from guidance import get_app
from tests import runs
from utils.gpano import NAMESPACE, sphere_xmp
from utils.images import XMP, png_bytes
from utils.sphere import Band

one_thread = runs.one_thread


def said_by(png: Path | io.BytesIO) -> dict[str, str]:
    """The fields of a PNG's photo sphere metadata."""
    with Image.open(png) as picture:
        picture.load()
        packet = picture.text[XMP].encode()  # pyright: ignore[reportAttributeAccessIssue]
    return {
        field.tag.removeprefix(f"{{{NAMESPACE}}}"): field.text or ""
        for field in ElementTree.fromstring(packet).iter()
        if field.tag.startswith(f"{{{NAMESPACE}}}")
    }


@pytest.mark.parametrize(("first", "end"), [(0, 64), (20, 44)])
def test_a_picture_says_which_part_of_the_sphere_it_shows(first: int, end: int) -> None:
    picture = Image.new("RGB", (128, end - first), "navy")
    picture.info[XMP] = sphere_xmp(Band(first, end, 64))
    data = io.BytesIO(png_bytes(picture, {"prompt": "a lake"}))
    assert said_by(data) == {
        "ProjectionType": "equirectangular", "UsePanoramaViewer": "True", "PoseHeadingDegrees": "0",
        "FullPanoWidthPixels": "128", "FullPanoHeightPixels": "64",
        "CroppedAreaImageWidthPixels": "128", "CroppedAreaImageHeightPixels": str(end - first),
        "CroppedAreaLeftPixels": "0", "CroppedAreaTopPixels": str(first),
    }  # fmt: skip
    assert Image.open(data).text["prompt"] == "a lake"  # pyright: ignore[reportAttributeAccessIssue]
    assert png_bytes(Image.open(data)).count(b"GPano:ProjectionType") == 2  # start and end: it is kept


def test_other_pictures_keep_their_bytes() -> None:
    picture = Image.fromarray(np.arange(96, dtype=np.uint8).reshape(4, 8, 3), "RGB")
    plain, chunks = io.BytesIO(), PngInfo()
    chunks.add_itxt("seed", "3")
    picture.save(plain, "PNG", pnginfo=chunks)
    assert png_bytes(picture, {"seed": "3"}) == plain.getvalue() and XMP.encode() not in plain.getvalue()


@pytest.mark.parametrize("cameras", ["16", "ring"])
def test_a_sphere_that_was_made_says_so_and_nothing_else_does(sd_folder: Path, tmp_path: Path, cameras: str) -> None:
    argv = ["--app", "panorama", "--sd_path", sd_folder, "--device", "cpu", "--dtype", "float32", "--prompt", "a lake",
            "--view_set", cameras, "--num_inference_steps", 1, "--panorama_height", 128,
            "--save_top_dir", tmp_path, "--tag", "made"]  # fmt: skip
    assert main.main([str(one) for one in argv]) == 0
    folder, app = tmp_path / "made", get_app("panorama")
    record = runs.run_json(folder)
    sphere, *others = (folder / entry["file"] for entry in record["pictures"][0]["files"])
    size, said = Image.open(sphere).size, said_by(sphere)
    band = app.sphere(record, size)
    assert band is not None and band.end - band.first == size[1] and band.height == 128
    assert (band.first == 0) == (cameras == "16") and -band.bottom == band.top
    assert said["CroppedAreaTopPixels"] == str(band.first) and said["FullPanoHeightPixels"] == "128"
    assert others and all(XMP not in Image.open(path).info for path in others)
    assert app.sphere(record, (size[0], size[1] - 2)) is None or cameras == "ring"
    assert app.sphere(record, (size[0] - 2, size[1])) is None

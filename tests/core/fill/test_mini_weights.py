"""The weights that ship: there, small, and of use."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from dreamstereo_core import ClassicInpainter, build_pair, load_inpainter, read_frames
from dreamstereo_core.fill import MiniInpainter
from dreamstereo_core.models.files.checkpoint_file import WEIGHTS, open_checkpoint

DEMO = Path(__file__).parents[3] / "docs" / "demo.mp4"


@pytest.fixture(scope="module")
def frames():
    """Nine real frames, 320x192."""
    frames = torch.stack([frame.pixels for frame in read_frames(DEMO, 40, 49)])
    return F.interpolate(frames, (192, 320), mode="bilinear", antialias=True)


def test_they_are_in_the_package_in_half_precision_with_their_config():
    files = sorted(WEIGHTS.glob("*.safetensors"))
    assert sum(path.stat().st_size for path in files) <= 40e6
    assert {"mini_inpainter", "mini_depth"} == {path.stem for path in files}
    for path in files:
        file = open_checkpoint(path)
        assert file.kind and file.config
        assert file.metadata["license"] == "Apache-2.0"
        weights = [file.read(name) for name in file.shapes]
        assert {x.dtype for x in weights if x.ndim > 1} == {torch.float16}
    assert (WEIGHTS / "README.md").is_file()


def test_mini_is_the_default_and_fills_better_than_the_first_fill(frames):
    disparity = torch.zeros(9, 1, 192, 320)
    for t in range(9):
        disparity[t, :, 50:130, 120 + 2 * t : 180 + 2 * t] = 16.0
    pair = build_pair(frames, disparity)
    mask = pair.occlusion_mask
    inpainter = load_inpainter(device="cpu")
    assert isinstance(inpainter, MiniInpainter)
    assert inpainter.name == "mini"
    first, filled = (
        fill.inpaint(pair.masked, mask, disparity=pair.disparity)
        for fill in (ClassicInpainter(), inpainter)
    )

    def error(video):
        return float(((video - pair.target).square() * mask).sum())

    assert error(filled) < 0.97 * error(first)

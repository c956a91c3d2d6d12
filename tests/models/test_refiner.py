"""The network that sees a fill at full resolution, alone and behind a transformer."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from dreamstereo_core import ClassicInpainter
from dreamstereo_core.fill import RefinedInpainter
from dreamstereo_core.models.checkpoint import load_transformer, save_transformer
from dreamstereo_core.models.config import MINI, TINY
from dreamstereo_core.models.refiner import Refiner, load_refiner, save_refiner
from dreamstereo_core.models.transformer import Transformer

from .fakes import clip
from .test_residual_fill import nothing, residual_fill


def frames(count=2, height=21, width=30):
    generator = torch.Generator().manual_seed(0)
    first, filled = torch.rand(2, count, 3, height, width, generator=generator)
    return filled, first, torch.rand(count, 1, height, width, generator=generator).round()


def drawn():
    torch.manual_seed(1)
    refiner = Refiner()
    refiner.initialize_weights()
    for parameter in refiner.parameters():
        parameter.data += 0.01 * torch.randn_like(parameter)
    return refiner.requires_grad_(False)


def test_it_starts_by_adding_nothing():
    refiner = Refiner()
    refiner.initialize_weights()
    filled, first, mask = frames()
    assert torch.equal(refiner(filled, first, mask), filled)
    residual = refiner.middle[0]
    x = torch.rand(1, 96, 4, 5)
    assert torch.equal(residual(x), x)


@pytest.mark.parametrize("size", [(16, 24), (21, 30), (8, 9)])
def test_frames_of_any_size_are_refined_each_by_itself(size):
    filled, first, mask = frames(3, *size)
    refiner = drawn()
    refined = refiner(filled, first, mask)
    assert refined.shape == filled.shape
    known = (mask == 0).expand_as(filled)
    assert torch.equal(refined[known], filled[known])
    assert (refined - filled)[~known].abs().mean() > 1e-3
    alone = refiner(filled[1:2], first[1:2], mask[1:2])
    assert torch.allclose(refined[1:2], alone, atol=1e-5)


def test_it_looks_at_all_that_it_is_given():
    given = [x.requires_grad_() for x in frames()]
    drawn()(*given).square().sum().backward()
    for x in given:
        assert x.grad is not None and x.grad.abs().max() > 0


def test_it_travels_in_the_transformers_file(tmp_path):
    torch.manual_seed(0)
    model = Transformer(replace(TINY, residual=True, refiner=True))
    model.initialize_weights()
    model.refiner = drawn()
    save_transformer(tmp_path / "model.safetensors", model, dtype=torch.float16)
    loaded = load_transformer(tmp_path / "model.safetensors", dtype=torch.float32)
    given = frames()
    assert torch.allclose(loaded.refiner(*given), model.refiner(*given), atol=1e-2)
    assert not torch.allclose(loaded.refiner(*given), given[0], atol=1e-2)
    with pytest.raises(ValueError, match="refiner needs residual"):
        replace(MINI, refiner=True)


def test_it_has_the_last_word_in_the_holes_that_are_not_narrow():
    seen = []

    def darken(filled, first, mask):
        seen.append((filled, first, mask))
        return filled - 0.25 * mask

    video, mask = clip(9)
    mask[:, :, 50:54, 60:62] = 1  # narrow
    inpainter = residual_fill(nothing)
    inpainter.transformer.refiner = darken
    result = inpainter.inpaint(video, mask)
    first = ClassicInpainter().inpaint(video, mask)
    wide = mask.clone()
    wide[:, :, 50:54, 60:62] = 0
    assert torch.allclose(result, first - 0.25 * wide, atol=1e-5)
    assert len(seen) == 9
    assert torch.equal(torch.cat([m for _, _, m in seen]), wide)
    assert torch.allclose(torch.cat([f for _, f, _ in seen]), first, atol=1e-5)


def test_it_travels_alone(tmp_path):
    path, refiner, given = tmp_path / "refiner.safetensors", drawn(), frames()
    save_refiner(refiner, path)
    loaded = load_refiner(path)
    assert torch.allclose(loaded(*given), refiner(*given), atol=1e-5)
    save_refiner(refiner, path, dtype=torch.float16)
    half = load_refiner(path)
    assert half.leave.weight.dtype == torch.float32
    assert torch.allclose(half(*given), refiner(*given), atol=1e-2)


def test_other_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_refiner(tmp_path / "nowhere.safetensors")
    model = Transformer(TINY)
    model.initialize_weights()
    save_transformer(tmp_path / "model.safetensors", model)
    with pytest.raises(ValueError, match=r"model.safetensors: expected a DreamStereo refiner"):
        load_refiner(tmp_path / "model.safetensors")
    small = drawn()
    small.leave = torch.nn.Conv2d(32, 12, 3)
    save_refiner(small, tmp_path / "small.safetensors")
    with pytest.raises(ValueError, match=r"small.safetensors: expected a refiner of widths"):
        load_refiner(tmp_path / "small.safetensors")


def moving(count=7, speed=3):
    """A texture that moves to the left behind a hole that stands still; and its holes."""
    noise = torch.rand(1, 3, 12, 30, generator=torch.Generator().manual_seed(3))
    still = F.interpolate(noise, (96, 240), mode="bicubic").clamp(0, 1)
    video = torch.cat([still[..., speed * t : speed * t + 160] for t in range(count)])
    mask = torch.zeros(count, 1, 96, 160)
    mask[..., 20:76, 60:84] = 1
    mask[..., 40:44, 100:102] = 1  # narrow
    return video, mask


@pytest.mark.parametrize("count", [1, 5])
def test_an_inpainter_refines_what_another_fills_and_nothing_else(count):
    video, mask = moving(count)
    refiner = drawn()
    first = ClassicInpainter().inpaint(video, mask)
    wide = mask.clone()
    wide[:, :, 40:44, 100:102] = 0
    result = RefinedInpainter(refiner).inpaint(video, mask)
    refined = refiner(first, first, wide).clamp(0, 1)
    assert torch.allclose(result[:1], refined[:1], atol=1e-5)
    outside = (wide == 0).expand_as(result)
    assert torch.equal(result[outside], first[outside])
    assert not torch.allclose(result, first, atol=1e-3)


class Flickering(torch.nn.Module):
    """Adds now more, now less."""

    def __init__(self):
        super().__init__()
        self.enter = torch.nn.Conv2d(1, 1, 1)
        self.calls = 0

    def forward(self, filled, first, mask):
        self.calls += 1
        return filled + (0.1 + 0.05 * (-1) ** self.calls) * mask


class Truth(ClassicInpainter):
    """Knows what is in the holes."""

    def __init__(self, video):
        super().__init__()
        self.video = video

    def stream(self, frames, **options):
        for t, _ in enumerate(frames):
            yield self.video[t : t + 1]


def test_what_is_added_does_not_flicker_where_the_fill_only_moves():
    video, mask = moving()
    added = RefinedInpainter(Flickering(), Truth(video * 0.8)).inpaint(video, mask) - 0.8 * video
    inside = added[:, 0, 30:66, 64:76].mean((1, 2))
    steps = (inside[1:] - inside[:-1]).abs()
    assert steps[3:].max() < 0.5 * 0.1  # a tenth by itself
    assert torch.allclose(inside[3:].mean(), torch.tensor(0.1), atol=0.02)


def test_what_is_added_to_another_picture_is_not_mixed_in():
    video, mask = moving(2)
    video[1] = 1 - video[1].flip(-2)
    first = RefinedInpainter(Flickering(), Truth(video * 0.8)).inpaint(video, mask) - 0.8 * video
    inside = first[:, 0, 30:66, 64:76].mean((1, 2))
    assert abs(float(inside[0]) - 0.05) < 1e-3
    assert abs(float(inside[1]) - 0.15) < 0.02


def test_without_holes_there_is_nothing_to_refine():
    video, mask = moving(2)
    result = RefinedInpainter(drawn()).inpaint(video, torch.zeros_like(mask))
    assert torch.equal(result, video)

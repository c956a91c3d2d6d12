"""First fills: in pairs, cut with their clips, and their holes."""

import json

import pytest
import torch
from safetensors import safe_open

import build_pairs
from data.files import DataError
from data.pair_dataset import DataSettings, PairDataset
from data.pair_shards import BLOCK, LOSSLESS, Pair, PairWriter, list_pairs
from dreamstereo_core import ClassicInpainter, gapw_warp
from making.first_fill import first_fill, wide_holes
from objectives.losses import mean_error, root_error

from .scene import scene


def data_settings(pairs, **changes):
    values = {"pairs": str(pairs), "frames": 5, "height": 32, "width": 32, "held_out": 1}
    return DataSettings(**(values | changes))


def test_a_pair_has_the_classic_fill_of_its_masked_clip(filled_pairs):
    """With the disparity of the view in which the holes lie, as inference has it."""
    pair = list_pairs(filled_pairs)[0].read()
    assert pair.fill is not None
    video, disparity = scene()
    left = gapw_warp(video, disparity, toward="left")
    back = gapw_warp(left.video, left.disparity, toward="right")
    mask = back.occlusion_mask
    assert torch.equal(mask[:, 0] > 0, pair.mask)
    clip = pair.frames / 255
    expected = ClassicInpainter().inpaint(clip * (1 - mask), mask, disparity=back.disparity)
    expected = torch.where(mask > 0, expected, clip)
    assert (pair.fill / 255 - expected).abs().max() < 0.51 / 255
    hole = pair.mask.unsqueeze(1).expand_as(clip)
    assert (pair.fill[hole].float() - pair.frames[hole].float()).abs().max() > 8
    # The near box is not drawn out into the holes: the disparity is looked at.
    blind = ClassicInpainter().inpaint(clip * (1 - mask), mask)
    assert not torch.equal(blind[hole], expected[hole])


def test_fills_cost_little_and_are_exact_in_holes_only(tmp_path):
    generator = torch.Generator().manual_seed(0)
    frames, fill = torch.randint(0, 256, (2, 2, 3, 60, 84), generator=generator).to(torch.uint8)
    mask = torch.zeros(2, 60, 84, dtype=torch.bool)
    mask[:, 55:58, 70:83] = True
    fill = torch.where(mask.unsqueeze(1), fill, frames)
    writer = PairWriter(tmp_path, {}, LOSSLESS)
    writer.add("a", [Pair(frames, mask, {}, fill)])
    writer.flush()
    (entry,) = list_pairs(tmp_path)
    assert sum(entry.info["fill_bytes"]) < 0.2 * sum(entry.info["frame_bytes"])
    assert torch.equal(entry.read().fill, fill)
    kept = entry.read_fill(1, 2)
    assert torch.equal(kept[..., 48 + BLOCK :, 72:80], fill[1:, :, 48 + BLOCK :, 72:80])
    assert not kept[..., :48, :].any()


def test_pairs_without_fill_go_on_with_shards_of_before_there_were_fills(tmp_path, write_pairs):
    photo, old = tmp_path / "photo.png", tmp_path / "old"
    build_pairs.write_png(photo, scene()[0][0])
    command = [
        str(photo),
        "--size",
        "80x48",
        "--frames",
        "5",
        "--depth",
        "embedded",
        "--quality",
        "95",
    ]
    assert build_pairs.main([*command, "--out", str(old)]) == 0
    assert build_pairs.main([*command, "--out", str(tmp_path / "new"), "--fill"]) == 0
    bare, whole = list_pairs(old)[0], list_pairs(tmp_path / "new")[0]
    assert bare.read().fill is None
    assert whole.read().fill is not None
    assert torch.equal(bare.read().mask, whole.read().mask)
    with safe_open(bare.path, framework="pt") as file:
        assert "fill" not in json.loads(file.metadata()["settings"])
    assert build_pairs.main([*command, "--out", str(old)]) == 0
    assert build_pairs.main([*command, "--out", str(old), "--fill"]) == 1


@pytest.mark.parametrize("flip", [False, True])
def test_fills_are_cut_and_mirrored_like_the_clip(filled_pairs, flip):
    dataset = PairDataset(data_settings(filled_pairs, flip=flip, focus=0.5))
    mirrored = 0
    for index in range(8):
        sample = dataset[index]
        video, fill, mask = sample["video"], sample["fill"], sample["mask"]
        assert fill.shape == video.shape
        known = (mask == 0).expand_as(video)
        assert torch.equal(fill[known], video[known])
        # The crop's place in the whole clip, by its picture; the fill must be from there too.
        pair = dataset._entry(index).read()
        places = [(False, *place) for place in find(pair.frames, video)]
        places += [(True, *place) for place in find(pair.frames, video.flip(-1))]
        (turned, y, x), *_ = places
        mirrored += turned
        assert pair.fill is not None
        there = pair.fill[..., y : y + 32, x : x + 32].transpose(0, 1) / 255
        assert torch.equal(fill.flip(-1) if turned else fill, there)
    assert (mirrored > 0) == flip


def find(frames, video):
    crop = (video.transpose(0, 1) * 255).round().to(torch.uint8)
    height, width = frames.shape[-2] - 31, frames.shape[-1] - 31
    return [
        (y, x)
        for y in range(height)
        for x in range(width)
        if torch.equal(frames[:, :, y, x], crop[:, :, 0, 0])
        and torch.equal(frames[..., y : y + 32, x : x + 32], crop)
    ]


def test_old_shards_have_no_fill_and_say_so(pairs, filled_pairs):
    dataset = PairDataset(data_settings(pairs))
    assert dataset[0].keys() == {"video", "mask", "index"}
    with pytest.raises(DataError, match=r"pairs-00000\.safetensors: .*build_pairs.py --fill"):
        dataset.require_fills()
    with pytest.raises(DataError, match=r"build_pairs\.py --fill"):
        dataset.entries[0].read_fill(0, 1)
    drawn = PairDataset(data_settings(filled_pairs, masks="mixed"))
    assert "fill" not in drawn[0]
    with pytest.raises(ValueError, match="masks: expected pairs"):
        drawn.require_fills()
    PairDataset(data_settings(filled_pairs)).require_fills()


def test_the_first_fill_keeps_what_is_known():
    video, _ = scene(frames=2)
    frames, mask = (video * 255).round().to(torch.uint8), torch.zeros(2, 1, 48, 96)
    mask[..., 10:30, 50:60] = 1
    fill = first_fill(frames, mask, torch.zeros(2, 1, 48, 96))
    assert fill.dtype == torch.uint8
    known = (mask == 0).expand_as(frames)
    assert torch.equal(fill[known], frames[known])
    ignored = torch.where(mask > 0, 0, frames)
    assert torch.equal(first_fill(ignored, mask, torch.zeros(2, 1, 48, 96)), fill)


def test_narrow_holes_are_left_to_the_first_fill():
    mask = torch.zeros(2, 1, 5, 32, 32)
    mask[0, :, 0, 4:28, 3:6] = 1
    mask[1, :, 2, 4:12, 18:22] = 1
    wide = wide_holes(mask)
    assert not wide[0].any()
    assert torch.equal(wide[1], mask[1])


def test_an_error_is_weighted_and_counted_for_each_clip():
    truth, video = torch.zeros(2, 3, 1, 2, 2), torch.zeros(2, 3, 1, 2, 2)
    video[0, :, :, 0, 0], video[1] = 0.4, 0.1
    weight = torch.ones(2, 1, 1, 2, 2)
    weight[0, :, :, 1] = 0
    error = mean_error(video, truth, weight)
    assert torch.allclose(error, torch.tensor([0.2, 0.1]))
    error = root_error(video, truth, weight)
    assert torch.allclose(error, torch.tensor([0.4 / 2**0.5, 0.1]), atol=1e-3)

"""The filler without weights: from the background, from other frames, without flicker."""

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from dreamstereo_core import ClassicInpainter, MaskedFrame, gapw_warp, load_inpainter
from dreamstereo_core.fill import coherence
from dreamstereo_core.fill.coherence import find_background, pull_push, spatial_fill

NEAR, FAR = 12.0, 0.0


def texture(height, width, seed=0, cells=12):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, cells, cells * 2, generator=generator)
    return F.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)[0]


def moving_square(frames=9, step=6, height=64, width=128, background=None):
    """A red square that moves over a standing texture, warped to the right eye; truth included."""
    background = texture(height, width) * 0.8 if background is None else background
    video = background.repeat(frames, 1, 1, 1)
    disparity = torch.full((frames, 1, height, width), FAR)
    for t in range(frames):
        x = 30 + step * t
        video[t, :, 20:44, x : x + 24] = torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1)
        disparity[t, :, 20:44, x : x + 24] = NEAR
    return gapw_warp(video, disparity), background


def psnr(a, b, mask):
    error = (a - b)[mask.expand_as(a) > 0].square().mean()
    return float(-10 * torch.log10(error))


def masked(warp):
    return warp.video * (1 - warp.occlusion_mask)


def test_known_pixels_come_back_bit_exact():
    warp, _ = moving_square()
    filled = ClassicInpainter().inpaint(masked(warp), warp.occlusion_mask, disparity=warp.disparity)
    known = (warp.occlusion_mask == 0).expand_as(filled)
    assert torch.equal(filled[known], warp.video[known])


def test_what_the_holes_contain_is_ignored():
    warp, _ = moving_square(frames=3)
    mask = warp.occlusion_mask
    fills = [
        ClassicInpainter().inpaint(
            torch.where(mask > 0, rubbish, warp.video),
            mask,
            disparity=torch.where(mask > 0, rubbish * 50, warp.disparity),
        )
        for rubbish in (0.0, 1.0)
    ]
    assert torch.allclose(*fills, atol=1e-6)


def test_the_background_is_extended_never_the_foreground():
    background = torch.tensor([0.0, 0.6, 0.2]).view(3, 1, 1).expand(3, 64, 128)
    warp, _ = moving_square(frames=1, background=background)
    filled = ClassicInpainter().inpaint(masked(warp), warp.occlusion_mask, disparity=warp.disparity)
    hole = warp.occlusion_mask.expand_as(filled) > 0
    assert torch.allclose(filled[hole], background.expand_as(filled)[hole], atol=2e-3)


def test_the_sheet_leads_over_to_the_foreground():
    """Its share grows along a row from a half to all; at the frame's side there is no other end."""
    video = torch.full((1, 3, 40, 60), 0.2)
    mask, disparity = torch.zeros(1, 1, 40, 60), torch.zeros(1, 1, 40, 60)
    mask[..., 10:30, 20:29] = 1
    mask[..., 10:30, 52:] = 1
    disparity[..., :20] = 9  # the foreground is on the left
    sheet = torch.where(mask > 0, 1.0, video)
    background = find_background(sheet, mask, disparity)
    filled = spatial_fill(sheet, mask, background, stretched=True)
    share = (filled[0, 0, 20] - 0.2) / 0.8
    assert torch.allclose(share[20:29], 0.5 + 0.5 * torch.arange(9, 0, -1) / 10, atol=1e-4)
    assert torch.allclose(share[52:], torch.tensor(0.5), atol=1e-4)
    assert torch.equal(filled[mask.expand_as(filled) == 0], video[mask.expand_as(video) == 0])


def test_fine_detail_goes_on_from_the_background_never_from_the_foreground():
    generator = torch.Generator().manual_seed(3)
    noise = 0.04 * (torch.rand(1, 3, 40, 60, generator=generator) - 0.5)
    mask, disparity = torch.zeros(1, 1, 40, 60), torch.zeros(1, 1, 40, 60)
    mask[..., 20:32] = 1
    for near in (slice(0, 20), slice(32, 60)):  # the foreground is flat, the background is not
        video = 0.5 + noise
        video[..., near] = 0.5
        away = torch.where(mask > 0, 0.5, video)
        grains = []
        for foreground in (near, slice(0, 20) if near.start else slice(32, 60)):
            disparity.zero_()[..., foreground] = 9
            filled = spatial_fill(away, mask, find_background(away, mask, disparity), True)
            grains.append(float(filled[..., 20:32].std()))
        assert grains[0] > 0.5 * float(noise.std()) and grains[1] < 1e-3


def test_the_detail_is_the_mirror_image_pixel_by_pixel():
    video = texture(40, 60, cells=20)[None]
    mask, disparity = torch.zeros(1, 1, 40, 60), torch.zeros(1, 1, 40, 60)
    mask[..., 5:35, 22:29] = 1
    mask[..., 10:20, 2:12] = 1  # its mirror image leaves the picture, or lies in the other hole
    mask[..., 50:] = 1  # has one end only
    disparity[..., 29:50] = 9
    background, hole = find_background(video, mask, disparity), mask[0, 0] > 0
    expected = []
    for (y, x), end in zip(hole.nonzero().tolist(), background.row_end.tolist(), strict=True):
        at = 2 * end - x
        known = end >= 0 and 0 <= at < 60 and not hole[y, at]
        pixel = torch.zeros(3)
        if known and background.weight[0, 0, y, at] > 0.5:
            half = coherence.DETAIL_SIZE // 2
            rows = slice(max(0, y - half), y + half + 1)
            columns = slice(max(0, at - half), at + half + 1)
            weight = background.weight[0, :, rows, columns]
            around, total = video[0, :, rows, columns], weight.sum()
            mean = (around * weight).sum((1, 2)) / total
            variance = ((around - mean[:, None, None]).square() * weight).sum() / total / 3
            edge = (variance / coherence.DETAIL_CONTRAST**2) ** 2
            pixel = (video[0, :, y, at] - mean) / (1 + edge)
        expected.append(pixel)
    made = coherence.mirrored_detail(video, background, *hole.nonzero(as_tuple=True))
    assert torch.allclose(made, torch.stack(expected, 1), atol=1e-5)
    assert (made != 0).any(0).sum() > 200 and (made == 0).all(0).any()


def test_an_edge_beside_a_hole_is_not_there_twice():
    video = torch.full((1, 3, 40, 60), 0.2)
    video[..., :28] = 0.8  # an edge in the background, 4 px from the hole
    mask, disparity = torch.zeros(1, 1, 40, 60), torch.zeros(1, 1, 40, 60)
    mask[..., 32:44] = 1
    disparity[..., 44:] = 9
    background = find_background(video, mask, disparity)
    holes = mask[0, 0].nonzero(as_tuple=True)
    assert coherence.mirrored_detail(video, background, *holes).abs().max() < 0.005


def test_background_that_other_frames_reveal_is_the_truth_itself():
    warp, background = moving_square(frames=9, step=8)
    filled = ClassicInpainter().inpaint(masked(warp), warp.occlusion_mask, disparity=warp.disparity)
    alone = ClassicInpainter(reach=()).inpaint(
        masked(warp), warp.occlusion_mask, disparity=warp.disparity
    )
    centre = slice(4, 5)
    truth, mask = background[None], warp.occlusion_mask[centre]
    assert psnr(filled[centre], truth, mask) > psnr(alone[centre], truth, mask) + 6


def test_nothing_flickers_where_nothing_moves():
    warp, _ = moving_square(frames=5, step=0)
    filled = ClassicInpainter().inpaint(masked(warp), warp.occlusion_mask, disparity=warp.disparity)
    assert torch.allclose(filled, filled[:1].expand_as(filled), atol=1e-5)


def test_a_frame_depends_on_its_window_only_not_on_the_chunks():
    warp, _ = moving_square(frames=14, step=4)
    inpainter = ClassicInpainter(reach=(1, 2, 4))
    arguments = (masked(warp), warp.occlusion_mask, warp.disparity)
    whole = inpainter.inpaint(*arguments[:2], disparity=arguments[2])
    for centre in (4, 7, 9):
        window = slice(centre - 4, centre + 5)
        part = inpainter.inpaint(
            *(a[window] for a in arguments[:2]), disparity=arguments[2][window]
        )
        assert torch.equal(part[4], whole[centre])


def test_streaming_equals_the_whole_clip():
    warp, _ = moving_square(frames=7)
    inpainter = ClassicInpainter(reach=(1, 2))
    parts = zip(
        *(x.split(1) for x in (masked(warp), warp.occlusion_mask, warp.disparity)), strict=True
    )
    streamed = list(inpainter.stream(MaskedFrame(*part) for part in parts))
    whole = inpainter.inpaint(masked(warp), warp.occlusion_mask, disparity=warp.disparity)
    assert len(streamed) == 7
    assert torch.equal(torch.cat(streamed), whole)


def natural_texture(seed):
    """Octaves of noise whose amplitude falls with frequency, as in photographs."""
    return sum(texture(64, 128, seed + cells, cells) / cells for cells in (2, 4, 8, 16))


def rivals(video, mask):
    """Telea, Navier-Stokes, and the nearest pixel on the background's side, the right one here."""
    image = (video[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    hole = mask[0, 0].numpy().astype(np.uint8)
    for method in (cv2.INPAINT_TELEA, cv2.INPAINT_NS):
        yield torch.from_numpy(cv2.inpaint(image, hole, 3, method)).permute(2, 0, 1)[None] / 255
    x = torch.arange(128).expand(1, 1, 64, 128)
    right = torch.where(mask == 0, x, 127).flip(-1).cummin(-1).values.flip(-1)
    yield video.gather(-1, right.expand_as(video))


def test_beats_telea_navier_stokes_and_the_nearest_background_pixel():
    ours, theirs = [], []
    for seed in range(8):
        warp, background = moving_square(frames=1, background=natural_texture(seed))
        mask, video = warp.occlusion_mask, masked(warp)
        filled = ClassicInpainter().inpaint(video, mask, disparity=warp.disparity)
        ours.append(psnr(filled, background[None], mask))
        theirs.append([psnr(rival, background[None], mask) for rival in rivals(video, mask)])
    assert np.mean(ours) > np.mean(theirs, axis=0).max() + 1


def test_without_disparity_every_side_counts():
    video = torch.zeros(1, 3, 40, 60)
    video[..., :25] = 1.0
    mask = torch.zeros(1, 1, 40, 60)
    mask[..., 25:35] = 1
    filled = ClassicInpainter().inpaint(video * (1 - mask), mask)
    assert 0.2 < filled[..., 25:35].mean() < 0.8


@pytest.mark.parametrize("size", [(1, 9), (9, 1), (1, 1), (33, 47)])
def test_any_size_and_nothing_known(size):
    video = torch.rand(2, 3, *size)
    mask = torch.ones(2, 1, *size)
    assert torch.isfinite(ClassicInpainter().inpaint(video, mask, disparity=mask)).all()
    untouched = ClassicInpainter().inpaint(video, torch.zeros_like(mask), disparity=mask)
    assert torch.equal(untouched, video)


def test_pull_push_keeps_the_known_and_interpolates_the_rest():
    values = torch.linspace(0, 1, 64).expand(1, 1, 64, 64).clone()
    weight = torch.ones(1, 1, 64, 64)
    weight[..., 20:30] = 0
    filled = pull_push(values * weight, weight)
    assert torch.allclose(filled[weight > 0], values[weight > 0], atol=1e-6)
    assert torch.allclose(filled, values, atol=0.06)


def test_an_edge_is_carried_on_in_its_own_direction():
    image = torch.zeros(1, 3, 60, 60)
    y, x = torch.meshgrid(torch.arange(60), torch.arange(60), indexing="ij")
    image[:, :, y - x / 2 > 15] = 1.0  # a slanted edge
    mask = torch.zeros(1, 1, 60, 60)
    mask[..., 26:34] = 1
    image_masked = image * (1 - mask)
    filled = spatial_fill(image_masked, mask, find_background(image_masked, mask, None), False)
    wrong = ((filled - image).abs() > 0.5).float().mean()
    assert wrong < 0.006  # of all pixels; the hole is 13 % of them


def test_wrong_arguments_are_named():
    video, mask = torch.zeros(1, 3, 4, 5), torch.zeros(1, 1, 4, 5)
    with pytest.raises(ValueError, match="occlusion_mask: expected shape"):
        ClassicInpainter().inpaint(video, mask[..., :-1])
    with pytest.raises(ValueError, match="disparity: expected finite values"):
        ClassicInpainter().inpaint(video, mask, disparity=mask / 0)
    with pytest.raises(FileNotFoundError, match=r"fill: expected mini, .* got 'magic'"):
        load_inpainter("magic")


@pytest.mark.parametrize("kind", ["wide", "two", "walled", "none", "all"])
def test_the_layers_of_a_device_are_those_of_the_front(monkeypatch, kind):
    hole = torch.zeros(40, 90, dtype=torch.bool)
    hole[5:30, 10:50] = kind != "none"
    hole[8:20, 60:70] = kind == "two"
    source = ~hole
    if kind == "walled":  # known on the left only, and foreground in the middle
        source[:, 40:] = False
        hole[10:20, 20:25] = False
        source[10:20, 20:25] = False
    if kind == "all":
        hole[:], source[:] = True, False
    fronts, pools = coherence.layers_by_front, coherence.layers_by_pooling
    for front, pooled in zip(fronts(hole, source), pools(hole, source), strict=True):
        assert torch.equal(front.sort().values, pooled.sort().values)
    video = texture(40, 90)[None]
    weight, mask = source.float()[None, None], hole.float()[None, None]
    ends = hole.nonzero()[:, 1] * 0
    background = coherence.Background(weight, mask, ends, ends.float())
    fills = [spatial_fill(video, mask, background, True)]
    monkeypatch.setattr(coherence, "layers_by_front", pools)
    fills.append(spatial_fill(video, mask, background, True))
    assert torch.equal(*fills)

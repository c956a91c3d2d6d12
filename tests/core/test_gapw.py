"""GAPW against hand-computed scenes and a slow, obvious oracle."""

import math
from itertools import pairwise

import pytest
import torch

from dreamstereo_core import build_pair, gapw_warp


def noise(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def two_planes(width=64, near=9.0, far=2.0, left=20, right=40):
    disparity = torch.full((1, 1, 5, width), far)
    disparity[..., left:right] = near
    return noise(1, 3, 5, width), disparity


def oracle_row(disparity, threshold):
    """Return coord and stretch of one row: every interval against every pixel."""
    width = len(disparity)
    landing = [x - d for x, d in enumerate(disparity)]
    coords, stretches = [], []
    for target in range(width):
        best = (False, -1.0, math.inf)  # solid beats stretched, then the nearest (greatest x)
        for x in range(width - 1):
            start, end = landing[x], landing[x + 1]
            if start < end and start <= target <= end:
                length = end - start
                best = max(best, (length <= threshold, x + (target - start) / length, length))
        coords.append(best[1])
        stretches.append(best[2])
    return coords, stretches


def reach_of_ends(disparity, pixel, threshold):
    """Return how much of a hole's pixel the torn sheet's ends cover: half a pixel each."""
    landing = [x - d for x, d in enumerate(disparity.tolist())]
    covered = 0.0
    for end, begin in pairwise(landing):
        if not 0 < begin - end <= threshold:
            covered += (end + 1 - pixel) * (math.ceil(end) == pixel)
            covered += (pixel + 1 - begin) * (math.floor(begin) == pixel)
    return min(covered, 1.0)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("threshold", [1.0, 1.5, 4.0])
def test_agrees_with_a_brute_force_z_buffer_on_piecewise_smooth_disparities(seed, threshold):
    generator = torch.Generator().manual_seed(seed)
    height, width = 4, 70
    steps = (torch.rand(height, width, generator=generator) < 0.08).double()
    jumps = (steps * (torch.rand(height, width, generator=generator) * 30 - 15)).cumsum(1)
    slope = (torch.rand(height, 1, generator=generator) - 0.5) * torch.arange(width) * 0.2
    disparity = (jumps + slope).float()[None, None]
    video = noise(1, 3, height, width, seed=seed)
    result = gapw_warp(video, disparity, stretch_threshold=threshold)
    for row in range(height):
        coords, stretches = oracle_row(disparity[0, 0, row].double().tolist(), threshold)
        for x, (coord, stretch) in enumerate(zip(coords, stretches, strict=True)):
            got = result.stretch[0, 0, row, x]
            assert (got == math.inf) == (stretch == math.inf)
            if stretch < math.inf:
                assert result.coord_map[0, 0, row, x] == pytest.approx(coord, abs=2e-3)
                assert got == pytest.approx(stretch, abs=2e-3)
                assert result.disparity[0, 0, row, x] == pytest.approx(coord - x, abs=2e-3)
            known = (
                1.0 if stretch <= threshold else reach_of_ends(disparity[0, 0, row], x, threshold)
            )
            assert 1 - result.occlusion_mask[0, 0, row, x] == pytest.approx(known, abs=1 / 255)


def sampled_row(colors, disparity, threshold, samples=16):
    """Return colour and missing share of one row: each surface's part of a pixel, by subsamples.

    Surfaces are the sheet's whole pieces, half a pixel longer than their last pixels' centres. A
    subsample shows the nearest one over it; a piece has one colour in a pixel, its sheet's at the
    centre.
    """
    landing = [x - d for x, d in enumerate(disparity)]
    pieces, begin = [], 0
    for x in range(len(disparity) - 1):
        if not 0 < landing[x + 1] - landing[x] <= threshold:
            pieces.append(range(begin, x + 1))
            begin = x + 1
    pieces.append(range(begin, len(disparity)))

    def source(piece, place):
        place = min(max(place, landing[piece[0]]), landing[piece[-1]])
        x = max((x for x in piece[:-1] if landing[x] <= place), default=piece[0])
        if len(piece) == 1:
            return float(x)
        return x + (place - landing[x]) / (landing[x + 1] - landing[x])

    result = []
    for pixel in range(len(disparity)):
        color, missing = torch.zeros(3), 0
        for k in range(samples):
            place = pixel - 0.5 + (k + 0.5) / samples
            over = [p for p in pieces if landing[p[0]] - 0.5 <= place <= landing[p[-1]] + 0.5]
            if not over:
                missing += 1
                continue
            at = max(source(p, place) - place for p in over)
            piece = next(p for p in over if source(p, place) - place == at)
            x = source(piece, pixel)
            low = min(int(x), len(disparity) - 2)
            color += torch.lerp(colors[:, low], colors[:, low + 1], x - low)
        result.append((color / max(samples - missing, 1), missing / samples))
    return result


@pytest.mark.parametrize("seed", range(6))
def test_what_ends_inside_a_pixel_covers_its_share(seed):
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(4, 9, (9,), generator=generator)
    levels = torch.rand(9, generator=generator) * 14  # planes, off the pixels' grid
    disparity = levels.repeat_interleave(lengths)[None, None, None]
    width = disparity.shape[-1]
    video = noise(1, 3, 1, width, seed=seed)
    result = gapw_warp(video, disparity)
    sampled = sampled_row(video[0, :, 0], disparity[0, 0, 0].tolist(), 1.5)
    inside = range(16, width - 16)  # the frame's own borders are no ends
    wrong = 0
    for x in inside:
        color, missing = sampled[x]
        got = result.occlusion_mask[0, 0, 0, x].item()
        wrong += abs(got - missing) > 0.07 or (
            missing < 1 and (result.video[0, :, 0, x] - color).abs().max().item() > 0.08
        )
    assert wrong <= 1  # two ends of different depths in one pixel


def test_nothing_changes_where_nothing_ends_inside_a_pixel():
    """Whole shifts: the mask is 0 or 1, and each pixel a source pixel."""
    disparity = torch.randint(0, 9, (1, 1, 6, 12), generator=torch.Generator().manual_seed(0))
    disparity = disparity.float().repeat_interleave(6, dim=-1)
    video = noise(1, 3, 6, 72)
    result = gapw_warp(video, disparity)
    assert set(result.occlusion_mask.unique().tolist()) <= {0.0, 1.0}
    known = result.occlusion_mask[:, 0] == 0
    source = video.gather(-1, result.coord_map.round().long().clamp(0, 71).expand(-1, 3, -1, -1))
    assert torch.equal(result.video.movedim(1, -1)[known], source.movedim(1, -1)[known])


def test_a_single_near_pixel_is_seen():
    video = torch.zeros(1, 3, 1, 30)
    video[..., 15] = 1
    disparity = torch.zeros(1, 1, 1, 30)
    disparity[..., 15] = 5.25  # lands at 9.75
    result = gapw_warp(video, disparity)
    assert result.video[0, 0, 0, 8:12].tolist() == pytest.approx([0, 0.25, 0.75, 0])


def test_two_planes_open_a_hole_as_wide_as_the_step_right_of_the_near_one():
    video, disparity = two_planes()
    result = gapw_warp(video, disparity)
    hole = result.occlusion_mask[0, 0, 0].nonzero()[:, 0].tolist()
    # The near plane ends at 39 - 9 = 30, the far one goes on at 40 - 2 = 38; 62 and 63 lie beyond
    # the frame.
    assert hole == [*range(31, 38), 62, 63]
    assert torch.equal(result.video[..., 11:31], video[..., 20:40])
    assert torch.equal(result.video[..., 38:62], video[..., 40:64])
    assert torch.equal(result.video[..., 0:11], video[..., 2:13])  # the rest is hidden behind
    assert (result.disparity[..., 11:31] == 9).all()
    assert (result.stretch[..., 31:38] == 8).all()


def test_toward_left_opens_the_hole_left_of_the_near_plane():
    video, disparity = two_planes()
    result = gapw_warp(video, disparity, toward="left")
    hole = result.occlusion_mask[0, 0, 0].nonzero()[:, 0].tolist()
    assert hole == [0, 1, *range(22, 29)]
    assert torch.equal(result.video[..., 29:49], video[..., 20:40])


def test_mirrored_input_gives_the_mirrored_result():
    video, disparity = noise(2, 3, 6, 50), noise(2, 1, 6, 50, seed=1) * 12 - 4
    right = gapw_warp(video, disparity)
    left = gapw_warp(video.flip(-1), disparity.flip(-1), toward="left")
    for name in ("video", "disparity", "occlusion_mask", "stretch"):
        assert torch.equal(getattr(right, name), getattr(left, name).flip(-1)), name
    assert torch.allclose(right.coord_map, 49 - left.coord_map.flip(-1))


def test_background_shows_on_both_sides_of_a_pole_thinner_than_its_shift():
    disparity = torch.zeros(1, 1, 1, 40)
    disparity[..., 20:23] = 12
    result = gapw_warp(noise(1, 3, 1, 40), disparity)
    # Only where the pole stood is nothing known; the sheet behind the pole loses to the solid
    # background.
    assert result.occlusion_mask[0, 0, 0].nonzero()[:, 0].tolist() == [20, 21, 22]
    assert (result.disparity[0, 0, 0, 8:11] == 12).all()


def test_zero_disparity_is_the_identity():
    video = noise(2, 3, 7, 33)
    result = gapw_warp(video, torch.zeros(2, 1, 7, 33))
    assert torch.equal(result.video, video)
    assert result.occlusion_mask.sum() == 0
    assert torch.equal(result.coord_map, torch.arange(33.0).expand(2, 1, 7, 33))
    assert (result.stretch == 1).all()


def test_a_constant_whole_disparity_is_a_pure_shift():
    video = noise(1, 3, 4, 32)
    result = gapw_warp(video, torch.full((1, 1, 4, 32), -5.0))
    assert torch.equal(result.video[..., 5:], video[..., :-5])
    assert result.occlusion_mask[0, 0, 0].tolist() == [1.0] * 5 + [0.0] * 27


def test_a_constant_fractional_disparity_is_the_linear_interpolation():
    video = noise(1, 3, 4, 64)
    result = gapw_warp(video, torch.full((1, 1, 4, 64), 3.25))
    expected = torch.lerp(video[..., 3:63], video[..., 4:64], 0.25)
    assert torch.equal(result.video[..., :60], expected)
    assert result.occlusion_mask[0, 0, 0].tolist() == [0.0] * 60 + [1.0] * 4


def test_cubic_is_catmull_and_roms_spline_within_a_piece_and_linear_at_its_ends():
    video, disparity = two_planes(near=9.25, far=2.5)
    video = 0.25 + video / 2  # room for what overshoots
    linear = gapw_warp(video, disparity)
    cubic = gapw_warp(video, disparity, interpolation="cubic")
    for name in ("occlusion_mask", "coord_map", "stretch", "disparity"):
        assert torch.equal(getattr(linear, name), getattr(cubic, name)), name
    coord = linear.coord_map[0, 0, 0]
    for x in range(13, 28):  # the near plane, two pixels inside
        i, t = int(coord[x]), coord[x] - int(coord[x])
        a, b, c, d = video[0, :, 0, i - 1 : i + 3].unbind(-1)
        cubed = (3 * (b - c) + d - a) * t**3
        spline = b + ((c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + cubed) / 2
        assert torch.allclose(cubic.video[0, :, 0, x], spline, atol=1e-5)
    hole = slice(33, 36)
    assert torch.equal(cubic.video[..., hole], linear.video[..., hole])
    assert not torch.equal(cubic.video, linear.video)


def test_a_fold_is_hidden_and_never_trips_the_mask():
    disparity = torch.zeros(1, 1, 1, 30)
    disparity[..., 15:] = 6  # nearer to the right: the sheet folds at 15
    result = gapw_warp(noise(1, 3, 1, 30), disparity)
    assert result.occlusion_mask[0, 0, 0].nonzero()[:, 0].tolist() == [*range(24, 30)]
    assert (result.disparity[0, 0, 0, 9:24] == 6).all()


def test_a_disparity_beyond_the_width_leaves_nothing_known():
    result = gapw_warp(noise(1, 3, 3, 10), torch.full((1, 1, 3, 10), 25.0))
    assert (result.occlusion_mask == 1).all()
    assert torch.isfinite(result.video).all()
    assert torch.isfinite(result.disparity).all()


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 9), (1, 9, 1), (2, 5, 2)])
def test_any_size(shape):
    frames, height, width = shape
    video = noise(frames, 3, height, width)
    result = gapw_warp(video, torch.zeros(frames, 1, height, width))
    assert torch.equal(result.video, video)
    assert result.occlusion_mask.sum() == 0


def test_frames_are_independent():
    video, disparity = noise(3, 3, 6, 40), noise(3, 1, 6, 40, seed=2) * 9
    whole = gapw_warp(video, disparity)
    for t in range(3):
        alone = gapw_warp(video[t : t + 1], disparity[t : t + 1])
        assert torch.equal(whole.video[t], alone.video[0])
        assert torch.equal(whole.stretch[t], alone.stretch[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"video": torch.zeros(3, 4, 5)}, r"video: expected shape \[T, 3, H, W\], got \[3, 4, 5\]"),
        ({"video": torch.zeros(1, 3, 4, 5, dtype=torch.uint8)}, "video: expected a floating point"),
        ({"disparity": torch.zeros(1, 1, 4, 6)}, r"disparity: expected shape \[1, 1, 4, 5\]"),
        ({"disparity": torch.full((1, 1, 4, 5), math.nan)}, "disparity: expected finite values"),
        ({"interpolation": "nearest"}, "interpolation: expected one of linear, cubic"),
        ({"toward": "up"}, "toward: expected one of right, left, got 'up'"),
        ({"stretch_threshold": 0.5}, "stretch_threshold: expected at least 1"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    arguments = {"video": torch.zeros(1, 3, 4, 5), "disparity": torch.zeros(1, 1, 4, 5)} | change
    with pytest.raises((TypeError, ValueError), match=message):
        gapw_warp(**arguments)


class TestBuildPair:
    def test_the_target_is_the_video_and_the_hole_lies_right_of_the_near_plane(self):
        video, disparity = two_planes()
        pair = build_pair(video, disparity)
        assert torch.equal(pair.target, video)
        # Projected left and back, the far plane right of the near one is what the left view cannot
        # see.
        assert pair.occlusion_mask[0, 0, 0].nonzero()[:, 0].tolist() == [*range(40, 47), 62, 63]
        assert torch.equal(pair.masked, video * (1 - pair.occlusion_mask))

    @pytest.mark.parametrize("seed", range(8))
    def test_the_mask_is_what_the_left_view_cannot_see(self, seed):
        """Nearest-pixel rendering: a pixel is hidden where a nearer one lands on its place."""
        generator = torch.Generator().manual_seed(seed)
        blocks = torch.randint(-2, 3, (1, 1, 6, 8), generator=generator) * 3.0
        disparity = blocks.repeat_interleave(10, dim=-1)  # whole pixels
        mask = build_pair(noise(1, 3, 6, 80), disparity).occlusion_mask[0, 0]
        wrong = 0
        for row, hidden in zip(disparity[0, 0].tolist(), mask.tolist(), strict=True):
            nearest = {}
            for x, d in enumerate(row):
                nearest[x + d] = max(nearest.get(x + d, -math.inf), d)
            seen = [0 <= x + d < 80 and nearest[x + d] == d for x, d in enumerate(row)]
            wrong += sum(s != (h == 0) for s, h in zip(seen, hidden, strict=True))
        # A lone visible pixel spans no interval of the sheet.
        assert wrong <= 2

"""Whole right eyes against known ones: the baseline, the band, the cases without a pair."""

import json
import math
from fractions import Fraction

import cv2
import numpy as np
import pytest
import torch

import evaluate
from data.files import DataError
from dreamstereo_core import ClassicInpainter, probe
from dreamstereo_core.depth import ClipDepth
from dreamstereo_core.video_io import VideoWriter
from evaluation.baselines import forward_warp, grow_at_edges, splat
from evaluation.clips import Selection
from evaluation.right_eye import (
    FORWARD,
    SHEET,
    edge_band,
    made_eyes,
    own_depth,
    score_eye,
    shrink,
    true_pair,
    true_pairs,
)
from evaluation.silhouettes import SOURCE, cartoon, change, outline_kept, subtitle, white_kept

HEIGHT, WIDTH, NEAR, FAR = 64, 320, 12, 4
SQUARE = (slice(16, 48), slice(160, 220))
CLASSIC = {"classic": ClassicInpainter()}


def texture(seed=0, width=WIDTH):
    noise = np.random.default_rng(seed).integers(0, 256, (HEIGHT, width, 3)).astype(np.uint8)
    return cv2.GaussianBlur(noise, (5, 5), 1.0)


def two_planes():
    """A near square before a far wall: both views in 8 bits, and the left one's disparity."""
    wall, near = texture(0, WIDTH + FAR), texture(1)
    left, right = wall[:, :WIDTH].copy(), wall[:, FAR:].copy()
    left[SQUARE] = near[SQUARE]
    rows, columns = SQUARE
    right[rows, columns.start - NEAR : columns.stop - NEAR] = near[SQUARE]
    disparity = np.full((HEIGHT, WIDTH), FAR, np.float32)
    disparity[SQUARE] = NEAR
    return left, right, torch.from_numpy(disparity)[None, None]


def save_two_planes(folder, *, with_disparity):
    folder.mkdir()
    left, right, disparity = two_planes()
    cv2.imwrite(str(folder / "room_left.png"), left)
    cv2.imwrite(str(folder / "room_right.png"), right)
    if with_disparity:
        np.save(folder / "room_disp.npy", disparity[0, 0].numpy())


def test_the_nearest_lands_and_gaps_repeat_their_far_end():
    video = torch.tensor([0.1, 0.2, 0.8, 0.9, 0.3, 0.4]).expand(1, 3, 1, 6)
    disparity = torch.tensor([0.0, 0, 1.2, 1.2, 0, 0]).view(1, 1, 1, 6)
    made = splat(video, disparity)[0, 0, 0]
    # The near pair lands on 0.8 and 1.8, wins columns 0 to 2, and leaves column 3.
    assert made.tolist() == pytest.approx([0.8, 0.82, 0.9, 0.3, 0.3, 0.4], abs=1e-4)
    half = splat(video, torch.full_like(disparity, 0.5))[0, 0, 0]
    assert half[:5].tolist() == pytest.approx([0.15, 0.5, 0.85, 0.6, 0.35], abs=1e-4)


def test_only_edges_of_depth_grow():
    plane = torch.zeros(1, 1, 9, 9)
    plane[..., 5:] = 1
    assert torch.equal(grow_at_edges(plane, 2)[0, 0, 0], torch.tensor([0.0] * 3 + [1.0] * 6))
    slope = torch.linspace(0, 0.01, 9).expand(1, 1, 9, 9)
    assert torch.allclose(grow_at_edges(slope, 2), slope, atol=2e-3)


def test_the_band_lies_around_both_ends_in_the_right_view():
    disparity = torch.zeros(1, 1, 9, 60)
    disparity[..., 4, 30:] = 10  # a row whose right half is near: its ends land on 29 and 20
    band = edge_band(disparity)[0, 0]
    assert band[3:6].all(0).nonzero()[:, 0].tolist() == [*range(14, 36)]
    assert not band[:3].any() and not band[6:].any()
    assert not edge_band(disparity / 5).any()  # a step of 2 px is no jump


def test_two_exact_planes_are_made_exactly_where_they_are_known():
    pair = true_pair("planes", *two_planes())
    assert pair.max_disparity == pytest.approx(100 * (NEAR - FAR) / WIDTH)
    assert pair.lost == FAR
    band = edge_band(pair.disparity) * pair.frame
    eyes = made_eyes(pair.left, pair.depths["true"], CLASSIC, pair.max_disparity)
    assert list(eyes) == ["classic", SHEET, FORWARD]
    forward = score_eye(eyes[FORWARD], pair, band)
    assert forward["psnr_band_known"] > 60  # what is left is the baseline's least weight
    assert 10 < forward["psnr_band"] < forward["psnr_frame"] < 40
    # Holes of the near square's width of parallax, right of it, and nowhere else.
    missing = (pair.known == 0)[0, 0]
    rows, columns = SQUARE
    assert int(missing[:, : columns.stop].sum()) == (rows.stop - rows.start) * (NEAR - FAR)
    for row in ("classic", SHEET):
        assert score_eye(eyes[row], pair, band)["psnr_frame"] > 15
    exact = score_eye(pair.right, pair, band)
    assert exact == dict.fromkeys(("psnr_band", "psnr_band_known", "psnr_frame"), math.inf)


def test_a_depth_of_the_pairs_own_is_fitted_to_the_matched_one():
    pair = true_pair("planes", *two_planes())

    class Scaled(ClipDepth):
        normalized = True

    fitted = own_depth(pair, Scaled(0.2 + 0.3 * pair.depths["true"]))
    off = (fitted - pair.depths["matched"]).abs()
    assert off.median() < 0.02
    with pytest.raises(ValueError, match="planes: expected several disparities"):
        true_pair("planes", *two_planes()[:2], torch.full((1, 1, HEIGHT, WIDTH), 5.0))


def test_depth_is_averaged_to_384_columns():
    plane = torch.arange(768.0).expand(1, 1, 100, 768)
    assert shrink(plane).shape == (1, 1, 50, 384)
    assert torch.allclose(shrink(plane)[0, 0, 0], torch.arange(384.0) * 2 + 0.5)
    assert shrink(plane[..., :100]).shape == (1, 1, 100, 100)


def test_folders_of_pairs(tmp_path):
    save_two_planes(tmp_path / "true", with_disparity=True)
    save_two_planes(tmp_path / "matched", with_disparity=False)
    kinds = {name: list(true_pairs(tmp_path / name, Selection())) for name in ("true", "matched")}
    assert [list(pair.depths) for pairs in kinds.values() for pair in pairs] == [
        ["matched", "small", "true"],
        ["matched", "small"],
    ]
    assert torch.equal(kinds["true"][0].left, kinds["matched"][0].left)
    with pytest.raises(DataError, match="expected a folder"):
        next(true_pairs(tmp_path / "nowhere", Selection()))


def test_letters_that_move_are_kept_and_torn_ones_are_not():
    frame = torch.full((1, 3, 120, 320), 0.9)
    titled = subtitle(frame)
    assert 0.01 < (titled.amin(1) > 0.5).float().mean() < 0.1
    assert white_kept(titled.roll(3, -1), titled) == 1
    torn = titled.clone()
    torn[..., 160:] = 0
    assert white_kept(torn, titled) == pytest.approx(0.5, abs=0.1)
    assert white_kept(frame * 0.45, titled) == 0


def test_an_outline_counts_where_it_belongs():
    picture, depth = cartoon()
    assert picture.shape == (1, 3, 360, 640) and depth.shape == (1, 1, 216, 384)
    assert outline_kept(picture, 0) == 1
    assert outline_kept(picture.roll(-19, -1), 19) == 1
    assert outline_kept(picture, 19) < 0.3
    half = picture.clone()
    half[..., 320:] = 0.9
    assert outline_kept(half, 0) == pytest.approx(0.5, abs=0.02)


def test_change_along_the_flow():
    wide = torch.from_numpy(texture(2, WIDTH + 4)).permute(2, 0, 1)[None].float() / 255
    moving = torch.cat([wide[..., t : t + WIDTH] for t in range(3)])
    steady, restless = change(moving), change(moving + torch.tensor([0, 0.1, 0]).view(3, 1, 1, 1))
    assert change(moving[:1].expand(3, -1, -1, -1)) == {"change_mean": 0, "change_99": 0}
    assert steady["change_mean"] < 8
    assert restless["change_mean"] == pytest.approx(25.5, abs=3)
    assert restless["change_99"] > restless["change_mean"]
    assert math.isnan(change(moving[:1])["change_mean"])


def test_one_command_measures_pairs_subtitles_cartoon_and_clips(tmp_path, capsys):
    save_two_planes(tmp_path / "pairs", with_disparity=True)
    (tmp_path / "videos").mkdir()
    info = probe(tmp_path / "pairs" / "room_left.png")
    left, _, disparity = two_planes()
    still = torch.from_numpy(left[..., ::-1].copy()).permute(2, 0, 1).float() / 255
    with VideoWriter(tmp_path / "videos" / "a.mp4", info, WIDTH, HEIGHT) as writer:
        video = torch.stack([still.roll(-t, -1) for t in range(3)])
        writer.write(video, [Fraction(t, 24) for t in range(3)])
    near = ((disparity[0, 0] - FAR) / (NEAR - FAR) * 255).byte().numpy()
    cv2.imwrite(str(tmp_path / "depth.png"), near)
    places = ["--right-eye", tmp_path / "pairs", "--videos", tmp_path / "videos"]
    places += ["--output", tmp_path / "out", "--depth", tmp_path / "depth.png"]
    small = ["--size", f"{WIDTH}x{HEIGHT}", "--frames", "2", "--start", "0", "--fill", "classic"]
    assert evaluate.main([*map(str, places), *small, "--max-disparity", "4"]) == 0
    printed = capsys.readouterr().out
    means = json.loads((tmp_path / "out" / "evaluation.json").read_text())["means"]
    rows = ["classic", SHEET, FORWARD]
    depths = ("matched", "small", "true", "own (depth)")
    assert list(means) == [
        *(f"right eyes of pairs, depth: {depth}" for depth in depths),
        "cartoon disc",
        "subtitles, depth: depth",
        "clips along their flow, 4 %, depth: depth",
    ]
    for kind, scores in means.items():
        assert list(scores) == rows + [SOURCE] * kind.startswith("clips")
    assert "| fill | PSNR: edge band | its known pixels | frame | ST-LPIPS |" in printed
    true = means["right eyes of pairs, depth: true"]["classic"]
    assert f"| classic | {true['psnr_band']:.2f} | ∞ | {true['psnr_frame']:.2f} |" in printed
    assert 0 < means["subtitles, depth: depth"]["classic"]["white_kept"] <= 1
    assert (tmp_path / "out" / "evaluation.png").exists()


def test_nothing_to_measure_is_said(tmp_path, capsys):
    assert evaluate.main(["--right-eye", str(tmp_path), "--fill", "classic"]) == 1
    assert "expected pairs of *_left.png and *_right.png" in capsys.readouterr().err


def test_the_forward_warp_grows_small_depth_only():
    video = torch.from_numpy(texture()).permute(2, 0, 1)[None].float() / 255
    flat = torch.full((1, 1, 8, 20), 0.5)
    same = forward_warp(video, flat, max_disparity=5, convergence=0.5)
    assert torch.allclose(same, video, atol=1e-4)

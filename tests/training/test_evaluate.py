"""The evaluation end to end on tiny media, and the data and the baselines behind it."""

import json
import math
import sys
import types
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import evaluate
from data.files import DataError
from dreamstereo_core import (
    ClassicInpainter,
    DiffusionInpainter,
    Inpainter,
    gapw_warp,
    load_vae,
    probe,
)
from dreamstereo_core.fill import DEFAULTS, MiniInpainter
from dreamstereo_core.models.files.load import save_network
from dreamstereo_core.models.files.transformer import TRANSFORMER
from dreamstereo_core.models.inpainter import InpaintingConfig, InpaintingNetwork
from dreamstereo_core.models.transformer import Transformer
from dreamstereo_core.models.vae.checkpoint import VAE, build_vae
from dreamstereo_core.video_io import VideoWriter
from evaluation import comparison, fills, report
from evaluation.arguments import parse_options
from evaluation.clips import Selection, project_back, read_stereo_pair, real_videos, stereo_clip
from evaluation.perceptual import Perceptual
from evaluation.reconstruct import reconstruct, reconstruction_scores
from evaluation.report import TILE, busiest_window, lost_table, plain
from evaluation.scores import Scorer, mean_scores

from ..models.fakes import SMALL_VAE, TINY

DEMO = Path(__file__).parents[2] / "docs" / "demo.mp4"
HEIGHT, WIDTH = 48, 96


def texture(seed, height=60, width=120):
    """A smooth random picture `[3, H, W]`, so that codecs and flow can follow it."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, height // 6, width // 6, generator=generator)
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)[0]


def save(path, picture):
    image = (picture.permute(1, 2, 0) * 255).round().byte().numpy()
    cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


def save_pair(folder, disparity, name="disp.npy"):
    folder.mkdir(parents=True)
    save(folder / "a_left.png", texture(1))
    save(folder / "a_right.png", texture(2))
    np.save(folder / name, disparity)


@pytest.fixture
def media(tmp_path):
    """A folder of videos, of which one is broken, of photographs, and of stereo pairs."""
    (tmp_path / "videos").mkdir()
    video = torch.stack([texture(0, HEIGHT, WIDTH + 8)[..., t : t + WIDTH] for t in range(6)])
    with VideoWriter(tmp_path / "videos" / "a.mp4", probe(DEMO), WIDTH, HEIGHT) as writer:
        writer.write(video, [Fraction(t, 24) for t in range(6)])
    (tmp_path / "videos" / "broken.mp4").write_bytes(b"no video")
    (tmp_path / "photos").mkdir()
    for seed in (3, 4):
        save(tmp_path / "photos" / f"{seed}.png", texture(seed))
    disparity = np.full((60, 120), 2.0, np.float32)
    disparity[20:40, 40:60] = 8
    save_pair(tmp_path / "pairs" / "one", disparity)
    right = gapw_warp(texture(1)[None], torch.from_numpy(disparity)[None, None]).video
    save(tmp_path / "pairs" / "one" / "a_right.png", right[0])
    near = np.zeros((HEIGHT, WIDTH), np.uint8)
    near[12:36, 30:60] = 255
    cv2.imwrite(str(tmp_path / "depth.png"), near)
    return tmp_path


def arguments(media, *more):
    small = ["--size", f"{WIDTH}x{HEIGHT}", "--frames", "4", "--start", "1", "--composites", "2"]
    return [*small, "--output", str(media / "out"), *map(str, more)]


def test_one_command_measures_every_fill_on_every_source(media, capsys):
    sources = ["--videos", media / "videos", "--photos", media / "photos"]
    sources += ["--stereo", media / "pairs", "--depth", media / "depth.png"]
    options = arguments(media, *sources, "--max-disparity", 10, "--fill", "classic")
    assert evaluate.main(options) == 0
    printed = capsys.readouterr()
    record = json.loads((media / "out" / "evaluation.json").read_text())
    kinds = {"real clips, 10 %": 1, "composites, 10 %": 2, "stereo pairs": 1}
    rows = ["classic", *comparison.BASELINES, comparison.SHEET, "(truth)"]
    assert {k: list(r) for k, r in record["means"].items()} == dict.fromkeys(kinds, rows)
    assert len(record["clips"]) == 4
    for kind, count in kinds.items():
        assert f"**{kind}** ({count})" in printed.out
        for row in rows[:-1]:
            scores = record["means"][kind][row]
            assert scores["known_exact"] == 1
            assert 3 < scores["psnr_hole"] < scores["psnr_full"]
            assert 0 < scores["st_lpips_full"] != scores["st_lpips_hole"]
    assert (media / "out" / "evaluation.md").read_text() == printed.out
    assert "broken.mp4" in printed.err and len(record["left_out"]) == 1
    assert "Left out (1): " in printed.out
    grid = cv2.imread(str(media / "out" / "evaluation.png"))
    assert grid is not None and grid.shape[:2] == (3 * 84 + 96, 8 * 60)


def measured(clip, named):
    return comparison.measure_clip(Scorer(clip, Perceptual(), 2), named)


@pytest.fixture
def grey():
    """A grey still scene with a near square: every figure is arithmetic."""
    video = torch.full((3, 3, HEIGHT, WIDTH), 0.5)
    disparity = torch.zeros(3, 1, HEIGHT, WIDTH)
    disparity[..., 12:36, 30:60] = 6
    return project_back("grey", "one", video, disparity)


def test_the_truth_as_a_fill_is_perfect():
    wide = texture(0, HEIGHT, WIDTH + 4)
    video = torch.stack([wide[..., 2 * t : 2 * t + WIDTH] for t in range(3)])
    disparity = torch.zeros(3, 1, HEIGHT, WIDTH)
    disparity[..., 12:36, 30:60] = 6
    clip = project_back("moving", "one", video, disparity)
    rows, pictures = measured(clip, {"truth": lambda video, mask, disparity: clip.truth})
    assert list(rows) == [
        "truth",
        comparison.SHEET,
        "(truth)",
    ]  # its raw output is what the blend gives
    scores = rows["truth"]
    for name in ("psnr_full", "psnr_hole", "psnr_ring"):
        assert scores[name] == math.inf
    for name in ("ssim_full", "ssim_hole", "ssim_ring"):
        assert scores[name] == pytest.approx(1, abs=1e-6)
    assert scores["siou"] == scores["known_exact"] == 1
    zero = ("st_lpips_full", "st_lpips_hole", "seam", "drift_mean_hole", "drift_std_known")
    assert all(scores[name] == 0 for name in zero)
    assert scores["temporal_hole"] == rows["(truth)"]["temporal_hole"] > 0
    assert torch.equal(pictures["truth"], clip.truth)


def test_a_constant_fill_scores_what_arithmetic_says(grey):
    def constant(video, mask, disparity):
        return torch.where(mask > 0, torch.full_like(video, 0.7), video)

    def everywhere(video, mask, disparity):
        return torch.full_like(video, 0.7)

    rows, _ = measured(grey, {"holes": constant, "everywhere": everywhere})
    assert list(rows) == ["holes", "everywhere", "everywhere, raw", comparison.SHEET, "(truth)"]
    share = float(grey.mask.mean())
    assert share == pytest.approx(24 * 6 / (HEIGHT * WIDTH), rel=0.2)
    for row in ("holes", "everywhere, raw"):
        assert rows[row]["psnr_hole"] == pytest.approx(-10 * math.log10(0.04), abs=1e-3)
    whole = -10 * math.log10(0.04 * share)
    assert rows["holes"]["psnr_full"] == pytest.approx(whole, abs=1e-3)
    assert rows["everywhere, raw"]["psnr_full"] == pytest.approx(-10 * math.log10(0.04), abs=1e-3)
    assert rows["holes"]["seam"] == pytest.approx(0.2 * 255, rel=1e-4)
    assert rows["everywhere, raw"]["seam"] == pytest.approx(0, abs=1e-4)
    # Two flat greys of one structure: SSIM is the luminance term alone.
    c1 = 0.01**2
    flat = (2 * 0.5 * 0.7 + c1) / (0.5**2 + 0.7**2 + c1)
    assert rows["everywhere, raw"]["ssim_full"] == pytest.approx(flat, abs=1e-3)
    lightness = [116 * (((v + 0.055) / 1.055) ** 2.4) ** (1 / 3) for v in (0.5, 0.7)]
    drift = lightness[1] - lightness[0]
    assert rows["everywhere, raw"]["drift_mean_known"] == pytest.approx(drift, abs=0.1)
    assert rows["everywhere, raw"]["known_exact"] == 0
    # The blend takes the shift that it finds on known pixels off the holes' border.
    assert rows["everywhere"]["psnr_hole"] > 20
    assert rows["everywhere"]["known_exact"] == 1 and rows["everywhere"]["drift_mean_known"] == 0


def test_a_fill_finds_the_sheet_in_its_holes_as_in_the_pipeline(grey):
    seen = []

    class Looking(Inpainter):
        name = "looking"

        def stream(self, frames, options=DEFAULTS):
            for frame in frames:
                seen.append(frame)
                yield frame.video

    rows, pictures = measured(grey, {"looking": fills.ModelFill(Looking())})
    assert all(frame.stretched for frame in seen) and len(seen) == 3
    assert torch.equal(torch.cat([frame.video for frame in seen]), grey.sheet)
    assert torch.equal(pictures[comparison.SHEET], grey.sheet)
    assert rows[comparison.SHEET]["known_exact"] == 1
    seen.clear()
    measured(grey, {"looking": fills.ModelFill(Looking(), plain=True)})
    assert not any(frame.stretched for frame in seen)


class Counting(Inpainter):
    name = "counting"

    def stream(self, frames, options=DEFAULTS):
        for frame in frames:  # the denser, the better
            known = frame.video * (1 - frame.occlusion_mask)
            yield known + frame.occlusion_mask * (0.5 - 0.2 / options.dilation)


def test_sparse_is_compared_with_dense(media, monkeypatch, capsys):
    known = {"classic": ClassicInpainter(), "some/model.safetensors": Counting()}
    monkeypatch.setattr(comparison, "load_inpainter", lambda spec, *_, **options: known[spec])
    options = ["--photos", media / "photos", "--fill", "classic", "some/model.safetensors"]
    options += ["--dilation", 1, 3, "dense", "--perceptual-frames", 0]
    options += ["--size", "320x128", "--composites", 1]
    assert evaluate.main(arguments(media, *options)) == 0
    printed = capsys.readouterr().out
    means = json.loads((media / "out" / "evaluation.json").read_text())["means"]
    rows = means["composites, 7 %"]
    names = [f"model, {d}" for d in ("dilation 1", "dilation 3", "dense")]
    assert list(rows)[:4] == ["classic", *names]
    kept = [rows[name]["tokens_kept"] for name in names]
    assert 0 < kept[0] < kept[1] < kept[2] == 1
    assert "**Sparse minus dense**" in printed and "st_lpips_full" not in rows["classic"]
    lost = rows[names[0]]["psnr_hole"] - rows[names[2]]["psnr_hole"]
    assert f"| composites, 7 % | {names[0]} | {100 * kept[0]:.1f} | {lost:+.2f} |" in printed


def test_minis_tokens_are_those_around_its_wide_holes():
    mask = torch.zeros(2, 1, 64, 96)
    mask[0, :, 20:30, 40:46] = 1  # one token
    mask[0, :, 20:30, 80:82] = 1  # narrow
    fill = MiniInpainter(InpaintingNetwork(InpaintingConfig(24, 24, 2, num_layers=1)))
    assert fills.has_tokens(fill)
    assert not fills.has_tokens(ClassicInpainter())
    kept = [
        fills.ModelFill(fill, num_steps=1, dilation=d, seed=0).tokens_kept(mask)
        for d in (1, 3, "dense")
    ]
    assert kept == pytest.approx([1 / 48, 9 / 48, 24 / 48])


def test_what_no_still_has_is_a_dash_in_the_table_of_losses():
    scores = {"psnr_hole": 20.0, "tokens_kept": 0.5}
    column = next(c for c in report.LOST if c.startswith("temporal"))
    rows = {"k": {**scores, column: math.nan}, "d": {**scores, "psnr_hole": 20.5, column: math.nan}}
    table = report.lost_table({"stereo pairs": rows}, [("k", "d")])
    assert "nan" not in table
    assert "| -0.50 |" in table


@pytest.fixture
def checkpoint(media):
    """Options of a tiny diffusion inpainter with random weights."""
    torch.manual_seed(0)
    model = Transformer(TINY)
    torch.nn.init.normal_(model.head.head.weight, std=0.05)
    save_network(model, media / "tiny.safetensors", TRANSFORMER)
    save_network(build_vae(SMALL_VAE), media / "vae.safetensors", VAE)
    save_file({"context": torch.zeros(1, 2, TINY.text_dim)}, media / "context.safetensors")
    options = ["--fill", media / "tiny.safetensors", "--vae", media / "vae.safetensors"]
    return [*options, "--context", media / "context.safetensors"]


def test_a_checkpoint_is_measured_raw_and_blended(media, checkpoint):
    options = ["--photos", media / "photos", "--composites", 1, "--perceptual-frames", 0]
    assert evaluate.main(arguments(media, *options, *checkpoint)) == 0
    means = json.loads((media / "out" / "evaluation.json").read_text())["means"]
    rows = means["composites, 7 %"]
    assert list(rows)[:2] == ["tiny", "tiny, raw"]
    assert rows["tiny"]["known_exact"] == 1
    assert rows["tiny, raw"]["known_exact"] < 0.01
    assert rows["tiny"]["psnr_full"] > rows["tiny, raw"]["psnr_full"]
    assert rows["tiny"]["psnr_ring"] == "inf" != rows["tiny, raw"]["psnr_ring"]
    assert 0 < rows["tiny"]["tokens_kept"] <= 1
    assert "ms_frame" not in rows["tiny"]


def test_the_papers_protocol_is_plain(media, checkpoint, capsys):
    options = ["--photos", media / "photos", "--composites", 1, "--perceptual-frames", 0, "--paper"]
    options += ["--dilation", 1, "dense", "--size", "160x96"]
    assert evaluate.main(arguments(media, *options, *checkpoint)) == 0
    rows = json.loads((media / "out" / "evaluation.json").read_text())["means"]["composites, 7 %"]
    assert rows["tiny, dense"]["tokens_kept"] == 1 > rows["tiny, dilation 1"]["tokens_kept"] > 0
    for row in ("tiny, dense", "tiny, dilation 1"):
        parts = [rows[row][name] for name in ("ms_frame", "ms_dit", "ms_vae")]
        assert min(parts) > 0 and parts[0] > parts[1] + parts[2]
        # Without a feather a hole holds the raw pixels.
        assert rows[row]["psnr_hole"] == rows[f"{row}, raw"]["psnr_hole"]
    assert "its DiT" in capsys.readouterr().out
    videos = ["--videos", media / "videos", "--depth", media / "depth.png"]
    assert evaluate.main(arguments(media, *videos, *checkpoint, "--paper", "--frames", 81)) == 1
    assert "a.mp4: expected 81 frames up to the first cut, got 5" in capsys.readouterr().err


def clip_with_narrow_holes():
    """Nine frames `[9, 3, 64, 96]`; the first two have narrow holes only."""
    video = torch.stack([texture(0, 64, 104)[..., t : t + 96] for t in range(9)])
    mask = torch.zeros(9, 1, 64, 96)
    mask[:, :, 4:60, 10:12] = 1
    mask[2:, :, 20:30, 40:46] = 1
    return video * (1 - mask), mask, torch.zeros_like(mask)


@torch.inference_mode()
def test_sampler_and_size_reach_a_checkpoint(checkpoint):
    options = [*map(str, checkpoint), "--num-steps", "3"]
    options += ["--sampler", "renoise", "--fill-size", "80x48"]
    fill = comparison.load_fills(parse_options(options))["tiny"]
    video, mask, disparity = clip_with_narrow_holes()
    made, _ = fill.filled(video, mask, disparity)
    plain = replace(fill.inpainter, fill_size=None)
    scaled = replace(plain, fill_size=(48, 80))
    for inpainter, sampler in ((plain, "renoise"), (scaled, "euler"), (scaled, "renoise")):
        other = inpainter.inpaint(video, mask, num_steps=3, sampler=sampler)
        assert torch.equal(made, other) == (inpainter is scaled and sampler == "renoise")


@pytest.mark.parametrize("fill_size", [None, (40, 60)])
@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("dilation", [1, 3, "dense"])
def test_the_tokens_kept_are_those_that_the_transformer_gets(dilation, plain, fill_size):
    torch.manual_seed(0)
    transformer = Transformer(TINY)
    vae = build_vae(SMALL_VAE).eval()
    inpainter = DiffusionInpainter(transformer.eval(), vae, fill_size=fill_size)
    fill = fills.ModelFill(inpainter, dilation=dilation, plain=plain)
    got = []
    forward = transformer.forward
    transformer.forward = lambda x, c, tokens: got.append(tokens.shape[1]) or forward(x, c, tokens)
    video, mask, disparity = clip_with_narrow_holes()
    with torch.inference_mode():
        fill.inpainter.inpaint(
            video, mask, disparity=disparity, dilation=1 if dilation == "dense" else dilation
        )
        if plain:
            got.clear()
            fill.filled(video, mask, disparity)
    all_tokens = 3 * 4 * 6 if fill_size is None else 3 * 3 * 4
    assert fill.tokens_kept(mask) == pytest.approx(got[0] / all_tokens)
    if dilation == 1 and not plain and fill_size is None:
        assert got[0] == 3  # one token in each latent frame from the first wide hole on


@torch.inference_mode()
def test_raw_frames_are_the_autoencoders_alone():
    torch.manual_seed(0)
    inpainter = DiffusionInpainter(Transformer(TINY).eval(), build_vae(SMALL_VAE).eval())
    video, mask, disparity = clip_with_narrow_holes()
    for start in (0, 2):  # without, and with a wide hole in the first frame
        clip = [part[start:] for part in (video, mask, disparity)]
        finished, raw = fills.ModelFill(inpainter).filled(*clip)
        assert torch.equal(finished, inpainter.inpaint(clip[0], clip[1]))
        known = clip[1] == 0
        assert not (raw == clip[0])[known.expand_as(raw)].float().mean() > 0.01
        assert len(raw) == len(clip[0])
    plain, same = fills.ModelFill(inpainter, plain=True).filled(video, mask, disparity)
    assert torch.equal(plain, same)


def test_tiles_are_looked_for_once(monkeypatch):
    inpainter = DiffusionInpainter(Transformer(TINY), build_vae(SMALL_VAE))
    fill, video = fills.ModelFill(inpainter), torch.zeros(1, 3, 50, 96)
    assert fill._tiled(inpainter, video) is inpainter  # on a CPU there is nothing to fit
    asked = []
    monkeypatch.setattr(DiffusionInpainter, "fit_tile", lambda self, size: asked.append(size))
    on_gpu = replace(inpainter, device=torch.device("cuda"))
    assert [fill._tiled(on_gpu, video).tile for _ in range(2)] == [fills.WHOLE] * 2
    assert asked == [(64, 96)]
    picture = torch.rand(1, 3, 5, 32, 48)
    whole, tiled = (inpainter.vae.encode(picture, tile=t) for t in (None, fills.WHOLE))
    assert torch.allclose(whole, tiled, atol=1e-5)


def test_files_of_one_name_keep_a_row_each():
    names = fills.row_names(["classic", "a/x/model.safetensors", "b/x/model.pt", "c/other.pt"])
    assert list(names.values()) == ["classic", "a/x/model", "b/x/model", "other"]
    assert list(fills.row_names(["m.safetensors", "m.pt"]).values()) == ["m.safetensors", "m.pt"]
    assert list(fills.row_names(["classic", "classic"]).values()) == ["classic"]


def test_lpips_is_measured_or_says_what_it_needs(media, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "lpips", None)
    photos = ["--photos", media / "photos", "--composites", 1, "--perceptual-frames", 1]
    options = arguments(media, *photos, "--fill", "classic", "--lpips")
    assert evaluate.main(options) == 1
    assert "LPIPS: cannot be measured" in (said := capsys.readouterr().err)
    assert "pip install lpips torchvision" in said
    fake = types.ModuleType("lpips")
    fake.LPIPS = lambda net, verbose: FakeLpips()
    monkeypatch.setitem(sys.modules, "lpips", fake)
    assert evaluate.main(options) == 0
    rows = json.loads((media / "out" / "evaluation.json").read_text())["means"]["composites, 7 %"]
    assert 0 < rows["classic"]["lpips_full"] < 0.1
    assert "| LPIPS |" in capsys.readouterr().out


class FakeLpips(torch.nn.Module):
    def forward(self, a, b, normalize):
        assert normalize and a.shape == b.shape and a.shape[:2] == (1, 3)
        return (a - b).square().mean().view(1, 1, 1, 1)


def test_an_autoencoder_is_measured_by_what_comes_back(media, capsys):
    torch.manual_seed(0)
    save_network(build_vae(SMALL_VAE), media / "vae.safetensors", VAE)
    sources = ["--videos", media / "videos", "--photos", media / "photos", "--limit", 1]
    options = [*sources, "--reconstruct", media / "vae.safetensors"]
    assert evaluate.main(arguments(media, *options)) == 0
    means = json.loads((media / "out" / "evaluation.json").read_text())["means"]
    assert list(means) == ["real clips", "photographs"]
    spec = str(media / "vae.safetensors")
    (_, video) = next(
        real_videos(media / "videos", Selection((WIDTH, HEIGHT), frames=4, starts=[1], limit=1))
    )
    expected = reconstruction_scores(video, reconstruct(load_vae(spec), video), None)
    assert means["real clips"][spec]["psnr_full"] == pytest.approx(expected["psnr_full"])
    assert 3 < expected["psnr_full"] < 30  # random weights
    assert reconstruction_scores(video, video, None)["psnr_full"] == math.inf
    assert means["photographs"][spec]["temporal_full"] is None
    assert "**photographs** (1)" in capsys.readouterr().out
    assert evaluate.main(["--reconstruct", spec]) == 1
    assert "expected --videos or --photos with a usable file" in capsys.readouterr().err


def test_bad_input_is_said_in_one_line(media, capsys):
    def fails(*options):
        assert evaluate.main([*map(str, options), "--frames", "4", "--perceptual-frames", "0"]) == 1
        return capsys.readouterr().err

    empty = media / "empty"
    empty.mkdir()
    assert f"{empty}: expected a folder of videos, got none" in fails("--videos", empty)
    assert "expected a folder of photographs" in fails("--photos", empty)
    assert "expected a folder, there is none" in fails("--stereo", media / "nothing")
    assert "expected --videos, --photos, --stereo or" in fails()
    (media / "videos" / "a.mp4").unlink()
    said = fails("--videos", media / "videos")
    assert "broken.mp4" in said and "with a usable file, got none" in said
    photos = media / "photos"
    assert "'/no/model.safetensors'" in fails("--photos", photos, "--fill", "/no/model.safetensors")
    for wrong in (["--dilation", "4"], ["--size", "10x10"], ["--fill"]):
        with pytest.raises(SystemExit) as stopped:
            evaluate.main(wrong)
        assert stopped.value.code == 2


def test_a_clip_without_holes_is_left_out(media, capsys):
    save_pair(media / "pairs" / "flat", np.full((60, 120), 2.0))  # its border is not measured
    options = ["--stereo", media / "pairs", "--perceptual-frames", 0]
    assert evaluate.main(arguments(media, *options)) == 0
    printed = capsys.readouterr()
    assert "left out: flat (stereo pairs): no holes" in printed.err
    assert "**stereo pairs** (1)" in printed.out


def test_a_real_clip_begins_after_the_dark_and_ends_at_a_cut(media):
    shots = [texture(seed, HEIGHT, WIDTH) for seed in (5, 6)]
    video = torch.stack([shots[0]] * 8 + [shots[1]] * 8)
    with VideoWriter(media / "videos" / "b.mp4", probe(DEMO), WIDTH, HEIGHT) as writer:
        writer.write(video, [Fraction(t, 24) for t in range(16)])
    for name, dark in (("c.mp4", 12), ("d.mp4", 16)):
        video[:dark] = 0.02
        with VideoWriter(media / "videos" / name, probe(DEMO), WIDTH, HEIGHT) as writer:
            writer.write(video, [Fraction(t, 24) for t in range(16)])
    selection = Selection((WIDTH, HEIGHT), frames=14, starts=[2])
    clips = dict(real_videos(media / "videos", selection))
    lengths = {name: len(clip) for name, clip in clips.items()}
    short = {"a.mp4": 4, "b.mp4": 6, "c.mp4": 4}
    assert lengths == {f"{name} ({n} of 14 frames)": n for name, n in short.items()}
    exact = Selection((WIDTH, HEIGHT), frames=14, starts=[2], exact=True)
    with pytest.raises(DataError, match=r"a\.mp4: expected 14 frames up to the first cut, got 4"):
        list(real_videos(media / "videos", exact))
    assert "broken.mp4" in selection.left_out[0]
    assert "d.mp4: dark from frame 2 on" in selection.left_out[1]


def test_a_pixel_that_is_a_hole_in_part_keeps_its_colour():
    """The blend takes its known share from there, as in the pipeline; black would draw a line."""
    left = torch.rand(1, 3, 12, 40, generator=torch.Generator().manual_seed(0)) + 0.5
    disparity = torch.full((1, 1, 12, 40), 2.0)
    disparity[..., 14:24] = 7.4
    clip = stereo_clip("one", left, left, disparity)
    part = (clip.mask > 0) & (clip.mask < 1)
    assert part.any() and clip.sheet is not None
    assert torch.equal(clip.warped[part.expand_as(left)], clip.sheet[part.expand_as(left)])
    assert (clip.warped[(clip.mask == 1).expand_as(left)] == 0).all()


def test_a_stereo_pair_is_measured_where_it_is_truly_occluded():
    left = texture(1, 24, 64)[None]
    disparity = torch.full((1, 1, 24, 64), 2.0)
    disparity[..., 20:30] = 8
    clip = stereo_clip("one", left, left, disparity)
    # The near strip lands on 12..21; its 6 pixels more of shift open 22..27; 62, 63 are beyond.
    columns = clip.measured[0, 0].sum(0).nonzero()[:, 0].tolist()
    assert columns == list(range(22, 28))
    assert clip.mask[0, 0, 0].nonzero()[:, 0].tolist() == [*range(22, 28), 62, 63]
    assert torch.equal(clip.warped[..., 12:22], left[..., 20:30])
    disparity[:, :, :12, 30] = 0  # unknown just right of the strip, in half of the rows
    clip = stereo_clip("one", left, left, disparity)
    assert clip.measured[0, 0, :12].sum() == 0 and clip.measured[0, 0, 12:].sum() == 12 * 6
    assert clip.mask[0, 0, :12].sum() >= 12 * 6


def test_disparity_files_of_every_kind(tmp_path):
    truth = np.zeros((60, 120), np.float32)
    truth[:, 30:] = 7.5
    unknown = truth.copy()
    unknown[0, 0], unknown[0, 1], unknown[0, 2] = np.inf, np.nan, -1
    save_pair(tmp_path / "npy", unknown)
    save_pair(tmp_path / "png", truth)
    (tmp_path / "png" / "disp.npy").unlink()
    cv2.imwrite(str(tmp_path / "png" / "GT.png"), (truth * 256).astype(np.uint16))
    for kind in ("npy", "png"):
        left, _, disparity = read_stereo_pair(tmp_path / kind)
        assert torch.equal(disparity[0, 0], torch.from_numpy(truth))
    assert torch.allclose(left[0], texture(1), atol=1 / 255)
    np.save(tmp_path / "npy" / "disp.npy", truth[1:])
    with pytest.raises(ValueError, match=r"of one size, got \[60, 120\], \[60, 120\], \[59, 120\]"):
        read_stereo_pair(tmp_path / "npy")
    np.save(tmp_path / "npy" / "disp.npy", truth * 0)
    with pytest.raises(ValueError, match="expected disparities above 0"):
        read_stereo_pair(tmp_path / "npy")
    save(tmp_path / "npy" / "b_left.png", texture(1))
    with pytest.raises(ValueError, match="expected one file whose name ends in left"):
        read_stereo_pair(tmp_path / "npy")


def test_means_leave_out_what_was_not_measured():
    means = mean_scores([{"a": 1.0, "b": math.nan}, {"a": 3.0, "b": math.nan, "c": 5.0}])
    assert means["a"] == 2 and math.isnan(means["b"]) and means["c"] == 5
    assert plain({"a": [math.nan, math.inf, 1.0]}) == {"a": [None, "inf", 1.0]}
    assert lost_table({"kind": {}}, []) == ""


def test_the_picture_shows_the_busiest_square():
    mask = torch.zeros(3, 1, 400, 600)
    mask[..., 200:240, 300:340] = 1
    mask[..., :, :40] = 1  # the border is no place to look at
    frame, _, rows, columns = busiest_window(mask)
    assert frame == 1
    assert rows.start <= 200 and rows.stop >= 240 and rows.stop - rows.start == TILE
    assert columns.start <= 300 and columns.stop >= 340 and columns.start >= 64

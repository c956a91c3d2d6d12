"""What the benchmark compares must compute the same, and what it counts must be right."""

import json
import sys

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmark import main
from benchmarks.library import Film, Fleet, make_films, share_films, share_pieces
from benchmarks.machine import medians, paired
from benchmarks.masks import Clip, exactly, latent_mask_of
from benchmarks.transformer import flops
from benchmarks.warp import scatter_sheet, warp_scene
from dreamstereo_core import gapw_warp
from dreamstereo_core.masks import dilate
from dreamstereo_core.models.config import TRANSFORMERS, WAN_T2V_1_3B, TransformerConfig
from dreamstereo_core.models.transformer import Transformer
from dreamstereo_core.models.vae.config import PRESETS

from ..models.fakes import SMALL_VAE, TINY


def test_the_warp_equals_the_plain_chain_of_scatters():
    video, disparity = warp_scene(320, 180)
    warped, coord = scatter_sheet(video, disparity)
    ours = gapw_warp(video, disparity)
    assert torch.allclose(ours.coord_map, coord, atol=2e-3)
    # The plain chain knows no shares of a pixel, so what a torn sheet's ends cover is left out.
    step = ours.coord_map.diff(dim=-1, prepend=ours.coord_map[..., :1] - 1)
    torn = dilate(((step - 1).abs() > 0.5).float(), 1) + ours.occlusion_mask
    assert (torn == 0).float().mean() > 0.8
    assert ((ours.video - warped).abs() * (torn == 0)).max() < 5e-3


SMALL = {"in_dim": 16, "dim": 8, "ffn_dim": 16, "num_heads": 2, "num_layers": 3}


def test_operations_by_hand():
    """10 tokens of width 8, 5 tokens of context."""
    linear = 2 * 10 * (4 * 8 * 8 + 2 * 8 * 8 + 2 * 8 * 16)  # q k v o; q o; feed-forward
    attention = 2 * (2 * 10 * 10 * 8)  # q k^T and its product with v
    cross = 2 * (2 * 10 * 5 * 8)
    ends = 2 * 10 * (16 * 4) * 8 + 2 * 10 * 8 * (16 * 4)  # patch embedding, head
    config = TransformerConfig(**SMALL, text_dim=4, text_len=5)
    assert flops(config, 10) == 3 * (linear + attention + cross) + ends == 73_280


@pytest.mark.parametrize("kept, tera", [(1, 1408), (0.35, 217), (0.256, 132)])
def test_operations_are_the_papers(kept, tera):
    """81 frames at 1280x768."""
    assert flops(WAN_T2V_1_3B, round(80_640 * kept)) / 1e12 == pytest.approx(tera, rel=0.02)


def plain_attention(query, key, value):
    """Torch does not count its own on a CPU."""
    return (query @ key.transpose(2, 3)).softmax(-1) @ value


@pytest.mark.parametrize("more", [{}, {"image_dim": 40}, {"cross_attention": False}])
def test_operations_are_those_that_torch_counts(more):
    config = TransformerConfig(**SMALL, text_dim=4, text_len=5, **more)
    model = Transformer(config, attention=plain_attention).eval()
    text = torch.zeros(1, 5, 4) if config.cross_attention else None
    with torch.no_grad():
        conditioning = model.prepare(torch.ones(1), text)
        with FlopCounterMode(display=False) as counter:
            model(torch.zeros(1, 16, 3, 8, 10), conditioning)
    assert counter.get_total_flops() == flops(config, 60)


def test_a_rate_is_met_exactly_and_evenly():
    tokens = torch.arange(20, 60)[None]
    fewer, more = exactly(tokens, 100, 10), exactly(tokens, 100, 70)
    assert fewer.tolist() == [list(range(20, 60, 4))]
    assert more.shape == (1, 70) and bool((more.diff() > 0).all())
    assert bool(torch.isin(tokens, more).all())
    assert torch.equal(exactly(tokens, 100, 40), tokens)


def two_planes():
    depth = torch.zeros(9, 1, 90, 150)
    depth[..., 30:60, 60:90] = 1
    return Clip(depth)


def test_holes_open_beside_the_near_plane_and_keep_their_tokens():
    clip = two_planes()
    holes = torch.zeros(9, 1, 90, 150)
    holes[..., 30:60, 84:90] = 1  # it has moved to the left by 4 % of 150 pixels
    inside = clip.mask(4)
    assert (inside != holes)[..., 85:89].sum() + inside[..., :82].sum() == 0
    kept = clip.keep(4, 1)
    assert kept.count == 3 * 6 * 10
    assert kept.tokens.shape[1] == 3 * 3 * 1  # latents, rows, columns
    wide = clip.keep(4, 3)
    assert wide.retention == 3 * 5 * 3 / 180
    assert torch.equal(wide.touched, kept.tokens)


def test_the_share_that_is_asked_for():
    clip = two_planes()
    trimmed = clip.keep_share(0.15)
    assert trimmed.tokens.shape[1] == 27
    assert bool(torch.isin(trimmed.touched, trimmed.tokens).all())
    assert 0 < trimmed.touched.shape[1] < 9
    fits = clip.keep_share(0.25)  # by itself, with a dilation of 3
    assert (fits.dilation, fits.real_retention, fits.tokens.shape[1]) == (3, 0.25, 45)


def test_holes_are_filled_up_to_whole_tokens_and_groups():
    mask = torch.zeros(6, 1, 90, 150)
    mask[-1, 0, -1, -1] = 1
    latent = latent_mask_of(mask)
    assert latent.shape == (1, 1, 3, 12, 20)
    assert latent.nonzero()[:, 2:].tolist() == [[2, 11, 18]]


def test_rounds_run_in_turns_and_the_first_do_not_count():
    calls = []

    def case(name):
        calls.append(name)
        return [len(calls), 0]

    times = medians([lambda: case("a"), lambda: case("b")], repeats=3, warm_up=1)
    assert calls == ["a", "b"] * 4
    assert times == [[5, 0], [6, 0]]
    assert len(paired(lambda: None, repeats=1)) == 1


def test_the_tables_of_the_learned_parts(tmp_path, monkeypatch, capsys):
    path = tmp_path / "figures.json"
    options = "--models --vae small --config tiny --size 100x60 --frames 5 --dtype fp32 --repeats 1"
    cases = "--retention 0.5 1 --dilation 1 --tile 32 --blocks 1 --device cpu --json"
    monkeypatch.setitem(TRANSFORMERS, "tiny", TINY)
    monkeypatch.setitem(PRESETS, "small", SMALL_VAE)
    monkeypatch.setattr("benchmark.matmul_ceiling", lambda *_: 1e11)
    monkeypatch.setattr(sys, "argv", ["benchmark.py", *options.split(), *cases.split(), str(path)])
    main()
    report = json.loads(path.read_text())
    assert report["size"] == "100x60"
    dense, half, whole, holes = report["transformer"]
    assert (dense["tokens"], half["tokens"], whole["tokens"]) == (2 * 4 * 7, 28, 56)
    assert half["error"] > whole["error"]
    assert whole["error"] < 1e-4
    assert holes["dilation"] == 1 and holes["blocks"] == 1
    assert report["machine"]["threads"] == torch.get_num_threads()
    cases = report["vae"][0]["cases"]
    assert list(cases) == ["encode", "decode", "decode, tiles of 32"]
    assert all(case["ms_per_frame"] > 0 for case in cases.values())
    assert dense["of_ceiling"] == round(dense["gflop_per_s"] / 100, 3)
    assert "| dense | 56 | 100.0% |" in capsys.readouterr().out


def test_one_command_measures_a_card(tmp_path, monkeypatch):
    options = "--vae small --config tiny --size 96x64 --frames 9 --dtype fp32 --repeats 1 --tile 32"
    monkeypatch.setitem(TRANSFORMERS, "tiny", TINY)
    monkeypatch.setitem(PRESETS, "small", SMALL_VAE)
    monkeypatch.setattr("benchmark.matmul_ceiling", lambda *_: 1e11)
    more = ["--device", "cpu", "--retention", "0.5", "--card", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["benchmark.py", *options.split(), *more])
    main()
    reports = {path.stem: json.loads(path.read_text()) for path in tmp_path.iterdir()}
    assert sorted(reports) == ["cpu_memory", "cpu_models", "cpu_warp"]
    assert all(r["machine"]["torch"] == torch.__version__ for r in reports.values())
    (warp,) = reports["cpu_warp"]["warp"]
    assert (warp["kernel"], warp["most_different_colour"]) == (False, 0)
    assert [row["tile"] for row in reports["cpu_memory"]["memory"]] == [None, 32]
    for row in reports["cpu_memory"]["memory"]:
        assert 0.7 < row["planned_mib"] / row["measured_mib"] < 1.4
    assert len(reports["cpu_models"]["transformer"]) == 2 and reports["cpu_models"]["vae"]


def test_a_library_by_hand():
    """Two GPUs at 24 frames a second: a second of film takes one to convert."""
    fleet = Fleet(2, 2, 24.0, plan_speed=240.0, reach_speed=48.0, slow=0, life_h=1e9, start_s=5.0,
                  join_mb_s=2.0, result_mbit=1.6)  # fmt: skip
    films = [Film((20.0, 30.0)), Film((40.0,))]  # joined in a tenth of their length: 5 and 4 s
    assert share_films(fleet, films).hours * 3600 == pytest.approx(5 + 50 + 5)
    # Plan 5 s, pieces of 20 s, and of 10 s to reach it and 30; join 5. Plan 4 s, 40 s, join 4.
    assert share_pieces(fleet, films).hours * 3600 == pytest.approx(5 + 5 + 40 + 5 + 4 + 40 + 4)


def test_pieces_save_what_lost_gpus_cost():
    fleet = Fleet(30, 3, 10.0, life_h=5.0)
    films = make_films(fleet)
    assert all(piece >= fleet.piece_s for film in films for piece in film.pieces[:-1])
    whole = [Film((film.seconds,)) for film in films]
    with_pieces, without = (share_films(fleet, of) for of in (films, whole))
    assert with_pieces.lost_hours < without.lost_hours / 5

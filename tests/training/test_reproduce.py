"""Every table and figure of the paper has a command that runs, at tiny size, from end to end."""

import json
import shutil
from pathlib import Path

import cv2
import pytest
import torch

import reproduce
from dreamstereo_core.models.vae.checkpoint import build_vae
from paper.recipes import RECIPES
from paper.report import beside_the_paper
from paper.tables import TABLES, PaperTable

ROOT = Path(__file__).parents[2]
OURS = {
    "table1": ("Ours", "Ours (blended)"),
    "table2": ("Ours", "Ours (blended)"),
    "table3": ("Ours", "Random Mask", "TrajectoryCrafter"),
    "table4": tuple(TABLES["table4"].parts["HD-100"]),
    "table5": ("0.02", "0.05", "0.07", "0.08"),
    "table6": ("WanVAE", "Distilled (Ours)"),
    "table7": ("WanVAE", "Distilled (Ours)"),
    "table8": ("No (dense training)", "Another"),
    "table9": ("Ours (blended)",),
    "figure7": (),
    "figure8": (),
    "figure9": ("dense, WanVAE", "sparse, distilled (Ours)"),
    "figure13": (),
}
"""Rows that have a figure of ours."""


def run(*words):
    return reproduce.main([*map(str, words)])


@pytest.mark.parametrize("name", RECIPES)
def test_it_runs_from_end_to_end(name, tmp_path, capsys):
    assert run(name, "--smoke", "--out", tmp_path) == 0
    text = (tmp_path / f"{name}.md").read_text()
    out = capsys.readouterr().out
    assert text in out and "smoke size" in text
    assert max(map(len, out.splitlines())) < 400  # no name is a dump of what it names
    figures = json.loads((tmp_path / f"{name}.json").read_text())["figures"]
    table = TABLES[name]
    rows = next(iter(figures.values()), {})
    assert set(OURS[name]) <= rows.keys()
    for row in OURS[name]:
        for column in set(table.columns) - {"lpips_full"}:
            assert rows[row][column] is not None and rows[row][column] >= 0, (row, column)
        values = next(iter(table.parts.values())).get(row, ())
        assert row == "Another" or values
    for line in table.inferred:
        assert f"- {line}" in text
    if not table.columns:
        picture = cv2.imread(str(tmp_path / f"{name}.png"))
        tiles = {"figure7": (5, 3), "figure8": (4, 3), "figure13": (3, 2)}[name]
        assert picture.shape[1] == tiles[0] * 128 and picture.shape[0] > tiles[1] * 64
    if name == "table3":  # each model was trained on other holes
        assert len({rows[row]["psnr_full"] for row in OURS[name]}) == 3
    if name == "table4":
        kept = [rows[row]["tokens_kept"] for row in OURS[name]]
        assert kept[0] == 1 and kept[1] < kept[2] < kept[3] and kept[2] < kept[5]


def test_table_7s_parameters_are_those_of_its_presets():
    with torch.device("meta"):
        counts = [sum(p.numel() for p in build_vae(n).parameters()) for n in ("wan", "distilled")]
    wan, distilled = (row[0] for row in TABLES["table7"].parts["1024x1024"].values())
    assert counts[0] == pytest.approx(wan, rel=0.002)
    assert counts[1] == pytest.approx(distilled, rel=0.05)


def test_every_table_is_documented_with_its_command():
    assert RECIPES.keys() == TABLES.keys() == OURS.keys()
    text = (ROOT / "docs" / "reproduce.md").read_text("utf-8")
    for name in RECIPES:
        assert f"reproduce.py {name}" in text, name


def test_others_results_stand_in_the_tables(tmp_path, capsys):
    assert run("table1", "--smoke", "--export", tmp_path / "clips") == 0
    assert "2 clips in" in capsys.readouterr().out  # the film's, and the stereo video's
    results = tmp_path / "results"
    results.mkdir()
    for clip in (tmp_path / "clips").iterdir():
        shutil.copy(clip / "truth.mkv", results / f"{clip.name}.mkv")
    words = ("--fill", f"ProPainter={results}", "--out", tmp_path / "out")
    assert run("table1", "--smoke", *words) == 0
    text = (tmp_path / "out" / "table1.md").read_text()
    assert "| ProPainter | ∞ | 28.30 | 1.000 | 0.927 |" in text
    assert "| ProPainter (blended) | ∞ | - |" in text
    assert run("table9", "--smoke", *words) == 0
    rows = json.loads((tmp_path / "out" / "table9.json").read_text())["figures"]["Dynamic Replica"]
    assert rows["ProPainter (blended)"]["delta_105"] >= rows["Ours (blended)"]["delta_105"]


def test_the_pipelines_own_protocol(tmp_path):
    assert run("table1", "--smoke", "--no-paper", "--out", tmp_path) == 0
    assert "by the pipeline's own protocol" in (tmp_path / "table1.md").read_text()


def test_what_is_missing_is_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def said(*words):
        assert run(*words) == 1
        (line,) = capsys.readouterr().err.splitlines()
        return line

    (tmp_path / "films").mkdir()
    assert "table1: expected --base FILE: a DreamStereo checkpoint" in said(
        "table1", "--videos", "films"
    )
    assert "table4: expected --base" in said("table4")
    assert "table1: expected --videos FOLDER" in said("table1", "--fill", "classic")
    assert "table9: expected --stereo-videos NAME=FOLDER" in said("table9", "--fill", "classic")
    assert "expected a video transformer, got mini" in said("table3", "--base", "mini")
    with pytest.raises(SystemExit):
        run("table10")
    assert "expected tables among table1, table2" in capsys.readouterr().err


def test_fewer_than_81_frames_are_an_error(tmp_path, capsys):
    from evaluation.exchange import write_lossless

    from .scene import scene

    (tmp_path / "films").mkdir()
    write_lossless(tmp_path / "films" / "short.mkv", scene(5)[0])
    words = ["table1", "--videos", tmp_path / "films", "--fill", "classic", "--start", 0]
    words += ["--size", "96x48", "--depth", "cues", "--out", tmp_path, "--perceptual-frames", 1]
    assert run(*words) == 1
    assert "short.mkv: expected 81 frames up to the first cut, got 5" in capsys.readouterr().err
    assert run(*words, "--no-paper") == 0
    assert "| classic |" in capsys.readouterr().out


def test_a_table_by_hand():
    table = PaperTable("T", ("psnr_full", "ms_dit"), {"A": {"x": (30.0, 4.0)}}, ("a guess",))
    text = beside_the_paper(table, {"A": {"y": {"psnr_full": 31.254}}}, ["a note"])
    assert text.splitlines() == [
        "## T",
        "",
        "| A | PSNR | paper | DiT, ms a frame | paper |",
        "|---|---|---|---|---|",
        "| x | - | 30.00 | - | 4.0 |",
        "| y | 31.25 | - | - | - |",
        "",
        "Inferred:",
        "- a guess",
        "",
        "Note: a note",
    ]

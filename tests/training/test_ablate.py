"""The tiny trainings run from end to end, and their measures are those of the holes."""

import runpy
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import ablate
from data.captions import Captions
from data.latents import encode_batch
from data.pair_dataset import PairDataset
from dreamstereo_core.models.vae.checkpoint import load_vae
from paper import tiny_colours, tiny_runs, tiny_squares

from ..models.fakes import BlockVAE

TRAINING = Path(ablate.__file__).parent


@pytest.fixture
def in_this_process(monkeypatch):
    """Run the commands here, on few clips, instead of each in a process of its own."""

    def run_command(script, *words):
        monkeypatch.setattr(sys, "argv", [script, *map(str, words)])
        with pytest.raises(SystemExit) as stopped:
            runpy.run_path(str(TRAINING / script), run_name="__main__")
        assert stopped.value.code == 0

    monkeypatch.setattr(tiny_runs, "run_command", run_command)
    monkeypatch.setattr(tiny_squares, "CLIPS", 8)
    monkeypatch.setattr(tiny_squares, "TESTS", 4)


def rows_of(path):
    head, _, *rows = [line.split("|")[1:-1] for line in path.read_text().splitlines()]
    return [cell.strip() for cell in head], [[cell.strip() for cell in row] for row in rows]


def test_all_of_them_run(in_this_process, tmp_path, capsys):
    for name in ablate.ABLATIONS:
        assert ablate.main([name, "--steps", "2", "--out", str(tmp_path)]) == 0
        assert (tmp_path / f"{name}.md").read_text() in capsys.readouterr().out
    head, rows = rows_of(tmp_path / "vae.md")
    assert head[:3] == ["step", "student", "student_as_teacher"]
    assert [row[0] for row in rows] == ["0", "2"]
    assert rows[0][1] != rows[1][1] and rows[0][-1] == rows[1][-1]  # it learns, the teacher stays
    _, rows = rows_of(tmp_path / "captions.md")
    assert len(rows) == 3 and all(float(row[1]) > 0 for row in rows)
    _, rows = rows_of(tmp_path / "unpaired.md")
    assert [row[1] for row in rows] == ["1", "16", "1"]
    for row in rows:
        assert sum(float(x.strip("% ")) for x in row[-1].split("/")) == pytest.approx(100, abs=2)


def test_the_error_of_a_known_fill(monkeypatch, tmp_path):
    """All holes are filled with green, so only green squares are right."""
    monkeypatch.setattr(tiny_squares, "TESTS", 12)
    tiny_squares.write_squares(tmp_path, 12, first=0)
    tests, vae = PairDataset(tiny_squares._data(tmp_path)), BlockVAE()
    names = [tests.source(i).split()[1] for i in range(12)]
    for number, name in enumerate(names):
        sample = tests[number]
        inside = sample["video"][sample["mask"].expand_as(sample["video"]) > 0].view(3, -1)
        colour = torch.tensor(tiny_squares.COLOURS[name]).view(3, 1)
        assert (inside - colour).abs().max() < 0.01
    painted, seen = tiny_squares._painted, {}

    def paint(batch, colour):
        seen[colour] = vae.encode(painted(batch, colour))
        return painted(batch, colour)

    def to_green(x, missing, masked_latent, timestep, tokens, captions):
        return x - seen[tiny_squares.COLOURS["green"]]

    monkeypatch.setattr(tiny_squares, "_painted", paint)
    monkeypatch.setattr(tiny_squares, "FlowModel", lambda model: to_green)
    wrong = sum(name != "green" for name in names) / len(names)
    assert tiny_squares._error(None, vae, tests) == pytest.approx(wrong, abs=0.3) and wrong > 0.4
    monkeypatch.setattr(tiny_squares, "FlowModel", lambda model: lambda x, *given: x - seen["true"])
    monkeypatch.setattr(tiny_squares, "encode_batch", lambda vae, batch: [
        encode_batch(vae, batch), seen.update(true=batch["latent"])])  # fmt: skip
    assert tiny_squares._error(None, vae, tests) == pytest.approx(0, abs=1e-9)


def test_colours_are_counted_by_the_nearest():
    class Always(nn.Module):
        def forward(self, noisy, missing, masked, timestep, tokens):
            place = torch.tensor(tiny_colours.COLOURS[1]).view(1, 3, 1, 1, 1)
            return (noisy - place) / timestep.view(-1, 1, 1, 1, 1)

    for steps in (1, 4):
        off, shares = tiny_colours.figures(Always(), steps)
        assert off == pytest.approx(0, abs=1e-6) and shares == [0, 1, 0]


def test_one_step_learns_to_choose(tmp_path):
    """In 150 steps only a little; `ablate.py unpaired` takes longer."""
    (tmp_path / "unpaired.md").write_text(tiny_colours.compare_unpaired(tmp_path, 150))
    _, rows = rows_of(tmp_path / "unpaired.md")
    off = [float(row[2]) for row in rows]
    assert off[2] < 0.9 * off[0]


def test_the_captions_are_the_colours(in_this_process, tmp_path):
    tiny_squares._prepare(tmp_path)
    captions = Captions(tmp_path / "captions.safetensors")
    assert len(captions.names) == 12 and captions.length == 1
    for name in captions.names:
        number = list(tiny_squares.COLOURS).index(name.split()[1])
        assert captions.of(name).argmax() == number and captions.of(name).sum() == 1
    vae = load_vae(tmp_path / "vae.safetensors", device="cpu")
    clips = PairDataset(tiny_squares._data(tmp_path / "pairs"))
    with torch.no_grad():
        latents = torch.cat([vae.encode(clips[i]["video"][None]) for i in range(64)])
    std, mean = torch.std_mean(latents, (0, 2, 3, 4))
    assert mean.abs().max() < 1e-3 and (std - 1).abs().max() < 1e-3


def test_a_recipe_that_fails_is_one_line(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(tiny_runs, "TRAINING", tmp_path)
    monkeypatch.setattr(tiny_squares, "CLIPS", 1)
    monkeypatch.setattr(tiny_squares, "TESTS", 1)
    assert ablate.main(["vae", "--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == "ablate: distill_vae.py: failed; its own words stand above\n"

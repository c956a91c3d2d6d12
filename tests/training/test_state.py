"""What is kept of a run: whole files, strict settings, and an end that can be gone on from."""

import errno
import signal
from dataclasses import dataclass, field
from typing import Literal

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from engine import state
from engine.journal import Journal
from engine.loop import (
    DivergedError,
    Player,
    RunSettings,
    Trainer,
    adamw,
)
from engine.run_settings import batches_a_step, learning_rate
from engine.settings import SettingsError, load_settings, settings_text
from engine.state import Ema, StateError, checkpoints, read_state


class Numbers(Dataset):
    def __len__(self):
        return 1000

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        return {"x": torch.randn(4, generator=generator), "index": torch.tensor(index)}


def trainer(folder, loss=None, **run):
    torch.manual_seed(0)
    model = nn.Linear(4, 4)
    values = {
        "steps": 6,
        "batch": 2,
        "lr": 1e-2,
        "warmup": 1,
        "checkpoint_every": 2,
        "log_every": 1,
    }
    settings = RunSettings(**(values | run))
    loss = loss or (lambda module, batch: {"loss": (module(batch["x"]) - 1).square().mean()})
    return Trainer(
        folder, settings, settings, [Player("m", model, loss, adamw(model, settings))], Numbers()
    )


def test_a_nan_stops_the_run_and_keeps_what_was_good(tmp_path):
    def loss(module, batch):
        value = module(batch["x"]).square().mean()
        return {"loss": value * (float("nan") if 7 in batch["index"] else 1)}

    with pytest.raises(
        DivergedError, match=r"step 4: loss.* of m is not finite \(samples \[6, 7\]\)"
    ):
        trainer(tmp_path, loss).fit()
    kept = read_state(checkpoints(tmp_path / "checkpoints")[-1])
    assert kept["step"] == 3
    assert all(torch.isfinite(w).all() for w in kept["modules"]["m"].values())


def test_sigterm_keeps_the_step_that_it_came_in(tmp_path):
    def loss(module, batch):
        if 6 in batch["index"]:
            signal.raise_signal(signal.SIGTERM)
        return {"loss": module(batch["x"]).square().mean()}

    before = signal.getsignal(signal.SIGTERM)
    assert trainer(tmp_path, loss).fit() == 4
    assert read_state(checkpoints(tmp_path / "checkpoints")[-1])["step"] == 4
    assert trainer(tmp_path).fit() == 6
    assert signal.getsignal(signal.SIGTERM) == before


def test_old_checkpoints_go_and_a_half_written_one_is_no_checkpoint(tmp_path):
    run = trainer(tmp_path, keep=2)
    run.fit()
    names = [p.name for p in checkpoints(tmp_path / "checkpoints")]
    assert names == ["step-00000004.pt", "step-00000006.pt"]
    (tmp_path / "checkpoints" / "step-00000008.pt.1.tmp").write_bytes(b"half")
    assert trainer(tmp_path).state.step == 6


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    run = trainer(tmp_path, steps=2)
    run.fit()

    def full(content, file):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(state.torch, "save", full)
    with pytest.raises(StateError, match=r"cannot be written \(.*No space left"):
        trainer(tmp_path, steps=4).fit()
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step-00000002.pt"]


def test_damaged_and_foreign_checkpoints_are_named(tmp_path):
    run = trainer(tmp_path, steps=2)
    run.fit()
    path = checkpoints(tmp_path / "checkpoints")[-1]
    content = read_state(path)
    content["modules"]["m"]["weight"] = torch.zeros(3, 3)
    torch.save(content, path)
    with pytest.raises(StateError, match=r"another model: weight is \(3, 3\) instead of \(4, 4\)"):
        trainer(tmp_path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(StateError, match=r"step-00000002\.pt: is damaged"):
        trainer(tmp_path)


def test_a_folder_holds_one_run(tmp_path):
    trainer(tmp_path, steps=2).fit()
    trainer(tmp_path, steps=4)
    message = r"the settings of the run in this folder; lr is 0\.01 there and 1\.0 here; other ones"
    with pytest.raises(SettingsError, match=message):
        trainer(tmp_path, lr=1.0)
    config = tmp_path / "config.yaml"
    config.write_text(config.read_text().replace("global_batch: null\n", ""))
    trainer(tmp_path, steps=4)  # a run from before there was that key


def test_the_differing_key_of_a_list_is_named(tmp_path):
    settings = Outer("x", several=(Inner(1.0), Inner(2.0)))
    Journal(tmp_path, settings)
    with pytest.raises(SettingsError, match=r"several\.1\.lr is 2\.0 there and 3\.0 here"):
        Journal(tmp_path, Outer("x", several=(Inner(1.0), Inner(3.0))))


def test_a_line_is_printed_where_there_is_no_terminal(tmp_path, capsys):
    trainer(tmp_path, steps=4, log_every=2).fit()
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [f"step {n} of 4" for n in (1, 2, 4)]
    assert ", gradient " in lines[0] and "seconds" in lines[0]


def test_the_global_batch_does_not_depend_on_the_processes(tmp_path):
    run = RunSettings(batch=1, global_batch=12)
    assert [batches_a_step(run, n) for n in (1, 2, 4, 12)] == [12, 6, 3, 1]
    with pytest.raises(ValueError, match=r"a multiple of 5 \(run.batch 1 x 5 processes\), got 12"):
        batches_a_step(run, 5)
    with pytest.raises(ValueError, match="expected 1 beside global_batch"):
        RunSettings(accumulate=2, global_batch=4)
    ends = []
    for name, batch in (("large", 4), ("small", 2)):
        run = trainer(tmp_path / name, batch=batch, global_batch=4, steps=3)
        run.fit()
        ends.append(run.players[0].module.weight.detach())
    assert torch.allclose(*ends, atol=1e-6)


def test_rows_after_the_checkpoint_are_forgotten(tmp_path):
    journal = Journal(tmp_path, RunSettings())
    for step in range(1, 6):
        journal.row(step, {"loss": step / 10})
    journal.rewind(3)
    journal.row(4, {"loss": 9})
    rows = (tmp_path / "losses.csv").read_text().split()
    assert rows == ["step,loss", "1,0.1", "2,0.2", "3,0.3", "4,9"]
    journal.plot()
    assert (tmp_path / "losses.png").exists()


def test_accumulated_batches_equal_a_large_one(tmp_path):
    ends = []
    for name, batch, accumulate in (("large", 4, 1), ("small", 2, 2)):
        run = trainer(tmp_path / name, batch=batch, accumulate=accumulate, steps=3)
        run.fit()
        ends.append(run.players[0].module.weight.detach())
    assert torch.allclose(*ends, atol=1e-6)


def test_the_average_forgets_the_start():
    model = nn.Linear(1, 1, bias=False)
    ema = Ema(model, 0.5)
    for step in range(40):
        model.weight.data.fill_(3.0)
        ema.update(model, step)
    model.weight.data.fill_(7.0)
    with ema.applied(model):
        assert model.weight.item() == pytest.approx(3.0, abs=1e-4)
    assert model.weight.item() == 7.0


def test_the_rate_rises_and_falls_as_said():
    run = RunSettings(lr=2.0, warmup=4, steps=100, final_lr=0.1)
    assert learning_rate(run, 0) == pytest.approx(0.5)
    assert learning_rate(run, 100) == pytest.approx(0.2)
    assert learning_rate(run, 50) == pytest.approx(2 * (0.1 + 0.9 * 0.5))
    constant = RunSettings(lr=2.0, warmup=4, schedule="constant")
    assert learning_rate(constant, 5000) == 2.0


@dataclass(frozen=True)
class Inner:
    lr: float = 0.1
    sizes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner = field(default_factory=Inner)
    mode: Literal["a", "b"] = "a"
    several: tuple[Inner, ...] = ()
    maybe: float | None = None


def test_settings_travel_through_yaml(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text("name: x\ninner: {lr: 4e-5, sizes: [1, 2]}\nseveral: [{lr: 1}, {}]\n")
    settings = load_settings(Outer, path, ["inner.lr=0.5", "mode=b", "maybe=2"])
    assert settings == Outer("x", Inner(0.5, (1, 2)), "b", (Inner(1.0), Inner()), 2.0)
    assert load_settings(Outer, path).inner.lr == 4e-5
    path.write_text(settings_text(settings))
    assert load_settings(Outer, path) == settings


def test_a_key_can_be_set_within_a_list(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text("name: x\nseveral: [{lr: 1}, {}]\ninner: {sizes: [1, 2]}\n")
    settings = load_settings(
        Outer, path, ["several.*.sizes=[3]", "several.1.lr=2", "inner.sizes.0=9"]
    )
    assert settings == Outer("x", Inner(sizes=(9, 2)), several=(Inner(1.0, (3,)), Inner(2.0, (3,))))
    with pytest.raises(
        SettingsError, match=r"--set several\.2\.lr=1: expected a number from 0 to 1, or"
    ):
        load_settings(Outer, path, ["several.2.lr=1"])
    with pytest.raises(SettingsError, match=r"--set name\.x=1: what x is to be in is no section"):
        load_settings(Outer, path, ["name.x=1"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\nlearning_rate: 1", "unknown key 'learning_rate'; known ones are name, inner"),
        ("name: x\ninner: {lrr: 1}", "inner: unknown key 'lrr'"),
        ("inner: {}", "expected the key 'name'"),
        ("name: 3", "name: expected str, got 3"),
        ("name: x\nmode: c", "mode: expected one of a, b, got 'c'"),
        ("name: x\ninner: {lr: fast}", "lr: expected float, got 'fast'"),
        ("name: x\ninner: {sizes: [1.5]}", "sizes: expected int, got 1.5"),
        ("name: x\ninner: 3", "inner: expected a section of keys"),
        ("- a", "expected a mapping"),
        ("a: [", "not YAML"),
    ],
)
def test_what_a_settings_file_must_not_hold(text, message, tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=message):
        load_settings(Outer, path)

"""The short run of the fuzzer, about a minute; `run.py` and `kills.py` make the long ones."""

import json
import os
from random import Random

import pytest

from .kills import kill_runs
from .mutate import mutate, mutate_safetensors
from .run import fuzz
from .seeds import write_seeds
from .targets import TARGETS

CASES = 250
"""Ten of each file."""
SECONDS = 60


@pytest.mark.timeout(300)
def test_damaged_files_give_a_readable_error_at_worst(tmp_path):
    tried, problems = fuzz(tmp_path, CASES, seed=7, seconds=SECONDS)
    assert not problems, "\n".join(problems)
    assert tried > CASES / 10


@pytest.mark.timeout(300)
@pytest.mark.skipif(os.name == "nt", reason="the folder is looked at while files are open")
def test_killed_runs_leave_the_old_target_and_nothing_else(tmp_path):
    assert not kill_runs(tmp_path, 2)


def test_the_sound_files_are_sound(tmp_path):
    folder = tmp_path / "seeds"
    folder.mkdir()
    for seed in write_seeds(folder):
        TARGETS[seed.target](seed.path, tmp_path / f"{seed.path.name}_out.mkv")


def test_damage_depends_on_the_seed_alone(tmp_path):
    data = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    data = len(data).to_bytes(8, "little") + data + bytes(4)
    for change in (mutate, mutate_safetensors):
        first = [change(data, Random(case)) for case in range(50)]
        assert first == [change(data, Random(case)) for case in range(50)]
        assert len(set(first)) > 25

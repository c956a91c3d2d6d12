"""Comfort Report: what the core's report is, as a picture and as text."""

import json

import pytest
import torch

from ..comfyui.media import write_film


@pytest.fixture
def run(node_module, tmp_path):
    video = node_module("sources").InputImpl.VideoFromFile(
        str(write_film(tmp_path / "film.mp4", frames=4))
    )
    depth = node_module("load_models").depth_on_device("embedded")
    strength = {"max_disparity": 10.0, "convergence_mode": "auto", "convergence": 0.5}

    def call(**given):
        node = node_module("comfort").ComfortReport
        return node.execute(video, depth_model=depth, **{**strength, **given})

    return call


def test_a_plot_a_summary_and_json(run):
    output = run()
    plot, summary, report = output.args
    told = json.loads(report)
    assert plot.shape == (1, 460, 1200, 3) and plot.min() < 0.5
    assert summary.startswith(f"Score {told['score']:g} of 100")
    assert told["frames"] == 4 and told["max_disparity"] == 10
    assert output.ui.as_dict()["images"]


def test_options_and_the_screen_reach_the_report(run):
    usual, weak = (json.loads(run(**given).args[2]) for given in ({}, {"max_disparity": 1.0}))
    assert weak["shots"][0]["front"] < usual["shots"][0]["front"]
    cinema = json.loads(run(screen_width=12.0, distance=15.0).args[2])
    assert cinema["viewing"] == {"screen_width": 12.0, "distance": 15.0}
    assert cinema["limits"] != usual["limits"]


def test_half_a_screen_is_one_line(run):
    with pytest.raises(Exception, match="distance: expected both"):
        run(screen_width=1.0)


def test_the_picture_is_the_cores(run, node_module):
    plot = run().args[0]
    assert torch.equal(plot, run().args[0])

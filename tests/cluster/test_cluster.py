"""A real Ray cluster of two nodes on this machine, one of which is killed in the middle."""

import os
import threading
import time
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from ray.cluster_utils import Cluster

from dreamstereo_core import (
    ClassicInpainter,
    ConvertOptions,
    DecodeOptions,
    EncodeOptions,
    VideoError,
    convert_file,
    load_depth,
    read_frames,
)
from dreamstereo_core.cluster import ClusterError, RayPool
from dreamstereo_core.pieces import work_path
from dreamstereo_core.plan import FilmPlan, PlannedShot
from dreamstereo_core.workers import WorkerError

ROOT = Path(__file__).parents[2]
SHOTS, LENGTH = 6, 14
PLAN = FilmPlan(tuple(PlannedShot(LENGTH * shot, LENGTH) for shot in range(SHOTS)))
NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A head without room for workers, and a node of one core."""
    token = tmp_path_factory.mktemp("ray") / "token"
    token.write_text("0" * 64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(Path(__file__).parent)]))
        patch.syspath_prepend(str(Path(__file__).parent))
        cluster = Cluster(initialize_head=True, head_node_args=NODE | {"num_cpus": 0})
        cluster.add_node(**NODE)
        yield cluster
        cluster.shutdown()


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    grounds = np.random.default_rng(0).integers(0, 255, (SHOTS, 10, 16, 3), np.uint8)
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=24)
        video.width, video.height, video.pix_fmt = 128, 80, "yuv420p"
        for i in range(SHOTS * LENGTH):
            picture = grounds[i // LENGTH].repeat(8, 0).repeat(8, 1)
            picture[30:60, 10 + i : 40 + i] = (200, 30, 60)
            output.mux(video.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        output.mux(video.encode(None))
    return path


class Slow(ClassicInpainter):
    """Takes a while for each frame."""

    def stream(self, *args, **how):
        for result in super().stream(*args, **how):
            time.sleep(0.1)
            yield result


def convert(film, target, inpainter=ClassicInpainter, **how):
    convert_file(film, target, depth=load_depth("cues"), inpainter=inpainter(reach=(1,)),
                 options=ConvertOptions(chunk_frames=2),
                 encode=EncodeOptions(preset="ultrafast"), plan=PLAN, piece=0.1, **how)  # fmt: skip
    frames = list(read_frames(target, options=DecodeOptions(source_layout="2d")))
    return torch.stack([f.pixels for f in frames]), [f.time for f in frames]


def test_a_node_killed_in_the_middle_costs_its_piece_only(cluster, film, tmp_path, caplog):
    second = cluster.add_node(**NODE)
    target = tmp_path / "a.mp4"

    def kill_when_both_work():
        end = time.monotonic() + 60
        while len(list(work_path(target).glob(".piece_*"))) < 2 and time.monotonic() < end:
            time.sleep(0.01)
        cluster.remove_node(second, allow_graceful=False)

    killer = threading.Thread(target=kill_when_both_work)
    killer.start()
    made, times = convert(film, target, Slow, cluster=cluster.address)
    killer.join()
    assert "its piece is done again" in caplog.text
    expected, expected_times = convert(film, tmp_path / "b.mp4")
    assert torch.equal(made, expected) and times == expected_times
    assert len(times) == SHOTS * LENGTH
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "b.mp4"]


def where(task):
    """Say where a worker is, refuse a task, or end at once."""
    if task == "refuse":
        raise VideoError("film.mp4: is broken")
    if task == "end":
        os._exit(1)
    return task, os.getcwd()


def test_workers_stand_where_the_command_was_given(cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = list(RayPool(cluster.address).map([1, 2, 3], where))
    assert sorted(done) == [(n, str(tmp_path)) for n in (1, 2, 3)]


def test_an_error_of_a_task_is_the_callers(cluster):
    with pytest.raises(VideoError, match=r"film\.mp4: is broken"):
        list(RayPool(cluster.address).map([1, "refuse"], where))


def test_a_task_that_ends_every_worker_is_given_up(cluster):
    with pytest.raises(WorkerError, match="3 times one ended while it did the same piece"):
        list(RayPool(cluster.address).map(["end"], where))


def test_there_is_no_cluster():
    with pytest.raises(ClusterError, match=r"cluster: none at '127\.0\.0\.1:1'"):
        list(RayPool("127.0.0.1:1").map([1], where))

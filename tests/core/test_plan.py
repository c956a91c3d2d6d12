"""Plans: what they say, and that a film's parts are what they are in the whole film."""

import json
import sys
from fractions import Fraction
from functools import partial

import av
import numpy as np
import pytest
import torch

from dreamstereo_core import (
    ClassicInpainter,
    ConvertOptions,
    EncodeOptions,
    StereoPipeline,
    convert_file,
    load_depth,
    load_inpainter,
)
from dreamstereo_core.plan import (
    FilmPlan,
    PlanError,
    PlannedShot,
    Span,
    check_plan,
    make_plan,
    read_plan,
)
from dreamstereo_core.video_io import read_frames
from dreamstereo_core.workers import LocalPool, WorkerError

from .picture_files import write_film

CUTS = (0, 14, 30)
FRAMES = 44


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Three shots with bars, a square that moves before a ground that moves, and sound."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    rng = np.random.default_rng(0)
    grounds = [rng.integers(0, 255, (8, 20, 3)).repeat(8, 0).repeat(8, 1) for _ in CUTS]
    pictures = np.zeros((FRAMES, 80, 96, 3), np.uint8)
    for i, picture in enumerate(pictures):
        shot = sum(i >= cut for cut in CUTS) - 1
        picture[8:72] = grounds[shot][:64, i % 14 : i % 14 + 96]
        picture[30:60, 10 + i : 40 + i] = (200, 30, 60)
    return write_film(path, pictures, rate=24, silence=14600)


@pytest.fixture(scope="module")
def plan(film):
    return make_plan(film)


def convert(film, target, **how):
    return convert_file(
        film, target, depth=load_depth("cues"), inpainter=ClassicInpainter(reach=(1,)),
        encode=EncodeOptions(preset="ultrafast"), **how,
    )  # fmt: skip


def rendered(film, plan, span, depth, inpainter, options=None):
    """Return the right eyes of a span's frames, by what reads and drops as a conversion does."""
    frames = read_frames(film, span.read_from, span.read_to)
    shots = partial(plan.stream, first=span.read_from)
    pipeline = StereoPipeline(depth, inpainter, options or ConvertOptions(), shots)
    right = torch.cat([chunk.right for chunk in pipeline.stream(frames)])
    return right[span.lead : span.lead + span.stop - span.first]


class TestPlan:
    def test_a_plan_has_the_shots_and_bars_that_a_conversion_finds(self, film, plan):
        assert [shot.first for shot in plan.shots] == list(CUTS)
        assert plan.frames == FRAMES
        pipeline = StereoPipeline(load_depth("cues"), ClassicInpainter(reach=()))
        found = [f for f in pipeline._find_shots(read_frames(film)) if f.new_shot]
        assert [shot.bars for shot in plan.shots] == [frame.bars for frame in found]
        assert all(shot.bars.top and shot.bars.bottom for shot in plan.shots)

    def test_its_text_says_all_of_it_and_a_line_is_a_shot(self, plan, tmp_path):
        path = tmp_path / "plan.json"
        path.write_text(plan.to_json())
        assert read_plan(path) == plan
        assert sum('"first"' in line for line in path.read_text().splitlines()) == len(CUTS)
        assert '"time": "0:00:00.583"' in path.read_text()

    @pytest.mark.parametrize(
        ("old", "new", "says"),
        [
            ('"first": 14', '"first": 15', "begins with frame 14, got one with 15"),
            ('"strength": 1.0', '"strength": -1', "strength"),
            ('"convergence": null', '"convergence": 2', "convergence"),
            ('"strength"', '"strenth"', "strenth"),
            ('"frames": 14', '"frames": "many"', "many"),
            ('"format": 1', '"format": 9', "format: expected 1, got 9"),
            ('"shots": [', '"scenes": [', "'shots'"),
            ('"source"', 'source"', "cannot be read"),
        ],
    )
    def test_what_makes_no_sense_is_named(self, plan, tmp_path, old, new, says):
        path = tmp_path / "plan.json"
        path.write_text(plan.to_json().replace(old, new))
        with pytest.raises(PlanError, match=says):
            read_plan(path)

    def test_a_copy_of_the_film_is_the_film_and_another_one_is_not(self, film, plan, tmp_path):
        copy = tmp_path / "copy.mp4"
        copy.write_bytes(film.read_bytes())
        check_plan(plan, copy)
        copy.write_bytes(film.read_bytes()[:-1] + b"x")
        with pytest.raises(PlanError, match="plan it anew"):
            check_plan(plan, copy)

    def test_spans_are_whole_shots_and_hold_each_frame_once(self, plan):
        assert [(s.first, s.stop) for s in plan.spans(1)] == [(0, 14), (14, 30), (30, 44)]
        assert [(s.first, s.stop) for s in plan.spans(15)] == [(0, 30), (30, 44)]
        assert all(span.lead == 0 for span in plan.spans(1))

    def test_a_range_is_read_from_its_shots_beginning_and_a_little_beyond(self):
        plan = FilmPlan((PlannedShot(0, 300), PlannedShot(300, 500)))
        assert plan.spans(50, (20, 400)) == [Span(20, 300, 0, 300), Span(300, 400, 300, 464)]
        assert plan.span(310, 400, whole_shots=True) == Span(310, 400, 300, 800)
        with pytest.raises(PlanError, match="expected some of 800"):
            plan.spans(50, (900, None))


class TestParts:
    @pytest.mark.parametrize(
        ("depth", "fill", "options"),
        [
            ("mini", "mini", ConvertOptions(floating_window=True)),
            ("cues", "classic", ConvertOptions(eye="left", convergence="median")),
        ],
    )
    def test_spans_are_the_whole_film_to_the_bit(self, film, plan, depth, fill, options):
        depth, fill = load_depth(depth), load_inpainter(fill)
        whole = torch.cat(
            [c.right if options.eye == "right" else c.left
             for c in StereoPipeline(depth, fill, options).stream(read_frames(film))]
        )  # fmt: skip
        for span in reversed(plan.spans(1)):
            frames = read_frames(film, span.read_from, span.read_to)
            shots = partial(plan.stream, first=span.read_from)
            made = torch.cat(
                [c.right if options.eye == "right" else c.left
                 for c in StereoPipeline(depth, fill, options, shots).stream(frames)]
            )  # fmt: skip
            assert torch.equal(made, whole[span.first : span.stop])

    def test_so_is_a_range_within_shots(self, film, plan):
        depth, fill = load_depth("mini"), load_inpainter("mini")
        whole = torch.cat([c.right for c in StereoPipeline(depth, fill).stream(read_frames(film))])
        for first, stop in ((5, 12), (20, 37)):
            for span in plan.spans(1, (first, stop)):
                made = rendered(film, plan, span, depth, fill)
                assert torch.equal(made, whole[span.first : span.stop])

    def test_a_shot_of_no_strength_is_flat_and_others_are_not(self, film, plan):
        shots = list(plan.shots)
        shots[1] = PlannedShot(14, 16, strength=0, bars=shots[1].bars)
        flat = FilmPlan(tuple(shots))
        depth, fill = load_depth("cues"), ClassicInpainter(reach=())
        source = torch.stack([frame.pixels for frame in read_frames(film)])
        made = [rendered(film, flat, span, depth, fill) for span in flat.spans(1)]
        assert torch.allclose(made[1], source[14:30], atol=1e-6)
        assert (made[0] - source[:14]).abs().mean() > 0.01

    def test_a_shots_convergence_is_what_the_plan_says(self, film, plan):
        shots = [PlannedShot(s.first, s.frames, 1.0, 0.25, s.bars) for s in plan.shots]
        depth, fill = load_depth("cues"), ClassicInpainter(reach=())
        span = plan.spans(1)[0]
        wanted = rendered(film, plan, span, depth, fill, ConvertOptions(convergence=0.25))
        assert torch.equal(rendered(film, FilmPlan(tuple(shots)), span, depth, fill), wanted)


class Ended(Exception):
    """The run was ended from outside."""


def end(progress):
    if progress.done > 20:
        raise Ended


class TestConversion:
    def test_processes_make_the_file_that_one_makes(self, film, tmp_path):
        convert(film, tmp_path / "one.mp4", plan=make_plan(film), piece=0.1)
        seen = []
        convert(film, tmp_path / "two.mp4", workers=2, piece=0.1, on_progress=seen.append)
        one, two = (list(read_frames(tmp_path / f"{n}.mp4")) for n in ("one", "two"))
        assert (
            [f.time for f in one] == [f.time for f in two] == [Fraction(i, 24) for i in range(44)]
        )
        assert all(torch.equal(a.pixels, b.pixels) for a, b in zip(one, two, strict=True))
        assert [p.done for p in seen][-1] == seen[-1].total == FRAMES
        assert not list(tmp_path.glob("*.dreamstereo"))
        with av.open(str(tmp_path / "two.mp4")) as container:
            assert len(container.streams.audio) == 1

    def test_what_is_finished_is_not_made_again(self, film, plan, tmp_path):
        with pytest.raises(Ended):
            convert(film, tmp_path / "a.mp4", plan=plan, piece=0.1, on_progress=end)
        seen = []
        convert(film, tmp_path / "a.mp4", plan=plan, piece=0.1, on_progress=seen.append)
        assert seen[0].before == 14 and seen[-1].done == FRAMES
        convert(film, tmp_path / "b.mp4", plan=plan, piece=0.1)
        a, b = (list(read_frames(tmp_path / name)) for name in ("a.mp4", "b.mp4"))
        assert all(torch.equal(x.pixels, y.pixels) for x, y in zip(a, b, strict=True))

    def test_a_changed_plan_and_another_film_are_named(self, film, plan, tmp_path):
        with pytest.raises(Ended):
            convert(film, tmp_path / "a.mp4", plan=plan, piece=0.1, on_progress=end)
        weaker = FilmPlan(
            (*plan.shots[:2], PlannedShot(30, 14, 0.5, None, plan.shots[2].bars)), plan.source
        )
        with pytest.raises(ValueError, match="plan"):
            convert(film, tmp_path / "a.mp4", plan=weaker, piece=0.1)
        other = FilmPlan(plan.shots, {"name": "x", "bytes": 1, "digest": "y"})
        with pytest.raises(PlanError, match="plan it anew"):
            convert(film, tmp_path / "c.mp4", plan=other)


class TestWorkers:
    @pytest.fixture
    def tasks(self, tmp_path, monkeypatch):
        """What workers can import: a task that ends its process, once or always."""
        (tmp_path / "worker_tasks.py").write_text(
            "import os\n"
            "def once(folder, n):\n"
            "    mark = os.path.join(folder, 'ended')\n"
            "    if n == 1 and not os.path.exists(mark):\n"
            "        open(mark, 'w').close()\n"
            "        os._exit(9)\n"
            "    return n * n\n"
            "def always(n):\n"
            "    os._exit(9)\n"
        )
        monkeypatch.syspath_prepend(str(tmp_path))
        import worker_tasks

        yield worker_tasks
        del sys.modules["worker_tasks"]

    def test_a_lost_workers_task_is_done_again(self, tasks, tmp_path):
        found = LocalPool(2).map(range(5), partial(tasks.once, str(tmp_path)))
        assert sorted(found) == [0, 1, 4, 9, 16]

    def test_workers_that_end_again_and_again_are_an_error(self, tasks):
        with pytest.raises(WorkerError, match="3 times"):
            list(LocalPool(1).map([1], tasks.always))

    def test_there_is_at_least_one(self):
        with pytest.raises(ValueError, match="workers: expected at least 1, got 0"):
            LocalPool(0)


def test_the_command_plans_and_converts(film, tmp_path, capsys):
    from dreamstereo_core.cli import main

    copy = tmp_path / "film.mp4"
    copy.write_bytes(film.read_bytes())
    assert main(["plan", str(copy), "--quiet"]) == 0
    path = tmp_path / "film.mp4.plan.json"
    assert capsys.readouterr().out.strip() == str(path)
    assert len(json.loads(path.read_text())["shots"]) == 3
    assert main(["plan", str(copy), "--quiet"]) == 1  # it is there
    assert "--overwrite" in capsys.readouterr().err
    how = ["--depth", "cues", "--fill", "classic", "--quiet", "--frames", "10:20"]
    target = str(tmp_path / "out.mp4")
    assert main(["convert", str(copy), "-o", target, "--plan", str(path), *how]) == 0
    assert len(list(read_frames(target))) == 10
    path.write_text("{}")
    assert main(["convert", str(copy), "-o", target, "--plan", str(path), *how]) != 0
    assert "plan" in capsys.readouterr().err

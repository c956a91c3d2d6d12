"""The report of a film: its shots, its score, its files, and that a conversion's is the same."""

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from dreamstereo_core import ConvertOptions, EncodeOptions, VideoError, convert_file, load_depth
from dreamstereo_core.cli import main
from dreamstereo_core.comfort import (
    Viewing,
    draw_report,
    limits,
    make_report,
    report_targets,
    write_report,
)
from dreamstereo_core.comfort.write import page, summary
from dreamstereo_core.fill import ClassicInpainter
from dreamstereo_core.plan import make_plan
from dreamstereo_core.report import film_report, report_file, stereo_report
from dreamstereo_core.types import FrameComfort
from tests.core.pictures import save

RATE = 24.0


def row(time, *, new_shot=0, near=0.5, far=-1.0, median=-0.5, middle=0.0, left=0.0, widest=1.0):
    return FrameComfort(time, new_shot, far, 0.9 * far, median, 0.9 * near, near, middle, left, 0.0,
                        2.0, widest)  # fmt: skip


def rows(*shots, frames=48):
    """Return the rows of shots, each given by its frames' keywords."""
    made = []
    for shot in shots:
        for number in range(frames):
            made.append(row(len(made) / RATE, new_shot=float(number == 0), **shot))
    return np.array(made)


class TestReport:
    def test_a_gentle_film_is_safe(self):
        report = make_report(rows({}, {}), max_disparity=3.0)
        assert (report.score, report.flag, len(report.shots)) == (100, "safe", 2)
        shot = report.shots[1]
        assert (shot.begin, shot.end, shot.frames) == (2.0, 4.0, 48)
        assert (shot.front, shot.behind, shot.median) == (0.5, 1.0, -0.5)
        assert shot.front5 == pytest.approx(0.45) and shot.holes == 2.0
        # In front 0.5 of 1, behind 1 of 2: it may be twice as strong.
        assert report.comfortable_max_disparity == 6.0

    @pytest.mark.parametrize(
        ("shot", "worst", "score"),
        [
            ({"near": 1.75}, "front", 50),
            ({"far": -3.0}, "behind", 50),
            ({"near": 9.0}, "front", 0),
            ({"left": 1.25}, "window", 50),
            ({"middle": 1.5}, "jump", 50),
        ],
    )
    def test_the_worst_quantity_decides(self, shot, worst, score):
        report = make_report(rows({}, shot), max_disparity=3.0)
        assert report.shots[1].worst == worst
        assert report.shots[1].score == pytest.approx(score)
        assert report.shots[1].flag == ("borderline" if score else "uncomfortable")
        assert report.score == pytest.approx((100 + score) / 2)

    def test_speed_is_the_medians_change_in_a_second(self):
        made = rows({})
        made[:, FrameComfort._fields.index("median")] = np.arange(48) / RATE * 2
        (shot,) = make_report(made, frame_rate=RATE).shots
        assert shot.speed == pytest.approx(2.0)
        assert (shot.worst, shot.score) == ("speed", pytest.approx(50))

    def test_the_strength_is_safe_for_all_but_a_twentieth_of_the_time(self):
        calm, wild = {"near": 1.0, "far": -1.0}, {"near": 2.0}
        short = make_report(rows(*[calm] * 21, wild), max_disparity=3.0)
        assert short.comfortable_max_disparity == 3.0
        long = make_report(rows(*[calm] * 9, wild), max_disparity=3.0)
        assert long.comfortable_max_disparity == 1.5
        flat = make_report(rows({"near": 0.0, "far": 0.0, "median": 0.0}), max_disparity=3.0)
        assert flat.comfortable_max_disparity == 10.0
        assert make_report(rows(calm)).comfortable_max_disparity is None

    def test_a_floating_window_hides_what_the_borders_cut_off(self):
        made = rows({"left": 3.0})
        assert make_report(made).flag == "uncomfortable"
        assert "floating window" in summary(make_report(made))
        assert make_report(made, hides_borders=True).flag == "safe"

    def test_a_few_wrong_frames_do_not_count(self):
        made = rows({})
        made[3, FrameComfort._fields.index("near99")] = 9.0
        assert make_report(made).shots[0].front == pytest.approx(0.5)

    def test_a_screen_gives_degrees_and_limits(self):
        report = make_report(rows({}), viewing=Viewing(1.2, 2.5))
        assert report.shots[0].front_degrees == pytest.approx(0.1375, abs=0.001)
        assert report.shots[0].behind_degrees == pytest.approx(0.275, abs=0.001)
        assert report.limits == limits(Viewing(1.2, 2.5))
        assert "degrees" in summary(report)

    def test_what_was_not_measured_is_counted(self):
        made = rows({}, {})
        made[:10] = np.nan
        report = make_report(made)
        assert (report.frames, report.unmeasured) == (96, 10)
        assert "10 of 96 frames were not measured" in page(report)
        with pytest.raises(ValueError, match="at least one frame"):
            make_report(made[:10])

    def test_a_film_of_one_frame(self):
        report = make_report(rows({}, frames=1))
        (shot,) = report.shots
        assert (shot.speed, shot.jump, shot.frames) == (0, 0, 1)
        assert shot.end == pytest.approx(1 / 24)
        assert draw_report(report).picture().shape[0] == 3

    def test_a_long_film_keeps_its_extremes_in_a_short_timeline(self):
        made = rows(*[{}] * 60)
        made[1234, FrameComfort._fields.index("near99")] = 7.0
        timeline = make_report(made).timeline
        assert len(timeline) <= 1000
        assert timeline[:, FrameComfort._fields.index("near99")].max() == 7.0
        assert timeline[:, FrameComfort._fields.index("new_shot")].sum() == 60


class TestPages:
    def test_the_drawing_is_svg_and_the_same_as_a_picture(self):
        drawing = draw_report(make_report(rows({}, {"near": 3.0}), max_disparity=3.0))
        root = ElementTree.fromstring(drawing.svg())
        assert root.attrib["viewBox"] == f"0 0 {drawing.width} {drawing.height}"
        assert len(root) == len(drawing.shapes)
        picture = drawing.picture()
        assert picture.shape == (3, drawing.height, drawing.width)
        assert picture.min() < 0.5 and picture.max() == 1

    def test_files(self, tmp_path):
        report = make_report(rows({}), name="<b>film & co</b>.mp4", max_disparity=3.0)
        written = write_report(report, tmp_path / "film.mp4")
        assert [path.name for path in written] == ["film_comfort.json", "film_comfort.html"]
        told = json.loads(written[0].read_text("utf-8"))
        assert told["shots"][0]["front"] == 0.5 and told["sources"]["sky"]
        assert len(told["timeline"]["near99"]) == 48
        html = written[1].read_text("utf-8")
        assert "<b>film" not in html and "&lt;b&gt;film &amp; co" in html
        assert "<svg" in html and "http" not in html.replace("http://www.w3.org/2000/svg", "")
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(p.name for p in written)

    def test_names_beside_numbered_images(self):
        assert report_targets(Path("a/frame_%05d.png"))[0] == Path("a/frame_05d_comfort.json")

    def test_a_folder_that_is_not_there(self, tmp_path):
        with pytest.raises(VideoError, match="cannot be written"):
            write_report(make_report(rows({})), tmp_path / "none" / "film.mp4")


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Two shots of a noise that a lighter square moves over; with bars above and below."""
    generator = torch.Generator().manual_seed(0)
    frames = torch.zeros(30, 3, 64, 96)
    for shot in range(2):
        ground = torch.rand(3, 12, 24, generator=generator).repeat_interleave(4, 1)
        ground = ground.repeat_interleave(4, 2) * 0.6
        for n in range(15 * shot, 15 * shot + 15):
            frames[n, :, 8:56] = ground
            frames[n, :, 20:44, 10 + n : 40 + n] = 0.9 - 0.4 * shot
    return save(tmp_path_factory.mktemp("film") / "film.mp4", frames)


@pytest.fixture
def how():
    return {"depth": load_depth("cues"), "options": ConvertOptions(max_disparity=6.0)}


FAST = EncodeOptions(preset="ultrafast")


def told(target):
    return json.loads(report_targets(target)[0].read_text("utf-8"))


def test_a_conversions_report_is_the_films(film, tmp_path, how):
    report, _ = report_file(film, tmp_path / "film.mp4", **how)
    assert len(report.shots) == 2 and report.frames == 30 and report.shots[0].front > 0
    target = tmp_path / "made.mp4"
    fill = ClassicInpainter(reach=(1,))
    written = convert_file(film, target, inpainter=fill, encode=FAST, report=Viewing(), **how)
    assert written == (target, *report_targets(target))
    converted = told(target)
    assert converted.pop("name") == "made.mp4"
    expected = json.loads((tmp_path / "film_comfort.json").read_text("utf-8"))
    assert expected.pop("name") == "film.mp4"
    assert converted == expected


def test_measuring_changes_no_picture(film, tmp_path, how):
    fill = ClassicInpainter(reach=(1,))
    for name, report in (("with.mp4", Viewing()), ("without.mp4", None)):
        convert_file(film, tmp_path / name, inpainter=fill, encode=FAST, report=report, **how)
    assert (tmp_path / "with.mp4").read_bytes() == (tmp_path / "without.mp4").read_bytes()


class Ended(Exception):
    pass


@pytest.mark.parametrize("measured", [True, False])
def test_a_film_in_pieces_has_the_report_of_a_whole_one(film, tmp_path, how, measured):
    def convert(target, report, end_at=None, **more):
        def on_progress(progress):
            if end_at is not None and progress.done >= end_at:
                raise Ended

        convert_file(film, target, inpainter=ClassicInpainter(reach=(1,)), encode=FAST,
                     report=report, on_progress=on_progress, **more, **how)  # fmt: skip

    whole, pieces = tmp_path / "film.mp4", tmp_path / "pieces" / "film.mp4"
    pieces.parent.mkdir()
    convert(whole, Viewing(), piece=None)
    with pytest.raises(Ended):
        convert(pieces, Viewing() if measured else None, 18, piece=0.3)
    convert(pieces, Viewing(), piece=0.3)
    if measured:
        assert told(pieces) == told(whole)
    else:
        assert told(pieces)["frames"] == 30 and 0 < told(pieces)["unmeasured"] < 30
    assert len(list(pieces.parent.iterdir())) == 3


def test_a_planned_film_has_the_report_of_a_whole_one(film, tmp_path, how):
    whole, planned = tmp_path / "film.mp4", tmp_path / "planned" / "film.mp4"
    planned.parent.mkdir()
    plan = make_plan(str(film), how["options"])
    for target, more in ((whole, {"piece": None}), (planned, {"piece": 0.3, "plan": plan})):
        convert_file(film, target, inpainter=ClassicInpainter(reach=(1,)), encode=FAST,
                     report=Viewing(), **more, **how)  # fmt: skip
    assert told(planned) == told(whole)
    assert told(planned)["unmeasured"] == 0


def test_what_is_there_is_not_replaced(film, tmp_path, how):
    target = tmp_path / "film.mp4"
    report_targets(target)[1].write_text("mine")
    with pytest.raises(VideoError, match=r"film_comfort\.html: exists already"):
        report_file(film, target, **how)
    with pytest.raises(VideoError, match=r"film_comfort\.html: exists already"):
        convert_file(film, target, inpainter=ClassicInpainter(), report=Viewing(), **how)
    assert not target.exists()
    report_file(film, target, overwrite=True, frames=(0, 3), **how)
    assert told(target)["frames"] == 3


def test_a_range_without_a_frame(film, how):
    with pytest.raises(VideoError, match="none from index 100 on"):
        film_report(film, frames=(100, 110), **how)


def test_a_film_that_is_3d_already_is_measured_between_its_eyes(film, tmp_path, how):
    target = tmp_path / "film.mp4"
    fill = ClassicInpainter(reach=(1,))
    convert_file(film, target, inpainter=fill, encode=FAST, report=Viewing(), frames=(0, 6), **how)
    report, _ = report_file(target, overwrite=True, make=stereo_report)
    expected = json.loads((tmp_path / "film_comfort.json").read_text("utf-8"))
    assert report.frames == 6 and report.comfortable_max_disparity is None
    wanted = film_report(film, frames=(0, 6), **how).shots[0]
    assert report.shots[0].front == pytest.approx(wanted.front, abs=0.5)
    assert report.shots[0].behind == pytest.approx(wanted.behind, abs=0.5)
    assert expected["max_disparity"] is None and expected["shots"][0]["holes"] == 0
    with pytest.raises(VideoError):
        stereo_report(film)  # it has one eye


class TestCommand:
    def run(self, capsys, *arguments):
        code = main([str(a) for a in arguments])
        return code, *capsys.readouterr()

    def test_report(self, capsys, film, tmp_path):
        screen = ("--screen-width", 1.2, "--distance", 2.5)
        code, out, _ = self.run(capsys, "report", film, tmp_path / "a.mp4", "--frames", "0:4",
                                "--max-disparity", 2, "--depth", "embedded", *screen)  # fmt: skip
        assert code == 0
        assert out.splitlines()[0].startswith("Score ")
        assert out.splitlines()[1:] == [str(path) for path in report_targets(tmp_path / "a.mp4")]
        assert told(tmp_path / "a.mp4")["max_disparity"] == 2
        assert told(tmp_path / "a.mp4")["viewing"] == {"screen_width": 1.2, "distance": 2.5}

    def test_convert(self, capsys, film, tmp_path):
        target = tmp_path / "a.mp4"
        code, out, _ = self.run(capsys, "convert", film, target, "--frames", "0:2", "--report")
        assert code == 0
        assert out.splitlines() == [str(target), *map(str, report_targets(target))]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["report", "{film}", "--screen-width", "1"], "distance: expected both"),
            (["report", "{film}", "--screen-width", "-1", "--distance", "2"], "screen_width: exp"),
            (["convert", "{film}", "--distance", "1", "--screen-width", "1"], "with them"),
        ],
    )
    def test_wrong_use(self, capsys, film, arguments, message):
        code, out, error = self.run(capsys, *(a.format(film=film) for a in arguments))
        assert (code, out) == (2, "") and message in error and error.count("\n") == 1

"""The depth recipe: losses, scores, data and a short run."""

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import distill_depth
import weak_views
from data.depth_dataset import DepthDataset, DepthDataSettings
from data.depth_shards import DepthView, DepthWriter, list_views
from data.files import DataError
from distill_depth import DistillSettings, taught_losses
from dreamstereo_core.depth import load_depth
from dreamstereo_core.models.depth.mini import MINI_DEPTH, MiniDepthConfig, MiniDepthNetwork
from dreamstereo_core.models.files.load import save_network
from embed_weights import embed
from engine.loop import RunSettings
from engine.pictures import UNKNOWN, show_depth
from evaluate_depth_accuracy import (
    EXAMPLE_HEIGHT,
    TrueScene,
    evaluate,
    half_of,
    held_out_scenes,
    main,
)
from evaluation.depth_edges import edge_scores
from evaluation.depth_scores import depth_scores, fit_scale_shift, ordinal_accuracy
from making.taught_crops import CropSettings, TaughtCrops
from making.teacher_network import TeacherNetwork, load_teacher
from objectives.depth_losses import (
    depth_losses,
    fixed_range,
    gradient_error,
    normalised,
    trimmed_error,
)
from train_depth import DepthSettings, build_network, optimizer, train

nan = math.nan


def view(number: int, height: int = 40, width: int = 64) -> DepthView:
    """A bright ball before a ramp."""
    rng = np.random.default_rng(number)
    y, x = np.mgrid[0:height, 0:width]
    inverse = (0.1 + 0.5 * y / height).astype(np.float32)
    ball = np.hypot(x - rng.integers(width), y - rng.integers(height)) < 9
    inverse[ball] = 0.9
    picture = np.where(ball[..., None], 220, 60 + 80 * (y % 8 < 4)[..., None]).astype(np.uint8)
    return DepthView(np.broadcast_to(picture, (height, width, 3)).copy(), inverse)


@pytest.fixture(scope="module")
def views(tmp_path_factory):
    folder = tmp_path_factory.mktemp("views")
    writer = DepthWriter(folder)
    for i in range(6):
        writer.add(view(i))
    writer.flush()
    return folder


class TestLosses:
    def test_normalised_by_hand(self):
        x = torch.tensor([1.0, 2.0, 6.0, nan]).view(1, 1, 2, 2)
        # Median 2; deviations 1, 0 and 4, of which 3.7 counts (95 %): mean 4.7 / 3.
        expected = torch.tensor([-1.0, 0.0, 4.0, 0.0]).view(1, 1, 2, 2) / (4.7 / 3)
        torch.testing.assert_close(normalised(x.nan_to_num(9.0), x.isfinite()), expected)

    def test_a_few_outliers_do_not_flatten_the_rest(self):
        x = torch.rand(1, 1, 20, 40, generator=torch.Generator().manual_seed(0))
        wild = x.clone()
        wild[..., -1] = 50
        plain, rest = (normalised(y, y.isfinite())[..., :-1] for y in (x, wild))
        assert rest.std() > 0.9 * plain.std()

    def test_trimmed_error_by_hand(self):
        a, b = torch.zeros(1, 1, 1, 6), torch.tensor([1.0, 2, 3, 4, 100, 7]).view(1, 1, 1, 6)
        valid = torch.tensor([True] * 5 + [False]).view(1, 1, 1, 6)
        assert trimmed_error(a, b, valid).tolist() == [2.5]

    def test_gradient_error_against_loops(self):
        torch.manual_seed(0)
        a, b = torch.rand(2, 2, 1, 9, 12).unbind(0)
        valid = torch.rand(2, 1, 9, 12) > 0.2
        expected = torch.zeros(2)
        for n in range(2):
            for step in (1, 2, 4, 8):
                d, m = ((x[n, 0, ::step, ::step]) for x in (a - b, valid))
                for down, right in ((0, 1), (1, 0)):
                    total, count = 0.0, 0
                    for i in range(d.shape[0] - down):
                        for j in range(d.shape[1] - right):
                            if m[i, j] and m[i + down, j + right]:
                                total += float((d[i + down, j + right] - d[i, j]).abs())
                                count += 1
                    expected[n] += total / max(1, count)
        torch.testing.assert_close(gradient_error(a, b, valid), expected)

    def test_scale_and_shift_do_not_matter_to_shape_and_slopes(self):
        torch.manual_seed(0)
        truth = torch.rand(2, 1, 16, 16)
        weight, options = torch.ones(2), {"slopes": 1.0, "range_": 0.0}
        losses = depth_losses(fixed_range(truth, truth > -1) * 3 + 5, truth, weight, **options)
        assert losses["loss"] < 1e-4 < losses["range"]
        assert depth_losses(torch.rand(2, 1, 16, 16), truth, weight, **options)["loss"] > 0.1

    def test_unknown_pixels_and_weights_do_not_count(self):
        torch.manual_seed(0)
        truth, guess = torch.rand(2, 2, 1, 8, 8).unbind(0)
        truth[0, 0, :4] = nan
        options = {"slopes": 0.5, "range_": 0.5}
        first = depth_losses(guess, truth, torch.tensor([1.0, 0.0]), **options)["loss"]
        other = guess.clone()
        other[0, 0, :4], other[1] = 7.0, 3.0
        assert depth_losses(other, truth, torch.tensor([1.0, 0.0]), **options)["loss"] == first

    def test_soft_truth_counts_in_its_large_forms_only(self):
        torch.manual_seed(0)
        truth = torch.rand(1, 1, 4, 6).repeat_interleave(8, 2).repeat_interleave(8, 3)
        options = {"slopes": 1.0, "range_": 1.0}
        weight = torch.ones(1)
        rough = torch.rand(1, 1, 4, 6, 4, 4)  # other values in each cell, but with its mean
        rough = rough - rough.mean((-1, -2), keepdim=True)
        fine = rough.permute(0, 1, 2, 4, 3, 5).reshape(1, 1, 16, 24)
        coarse = fixed_range(truth, truth > -1)[..., ::2, ::2] + 0.3 * fine
        soft = depth_losses(coarse, truth, weight, soft=True, **options)
        assert soft["loss"] < 1e-4 < depth_losses(coarse, truth, weight, **options)["loss"]

    def test_a_column_of_garbage_is_seen_beside_an_exact_truth(self):
        truth = torch.rand(1, 1, 16, 64, generator=torch.Generator().manual_seed(0))
        guess = fixed_range(truth, truth > -1)
        spoilt = guess.clone()
        spoilt[..., -1] = 3.0
        options = {"slopes": 0.0, "range_": 1.0}
        seen = depth_losses(spoilt, truth, torch.ones(1), **options)
        clean = depth_losses(guess, truth, torch.ones(1), **options)
        assert seen["range"] > 0.02 > 1e-4 > clean["range"]

    def test_all_unknown_or_constant_is_finite(self):
        guess = torch.full((2, 1, 8, 8), 0.3, requires_grad=True)
        truth = torch.stack([torch.full((1, 8, 8), nan), torch.full((1, 8, 8), 2.0)])
        loss = depth_losses(guess, truth, torch.ones(2), slopes=0.5, range_=0.5)["loss"]
        loss.backward()
        assert loss.isfinite() and guess.grad is not None and guess.grad.isfinite().all()


class TestScores:
    def test_fit_by_hand(self):
        scale, shift = fit_scale_shift(torch.tensor([0.0, 1.0, 2.0]), torch.tensor([1.0, 3.0, 5.0]))
        assert (scale, shift) == pytest.approx((2.0, 1.0))

    def test_an_affine_guess_is_perfect(self):
        truth = torch.rand(1, 1, 20, 20) + 0.1
        scores = depth_scores(3 * truth + 7, truth)
        assert scores.abs_rel == pytest.approx(0, abs=1e-6)
        assert (scores.delta, scores.ordinal) == (1.0, 1.0)

    def test_a_constant_guess_by_hand(self):
        truth = torch.tensor([1.0, 3.0, nan, 0.0]).view(1, 1, 2, 2)
        scores = depth_scores(torch.full((1, 1, 2, 2), 0.5), truth)
        # The fit is 2 everywhere: depths 1/2 for 1 and 1/3.
        assert scores.abs_rel == pytest.approx((0.5 + 0.5) / 2)
        assert scores.delta == 0
        assert scores.ordinal == 0.5  # ties count half

    def test_what_is_fitted_behind_the_viewer_counts_as_far(self):
        truth = torch.tensor([1.0, 1.0, 1.0, 0.1]).view(1, 1, 2, 2)
        guess = torch.tensor([1.0, 1.0, -9.0, 1.0]).view(1, 1, 2, 2)
        assert math.isfinite(depth_scores(guess, truth).abs_rel)

    def test_ordinal_by_hand(self):
        truth = torch.tensor([1.0, 1.05, 2.0])  # only pairs with the last one differ enough
        right = ordinal_accuracy(torch.tensor([5.0, 1.0, 9.0]), truth, 0.1, pairs=500, seed=0)
        wrong = ordinal_accuracy(torch.tensor([5.0, 9.0, 1.0]), truth, 0.1, pairs=500, seed=0)
        assert (right, wrong) == (1.0, 0.0)

    def test_disparity_by_hand(self):
        truth = torch.tensor([1.0, 2.0, 3.0, nan]).view(1, 1, 2, 2)
        guess = torch.tensor([1.0, 4.0, 1.0, 9.0]).view(1, 1, 2, 2)
        # No slope fits: 2 everywhere; errors 1, 0 and 1 of a range of 1.04 to 2.96.
        scores = depth_scores(guess, truth)
        assert scores.disparity == pytest.approx(100 * (2 / 3) / 1.92)

    def test_an_unknown_shift_leaves_depths_out(self):
        truth = torch.rand(1, 1, 20, 20) + 0.1
        scores = depth_scores(truth, truth, shifted=True)
        assert math.isnan(scores.abs_rel) and math.isnan(scores.delta)
        assert scores.ordinal == 1.0 and scores.disparity < 1e-4

    @pytest.mark.parametrize(
        ("blur", "shift", "step", "offset"),
        [(0, 0, 1.0, 0.0), (0, 3, 0.0, 3.0), (4, 0, 3 / 9, None), (None, 0, 0.0, None)],
    )
    def test_borders_by_hand(self, blur, shift, step, offset):
        truth = (torch.arange(384) >= 100).float().expand(1, 1, 20, 384) + 1
        guess = truth.roll(shift, -1)
        guess[..., :50], guess[..., 300:] = 1, 2
        if blur is None:
            guess = torch.ones_like(guess)
        elif blur:
            guess = torch.nn.functional.avg_pool2d(guess, (1, 2 * blur + 1), 1, (0, blur))
        scores = edge_scores(guess, truth, 1.0)
        assert scores.step == pytest.approx(step, abs=1e-5)
        if offset is not None:
            assert scores.offset == pytest.approx(offset)

    def test_no_border_is_nan(self):
        truth = torch.linspace(1, 2, 384).expand(1, 1, 20, 384)
        assert math.isnan(edge_scores(truth, truth, 1.0).step)

    @pytest.mark.parametrize("guess", [torch.ones(1, 1, 2, 3), torch.full((1, 1, 2, 2), nan)])
    def test_bad_predictions_are_named(self, guess):
        with pytest.raises(ValueError, match="prediction"):
            depth_scores(guess, torch.ones(1, 1, 2, 2))


class TestData:
    def test_shards_keep_depth_and_gaps(self, tmp_path):
        made = view(3)
        made.inverse_depth[:5] = nan
        made.inverse_depth[5, 5] = 0.0
        writer = DepthWriter(tmp_path)
        writer.add(DepthView(made.picture, made.inverse_depth, 0.25, soft=True))
        writer.add(view(4))
        writer.flush()
        entry, other = list_views(tmp_path)
        assert entry.soft and entry.read().soft and not other.soft
        read = entry.read()
        largest = np.nanmax(made.inverse_depth)
        np.testing.assert_allclose(read.inverse_depth, made.inverse_depth / largest, atol=2e-5)
        assert entry.weight == 0.25 and read.inverse_depth[5, 5] == 0.0
        assert np.abs(read.picture.astype(int) - made.picture).mean() < 4

    def test_samples_depend_on_seed_and_number_alone(self, views):
        settings = DepthDataSettings(views=(str(views),), height=32, width=64)
        data = DepthDataset(settings, seed=1)
        first = [data[i] for i in range(8)]
        for i in (5, 0, 7):
            again = DepthDataset(settings, seed=1)[i]
            assert all(torch.equal(again[k], first[i][k]) for k in again)
        other = DepthDataset(settings, seed=2)
        assert not torch.equal(other[0]["picture"], first[0]["picture"])
        assert first[0]["picture"].shape == (3, 32, 64)
        assert first[0]["inverse_depth"].shape == (1, 32, 64)

    def test_picture_and_depth_stay_together(self, views):
        settings = DepthDataSettings(views=(str(views),), height=32, width=64, changes=False)
        data = DepthDataset(settings)
        for i in range(12):
            sample = data[i]
            near = sample["inverse_depth"] > 0.95
            bright = sample["picture"].mean(0, True) > 0.72
            assert (near == bright).float().mean() > 0.93

    def test_held_out_views_are_others(self, views):
        settings = DepthDataSettings(views=(str(views),), height=32, width=64)
        held_out = {(e.path, e.index) for e in DepthDataset(settings, held_out=True).entries}
        trained = {(e.path, e.index) for e in DepthDataset(settings).entries}
        assert held_out and not held_out & trained

    def test_bad_folders_are_named(self, tmp_path):
        with pytest.raises(DataError, match="expected shards"):
            list_views(tmp_path)
        (tmp_path / "views-00000.safetensors").write_bytes(b"no")
        with pytest.raises(DataError, match="expected a shard"):
            list_views(tmp_path)


def settings(views, **run) -> DepthSettings:
    changed = {"steps": 4, "batch": 2, "warmup": 1, "log_every": 1, "sample_every": 4, **run}
    return DepthSettings(
        data=DepthDataSettings(views=(str(views),), height=32, width=32),
        run=RunSettings(**{"checkpoint_every": 2, **changed}),
        widths=(8, 8, 8, 8, 8),
        size=32,
        frozen=0,
    )


class TestRecipe:
    def test_resumed_is_uninterrupted(self, views, tmp_path):
        whole = train(settings(views), tmp_path / "whole")
        for name in ("a", "b"):  # the second call goes on
            part = train(settings(views, steps=4), tmp_path / "parts")
            if name == "a":
                for file in (tmp_path / "parts" / "checkpoints").glob("*4*"):
                    file.unlink()
        a, b = load_file(whole), load_file(part)
        assert all(torch.equal(a[k], b[k]) for k in a)
        assert load_depth(whole, device="cpu").name == "mini"

    def test_the_trunk_moves_slower(self, views, tmp_path):
        # A rate that is long beside the rounding of the file's 16 bits; gradients, unclipped, that
        # are long beside Adam's epsilon.
        made = settings(views, steps=1, ema=0.0, weight_decay=0.0, lr=0.02, clip=1e12)
        torch.manual_seed(0)
        before = build_network(made)
        after = load_file(train(made, tmp_path))
        moved = {True: 0.0, False: 0.0}
        for name, weight in before.named_parameters():
            if weight.ndim > 1:
                change = (after[name].float() - weight).abs().max().item()
                trunk = name.startswith("features.")
                moved[trunk] = max(moved[trunk], change)
        # Adam's first step is the rate itself.
        assert moved[False] == pytest.approx(0.02, rel=0.05)
        assert moved[True] == pytest.approx(0.02 * made.trunk_lr, rel=0.1)

    def test_frozen_layers_stay(self, views, tmp_path):
        start = build_network(settings(views))
        torch.save(start.state_dict(), tmp_path / "trunk.pth")
        made = replace(settings(views), trunk=str(tmp_path / "trunk.pth"), frozen=2)
        for steps in (2, 4):
            shorter = replace(made, run=replace(made.run, steps=steps))
            after = load_file(train(shorter, tmp_path / "run"))
        moved = set()
        for name, weight in start.state_dict().items():
            if name in after and weight.ndim == 1 and not torch.equal(after[name], weight):
                moved.add(".".join(name.split(".")[:2]))
        assert {"features.2", "features.3", "features.5"} <= moved
        assert not {"features.0", "features.1"} & moved

    def test_a_start_without_the_fine_layer_gets_one(self, views, tmp_path):
        made = replace(settings(views, steps=1), fine=0)  # as files were before there was one
        first = train(made, tmp_path / "first")
        grown = build_network(replace(made, start=str(first), fine=8))
        assert grown.config.fine == 8
        assert torch.equal(grown.head.weight, load_file(first)["head.weight"].float())
        second = train(replace(made, start=str(first), fine=8), tmp_path / "second")
        with pytest.raises(ValueError, match="fine: expected 8"):
            build_network(replace(made, start=str(second), fine=4))

    def test_norms_that_hold_do_not_move(self, views, tmp_path):
        first = train(settings(views, steps=1), tmp_path / "first")
        held = replace(settings(views, steps=2), start=str(first), norms=False)
        second = load_file(train(held, tmp_path / "second"))
        before = load_file(first)
        means = [name for name in before if name.endswith("running_mean")]
        assert means and all(torch.equal(before[name], second[name]) for name in means)
        assert not torch.equal(before["head.weight"], second["head.weight"])

    def test_soft_views_train_too(self, tmp_path):
        writer = DepthWriter(tmp_path / "views")
        for i in range(4):
            writer.add(replace(view(i), soft=i > 1))
        writer.flush()
        assert train(settings(tmp_path / "views", batch=4, steps=2), tmp_path / "run").is_file()

    def test_freezing_random_weights_is_refused(self, views):
        with pytest.raises(ValueError, match="frozen: expected 0"):
            build_network(replace(settings(views), frozen=1))

    def test_every_weight_is_trained_once(self, views):
        network = build_network(settings(views))
        groups = optimizer(network, RunSettings(), 0.3).param_groups
        trained = [id(p) for group in groups for p in group["params"]]
        assert sorted(trained) == sorted(id(p) for p in network.parameters())

    def test_a_trunk_of_another_network_is_named(self, views, tmp_path):
        torch.save({"features.0.0.weight": torch.zeros(1)}, tmp_path / "x.pth")
        made = DepthSettings(
            DepthDataSettings((str(views),)), RunSettings(), trunk=str(tmp_path / "x.pth")
        )
        with pytest.raises(ValueError, match="expected MobileNetV2's weights"):
            build_network(made)


class TestEvaluation:
    def test_a_ramp_is_scored_and_printed(self, views, capsys):
        assert main(["--scenes", str(views), "--depth", "gradient", "cues"]) == 0
        text = capsys.readouterr().out
        assert "| rendered (6) | gradient |" in text and "| rendered (6) | cues |" in text

    def test_the_truth_itself_is_perfect(self, views):
        truths = [s.inverse_depth for s in held_out_scenes((), views)]
        table = evaluate(held_out_scenes((), views), {"perfect": lambda _: 2 * truths.pop(0) + 1})
        assert all(s.abs_rel < 1e-3 and s.ordinal == 1 for s in table["rendered", "perfect"])

    def test_halves_share_nothing_and_miss_nothing(self):
        picture = torch.zeros(1, 3, 4, 4)
        scenes = [
            TrueScene(kind, picture, torch.full((1, 1, 4, 4), float(i)))
            for i, kind in enumerate("aababbb")
        ]
        halves = [list(half_of(iter(scenes), half)) for half in ("choose", "final", None)]
        numbers = [[int(s.inverse_depth[0, 0, 0, 0]) for s in half] for half in halves]
        assert numbers == [[0, 2, 3, 5], [1, 4, 6], list(range(7))]

    def test_examples_show_the_truth_last(self, views, tmp_path, capsys):
        photo, out = tmp_path / "photo.png", tmp_path / "out.png"
        cv2.imwrite(str(photo), np.full((60, 80, 3), 200, np.uint8))
        command = [
            "--scenes",
            str(views),
            "--most",
            "1",
            "--photos",
            str(photo),
            "--depth",
            "gradient",
        ]
        assert main([*command, "--picture", str(out)]) == 0
        assert capsys.readouterr().out == ""
        shown = cv2.imread(str(out))
        assert shown is not None and shown.shape[0] == EXAMPLE_HEIGHT
        # The second row stands beside the first: photograph, gradient, and white for no truth.
        ramp = shown[:, -EXAMPLE_HEIGHT * 2, 0].astype(int)
        assert ramp[0] < 20 and ramp[-1] > 230 and (np.diff(ramp) >= -2).all()
        assert shown[:, -10:].min() == 255

    def test_unknown_depth_has_a_colour_of_its_own(self):
        inverse = torch.linspace(0, 1, 50).view(1, 5, 10).clone()
        inverse[0, 0, 0] = torch.nan
        shown = show_depth(inverse)
        assert shown.shape == (3, 5, 10) and shown[:, 0, 0].tolist() == pytest.approx(UNKNOWN)
        assert shown[:, 4, 9].tolist() == [1, 1, 1] and shown[:, 0, 1].tolist() == [0, 0, 0]

    def test_a_missing_folder_is_one_line(self, tmp_path, capsys):
        assert main(["--stereo", str(tmp_path / "none"), "--depth", "gradient"]) == 1
        assert capsys.readouterr().err.count("\n") == 1


def test_a_teacher_looks_at_several_sizes_and_does_not_tell_left_from_right(monkeypatch):
    class Ramp:
        """Says that what is right is near, whatever it is shown; notes at which size."""

        def __init__(self):
            self.seen = []

        def predict(self, picture):
            self.seen.append((self.size, picture))
            return torch.linspace(0, 1, 40).expand(1, 1, 20, 40), None

    clip = torch.rand(2, 3, *weak_views.SIZE, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(weak_views, "CUES", 0.0)
    network = Ramp()
    taught = weak_views.taught_by(network, clip)
    assert taught.shape == (1, 1, *weak_views.SIZE)
    assert [size for size, _ in network.seen] == [s for s in weak_views.SIZES for _ in range(2)]
    assert torch.equal(network.seen[0][1], clip[-1:])
    assert torch.equal(network.seen[1][1], clip[-1:].flip(-1))
    assert torch.allclose(taught, taught.flip(-1), atol=1e-5)
    monkeypatch.setattr(weak_views, "CUES", 1.0)
    cues = weak_views.ranged(weak_views.cues_of(clip))
    assert torch.allclose(weak_views.taught_by(network, clip), cues)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A random teacher and student, and two photographs."""
    folder = tmp_path_factory.mktemp("distill")
    torch.manual_seed(0)
    weights = TeacherNetwork().state_dict()
    torch.save(weights, folder / "teacher.pt.tar")
    save_network(
        MiniDepthNetwork(MiniDepthConfig(fine=4)), folder / "start.safetensors", MINI_DEPTH
    )
    for number in range(2):
        picture = cv2.resize(view(number).picture, (192, 128))
        cv2.imwrite(str(folder / f"{number}.jpg"), picture)
    return folder


class TestDistillation:
    def crops(self, files, views, **more):
        return CropSettings(
            (str(files),),
            films=(str(views),),
            views=(str(views),),
            sizes=((64, 96), (96, 64)),
            teacher_sizes=(64, 96),
            **more,
        )

    def test_a_batch_has_one_size_and_a_sample_depends_on_its_number(self, files, views):
        teacher = load_teacher(files / "teacher.pt.tar")
        crops = TaughtCrops(self.crops(files, views), teacher, batch=3)
        batch = [crops[index] for index in range(3, 6)]
        assert len({tuple(sample["picture"].shape) for sample in batch}) == 1
        assert [bool(sample["taught"]) for sample in batch] == [True, False, False]
        assert batch[0]["inverse_depth"].shape[-2:] == batch[0]["picture"].shape[-2:]
        for name in ("picture", "inverse_depth"):
            assert torch.equal(crops[4][name].nan_to_num(9), batch[1][name].nan_to_num(9))
        assert {tuple(crops[3 * n]["picture"].shape) for n in range(9)} == {
            (3, 64, 96),
            (3, 96, 64),
        }

    def test_the_teachers_own_answer_costs_nothing_but_its_order(self, files, views):
        settings = DistillSettings(self.crops(files, views), RunSettings(), "t", "s")
        target = torch.rand(2, 1, 12, 16, generator=torch.Generator().manual_seed(0))
        losses = taught_losses(3 * target + 1, target, settings, torch.Generator().manual_seed(0))
        assert losses["shape"] < 1e-5 and losses["slopes"] < 1e-5
        other = taught_losses(-target, target, settings, torch.Generator().manual_seed(0))
        assert other["rank"] > 3 * losses["rank"] and other["shape"] > 0.5

    def test_views_by_parallax_are_the_third_kind(self, files, views):
        teacher = load_teacher(files / "teacher.pt.tar")
        settings = self.crops(files, views, seen=(str(views),), seen_views=1)
        crops = TaughtCrops(settings, teacher, batch=4)
        batch = [crops[index] for index in range(4)]
        assert [bool(sample["taught"]) for sample in batch] == [True, True, False, False]
        assert batch[1]["inverse_depth"].shape[-2:] == batch[1]["picture"].shape[-2:]
        with pytest.raises(ValueError, match="seen: expected folders"):
            self.crops(files, views, seen_views=1)

    def test_what_the_teacher_does_not_know_costs_nothing(self, files, views):
        settings = DistillSettings(self.crops(files, views), RunSettings(), "t", "s")
        generator = torch.Generator().manual_seed(0)
        target = torch.rand(2, 1, 12, 16, generator=generator)
        depth, unknown = target.clone(), target.clone()
        depth[..., :5] = torch.rand(2, 1, 12, 5, generator=generator)
        unknown[..., :5] = torch.nan
        depth.requires_grad_()
        losses = taught_losses(depth, unknown, settings, torch.Generator().manual_seed(0))
        assert losses["shape"] < 1e-5 and losses["slopes"] < 1e-5
        (losses["shape"] + losses["slopes"] + losses["rank"]).backward()
        assert depth.grad is not None and depth.grad.isfinite().all()
        assert depth.grad[..., :5].abs().max() == 0 < depth.grad[..., 5:].abs().max()

    def test_a_short_run_gives_a_depth_network(self, files, views, tmp_path):
        run = RunSettings(steps=2, batch=3, ema=0.5, sample_every=2, checkpoint_every=2)
        teacher, student = (str(files / name) for name in ("teacher.pt.tar", "start.safetensors"))
        settings = DistillSettings(
            self.crops(files, views), run, teacher, student, fine=4, size=96, frozen=3
        )
        path = distill_depth.train(settings, tmp_path / "run")
        before, after = load_file(files / "start.safetensors"), load_file(path)
        assert before.keys() == after.keys()
        assert not torch.equal(before["head.weight"], after["head.weight"])
        assert load_depth(str(path)).estimate(torch.rand(1, 3, 64, 96)).shape == (1, 1, 64, 96)


def test_half_way_is_the_mean_of_what_both_have(tmp_path):
    end = MiniDepthNetwork(MiniDepthConfig(fine=4))
    save_network(end, tmp_path / "end.safetensors", MINI_DEPTH)
    begin = MiniDepthNetwork()
    save_network(begin, tmp_path / "begin.safetensors", MINI_DEPTH)
    path = embed(tmp_path / "end.safetensors", tmp_path, tmp_path / "begin.safetensors")
    found = load_file(path)
    mean = (end.head.weight + begin.head.weight) / 2
    torch.testing.assert_close(found["head.weight"].float(), mean, rtol=1e-3, atol=1e-4)
    fine = dict(end.named_parameters())["fine.shares.weight"]
    torch.testing.assert_close(found["fine.shares.weight"].float(), fine, rtol=1e-3, atol=1e-4)

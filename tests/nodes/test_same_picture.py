"""The stage nodes, one after the other, make the picture that Convert makes."""

import importlib

import pytest
import torch

STEP = 1 / 255


@pytest.fixture
def clip():
    """A still wall of smooth texture, before which a bright square moves; after 5 frames, a cut."""
    generator = torch.Generator().manual_seed(3)
    noise = torch.rand(2, 3, 12, 20, generator=generator)
    walls = torch.nn.functional.interpolate(noise, (96, 160), mode="bicubic").clamp(0.1, 0.7)
    frames = walls.repeat_interleave(5, 0)
    for t, frame in enumerate(frames):
        frame[:, 30:76, 40 + 2 * t : 84 + 2 * t] = 0.9
    return frames.movedim(1, -1).contiguous()


@pytest.fixture
def convert(pack):
    """What the core's pipeline, which Convert runs, makes of the clip: both eyes."""
    core = importlib.import_module(f"{pack.__name__}.dreamstereo_core")

    def convert(images, fill, **options):
        pipeline = core.StereoPipeline(
            core.load_depth("embedded"), core.load_inpainter(fill), core.ConvertOptions(**options)
        )
        made = list(pipeline.convert(images.movedim(-1, 1)))
        eyes = [torch.cat([getattr(x, eye) for x in made]) for eye in ("left", "right")]
        return [eye.movedim(1, -1) for eye in eyes]

    return convert


@pytest.fixture
def stages(node_module):
    """What the nodes make of it with the defaults of their forms."""

    def run(module, name, **given):
        node = getattr(node_module(module), name)
        spec = node.INPUT_TYPES()
        inputs = spec["required"] | spec.get("optional", {})
        defaults = {k: v[1]["default"] for k, v in inputs.items() if "default" in v[1]}
        return node.execute(**{**defaults, **{k: v for k, v in given.items() if k in inputs}}).args

    def stages(images, fill, **options):
        depth_model = node_module("load_models").depth_on_device("embedded")
        depth, scale = run("depth", "EstimateDepth", images=images, depth_model=depth_model)
        given = {"inverse_depth": depth, "images": images, "depth_scale": scale}
        (disparity,) = run("disparity", "DepthToDisparity", **given, **options)
        given = {"images": images, "disparity": disparity}
        warped, mask, moved = run("warp", "Warp", **given, **options)
        given = {"warped": warped, "mask": mask, "warped_disparity": moved, "fill": fill}
        (filled,) = run("inpaint", "Inpaint", **given, **options)
        given = {"inpainted": filled, "warped": warped, "mask": mask}
        (made,) = run("blend", "Blend", **given, **options)
        return [made, images] if options.get("eye") == "left" else [images, made]

    return stages


BARS = {"none": (0, 0), "letterbox": (0, 12), "pillarbox": (16, 0)}


@pytest.mark.parametrize(
    ("fill", "bars", "options"),
    [
        ("mini", "none", {}),
        ("classic", "letterbox", {"max_disparity": 5.0, "eye": "left"}),
        ("classic", "pillarbox", {"max_disparity": 5.0, "feather": 2}),
    ],
)
def test_the_stages_make_the_same_picture(convert, stages, clip, fill, bars, options):
    across, down = BARS[bars]
    clip = torch.nn.functional.pad(clip, (0, 0, across, across, down, down))
    made = convert(clip, fill, **options), stages(clip, fill, **options)
    for expected, got in zip(*made, strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=STEP)

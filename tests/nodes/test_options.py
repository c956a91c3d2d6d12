"""The inputs that bear the options' names: their defaults, their places, and what they give."""

from types import SimpleNamespace

import pytest
import torch

# Required and optional inputs of each node as they were first published, in order.
PUBLISHED = {
    "DreamStereoBlend": ("inpainted warped mask feather", ""),
    "DreamStereoComfortReport": (
        "video max_disparity convergence_mode convergence",
        "depth_model screen_width distance max_front max_behind floating_window eye shots bars "
        "deinterlace background source_eye source_layout",
    ),
    "DreamStereoConvertVideo": (
        "video layout max_disparity convergence_mode convergence eye depth fill feather codec crf",
        "depth_model inpainter max_front max_behind floating_window num_steps dilation seed shots "
        "bars chroma deinterlace background source_eye source_layout subtitles field_of_view "
        "start_frame frame_count encoder",
    ),
    "DreamStereoDisparity": (
        "inverse_depth max_disparity convergence_mode convergence foreground_dilation",
        "max_front max_behind images shots bars depth_scale frame_rate",
    ),
    "DreamStereoEstimateDepth": ("images", "depth_model"),
    "DreamStereoGeometryDepth": ("da3_geometry", ""),
    "DreamStereoInpaint": (
        "warped mask",
        "warped_disparity inpainter num_steps dilation seed eye fill shots bars",
    ),
    "DreamStereoInpaintConditioning": ("positive negative vae images mask narrow", ""),
    "DreamStereoJoinVideos": ("video parts", ""),
    "DreamStereoLoadDepth": ("model custom allow_download invert", "metric"),
    "DreamStereoLoadInpainter": ("inpainter", ""),
    "DreamStereoLoadModel": (
        "diffusion_model vae lora lora_strength",
        "context num_steps dilation seed fill_size",
    ),
    "DreamStereoLoadVideo": ("file", ""),
    "DreamStereoPack": ("left right layout swap_eyes", ""),
    "DreamStereoPreviewSheet": (
        "video count max_disparity convergence_mode convergence",
        "depth_model inpainter max_front max_behind floating_window eye fill feather num_steps "
        "dilation seed bars deinterlace background source_eye source_layout",
    ),
    "DreamStereoSparseTokens": ("model mask dilation temporal_stride narrow", ""),
    "DreamStereoWarp": ("images disparity eye stretch_threshold", "shots bars"),
}


@pytest.fixture
def forms(pack):
    """Each node's inputs, required and optional, by its id."""
    nodes = __import__(f"{pack.__name__}.nodes", fromlist=["NODES"]).NODES
    return {node.GET_SCHEMA().node_id: node.INPUT_TYPES() for node in nodes}


@pytest.fixture
def core(node_module):
    """The core's options as the pack imports them, with what makes them."""
    found = vars(node_module("options")) | vars(node_module("film_inputs"))
    return SimpleNamespace(**found)


@pytest.mark.parametrize("node", sorted(PUBLISHED))
def test_a_saved_graph_still_opens(forms, node):
    required, optional = (names.split() for names in PUBLISHED[node])
    assert list(forms[node].get("required", {})) == required  # or a saved prompt would lack one
    assert list(forms[node].get("optional", {}))[: len(optional)] == optional


@pytest.mark.parametrize("node", ["DreamStereoConvertVideo", "DreamStereoPreviewSheet"])
def test_the_defaults_are_those_of_the_options(forms, core, node):
    inputs = forms[node]["required"] | forms[node]["optional"]
    defaults = {name: spec[1]["default"] for name, spec in inputs.items() if "default" in spec[1]}
    assert core.convert_options(defaults) == core.ConvertOptions()
    assert core.pick_options(core.DecodeOptions, defaults) == core.DecodeOptions()
    encode = core.pick_options(core.EncodeOptions, defaults | {"crf": None, "field_of_view": None})
    assert encode == core.EncodeOptions()
    for kind in (core.ConvertOptions, core.DecodeOptions):
        shown = {"foreground_dilation", "stretch_threshold", "chunk_frames", "sampler"}
        shown |= {"shots"} if node == "DreamStereoPreviewSheet" else set()
        assert set(vars(kind())) - set(defaults) <= shown


@pytest.mark.parametrize(
    "node", ["DreamStereoConvertVideo", "DreamStereoPreviewSheet", "DreamStereoInpaint"]
)
def test_what_load_dreamstereo_model_has_now_keeps_its_place_unseen(forms, node):
    for name in ("num_steps", "dilation", "seed"):
        settings = forms[node]["optional"][name][1]
        assert settings["hidden"] and settings["advanced"], name
        assert not forms["DreamStereoLoadModel"]["optional"][name][1].get("hidden")


def test_each_quality_of_the_form_is_one_of_every_codec(forms, core):
    top = forms["DreamStereoConvertVideo"]["required"]["crf"][1]["max"]
    for codec in ("auto", "h264", "hevc", "av1"):
        core.EncodeOptions(codec=codec, crf=top)


def test_the_mode_says_whether_the_number_counts(core):
    for mode, expected in (("median", "median"), ("auto", "auto"), ("manual", 0.3)):
        given = {"convergence_mode": mode, "convergence": 0.3, "max_disparity": 4.0}
        options = core.convert_options(given)
        assert options == core.ConvertOptions(convergence=expected, max_disparity=4.0)
    with pytest.raises(ValueError, match="max_disparity: expected a value in"):
        core.convert_options({"max_disparity": 400.0})


class TestBars:
    """What lies within bars is treated as if it were the whole picture."""

    @pytest.fixture
    def picture(self):
        generator = torch.Generator().manual_seed(0)
        return torch.rand(1, 40, 96, 3, generator=generator).expand(5, -1, -1, -1) * 0.5 + 0.3

    def boxed(self, images, value=0.0):
        """Put 12 rows above and below, and 16 columns at each side."""
        return torch.nn.functional.pad(images, (0, 0, 8, 8, 6, 6), value=value)

    def test_disparity(self, node_module, picture):
        node = node_module("disparity").DepthToDisparity
        depth = picture.mean(3, keepdim=True)
        common = {"max_disparity": 5.0, "convergence_mode": "auto", "convergence": 0.5}
        common["foreground_dilation"] = 1

        def disparity(depth, **more):
            return node.execute(depth.expand(-1, -1, -1, 3), **common, **more).args[0]

        inside = disparity(depth, images=picture)
        within = disparity(self.boxed(depth), images=self.boxed(picture))
        assert torch.equal(within[:, :, 6:-6, 8:-8], inside)
        assert torch.equal(within, torch.nn.functional.pad(inside, (8, 8, 6, 6)))
        whole = disparity(self.boxed(depth), images=self.boxed(picture), bars=False)
        assert torch.equal(whole, disparity(self.boxed(depth)))
        assert not torch.equal(whole, within)

    def test_disparity_of_a_small_depth(self, node_module, picture):
        node = node_module("disparity").DepthToDisparity
        depth = torch.ones(5, 26, 56, 3)  # half of 52 x 112
        (found,) = node.execute(
            depth,
            max_disparity=5.0,
            convergence_mode="manual",
            convergence=0.0,
            images=self.boxed(picture),
        ).args
        assert (found[:, :, 3:-3, 4:-4] > 0).all()
        assert not found[:, :, :3].any()
        assert not found[..., :4].any()

    @pytest.mark.parametrize("fill", ["classic", "mini"])
    def test_inpaint(self, node_module, picture, fill):
        node = node_module("inpaint").Inpaint
        mask = torch.zeros(5, 40, 96)
        mask[:, 5:30, 40:46] = 1
        disparity = torch.zeros(5, 1, 40, 96)
        disparity[..., 46:] = 3
        (inside,) = node.execute(picture, mask, disparity, fill=fill).args
        sides = (8, 8, 6, 6)
        (within,) = node.execute(
            self.boxed(picture),
            torch.nn.functional.pad(mask, sides),
            torch.nn.functional.pad(disparity, sides),
            fill=fill,
        ).args
        assert torch.equal(within, self.boxed(inside))

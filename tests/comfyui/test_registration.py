import re

import pytest

from .server import PACK

NODES = {
    "DreamStereoConvertVideo",
    "DreamStereoJoinVideos",
    "DreamStereoPreviewSheet",
    "DreamStereoComfortReport",
    "DreamStereoLoadVideo",
    "DreamStereoLoadDepth",
    "DreamStereoLoadInpainter",
    "DreamStereoLoadModel",
    "DreamStereoEstimateDepth",
    "DreamStereoGeometryDepth",
    "DreamStereoDisparity",
    "DreamStereoWarp",
    "DreamStereoInpaint",
    "DreamStereoBlend",
    "DreamStereoPack",
    "DreamStereoInpaintConditioning",
    "DreamStereoSparseTokens",
}
# Their first choice is a file of the user's.
FILE_LISTS = {("DreamStereoLoadModel", "diffusion_model"), ("DreamStereoLoadModel", "vae")}


def test_the_pack_loads_without_a_complaint(comfy):
    complaints = re.findall(
        r".*(?:IMPORT FAILED|Cannot import|comfy_entrypoint|Skip ).*", comfy.log
    )
    assert complaints == []


def test_every_node_is_there(object_info):
    ours = {
        name for name, info in object_info.items() if info["category"].startswith("DreamStereo")
    }
    assert ours == NODES


@pytest.mark.parametrize("node", sorted(NODES))
def test_a_node_explains_itself(comfy, object_info, node):
    info = object_info[node]
    assert info["display_name"] != node
    assert info["description"].endswith(".")
    inputs = info["input"].get("required", {}) | info["input"].get("optional", {})
    silent = [name for name, spec in inputs.items() if not spec[1].get("tooltip")]
    assert silent == []
    assert all(info["output_tooltips"])
    page = comfy.get(f"/extensions/dreamstereo/docs/{node}.md")
    assert page.status_code == 200
    assert page.text.startswith(f"# {info['display_name']}\n")
    undocumented = [name for name in inputs if f"`{name}`" not in page.text]
    assert undocumented == []


def test_every_widget_has_a_default(object_info):
    for node in NODES:
        for name, (kind, settings) in object_info[node]["input"].get("required", {}).items():
            if (node, name) in FILE_LISTS:
                continue
            if kind in ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"):
                assert "default" in settings, (node, name)


def test_a_form_of_few_things(object_info):
    inputs = object_info["DreamStereoConvertVideo"]["input"]
    shown = [
        name
        for group in ("required", "optional")
        for name, (_, settings) in inputs[group].items()
        if not settings.get("advanced")
    ]
    widgets = ["layout", "max_disparity", "convergence_mode", "convergence", "depth"]
    assert shown == ["video", *widgets, "depth_model", "inpainter"]


def test_no_help_page_without_its_node():
    pages = {path.stem for path in (PACK / "nodes" / "web" / "docs").glob("*.md")}
    assert pages == NODES


def test_the_template_browser_lists_the_workflows(comfy):
    templates = comfy.get("/workflow_templates").json()["dreamstereo"]
    assert sorted(templates) == [path.stem for path in sorted((PACK / "workflows").glob("*.json"))]
    for name in templates:
        picture = comfy.get(f"/api/workflow_templates/dreamstereo/{name}.jpg")
        assert picture.content[:3] == b"\xff\xd8\xff", name

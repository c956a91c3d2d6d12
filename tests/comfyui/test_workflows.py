"""The workflows that ship: they fit the nodes, and they run on the first press."""

import json

import pytest

from .media import describe, write_film
from .server import PACK
from .workflow import (
    CONTROL,
    choices,
    load_workflow,
    real_nodes,
    saved_names,
    to_prompt,
    widget_names,
)

NAMES = ["2d_to_3d", "2d_to_3d_stages", "2d_to_3d_video_depth", "wan_sparse_inpaint"]
WEIGHTS = (".safetensors", ".pth")
DEMO = PACK / "docs" / "demo.mp4"


def node_of(workflow: dict, kind: str) -> str:
    (node,) = [node for node in workflow["nodes"] if node["type"] == kind]
    return str(node["id"])


@pytest.mark.parametrize("name", NAMES)
class TestFormat:
    def test_top_level_ui_format(self, name):
        workflow = load_workflow(name)
        assert workflow["version"] == 0.4
        assert "definitions" not in workflow
        assert workflow["last_node_id"] == max(node["id"] for node in workflow["nodes"])
        assert workflow["last_link_id"] == max(link[0] for link in workflow["links"])

    def test_every_node_names_its_pack(self, name):
        for node in real_nodes(load_workflow(name)):
            ours = node["type"].startswith("DreamStereo")
            assert node["properties"]["cnr_id"] == ("dreamstereo" if ours else "comfy-core")
            assert node["properties"]["ver"]

    def test_widget_values_fit_the_schema(self, name, object_info):
        for node in real_nodes(load_workflow(name)):
            info = object_info[node["type"]]
            specs = info["input"].get("required", {}) | info["input"].get("optional", {})
            names = saved_names(node, object_info)
            if node["type"].startswith("DreamStereo"):
                assert names == widget_names(info), node["type"]
            downloads = [model["name"] for model in node["properties"].get("models", [])]
            for widget, value in zip(names, node["widgets_values"], strict=True):
                if widget in ("upload", CONTROL) or value in downloads:
                    continue
                kind, settings = (*specs[widget], {})[:2]
                options = choices(kind, settings)
                if options is not None:
                    assert value in options, (node["type"], widget)
                if kind in ("INT", "FLOAT"):
                    assert settings["min"] <= value <= settings["max"], (node["type"], widget)
                if kind == "BOOLEAN":
                    assert isinstance(value, bool), (node["type"], widget)

    def test_sockets_fit_the_schema(self, name, object_info):
        for node in real_nodes(load_workflow(name)):
            info = object_info[node["type"]]
            specs = info["input"].get("required", {}) | info["input"].get("optional", {})
            for socket in node["inputs"]:
                kinds = str(specs[socket["name"]][0]).split(",")
                assert socket["type"] in kinds, (node["type"], socket)
            outputs = [(socket["name"], socket["type"]) for socket in node["outputs"]]
            expected = list(zip(info["output_name"], info["output"], strict=True))
            if not node["type"].startswith("DreamStereo"):  # newer cores add outputs behind
                expected = expected[: len(outputs)]
            assert outputs == expected, node["type"]

    def test_every_model_file_comes_with_its_address(self, name, comfy):
        folders = comfy.get("/models").json()
        for node in real_nodes(load_workflow(name)):
            files = [v for v in node["widgets_values"] if str(v).endswith(WEIGHTS)]
            models = node["properties"].get("models", [])
            assert [model["name"] for model in models] == files
            for model in models:
                assert model["url"].startswith("https://huggingface.co/")
                assert model["url"].endswith(f"/{model['name']}")
                assert model["directory"] in folders

    def test_links_agree_on_both_ends(self, name):
        workflow = load_workflow(name)
        nodes = {node["id"]: node for node in workflow["nodes"]}
        for link, origin, out_slot, target, in_slot, kind in workflow["links"]:
            assert link in nodes[origin]["outputs"][out_slot]["links"]
            assert nodes[target]["inputs"][in_slot]["link"] == link
            assert nodes[origin]["outputs"][out_slot]["type"] == kind


class TestBlueprint:
    @pytest.fixture
    def blueprint(self) -> dict:
        return json.loads((PACK / "subgraphs" / "2D video to 3D.json").read_text())

    def test_the_core_offers_it(self, comfy):
        offered = comfy.get("/global_subgraphs").json()
        ours = {key: x for key, x in offered.items() if "dreamstereo" in x["info"]["node_pack"]}
        ((key, entry),) = ours.items()
        assert entry["name"] == "2D video to 3D"
        assert comfy.get(f"/global_subgraphs/{key}").json()["data"]

    def test_its_nodes_have_the_forms_of_the_pack(self, blueprint, object_info):
        (subgraph,) = blueprint["definitions"]["subgraphs"]
        (outer,) = blueprint["nodes"]
        assert outer["type"] == subgraph["id"]
        for node in subgraph["nodes"]:
            info = object_info[node["type"]]
            assert len(node["widgets_values"]) == len(widget_names(info))
            assert [socket["name"] for socket in node["outputs"]] == info["output_name"]

    def test_its_links_agree_on_both_ends(self, blueprint):
        (subgraph,) = blueprint["definitions"]["subgraphs"]
        nodes = {node["id"]: node for node in subgraph["nodes"]}
        for link in subgraph["links"]:
            if link["origin_id"] == subgraph["inputNode"]["id"]:
                assert link["id"] in subgraph["inputs"][link["origin_slot"]]["linkIds"]
            else:
                outputs = nodes[link["origin_id"]]["outputs"]
                assert link["id"] in outputs[link["origin_slot"]]["links"]
            if link["target_id"] == subgraph["outputNode"]["id"]:
                assert link["id"] in subgraph["outputs"][link["target_slot"]]["linkIds"]
            else:
                inputs = nodes[link["target_id"]]["inputs"]
                assert inputs[link["target_slot"]]["link"] == link["id"]


@pytest.mark.parametrize(("name", "frames"), [("2d_to_3d", None), ("2d_to_3d_stages", 32)])
def test_runs_on_the_first_press(comfy, object_info, name, frames):
    workflow = load_workflow(name)
    run = comfy.run(to_prompt(workflow, object_info), workflow=workflow)
    run.check_success()

    (result,) = run.outputs[node_of(workflow, "SaveVideo")]["images"]
    film = {"2d_to_3d": "dreamstereo_example", "2d_to_3d_stages": "DreamStereo"}[name]
    assert result["filename"].startswith(f"{film}_3D_LRF_FSBS_SBS_")
    made, given = describe(comfy.output_path(result)), describe(DEMO)
    assert made["size"] == (2 * given["size"][0], given["size"][1])
    assert made["frames"] == (frames or given["frames"])
    assert made["audio"] == given["audio"] == ["aac"]
    assert json.loads(made["metadata"]["workflow"]) == workflow
    assert "SaveVideo" in made["metadata"]["prompt"]


def test_the_name_follows_film_and_layout(comfy, object_info):
    prompt = to_prompt(load_workflow("2d_to_3d"), object_info)
    convert = prompt[node_of(load_workflow("2d_to_3d"), "DreamStereoConvertVideo")]
    film = write_film(comfy.base / "input" / "holiday.mp4", frames=2).name
    prompt[convert["inputs"]["video"][0]]["inputs"]["file"] = film
    convert["inputs"]["layout"] = "anaglyph"
    run = comfy.run(prompt)
    run.check_success()
    (result,) = run.outputs[node_of(load_workflow("2d_to_3d"), "SaveVideo")]["images"]
    assert result["subfolder"] == "video"
    assert result["filename"] == "holiday_anaglyph_00001_.mp4"


@pytest.mark.parametrize("loader", ["DreamStereoLoadVideo", "LoadVideo"])
def test_a_second_press_converts_nothing_again(comfy, object_info, loader):
    prompt = to_prompt(load_workflow("2d_to_3d"), object_info)
    convert = prompt[node_of(load_workflow("2d_to_3d"), "DreamStereoConvertVideo")]
    film = write_film(comfy.base / "input" / f"{loader}.mp4", frames=2).name
    prompt[convert["inputs"]["video"][0]] = {"class_type": loader, "inputs": {"file": film}}
    first, second = comfy.run(prompt), comfy.run(prompt)
    first.check_success()
    second.check_success()
    assert set(second.of("execution_cached")[0]["nodes"]) == set(prompt)


def test_the_example_is_there_for_the_page(comfy):
    shown = comfy.get("/view?filename=dreamstereo_example.mp4&type=input")
    assert shown.content == DEMO.read_bytes()

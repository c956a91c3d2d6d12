"""What a user does on the page: drop the workflow, press Run, look at the result."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, TimeoutError, expect

from ..comfyui.server import ComfyServer
from ..comfyui.workflow import WORKFLOWS, load_workflow, to_prompt
from .conftest import both_pages

RUN_MS = 900_000
ATTEMPTS, ATTEMPT_MS = 6, 5000
NAMES = ["2d_to_3d", "2d_to_3d_stages"]
TITLE_PX = 30
BLUEPRINT = "2D video to 3D"
WITH_MODELS = ["2d_to_3d_video_depth", "wan_sparse_inpaint"]


def open_workflow(page: Page, name: str) -> None:
    """Open a workflow file the way the page's own menu does, and wait until the graph shows it."""
    page.locator("#comfy-file-input").set_input_files(WORKFLOWS / f"{name}.json")
    kinds = sorted(node["type"] for node in load_workflow(name)["nodes"])
    page.wait_for_function(
        "kinds => String(app.graph._nodes.map(n => n.type).sort()) === String(kinds)", arg=kinds
    )


def drop_workflow(page: Page, name: str) -> None:
    """Drop a workflow file on the canvas."""
    text = (WORKFLOWS / f"{name}.json").read_text()
    page.evaluate(
        """([name, text]) => {
            const data = new DataTransfer();
            data.items.add(new File([text], name, { type: "application/json" }));
            const event = new DragEvent("drop", { dataTransfer: data, bubbles: true });
            document.dispatchEvent(event);
        }""",
        [f"{name}.json", text],
    )
    page.wait_for_function(
        "count => app.graph._nodes.length === count", arg=len(load_workflow(name)["nodes"])
    )


def search_node(page: Page, name: str) -> None:
    """Find a node by its name; a page that still draws itself anew loses a double click."""
    for _ in range(ATTEMPTS):
        page.mouse.dblclick(800, 500)
        try:
            page.wait_for_function(
                "() => document.activeElement?.tagName === 'INPUT'", timeout=ATTEMPT_MS
            )
            page.keyboard.type(name, delay=30)
            page.get_by_text(name).first.wait_for(timeout=ATTEMPT_MS)
            return
        except TimeoutError:
            page.keyboard.press("Escape")
    raise AssertionError(f"{name}: expected the search to show it, did not {ATTEMPTS} times")


def press_run(page: Page) -> None:
    """Press the page's Run button and wait for the end, whichever it is."""
    page.evaluate(
        """() => {
            window.ended = null;
            for (const name of ["execution_success", "execution_error", "execution_interrupted"])
                app.api.addEventListener(name, e => window.ended = { name, detail: e.detail });
        }"""
    )
    button = page.get_by_test_id("queue-button")
    inner = button.get_by_role("button")  # of older pages, which have a menu beside it
    (inner.first if inner.count() else button).click()
    page.wait_for_function("() => window.ended", timeout=RUN_MS)
    ended = page.evaluate("() => window.ended")
    assert ended["name"] == "execution_success", ended["detail"]


def expect_no_complaint(page: Page) -> None:
    """No dialog (missing node, missing model, error) and no node marked as broken."""
    expect(page.get_by_role("dialog")).to_have_count(0)
    broken = "() => app.graph._nodes.filter(n => n.has_errors || !n.constructor.nodeData).length"
    notes = "() => app.graph._nodes.filter(n => n.isVirtualNode).length"
    assert page.evaluate(broken) == page.evaluate(notes)


@both_pages
def test_drop_run_and_see_the_result(page: Page, pictures: Path, nodes_2: bool):
    drop_workflow(page, "2d_to_3d")
    expect_no_complaint(page)
    kind = "_nodes_2" if nodes_2 else ""
    page.screenshot(path=pictures / f"2d_to_3d_loaded{kind}.png")
    press_run(page)
    expect_no_complaint(page)
    # Twice as wide as the example: the player of Save Video has loaded the result.
    page.wait_for_function(
        "() => [...document.querySelectorAll('video')]"
        ".some(v => v.readyState >= 2 && v.videoWidth > 3 * v.videoHeight)"
    )
    page.wait_for_timeout(1000)  # for the picture only: the player grows into its place
    page.screenshot(path=pictures / f"2d_to_3d_done{kind}.png")

    page.evaluate(
        """() => app.api.addEventListener(
            "execution_cached", e => window.cached = e.detail.nodes.map(String))"""
    )
    press_run(page)
    types = {str(node["id"]): node["type"] for node in load_workflow("2d_to_3d")["nodes"]}
    cached = {types[node] for node in page.evaluate("() => window.cached")}
    # Save Video's own player enters the prompt of older pages: it saves once more.
    assert cached >= {"DreamStereoLoadVideo", "DreamStereoConvertVideo"}


@both_pages
@pytest.mark.parametrize("name", NAMES)
def test_the_page_sends_what_the_file_says(page: Page, comfy: ComfyServer, pictures: Path, name):
    open_workflow(page, name)
    expect_no_complaint(page)
    sent = page.evaluate("async () => (await app.graphToPrompt()).output")
    for node in sent.values():
        node.pop("_meta", None)
        node["inputs"].pop("video-preview", None)  # the page's player
    expected = to_prompt(load_workflow(name), comfy.object_info())
    assert set(sent) == set(expected)
    for key, node in expected.items():
        inputs = sent[key]["inputs"]
        if not node["class_type"].startswith("DreamStereo"):  # newer cores have added others
            inputs = {name: value for name, value in inputs.items() if name in node["inputs"]}
        assert sent[key] | {"inputs": inputs} == node
    page.screenshot(path=pictures / f"{name}_opened.png")


@both_pages
@pytest.mark.parametrize("name", [*NAMES, *WITH_MODELS])
def test_nodes_have_room(page: Page, pictures: Path, nodes_2: bool, name):
    """A file whose nodes are too small for their widgets opens with nodes over one another."""
    open_workflow(page, name)
    page.wait_for_timeout(1500)  # nodes grow to what their widgets need
    page.screenshot(path=pictures / f"{name}_{'nodes_2' if nodes_2 else 'classic'}.png")
    boxes = page.evaluate("() => app.graph._nodes.map(n => [n.type, ...n.pos, ...n.size])")
    for i, (one, x1, y1, w1, h1) in enumerate(boxes):
        for other, x2, y2, w2, h2 in boxes[i + 1 :]:
            beside = x1 + w1 <= x2 or x2 + w2 <= x1
            below = y1 + h1 <= y2 - TITLE_PX or y2 + h2 <= y1 - TITLE_PX
            assert beside or below, (one, other)


@both_pages
def test_the_blueprint_is_found_and_sends_a_conversion(page: Page, pictures: Path, nodes_2: bool):
    page.evaluate("() => { app.graph.clear(); app.canvas.setDirty(true, true) }")
    search_node(page, BLUEPRINT)
    page.wait_for_timeout(1000)  # the search begins a moment after the last key
    page.keyboard.press("Enter")
    page.mouse.move(900, 400)
    page.wait_for_timeout(500)
    page.mouse.click(900, 400)  # newer pages ask where it shall stand
    page.wait_for_function("() => app.graph._nodes.length === 1")
    page.screenshot(path=pictures / f"blueprint_{'nodes_2' if nodes_2 else 'classic'}.png")
    expect(page.get_by_role("dialog")).to_have_count(0)
    node = page.evaluate(
        """() => {
            const node = app.graph._nodes[0];
            const names = slots => slots.map(slot => slot.name);
            return [node.title, names(node.inputs), names(node.outputs)];
        }"""
    )
    widgets = ["model", "layout", "max_disparity", "convergence_mode"]
    assert node == [BLUEPRINT, ["video", *widgets], ["video", "filename_prefix"]]
    sent = page.evaluate("async () => (await app.graphToPrompt()).output")
    nodes = {node["class_type"]: (key, node["inputs"]) for key, node in sent.items()}
    assert set(nodes) == {"DreamStereoLoadDepth", "DreamStereoConvertVideo"}
    key, _ = nodes["DreamStereoLoadDepth"]
    assert nodes["DreamStereoConvertVideo"][1]["depth_model"] == [key, 0]
    assert nodes["DreamStereoConvertVideo"][1]["max_disparity"] == 3.0


@pytest.mark.parametrize("name", WITH_MODELS)
def test_missing_models_are_offered_for_download(page: Page, pictures: Path, name):
    page.locator("#comfy-file-input").set_input_files(WORKFLOWS / f"{name}.json")
    nodes = load_workflow(name)["nodes"]
    files = [model["name"] for node in nodes for model in node["properties"].get("models", [])]
    offer = page.get_by_role("dialog")  # of older pages; newer ones have a panel
    details = page.get_by_role("button", name="View details")
    expect(offer.get_by_text(files[0]).or_(details).first).to_be_visible()
    page.wait_for_timeout(3000)  # a list of them comes and goes while they are looked for
    if details.is_visible():
        details.click()
        offer = page.get_by_test_id("properties-panel")
    for file in files:
        expect(offer.get_by_text(file).first).to_be_visible()
    if name == "wan_sparse_inpaint":  # older pages download no .pth, but say where it is
        expect(offer.get_by_role("button", name=re.compile("Download")).first).to_be_visible()
    page.screenshot(path=pictures / f"{name}_models.png")


def test_open_from_the_template_browser(page: Page, pictures: Path):
    page.get_by_role("button", name=re.compile("Templates")).first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("dreamstereo", exact=False).first.click()
    expect(dialog.get_by_text("2d_to_3d", exact=True)).to_be_visible()
    page.screenshot(path=pictures / "templates.png")
    dialog.get_by_text("2d_to_3d", exact=True).click()
    page.wait_for_function("() => app.graph._nodes.some(n => n.type === 'DreamStereoConvertVideo')")
    expect_no_complaint(page)
    loader = "app.graph._nodes.find(n => n.type === 'DreamStereoLoadVideo')"
    button = page.evaluate(f"() => {loader}.widgets.find(w => w.type === 'button').label")
    assert "upload" in button


def test_help_of_a_node(page: Page, pictures: Path):
    open_workflow(page, "2d_to_3d")
    page.evaluate(
        """() => {
            app.canvas.ds.offset[1] += 100;
            const node = app.graph._nodes.find(n => n.type === "DreamStereoConvertVideo");
            app.canvas.selectNode(node);
        }"""
    )
    page.get_by_test_id("info-button").click()
    expect(page.get_by_role("heading", name="Layouts and file names")).to_be_visible()
    page.screenshot(path=pictures / "help.png")

"""What a user does on the page: drop the workflow, press Run, look at the result."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from ..comfyui.server import ComfyServer
from ..comfyui.workflow import WORKFLOWS, load_workflow, to_prompt

RUN_MS = 900_000
NAMES = ["2d_to_3d", "2d_to_3d_stages"]
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


def test_drop_run_and_see_the_result(page: Page, pictures: Path):
    drop_workflow(page, "2d_to_3d")
    expect_no_complaint(page)
    page.screenshot(path=pictures / "2d_to_3d_loaded.png")
    press_run(page)
    expect_no_complaint(page)
    # Twice as wide as the example: the player of Save Video has loaded the result.
    page.wait_for_function(
        "() => [...document.querySelectorAll('video')]"
        ".some(v => v.readyState >= 2 && v.videoWidth > 3 * v.videoHeight)"
    )
    page.wait_for_timeout(1000)  # for the picture only: the player grows into its place
    page.screenshot(path=pictures / "2d_to_3d_done.png")

    page.evaluate(
        """() => app.api.addEventListener(
            "execution_cached", e => window.cached = e.detail.nodes.map(String))"""
    )
    press_run(page)
    types = {str(node["id"]): node["type"] for node in load_workflow("2d_to_3d")["nodes"]}
    cached = {types[node] for node in page.evaluate("() => window.cached")}
    # Save Video's own player enters the prompt of older pages: it saves once more.
    assert cached >= {"DreamStereoLoadVideo", "DreamStereoConvertVideo"}


@pytest.mark.parametrize("name", NAMES)
def test_the_page_sends_what_the_file_says(page: Page, comfy: ComfyServer, pictures: Path, name):
    open_workflow(page, name)
    expect_no_complaint(page)
    sent = page.evaluate("async () => (await app.graphToPrompt()).output")
    for node in sent.values():
        node.pop("_meta", None)
        node["inputs"].pop("video-preview", None)  # the page's player
    assert sent == to_prompt(load_workflow(name), comfy.object_info())
    page.screenshot(path=pictures / f"{name}_opened.png")


@pytest.mark.parametrize("name", NAMES)
def test_nodes_keep_the_size_that_the_file_gives_them(page: Page, name):
    """A file whose nodes are too small for their widgets opens with nodes over one another."""
    open_workflow(page, name)
    boxes = page.evaluate("() => app.graph._nodes.map(n => [n.type, ...n.pos, ...n.size])")
    for i, (one, x1, y1, w1, h1) in enumerate(boxes):
        for other, x2, y2, w2, h2 in boxes[i + 1 :]:
            apart = x1 + w1 <= x2 or x2 + w2 <= x1 or y1 + h1 <= y2 or y2 + h2 <= y1
            assert apart, (one, other)


@pytest.mark.parametrize("name", WITH_MODELS)
def test_missing_models_are_offered_for_download(page: Page, pictures: Path, name):
    page.locator("#comfy-file-input").set_input_files(WORKFLOWS / f"{name}.json")
    dialog = page.get_by_role("dialog")
    for node in load_workflow(name)["nodes"]:
        for model in node["properties"].get("models", []):
            expect(dialog.get_by_text(model["name"])).to_be_visible()
    if name == "wan_sparse_inpaint":  # older pages download no .pth, but say where it is
        expect(dialog.get_by_role("button", name=re.compile("Download")).first).to_be_visible()
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

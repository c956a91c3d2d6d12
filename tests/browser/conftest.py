import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Browser, Page, expect, sync_playwright

from ..comfyui.server import PACK, ComfyServer
from ..comfyui.server import comfy as comfy

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE_MS = 30_000


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        found = next(filter(None, map(shutil.which, CHROMIUMS)), None)
        path = found or playwright.chromium.executable_path
        if not Path(path).exists():
            pytest.fail(
                f"no Chromium: expected one of {', '.join(CHROMIUMS)} on PATH, or Playwright's own "
                "(`apt-get install chromium`, or `playwright install chromium`)",
                pytrace=False,
            )
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def nodes_2() -> bool:
    """Whether the page draws its nodes in the new way; `both_pages` runs a test on either."""
    return False


both_pages = pytest.mark.parametrize("nodes_2", [False, True], ids=["classic", "nodes 2.0"])


@pytest.fixture
def page(browser: Browser, comfy: ComfyServer, nodes_2: bool) -> Iterator[Page]:
    """A page of its own, ready to be used."""
    setting = f"{comfy.url}/settings/Comfy.VueNodes.Enabled"
    requests.post(setting, json=nodes_2, timeout=60).raise_for_status()
    context = browser.new_context(viewport={"width": 1600, "height": 1000})
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(comfy.url)
    page.wait_for_function("() => window.app?.graph && window.app.extensionManager")
    page.wait_for_function("() => !document.querySelector('.p-blockui-mask')")
    yield page
    context.close()


@pytest.fixture(scope="session")
def pictures() -> Path:
    """Where screenshots go, to be looked at."""
    folder = PACK / "runs" / "browser"
    folder.mkdir(parents=True, exist_ok=True)
    return folder

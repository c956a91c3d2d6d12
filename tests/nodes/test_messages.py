"""Warnings and errors of the core, as the user of a node meets them."""

import logging
import threading
from types import SimpleNamespace

import pytest


@pytest.fixture
def messages(node_module):
    return node_module("messages")


@pytest.fixture
def shown(messages, monkeypatch):
    """What the page is told, while node 7 runs."""
    texts = []
    server = SimpleNamespace(
        client_id="me", send_progress_text=lambda text, node, client: texts.append((node, text))
    )
    monkeypatch.setattr(messages.PromptServer, "instance", server, raising=False)
    monkeypatch.setattr(messages, "executing_node", lambda: "7")
    monkeypatch.setattr(messages, "_warnings", {})
    return texts


def core_log(messages):
    return logging.getLogger(f"{messages.dreamstereo_core.__name__}.some.module")


def test_warnings_stay_below_the_progress(messages, shown, caplog):
    @messages.explained
    def execute(cls, name, *, times):
        for _ in range(times):
            core_log(messages).warning("%s: sound left out", name)
        messages.say("frame 1/2", "7")
        return name

    assert execute(None, "film", times=2) == "film"
    warning = "Warning: film: sound left out"
    assert shown == [("7", warning), ("7", f"frame 1/2\n{warning}")]
    assert "film: sound left out" in caplog.text
    core_log(messages).warning("not of this node")
    assert len(shown) == 2


def test_warnings_of_other_threads(messages, shown):
    @messages.explained
    def execute(cls):
        thread = threading.Thread(target=core_log(messages).warning, args=("from afar",))
        thread.start()
        thread.join()
        messages.say("frame 2/2", "7")

    execute(None)
    assert shown[-1] == ("7", "frame 2/2\nWarning: from afar")


def test_a_new_run_begins_without_the_old_warnings(messages, shown):
    @messages.explained
    def execute(cls, warn):
        if warn:
            core_log(messages).warning("once")

    execute(None, True)
    execute(None, False)
    assert shown == [("7", "Warning: once"), ("7", "")]
    execute(None, False)
    assert len(shown) == 2


def test_errors_bear_pythons_names_and_no_long_paths(messages, shown):
    errors = messages.dreamstereo_core

    @messages.explained
    def execute(cls, kind):
        folder = messages.media_folders()[0]
        raise kind(f"{folder}/film.mp4: is damaged")

    for kind, name in ((errors.VideoError, "ValueError"), (errors.DepthError, "RuntimeError")):
        with pytest.raises(Exception, match=r"^film.mp4: is damaged$") as caught:
            execute(None, kind)
        assert caught.type.__name__ == name
        assert caught.type.__module__ == "builtins"
        assert isinstance(caught.value.__cause__, kind)

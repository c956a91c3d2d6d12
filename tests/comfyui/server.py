"""A real ComfyUI with this pack in its custom_nodes, and what tests say to it."""

import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests
import websocket

PACK = Path(__file__).resolve().parents[2]
START_SECONDS = 400
RUN_SECONDS = 900
TEXT_EVENT = 3
PREVIEW_EVENTS = (1, 4)


def comfyui_path() -> Path:
    """The ComfyUI tree under test."""
    path = os.environ.get("COMFYUI_PATH")
    if not path or not (Path(path) / "main.py").is_file():
        pytest.fail(
            "COMFYUI_PATH: expected the folder of a ComfyUI with its main.py, got "
            f"{path!r}; `nox -s comfyui` brings one and sets it",
            pytrace=False,
        )
    return Path(path)


@dataclass
class Run:
    """What the websocket told about one prompt."""

    prompt_id: str
    events: list[tuple[str, dict]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    previews: int = 0
    outputs: dict[str, dict] = field(default_factory=dict)

    def of(self, kind: str) -> list[dict]:
        return [data for name, data in self.events if name == kind]

    @property
    def end(self) -> str:
        """ "execution_success", "execution_error" or "execution_interrupted"."""
        return self.events[-1][0]

    @property
    def error(self) -> str:
        return self.of("execution_error")[0]["exception_message"].strip()

    def check_success(self) -> None:
        if self.end == "execution_error":
            failure = self.of("execution_error")[0]
            pytest.fail(f"{self.error}\n{''.join(failure['traceback'])}")
        assert self.end == "execution_success"


class ComfyServer:
    """A running server; `base` is its private input, output, temp, models and user folders."""

    def __init__(self, base: Path, port: int):
        self.base = base
        self.address = f"127.0.0.1:{port}"
        self.url = f"http://{self.address}"
        self.log_path = base / "server.log"

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def get(self, path: str) -> requests.Response:
        return requests.get(self.url + path, timeout=60)

    def post(self, path: str, **body) -> requests.Response:
        return requests.post(self.url + path, json=body, timeout=60)

    def object_info(self) -> dict:
        return self.get("/object_info").json()

    def temp_files(self) -> set[str]:
        """Every file in ComfyUI's temp folder, relative to it."""
        temp = self.base / "temp"
        return {str(path.relative_to(temp)) for path in temp.rglob("*") if path.is_file()}

    def output_path(self, result: dict) -> Path:
        """Where a file that a node reported lies."""
        return self.base / result["type"] / result["subfolder"] / result["filename"]

    def run(
        self,
        prompt: dict,
        *,
        workflow: dict | None = None,
        on_event: Callable[[str, dict], None] | None = None,
    ) -> Run:
        """Queue an API prompt, with the `workflow` it stems from, and follow it to its end."""
        client_id = uuid.uuid4().hex
        extra_data = {"extra_pnginfo": {"workflow": workflow}} if workflow else {}
        with self._websocket(client_id) as channel:
            reply = self.post("/prompt", prompt=prompt, client_id=client_id, extra_data=extra_data)
            assert reply.status_code == 200, reply.text
            run = Run(reply.json()["prompt_id"])
            stop_at = time.monotonic() + RUN_SECONDS
            while time.monotonic() < stop_at:
                message = channel.recv()
                if isinstance(message, bytes):
                    self._binary(run, message)
                    continue
                event = json.loads(message)
                name, data = event["type"], event.get("data", {})
                if data.get("prompt_id", run.prompt_id) != run.prompt_id:
                    continue
                run.events.append((name, data))
                if name == "executed":
                    run.outputs[data["node"]] = data["output"]
                if on_event:
                    on_event(name, data)
                if name in ("execution_success", "execution_error", "execution_interrupted"):
                    return run
        raise AssertionError(f"no end after {RUN_SECONDS} s; log:\n{self.log[-3000:]}")

    @contextmanager
    def _websocket(self, client_id: str) -> Iterator[websocket.WebSocket]:
        channel = websocket.create_connection(
            f"ws://{self.address}/ws?clientId={client_id}", timeout=RUN_SECONDS
        )
        try:
            yield channel
        finally:
            channel.close()

    @staticmethod
    def _binary(run: Run, message: bytes) -> None:
        (event,) = struct.unpack(">I", message[:4])
        if event in PREVIEW_EVENTS:
            run.previews += 1
        elif event == TEXT_EVENT:
            (length,) = struct.unpack(">I", message[4:8])
            run.texts.append(message[8 + length :].decode())


@contextmanager
def running_server(base: Path) -> Iterator[ComfyServer]:
    """Start ComfyUI with `base` as everything that it may touch."""
    for name in ("custom_nodes", "input", "output", "temp", "user", "models", "home"):
        (base / name).mkdir(parents=True)
    (base / "custom_nodes" / "dreamstereo").symlink_to(PACK, target_is_directory=True)
    # Not a first visit: no Templates dialog over the page. What an environment that serves several
    # cores has too old stands in no button's way, either.
    settings = base / "user" / "default" / "comfy.settings.json"
    settings.parent.mkdir()
    known = ("Comfy.TutorialCompleted", "Comfy.VersionCompatibility.DisableWarnings")
    settings.write_text(json.dumps(dict.fromkeys(known, True)))
    server = ComfyServer(base, _free_port())
    command = [sys.executable, str(comfyui_path() / "main.py"), "--cpu", "--disable-auto-launch"]
    command += ["--port", server.address.split(":")[1], "--base-directory", str(base)]
    command += ["--user-directory", str(base / "user"), "--database-url", "sqlite:///:memory:"]
    # A private home and no hub: a model in the user's cache would change what "auto" means.
    env = os.environ | {
        "HF_HOME": str(base / "home"),
        "HF_HUB_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    with server.log_path.open("w") as log:
        process = subprocess.Popen(command, cwd=base, env=env, stdout=log, stderr=log)
    try:
        _wait_until_up(server, process)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_up(server: ComfyServer, process: subprocess.Popen) -> None:
    stop_at = time.monotonic() + START_SECONDS
    while time.monotonic() < stop_at:
        if process.poll() is not None:
            pytest.fail(f"ComfyUI ended with {process.returncode}:\n{server.log[-5000:]}")
        try:
            if server.get("/system_stats").ok:
                return
        except requests.ConnectionError:
            time.sleep(0.5)
    pytest.fail(f"ComfyUI did not answer within {START_SECONDS} s:\n{server.log[-5000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def comfy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyServer]:
    """A server for all tests of a folder."""
    base = tmp_path_factory.mktemp("comfyui") / "base"
    with running_server(base) as server:
        yield server
    shutil.rmtree(base, ignore_errors=True)

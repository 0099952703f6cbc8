"""The application on the tiny model, by the framework's test client and in a headless browser.

Chromium is driven by its DevTools protocol. No wheel of PyPI carries a Chromium that is kept up, so the browser
must be on the machine: chromium, chromium-browser, google-chrome or chrome on the PATH, or
CONFLICT_FRAMING_BROWSER. Without one, the tests tell so; with CONFLICT_FRAMING_BROWSER_TESTS=require they fail.
"""

import base64
import itertools
import json
import os
import shutil
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.testclient import TestClient
from websockets.sync.client import connect

from conflict_framing.model import CheckpointClassifier
from conflict_framing.train.fit import Run
from conflict_framing.web.api import create_app
from conflict_framing.web.limits import Limits

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--no-first-run", "--disable-dev-shm-usage"),
    *("--remote-debugging-port=0", "--hide-scrollbars"),
)
_PATIENCE = 60.0  # seconds; for a busy machine

SMALL = Limits(
    upload_bytes=200_000,
    expanded_bytes=1_000_000,
    json_bytes=60_000,
    rows=300,
    columns=16,
    sentence_characters=500,
    row_characters=2_000,
    article_characters=5_000,
    texts=3,
    kept_jobs=3,
    groups=24,
    audit_bytes=20_000,
)


@pytest.fixture(scope="session")
def tiny(run: Run) -> CheckpointClassifier:
    return CheckpointClassifier.from_pretrained(run.layout.folder, device="cpu")


class Client:
    """One browser's session with the application."""

    def __init__(self, client: TestClient) -> None:
        self.http = client

    def finish(self, job: dict[str, Any]) -> dict[str, Any]:
        """Wait until a job is over."""
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            found: dict[str, Any] = self.http.get(f"/api/v1/jobs/{job['id']}").json()
            if found["state"] in ("done", "failed", "cancelled"):
                return found
            time.sleep(0.02)
        raise AssertionError(f"still {found['state']}")

    def send_text(self, text: str, title: str = "") -> dict[str, Any]:
        answer = self.http.post("/api/v1/jobs/text", json={"text": text, "title": title})
        assert answer.status_code == 202, answer.text
        return self.finish(answer.json())

    def send_file(self, name: str, body: bytes, **options: str) -> dict[str, Any]:
        answer = self.http.post("/api/v1/jobs/file", params={"name": name, **options}, content=body)
        assert answer.status_code == 202, answer.text
        return self.finish(answer.json())


@pytest.fixture
def application(tiny: CheckpointClassifier, tmp_path: Path) -> Iterator[Callable[[], Client]]:
    """Makes sessions of one application with small limits; its annotations go to ``tmp_path``."""
    app = create_app(tiny, annotations=tmp_path / "annotations.jsonl", limits=SMALL)
    with TestClient(app, base_url="http://127.0.0.1"):  # begins and ends the application
        yield lambda: Client(TestClient(app, base_url="http://127.0.0.1"))


@pytest.fixture
def client(application: Callable[[], Client]) -> Client:
    return application()


# --- a browser -----------------------------------------------------------------------------------


class _Navigated(Exception):  # noqa: N818 - no error: a script was asked of a page that is gone
    pass


class Page:
    """One tab, by the DevTools protocol.

    Attributes:
        problems: what the browser logged as an error, content security policy included, and uncaught exceptions.
        asked: the addresses of all requests.
    """

    def __init__(self, address: str) -> None:
        self._socket = connect(address, max_size=None)
        self._numbers = itertools.count(1)
        self.problems: list[str] = []
        self.asked: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=_PATIENCE))
            self._note(message)
            if message.get("id") == number:
                if "navigated" in message.get("error", {}).get("message", ""):
                    raise _Navigated
                assert "error" not in message, f"{method}: {message['error']}"
                result: dict[str, Any] = message["result"]
                return result

    def _note(self, message: dict[str, Any]) -> None:
        found = message.get("params", {})
        if message.get("method") == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(found["exceptionDetails"])[:500])
        elif message.get("method") == "Log.entryAdded" and found["entry"]["level"] == "error":
            self.problems.append(f"{found['entry']['text']} {found['entry'].get('url', '')}")
        elif message.get("method") == "Network.requestWillBeSent":
            self.asked.append(found["request"]["url"])

    def open(self, address: str) -> None:
        self.call("Page.navigate", url=address)
        self.wait("document.readyState === 'complete' && document.getElementById('annotations')?.textContent")

    def run(self, script: str) -> Any:
        try:
            answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        except _Navigated:
            return None
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, condition: str) -> Any:
        """What the expression gives once it is true."""
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            found = self.run(
                f"(async () => {{ const found = await {condition}; return found instanceof Element || found; }})()"
            )
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError(f"never: {condition}\n{self.run('document.body.innerText')[:1500]}\n{self.problems}")

    def click(self, selector: str) -> None:
        place = json.dumps(selector)
        self.wait(f"document.querySelector({place})?.checkVisibility()")
        # Until two frames show it in the same place with nothing above it: what is still being drawn moves it.
        x, y = self.wait(
            f"(async () => {{ const e = document.querySelector({place}); if (!e) return null;"
            "e.scrollIntoView({block: 'center', behavior: 'instant'});"
            "const middle = () => { const r = e.getBoundingClientRect();"
            "return [r.x + r.width / 2, r.y + r.height / 2]; };"
            "const frame = () => new Promise(done => requestAnimationFrame(done));"
            "await frame(); const before = middle(); await frame(); const after = middle();"
            "return before.join() === after.join() && e.contains(document.elementFromPoint(...after)) && after; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key: str, *, shift: bool = False, ctrl: bool = False) -> None:
        letters = {"Enter": "\r", "Space": " "}
        name = " " if key == "Space" else key
        text = letters.get(key, key if len(key) == 1 else "")
        codes = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "ArrowLeft": 37, "ArrowRight": 39, "ArrowDown": 40}
        codes |= {"ArrowUp": 38}
        code = codes.get(name, ord(name.upper()) if len(name) == 1 else 0)
        common = {"key": name, "windowsVirtualKeyCode": code, "modifiers": 8 * shift + 2 * ctrl}
        self.call("Input.dispatchKeyEvent", type="keyDown", **common, **({"text": text} if text and not ctrl else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def type(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def choose_file(self, selector: str, *paths: Path) -> None:
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path) for path in paths])

    def resize(self, width: int, height: int, *, mobile: bool = False) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)

    def dark(self, on: bool) -> None:
        value = "dark" if on else "light"
        # Without motion: half-way through a change, colours are neither the old nor the new.
        features = {"prefers-color-scheme": value, "prefers-reduced-motion": "reduce"}
        self.call("Emulation.setEmulatedMedia", features=[{"name": n, "value": v} for n, v in features.items()])

    def picture(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def close(self) -> None:
        self._socket.close()


class Browser:
    """A headless Chromium with a profile of its own."""

    def __init__(self, program: str, profile: Path) -> None:
        self._process = subprocess.Popen(
            [program, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        port_file = profile / "DevToolsActivePort"
        end = time.monotonic() + _PATIENCE
        while not (port_file.exists() and port_file.read_text().count("\n")):
            if time.monotonic() > end or self._process.poll() is not None:
                self.close()
                raise AssertionError(f"{program} did not start (exit status {self._process.poll()})")
            time.sleep(0.05)
        self._address = f"http://127.0.0.1:{port_file.read_text().splitlines()[0]}"

    def page(self) -> Page:
        request = urllib.request.Request(f"{self._address}/json/new?about:blank", method="PUT")
        with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:
            return Page(json.load(answer)["webSocketDebuggerUrl"])

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Browser | None]:
    """None where there is none, after saying so above the results."""
    named = os.environ.get("CONFLICT_FRAMING_BROWSER")
    program = named or next((found for name in _NAMES if (found := shutil.which(name))), None)
    if program is None:
        if os.environ.get("CONFLICT_FRAMING_BROWSER_TESTS") == "require":
            pytest.fail(f"no browser on the PATH ({', '.join(_NAMES)}) nor in CONFLICT_FRAMING_BROWSER")
        yield None
        return
    found = Browser(program, tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.fixture
def site(tiny: CheckpointClassifier, tmp_path: Path) -> Iterator[str]:
    """The page, really served, with the limits that people get."""
    app = create_app(tiny, annotations=tmp_path / "annotations.jsonl")
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()

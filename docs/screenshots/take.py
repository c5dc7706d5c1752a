"""Pictures of MLflow's pages: the runs of the newest experiment with a finished run of `main`, that run, and the models.

    python docs/screenshots/take.py <tracking uri> <out folder>

Needs mlflow and Chromium (Debian's package `chromium`). No other machine is asked for anything than the tracking server.
"""

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from mlflow import MlflowClient
from mlflow.entities import Run

WIDTH, HEIGHT = 1440, 900
PATIENCE_S = 60
CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--remote-debugging-pipe",
)  # fmt: skip
CLOSE_ASSISTANT = "document.querySelector('[data-component-id=\"mlflow.assistant.chat_panel.close\"]')?.click()"
SCROLL = "document.querySelectorAll('.ag-body-horizontal-scroll-viewport').forEach(bar => bar.scrollLeft = {pixels})"
BESIDE_SCORES = 760  # pixels to the right, where the models table has its scores
SEEN = """[...document.querySelectorAll('body *')].filter(element => {
    const own = [...element.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.data.trim())
    const box = element.getBoundingClientRect()
    return own && element.contains(document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2))
}).map(element => element.innerText)"""


class Browser:
    """Chromium without a window, told what to do in the DevTools protocol through a pipe; a context manager.

    Args:
        address: of the server, whose host is the only one that it finds.
    """

    def __init__(self, address: str):
        self.hosts = f"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE {urlsplit(address).hostname}"

    def __enter__(self) -> "Browser":
        self.profile = tempfile.mkdtemp()
        (orders, self.orders), (answers, given) = os.pipe(), os.pipe()
        start = f'exec "$0" "$@" 3<&{orders} 4>&{given}'  # where Chromium looks for the pipe
        words = ["bash", "-c", start, CHROMIUM, *FLAGS, self.hosts, f"--user-data-dir={self.profile}"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(words, pass_fds=(orders, given), start_new_session=True, **quiet)
        os.close(orders)
        os.close(given)
        self.answers, self.number, self.session = os.fdopen(answers, "rb"), 0, {}
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = {"sessionId": self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}
        self.send("Emulation.setDeviceMetricsOverride", width=WIDTH, height=HEIGHT, deviceScaleFactor=1, mobile=False)
        return self

    def __exit__(self, *error: object) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.orders)
        self.answers.close()
        shutil.rmtree(self.profile, ignore_errors=True)

    def send(self, method: str, **params: object) -> dict:
        """What Chromium answers to a command."""
        self.number += 1
        order = {"id": self.number, "method": method, "params": params} | self.session
        os.write(self.orders, json.dumps(order).encode() + b"\0")
        while (answer := self._next()).get("id") != self.number:  # events
            pass
        return answer["result"]

    def _next(self) -> dict:
        content = bytearray()
        while (byte := self.answers.read(1)) != b"\0":
            if not byte:
                raise RuntimeError("Chromium has ended.")
            content += byte
        return json.loads(content)

    def run(self, script: str) -> object:
        return self.send("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def open(self, address: str, text: str) -> None:
        """Returns when the page says `text` and has stopped to change."""
        self.send("Page.navigate", url="about:blank")
        self.send("Page.navigate", url=address)
        before = None
        deadline = time.monotonic() + PATIENCE_S
        while text not in (now := self.run("document.body?.innerText ?? ''")) or now != before:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{address} does not say '{text}', but: {now}")
            before = now
            time.sleep(0.7)

    def seen(self) -> list[str]:
        """Texts that a person sees without scrolling: in the window, and not below anything else."""
        return self.run(SEEN)

    def take(self, file: Path) -> None:
        file.write_bytes(base64.b64decode(self.send("Page.captureScreenshot")["data"]))


@contextmanager
def server(tracking_uri: str) -> Iterator[str]:
    """The address of an MLflow server of this store."""
    if tracking_uri.startswith("http"):
        yield tracking_uri
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    words = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", port, "--backend-store-uri", tracking_uri]
    variables = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(words, env=variables, start_new_session=True, stdout=log, stderr=log)
        try:
            address = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + PATIENCE_S
            while not answers(f"{address}/health"):
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise RuntimeError(f"mlflow server does not start:\n{log.read().decode()}")
                time.sleep(0.1)
            yield address
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def answers(address: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(address, timeout=1):
        return True
    return False


def newest_main(client: MlflowClient) -> Run:
    """Of all experiments."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    found = client.search_runs(
        experiments, "attributes.status = 'FINISHED' and tags.`hands.entry_point` = 'main'", max_results=1,
        order_by=["attributes.start_time DESC"],
    )  # fmt: skip
    if not found:
        raise SystemExit("no run of main is finished in this store; make one with `mlflow run .`")
    return found[0]


def pages(main: Run) -> dict[str, tuple[str, str]]:
    """Name of each picture -> the page's place, and a text by which it is known to be there."""
    experiment = f"#/experiments/{main.info.experiment_id}"
    training = "workflowType=machine_learning"
    return {
        "runs": (f"{experiment}/runs?{training}&viewStateShareKey=scores", main.info.run_name),
        "run": (f"{experiment}/runs/{main.info.run_id}?{training}", main.info.run_id),
        "models": (f"{experiment}/models?{training}", "Model name"),
    }


def main(tracking_uri: str, out: str) -> None:
    if CHROMIUM is None:
        raise SystemExit("no Chromium here; install Debian's package chromium")
    Path(out).mkdir(parents=True, exist_ok=True)
    places = pages(newest_main(MlflowClient(tracking_uri)))
    with server(tracking_uri) as address, Browser(address) as browser:
        browser.open(f"{address}/{places['runs'][0]}", places["runs"][1])
        browser.run(CLOSE_ASSISTANT)  # it takes a quarter of every page until then
        for name, (place, text) in places.items():
            browser.open(f"{address}/{place}", text)
            if name == "models":
                browser.run(SCROLL.format(pixels=BESIDE_SCORES))
                time.sleep(1)
            browser.take(Path(out) / f"{name}.png")


if __name__ == "__main__":
    main(*sys.argv[1:])

"""The tracking server is asked as MLflow asks it: users, tokens, certificates; and nobody reads the password."""

import base64
import os
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
from mlflow import MlflowClient

from entrypoints.launch.server import check_server
from hands.errors import InvalidInput
from tests.project import EXPERIMENT, ROOT, arguments, command, environment
from tests.servers import TrackingServer as Server

USER, PASSWORD, TOKEN = "ann", "s3 cret", "t0ken"
LET_IN = {"Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode(), f"Bearer {TOKEN}"}
BY_NAME = {"MLFLOW_TRACKING_USERNAME": USER, "MLFLOW_TRACKING_PASSWORD": PASSWORD}
BY_TOKEN = {"MLFLOW_TRACKING_TOKEN": TOKEN}
VARIABLES = (
    "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_INSECURE_TLS",
    "MLFLOW_TRACKING_SERVER_CERT_PATH", "MLFLOW_TRACKING_CLIENT_CERT_PATH",
)  # fmt: skip


class Guarded(BaseHTTPRequestHandler):
    """Answers as a tracking server without experiments, to those it knows."""

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        known = self.headers["Authorization"] in LET_IN
        status, content = self.reply(body) if known else (401, b"You are not authenticated")
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def reply(self, body: bytes) -> tuple[int, bytes]:
        return self.server.status, b'{"experiments": []}' if self.server.status == 200 else b"no"

    def log_message(self, *arguments) -> None: ...


class Gate(Guarded):
    """Hands those it knows on to a real tracking server."""

    def reply(self, body: bytes) -> tuple[int, bytes]:
        headers = {name: value for name, value in self.headers.items() if name not in ("Authorization", "Host")}
        answer = requests.request(self.command, self.server.behind + self.path, data=body, headers=headers)
        return answer.status_code, answer.content


def served(context: ssl.SSLContext | None, behind: str = "") -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Gate if behind else Guarded)
    server.status, server.behind = 200, behind
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate of this machine, with its key in one file."""
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    words = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*words.split(), "-keyout", f"{file}.key", "-out", str(file)], check=True, capture_output=True)
    file.write_bytes(file.read_bytes() + Path(f"{file}.key").read_bytes())
    return file


@pytest.fixture(scope="module")
def plain() -> Iterator[ThreadingHTTPServer]:
    yield from served(None)


@pytest.fixture(scope="module")
def encrypted(certificate: Path) -> Iterator[ThreadingHTTPServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    yield from served(context)


@pytest.fixture(scope="module")
def mutual(certificate: Path) -> Iterator[ThreadingHTTPServer]:
    """Wants a certificate of its clients, too."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificate)
    context.load_cert_chain(certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    yield from served(context)


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch):
    """ask(uri, variables): checks the server as an entry point does."""
    monkeypatch.setenv("NO_PROXY", "*")

    def check(uri: str, variables: dict[str, str]) -> None:
        for name in VARIABLES:
            monkeypatch.delenv(name, raising=False)
        for name, value in {"MLFLOW_TRACKING_URI": uri, **variables}.items():
            monkeypatch.setenv(name, value)
        check_server()

    return check


def http(server: ThreadingHTTPServer, before: str = "") -> str:
    return f"http://{before}127.0.0.1:{server.server_port}"


def https(server: ThreadingHTTPServer) -> str:
    return f"https://127.0.0.1:{server.server_port}"


def test_those_whom_mlflow_is_let_in_as_are_let_in(ask, plain):
    ask(http(plain), BY_NAME)
    ask(http(plain), BY_TOKEN)
    ask(http(plain, "ann:s3%20cret@"), {})


def test_user_and_password_leave_the_uri(ask, plain, monkeypatch):
    """MLflow prints it with every run, and hands it on to what it starts."""
    ask(http(plain, "ann:s3%20cret@"), {})
    assert os.environ["MLFLOW_TRACKING_URI"] == http(plain)
    assert (os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"]) == (USER, PASSWORD)


@pytest.mark.parametrize("before", ["", "ann:wrong@", "t0ken@"])
def test_those_whom_it_does_not_know_are_told_what_to_set(ask, plain, before):
    with pytest.raises(InvalidInput, match="does not let MLflow in .*401.*set MLFLOW_TRACKING_USERNAME") as refusal:
        ask(http(plain, before), {})
    shown = "***@" if before else ""
    assert http(plain, shown) in str(refusal.value)
    assert "wrong" not in str(refusal.value) and "t0ken" not in str(refusal.value)


def test_a_certificate_is_believed_where_mlflow_believes_it(ask, encrypted, certificate):
    ask(https(encrypted), BY_TOKEN | {"MLFLOW_TRACKING_INSECURE_TLS": "true"})
    ask(https(encrypted), BY_TOKEN | {"MLFLOW_TRACKING_SERVER_CERT_PATH": str(certificate)})
    with pytest.raises(InvalidInput, match="certificate verify failed.*set MLFLOW_TRACKING_SERVER_CERT_PATH"):
        ask(https(encrypted), BY_TOKEN)
    with pytest.raises(InvalidInput, match="nowhere.pem"):
        ask(https(encrypted), BY_TOKEN | {"MLFLOW_TRACKING_SERVER_CERT_PATH": "nowhere.pem"})


def test_the_own_certificate_is_shown(ask, mutual, certificate):
    ask(https(mutual), BY_TOKEN | dict.fromkeys(
        ("MLFLOW_TRACKING_SERVER_CERT_PATH", "MLFLOW_TRACKING_CLIENT_CERT_PATH"), str(certificate)
    ))  # fmt: skip


@pytest.mark.parametrize("status", [404, 500, 503])
def test_what_answers_otherwise_is_refused(ask, plain, monkeypatch, status):
    monkeypatch.setattr(plain, "status", status)
    with pytest.raises(InvalidInput, match=f"does not .*{status}"):
        ask(http(plain), BY_TOKEN)


def test_a_server_that_denies_its_list_may_take_runs(ask, plain, monkeypatch):
    monkeypatch.setattr(plain, "status", 403)
    ask(http(plain), BY_TOKEN)


def test_stores_that_are_no_servers_are_not_asked(ask, tmp_path):
    ask(f"sqlite:///{tmp_path}/nothing.db", {})
    assert not (tmp_path / "nothing.db").exists()


def test_a_dead_server_is_refused_in_time_and_without_the_password(tmp_path):
    """From a new process, with all that it has to import."""
    started = time.monotonic()
    words = command("synthesize", *arguments("synthesize", out_dir=tmp_path / "out"))
    given = environment("http://ann:s3cret@127.0.0.1:9")
    done = subprocess.run(words, cwd=ROOT, env=given, capture_output=True, text=True)
    assert time.monotonic() - started < 10
    assert done.returncode == 1 and "s3cret" not in done.stdout + done.stderr
    assert done.stderr.startswith("Error: the tracking server http://***@127.0.0.1:9 does not answer (")


@pytest.fixture
def gate(tmp_path: Path, store_template: Path) -> Iterator[ThreadingHTTPServer]:
    """A tracking server behind a guard, and `folder`, where it keeps everything."""
    (tmp_path / "server").mkdir()
    behind = Server(tmp_path / "server", store_template)
    behind.start()
    for server in served(None, behind.uri):
        server.folder = behind.folder
        yield server
    behind.stop()


@pytest.mark.slow
def test_a_whole_step_leaves_the_password_nowhere(gate, tmp_path):
    given = environment(http(gate, "ann:s3%20cret@"), NO_PROXY="*")
    values = dict.fromkeys(("n_unpaired_images", "n_unpaired_masks", "n_val", "n_test"), 0) | {"n_paired": 1, "workers": 1}
    words = command("synthesize", *arguments("synthesize", out_dir=tmp_path / "out", width=64, height=96, **values))
    done = subprocess.run(words, cwd=ROOT, env=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    client = MlflowClient(f"sqlite:///{gate.folder}/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id])
    assert run.info.status == "FINISHED" and any(gate.folder.rglob("preview_train.png"))
    kept = [path.read_bytes() for path in gate.folder.rglob("*") if path.is_file()]
    for text in (done.stdout.encode(), done.stderr.encode(), *kept):
        assert b"s3%20cret" not in text and b"s3 cret" not in text

"""A logged model behind `mlflow models serve`: masks for pictures, one sentence for anything else."""

import base64
import contextlib
import io
import json
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator

import mlflow
import numpy as np
import pytest
import torch
from PIL import Image

from hands.parts import PART_NAMES
from hands.prediction.labelling import Labeller
from hands.prediction.predictions import predict_photographs
from hands.tracking import ROOT
from tests.files.pngs import png_header
from tests.packed.blobs import SIZE
from tests.project import environment, track_to
from tests.servers import Server, free_port

HIGH, WIDE = (96, 64), (50, 81)  # pixels, height and width


@pytest.fixture(scope="module")
def server(logged, session_store, tmp_path_factory) -> Iterator[Server]:
    """The served network; pickles are refused."""
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    words = ["-m", "mlflow", "models", "serve", "-m", logged.g2_uri, "--env-manager", "local", "-p", str(port)]
    variables = environment(session_store, MLFLOW_ALLOW_PICKLE_DESERIALIZATION="false")
    served = Server([sys.executable, *words], folder, variables, port, "ping")
    try:
        served.start()
        yield served
    finally:
        served.stop()


def post(server: Server, body: object, content_type: str = "application/json") -> tuple[int, str]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"{server.uri}/invocations", data, {"Content-Type": content_type})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def noise(shape: tuple[int, int], seed: int) -> np.ndarray:
    """A picture (H, W, 3) with large blots, so that a network sees different things in different places."""
    blots = np.random.default_rng(seed).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(blots).resize(shape[::-1], Image.BICUBIC))


def encoded(picture: np.ndarray, kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, kind)
    return file.getvalue()


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def labels_in(answer: dict[str, str]) -> np.ndarray:
    """(2, H, W) of one answered record."""
    return np.stack([np.asarray(Image.open(io.BytesIO(base64.b64decode(answer[hand])))) for hand in ("left", "right")])


@pytest.fixture(scope="module")
def direct(logged, tmp_path_factory):
    """Labels by hands.prediction.predictions of one picture file, as the entry point `predict` makes them in float32."""

    def predict(data: bytes, suffix: str, box: list[float] | None) -> np.ndarray:
        folder = tmp_path_factory.mktemp("direct")
        (folder / "pictures").mkdir()
        (folder / "pictures" / f"a{suffix}").write_bytes(data)
        boxes, shown = folder / "boxes.json", []
        boxes.write_text(json.dumps({f"a{suffix}": box}))
        labeller = Labeller(logged.g2, SIZE, torch.device("cpu"), contextlib.nullcontext, flip=False)
        predict_photographs(
            labeller, str(folder / "pictures"), str(boxes) if box else "", 1, str(folder / "out"),
            lambda name, picture, labels: shown.append(labels),
        )  # fmt: skip
        return shown[0]

    return predict


def assert_same_labels(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape and found.dtype == np.uint8
    assert len(np.unique(expected)) > 1, "nothing to compare"
    assert np.mean(found == expected) > 0.999  # other threads may add in another order


@pytest.mark.parametrize("box", [None, [10.0, 5.0, 40.0, 30.0]])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "array"])
def test_masks_are_those_of_direct_prediction(server, direct, kind, box):
    picture = noise(HIGH, 1)
    data = encoded(picture, "PNG" if kind == "array" else kind)
    record = {"image": picture.tolist() if kind == "array" else text(data)} | ({"box": box} if box else {})
    status, body = post(server, {"dataframe_records": [record]})
    assert status == 200, body
    expected = direct(data, ".jpg" if kind == "JPEG" else ".png", box)
    assert expected.shape == (2, *HIGH)
    assert_same_labels(labels_in(json.loads(body)["predictions"][0]), expected)


def test_several_records_of_several_sizes(server, direct):
    pictures = [encoded(noise(HIGH, 1), "PNG"), encoded(noise(WIDE, 2), "PNG"), encoded(noise(WIDE, 3)[..., 0], "PNG")]
    boxes = [[8, 8, 30, 30], None, None]
    records = [{"image": text(data)} | ({"box": box} if box else {}) for data, box in zip(pictures, boxes, strict=True)]
    status, body = post(server, {"dataframe_records": records})
    assert status == 200, body
    for answer, data, box in zip(json.loads(body)["predictions"], pictures, boxes, strict=True):
        assert_same_labels(labels_in(answer), direct(data, ".png", box))


@pytest.mark.parametrize(
    "shape",
    [
        lambda image: {"dataframe_split": {"columns": ["image"], "data": [[image]]}},
        lambda image: {"inputs": [{"image": image}]},
        lambda image: {"instances": [{"image": image}]},
        lambda image: {"dataframe_records": [{"image": image, "note": "extra columns are ignored"}]},
        lambda image: {"dataframe_records": [{"image": image, "box": None}]},
    ],
    ids=["split", "inputs", "instances", "extra column", "null box"],
)
def test_other_forms_of_a_request(server, shape):
    status, body = post(server, shape(text(encoded(noise(WIDE, 2), "PNG"))))
    assert status == 200, body
    assert labels_in(json.loads(body)["predictions"][0]).shape == (2, *WIDE)


def test_the_answer_says_where_it_looked_and_how_sure_it_is(server):
    picture = text(encoded(noise(HIGH, 1), "WEBP"))
    status, body = post(server, {"dataframe_records": [{"image": picture}, {"image": picture, "box": [5, 6, 30, 20]}]})
    assert status == 200, body
    found, given = json.loads(body)["predictions"]
    assert given["box"] == [5, 1, 30, 30] and given["passes"] == 1
    assert 2 <= found["passes"] <= 5 and found["box"][2] == found["box"][3] > 0
    assert found["parts"] == list(PART_NAMES)
    for answer in (found, given):
        for hand, labels in zip(("left", "right"), labels_in(answer), strict=True):
            assert (1 / 17 < answer[f"confidence_{hand}"] <= 1) if labels.any() else answer[f"confidence_{hand}"] >= 0


def test_base64_may_have_line_breaks(server):
    wrapped = base64.encodebytes(encoded(noise(HIGH, 1), "PNG")).decode()
    assert wrapped.count("\n") > 10
    status, body = post(server, {"dataframe_records": [{"image": wrapped}]})
    assert status == 200, body


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_the_documented_request_takes_a_real_photograph(server, tmp_path):
    """One of megabytes, which no command line holds."""
    page = (ROOT / "docs" / "predict.md").read_text()
    request = page[page.index("    (printf") : page.index("\n\nEach answer has")].replace("http://localhost:5611", server.uri)
    request = request.replace("localhost:5611", server.uri)
    picture = np.random.default_rng(0).integers(0, 256, (900, 1200, 3), dtype=np.uint8)
    (tmp_path / "photo.jpg").write_bytes(encoded(picture, "JPEG"))
    assert (tmp_path / "photo.jpg").stat().st_size > 1 << 18
    asked = subprocess.run(["sh", "-c", request], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert asked.returncode == 0, asked.stderr
    (answer,) = json.loads((tmp_path / "answer.json").read_text())["predictions"]
    assert labels_in(answer).shape == (2, 900, 1200)


PNG, JPEG = encoded(noise(WIDE, 4), "PNG"), encoded(noise(WIDE, 4), "JPEG")
IMAGE = {"image": text(PNG)}
BAD_IMAGES = {
    "bad base64": "%%%",
    "base64 with a typo": text(PNG)[:-3],
    "empty text": "",
    "not a picture": text(b"hello"),
    "truncated PNG": text(PNG[: len(PNG) // 2]),
    "truncated JPEG": text(JPEG[: len(JPEG) // 2]),
    "huge header": text(png_header(100_000, 100_000)),
    "number": 7,
    "null": None,
    "object": {"a": 1},
    "no array": [],
    "two dimensions": [[1, 2], [3, 4]],
    "four channels": [[[1, 2, 3, 4]]],
    "ragged": [[[1, 2, 3]], [[1, 2]]],
    "floats": [[[0.5, 0.5, 0.5]]],
    "one float": [[[200, 200.5, 200]]],
    "negative": [[[-1, 0, 0]]],
    "too bright": [[[256, 0, 0]]],
    "NaN": [[[float("nan"), 0, 0]]],
    "texts in an array": [[["a", "b", "c"]]],
    "beyond 64 bits": [[[10**30, 0, 0]]],
}
BAD_BOXES = {
    "three numbers": [1, 2, 3],
    "text": "abc",
    "negative side": [0, 0, -5, 5],
    "empty": [0, 0, 0, 0],
    "NaN": [float("nan"), 0, 5, 5],
    "infinite": [0, 0, float("inf"), 5],
    "outside": [1e6, 1e6, 10, 10],
    "vast": [-1e8, -1e8, 2e8, 2e8],
    "beyond float": [0, 0, 10**400, 5],
    "true": [True, True, 5, 5],
}
BAD_REQUESTS = {
    "unknown columns only": {"dataframe_records": [{"picture": text(PNG)}]},
    "empty list": {"dataframe_records": []},
    "empty object": {},
    "unknown key": {"pictures": [IMAGE]},
    "a text": "hello",
    "a list": [IMAGE],
    "1000 records": {"dataframe_records": [{"image": [[[0, 0, 0]]]}] * 1000},
    "cut short": b'{"dataframe_records": [',
    "no JSON": b"\xff\xfe",
    "nothing": b"",
}


def assert_refused(status: int, body: str, expected: int = 400) -> None:
    assert status == expected, body[:500]
    assert len(body) < 1500
    assert "Traceback" not in body and 'File \\"' not in body


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_bad_images_are_refused(server, name):
    assert_refused(*post(server, {"dataframe_records": [{"image": BAD_IMAGES[name]}]}))


@pytest.mark.parametrize("name", BAD_BOXES)
def test_bad_boxes_are_refused(server, name):
    assert_refused(*post(server, {"dataframe_records": [IMAGE | {"box": BAD_BOXES[name]}]}))


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_bad_requests_are_refused(server, name):
    assert_refused(*post(server, BAD_REQUESTS[name]))


def test_a_bad_record_is_named(server):
    status, body = post(server, {"dataframe_records": [IMAGE, {"image": "%%%"}]})
    assert_refused(status, body)
    assert "record 1: image is not base64" in body


def test_wrong_content_type(server):
    assert_refused(*post(server, {"dataframe_records": [IMAGE]}, "text/plain"), expected=415)


def test_it_still_answers_afterwards(server):
    assert post(server, {"dataframe_records": [IMAGE]})[0] == 200


@pytest.fixture(scope="module")
def judge(logged, session_store):
    with pytest.MonkeyPatch.context() as patch:
        track_to(session_store, patch)
        yield mlflow.pyfunc.load_model(logged.d_uri)


def test_discriminator_judges_label_maps(judge, logged):
    labels = np.random.default_rng(0).integers(0, 17, (2, 64, 64))
    maps = torch.nn.functional.one_hot(torch.from_numpy(labels), 17).permute(0, 3, 1, 2).reshape(1, 34, 64, 64).float()
    with torch.inference_mode():
        expected = (logged.d(maps) > 0).double().mean().item()
    assert judge.predict([{"labels": labels.tolist()}])["real"].tolist() == [expected]


@pytest.mark.parametrize(
    "labels", [[[1, 2]], np.full((2, 64, 64), 17).tolist(), np.zeros((3, 64, 64), int).tolist(), "labels", [[[0.5]]]]
)
def test_discriminator_refuses_other_things(judge, labels):
    with pytest.raises(mlflow.exceptions.MlflowException, match="record 0: labels"):
        judge.predict([{"labels": labels}])


def test_examples_logged_with_the_models_work(judge, logged, session_store, monkeypatch):
    track_to(session_store, monkeypatch)
    network = mlflow.pyfunc.load_model(logged.g2_uri)
    expected = {"left", "right", "confidence_left", "confidence_right", "box", "passes", "parts"}
    answer = network.predict(network.input_example)
    assert set(answer.columns) == expected == {column.name for column in network.metadata.signature.outputs}
    assert set(judge.predict(judge.input_example).columns) == {"real"}

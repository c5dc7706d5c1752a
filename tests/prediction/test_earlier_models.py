"""A model that earlier code logged answers as it did then: its code is shipped with it, whatever the project has become."""

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from hands.networks.checkpoint import load_network
from hands.tracking import ROOT
from hands.tracking.models import fetch_network

# logged at 5ebb236, when hands had all its modules on one floor: linknet:timm-mobilenetv3_small_minimal_100 at 64x64
ARCHIVE = Path(__file__).parent / "g2-of-5ebb236.tar.xz"
PICTURE = "np.random.default_rng(0).integers(0, 256, (6, 5, 3)).repeat(16, 0).repeat(16, 1)"
# pixels of each label, as the code of that commit answered on the day
LEFT = [0, 0, 4973, 0, 0, 1, 0, 0, 0, 1448, 0, 4, 0, 0, 1254, 0, 0]
RIGHT = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7680, 0]

ASK = f"""
import base64, io, json, sys
import mlflow, numpy as np, pandas as pd
from PIL import Image

answer = mlflow.pyfunc.load_model(sys.argv[1]).predict(pd.DataFrame([{{"image": {PICTURE}.tolist()}}]))
labels = [np.array(Image.open(io.BytesIO(base64.b64decode(answer[hand][0])))) for hand in ("left", "right")]
print(json.dumps([np.bincount(hand.ravel(), minlength=17).tolist() for hand in labels]))
"""


@pytest.fixture
def its_packages(tmp_path: Path) -> Path:
    """What its requirements name and its code imports beside the project's packages; no prediction calls it."""
    transform = tmp_path / "kornia" / "geometry" / "transform.py"
    transform.parent.mkdir(parents=True)
    for package in ("kornia", "kornia/geometry"):
        (tmp_path / package / "__init__.py").touch()
    transform.write_text("def get_affine_matrix2d(*_):\n    raise AssertionError('augmentation, in a prediction')\n")
    return tmp_path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("earlier")
    with tarfile.open(fileobj=io.BytesIO(ARCHIVE.read_bytes())) as archive:
        archive.extractall(folder, filter="data")
    return folder


def test_it_answers_as_it_did(model: Path, its_packages: Path):
    """Where it is served from the project's own folder, too, which has other modules under the same name."""
    asked = subprocess.run(
        [sys.executable, "-c", ASK, str(model)], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(its_packages)},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert asked.returncode == 0, asked.stderr
    pixels = np.array(json.loads(asked.stdout.splitlines()[-1]))
    # another processor may round a pixel on a border to another part
    assert abs(pixels - np.array([LEFT, RIGHT])).sum() <= 0.01 * pixels.sum()


def test_its_network_can_be_trained_on(model: Path):
    network, size = load_network(fetch_network(str(model)))
    assert size == 64 and network.spec.encoder == "timm-mobilenetv3_small_minimal_100"

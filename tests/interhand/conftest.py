"""A made-up release, the model of its hands, and its import: each made once."""

from pathlib import Path

import pytest

from hands.interhand.importer import run_import
from hands.interhand.mano import load_models
from hands.interhand.mano_parts import label_parts
from tests.interhand.made_mano import write_mano
from tests.interhand.made_release import ReleaseFiles, make_release
from tests.interhand.whole_imports import CAMERAS, CAPTURES, MOMENTS, configuration


@pytest.fixture(scope="session")
def release_files() -> ReleaseFiles:
    """Change a copy, not these."""
    return make_release(CAPTURES, MOMENTS, CAMERAS, seed=0)


@pytest.fixture(scope="session")
def release_dir(release_files, tmp_path_factory) -> Path:
    return release_files.write(tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="session")
def mano_dir(tmp_path_factory) -> Path:
    return write_mano(tmp_path_factory.mktemp("mano") / "models")


@pytest.fixture(scope="session")
def models(mano_dir):
    return load_models(mano_dir)


@pytest.fixture(scope="session")
def parts(models):
    return {hand: label_parts(model) for hand, model in models.items()}


@pytest.fixture(scope="session")
def imported(release_dir, tmp_path_factory) -> tuple[Path, dict]:
    """The folder of the data set that the release was imported as, and the import's report. Do not write to either."""
    out = tmp_path_factory.mktemp("imported") / "data"
    return out, run_import(configuration(release_dir), out)

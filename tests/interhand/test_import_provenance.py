"""What an import says of where its pictures and labels come from."""

from pathlib import Path

import pytest

from hands.interhand.importer import run_import
from hands.interhand.labels import LabelSource
from hands.interhand.splits import Shares
from hands.raw.provenance import INTERHAND, MANO, SYNTHETIC, UNKNOWN, Source, read_sources, write_sources
from tests.interhand.made_release import make_release, write_mano
from tests.interhand.whole_imports import configuration
from tests.raw.independent_layout import small_set

PAIRS = Shares(by="subject", val=0, test=0, paired=1, unpaired_masks=0)


@pytest.fixture(scope="module")
def release_dir(tmp_path_factory) -> Path:
    return make_release(1, 1, 1, seed=0).write(tmp_path_factory.mktemp("release"))


@pytest.mark.parametrize(
    ("of_base", "expected"),
    [(None, ()), ((), (UNKNOWN,)), ((SYNTHETIC,), (SYNTHETIC,)), ((INTERHAND, SYNTHETIC), (SYNTHETIC,))],
)
def test_the_release_and_the_base_are_named(release_dir, tmp_path, of_base: tuple[Source, ...] | None, expected):
    base = ""
    if of_base is not None:
        counts = dict.fromkeys(("train", "val", "test", "unpaired_images", "unpaired_masks"), 1)
        base = str(small_set(counts).write(tmp_path / "base"))
    if of_base:
        write_sources(of_base, Path(base))
    run_import(configuration(release_dir, shares=PAIRS, base_dir=base), tmp_path / "data")
    assert read_sources(tmp_path / "data") == (INTERHAND, *expected)


def test_mano_is_named_where_labels_are_made_with_it(release_dir, tmp_path):
    labels = LabelSource("mano", str(write_mano(tmp_path / "mano")), 20.0)
    run_import(configuration(release_dir, shares=PAIRS, labels=labels), tmp_path / "data")
    assert read_sources(tmp_path / "data") == (INTERHAND, MANO)

"""Where a data set comes from, and under which licence, as its raw folder says."""

import json
from pathlib import Path

import pytest

from hands.errors import InvalidInput
from hands.packed.manifest import read_manifest
from hands.packed.prepare import PackConfig, pack
from hands.raw.layout import RawDataset
from hands.raw.provenance import (
    INTERHAND,
    MANO,
    SYNTHETIC,
    UNKNOWN,
    Source,
    licences,
    merged,
    read_sources,
    sources_text,
    write_sources,
)
from tests.raw.independent_layout import small_set

OWN = Source("My hands", "all rights reserved", "")
COUNTS = {"train": 2, "unpaired_images": 1, "unpaired_masks": 1, "val": 1, "test": 1}


def test_what_is_written_is_read(tmp_path: Path):
    write_sources((INTERHAND, OWN), tmp_path)
    assert read_sources(tmp_path) == (INTERHAND, OWN)
    assert json.loads((tmp_path / "provenance.json").read_text()) == {
        "sources": [
            {"name": "InterHand2.6M", "licence": "CC BY-NC 4.0", "url": "https://mks0601.github.io/InterHand2.6M/"},
            {"name": "My hands", "licence": "all rights reserved", "url": ""},
        ]
    }


def test_a_folder_that_says_nothing_is_unknown(tmp_path: Path):
    assert read_sources(tmp_path) == (UNKNOWN,)
    assert licences((UNKNOWN,)) == "unknown"


@pytest.mark.parametrize("content", [
    "", "[]", "{}", '{"sources": []}', '{"sources": {}}', '{"sources": ["MIT"]}',
    '{"sources": [{"name": "a", "licence": "b"}]}',
    '{"sources": [{"name": "", "licence": "b", "url": ""}]}', '{"sources": [{"name": "a", "licence": 1, "url": ""}]}',
    '{"sources": [{"name": "a\\nb", "licence": "b", "url": ""}]}',
    json.dumps({"sources": [{"name": "a" * 151, "licence": "b", "url": ""}]}),
    json.dumps({"sources": [{"name": "a", "licence": "b", "url": ""}] * 17}), "[" * 60000, '"' + "a" * 70000 + '"',
])  # fmt: skip
def test_anything_else_is_refused(tmp_path: Path, content: str):
    (tmp_path / "provenance.json").write_text(content)
    with pytest.raises(InvalidInput, match="provenance.json does not say where the data is from .*correct or remove it"):
        read_sources(tmp_path)


def test_merged_sources_stand_once_in_order():
    assert merged((SYNTHETIC, MANO), (), (INTERHAND, SYNTHETIC), (OWN,)) == (SYNTHETIC, MANO, INTERHAND, OWN)
    also_free = Source("Other hands", "MIT", "https://example.org")
    assert licences((SYNTHETIC, INTERHAND, also_free)) == "MIT; CC BY-NC 4.0"
    assert sources_text((SYNTHETIC, also_free)) == (
        "synthetic hands of this project: MIT\nOther hands: MIT (https://example.org)"
    )


@pytest.mark.parametrize("sources", [(OWN, SYNTHETIC), (UNKNOWN,)])
def test_the_packed_set_says_it_too(tmp_path: Path, sources: tuple[Source, ...]):
    folder = small_set(COUNTS).write(tmp_path / "raw")
    if sources != (UNKNOWN,):
        write_sources(sources, folder)
    pack(RawDataset(folder, "bgr"), tmp_path / "packed", PackConfig(32, False, 1))
    assert read_manifest(tmp_path / "packed").sources == sources


def test_a_manifest_with_damaged_sources_is_refused(tmp_path: Path):
    pack(RawDataset(small_set(COUNTS).write(tmp_path / "raw"), "bgr"), tmp_path / "packed", PackConfig(32, False, 1))
    file = tmp_path / "packed" / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"sources": [{"name": "a"}]}))
    with pytest.raises(InvalidInput, match="a source must have name, licence, url; make the packed set again"):
        read_manifest(tmp_path / "packed")

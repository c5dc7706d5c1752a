"""Small files that would take endless time or memory, and values that would fill a screen: every reader refuses them soon.
Lists have a file of their own, tests/raw/test_bombs.py."""

import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from hands.errors import InvalidInput, shown
from hands.interhand import mano_file
from hands.interhand.importer import RECORD, _finished
from hands.interhand.json_files import records
from hands.interhand.staging import _whole_lines
from hands.networks.checkpoint import NETWORK_FILE, WEIGHTS_FILE, load_discriminator, load_network, save_network
from hands.networks.discriminator import Discriminator
from hands.packed.manifest import read_manifest
from hands.packed.packed_set import PackedSet
from hands.prediction.photographs import read_boxes
from hands.training.resume import FILE, TrainingCheckpoint
from tests.bounded import RETURNED, bounded
from tests.raw.nested import DEEP, WIDE, shared

LONG = "x" * 900_000
NESTED = 900 * "[" + 900 * "]"  # as deep as JSON's reader goes; what shows it would go deeper


@pytest.mark.parametrize(("value", "expected"), [
    ("left", "'left'"), (LONG, "'" + 72 * "x" + "'..."), (3, "3"), (1.5, "1.5"), (None, "None"), (True, "True"), (b"a", "b'a'"),
    (shared(), "a list of 2"), ({"a": shared()}, "a dict of 1"), (10**5000, "a number of 16610 bits"), ((1, 2), "a tuple of 2"),
    (np.zeros(3), "a ndarray"), ("\n\ud800", "'\\n\\ud800'"),
], ids=lambda value: type(value).__name__)  # fmt: skip
def test_what_messages_show(value: object, expected: str):
    assert shown(value) == expected


# JSON


@pytest.mark.parametrize("value", [
    json.dumps(LONG), NESTED, "[" + "1," * 100_000 + "1]", "9" * 4000, f"[{'9' * 4000}]",
], ids=["text", "deep", "long", "digits", "listed digits"])  # fmt: skip
@pytest.mark.parametrize("field", ["kind", "size", "spec", "architecture", "encoder", "encoder_depth", "decoder_channels"])
def test_network_json(tmp_path: Path, field: str, value: str):
    save_network(Discriminator(), 64, tmp_path)
    spec = {"architecture": "unet", "encoder": "resnet18", "encoder_depth": 4, "decoder_channels": [8] * 4, "head_stride": 1}
    content = {"format": 1, "kind": "segmentation", "size": 64, "spec": spec}
    (content if field in content else spec)[field] = "VALUE"
    (tmp_path / NETWORK_FILE).write_text(json.dumps(content).replace('"VALUE"', value))
    said = bounded(lambda: load_network(tmp_path))
    assert 20 < len(said.replace(str(tmp_path), "")) < 1000


@pytest.mark.parametrize("value", [LONG, 10 * LONG, {LONG: 1}, [[]] * 100_000], ids=["text", "large", "name", "lists"])
def test_manifests(tiny_packed: PackedSet, tmp_path: Path, value: object):
    content = json.loads((tiny_packed.folder / "manifest.json").read_text())
    for field in content:
        (tmp_path / "manifest.json").write_text(json.dumps(content | {field: value}))
        said = bounded(lambda: read_manifest(tmp_path))
        assert 20 < len(said.replace(str(tmp_path), "")) < 300


def test_a_record_of_an_import(tmp_path: Path):
    for content in (b"[" * 100_000, b"[" + b"[]," * 1000 + b"1]", b'{"key": "' + bytes(65 << 20)):
        (tmp_path / RECORD).write_bytes(content)
        assert "import.json is damaged" in bounded(lambda: _finished(tmp_path, "key"))


def test_a_journal_of_an_import_ends_where_it_is_damaged():
    assert _whole_lines(b'{"key": 1}\n' + b"[" * 100_000 + b"\n{}\n") == ([{"key": 1}], 11)


@pytest.mark.parametrize("box", [
    b"[" + b"1," * 10_000_000 + b"1]", b"[" + 1_000_000 * b"[]," + b"1]",
    b"{" + b",".join(b'"%d":1' % n for n in range(20_000)) + b"}",
], ids=["numbers", "lists", "names"])  # fmt: skip
def test_fields_of_the_release_with_more_values_than_any(tmp_path: Path, box: bytes):
    """What is kept of a field is bounded, however long the file is; what is not kept may be as long as it likes."""
    (tmp_path / "data.json").write_bytes(b'{"annotations": [{"other": ' + box + b', "bbox": ' + box + b"}]}")

    def read(*fields: str) -> str:
        wanted = {"annotations": frozenset(fields)}
        return bounded(lambda: list(records(tmp_path / "data.json", wanted)), seconds=30, mib=150)

    assert read("id") == RETURNED
    assert "a field holds more values than any of the release" in read("bbox")


# Boxes


@pytest.mark.parametrize("content", [
    json.dumps({"a.png": LONG}), f'{{"a.png": {NESTED}}}', json.dumps({LONG: 1}), json.dumps({"a.png": [1, 2, 3, LONG]}),
    json.dumps({LONG: [1, 2, 3, 4]}), f'{{"a.png": [1, 2, 3, {"9" * 4000}]}}',
], ids=["text", "deep", "name", "number", "file", "digits"])  # fmt: skip
def test_boxes(tmp_path: Path, content: str):
    (tmp_path / "boxes.json").write_text(content)
    said = bounded(lambda: read_boxes(tmp_path / "boxes.json"))
    assert 20 < len(said.replace(str(tmp_path), "")) < 300


def test_boxes_of_two_bytes_each(tmp_path: Path):
    (tmp_path / "boxes.csv").write_text("a\n" * (7 << 20))
    assert "is not `file,x,y,w,h`; correct it" in bounded(lambda: read_boxes(tmp_path / "boxes.csv"), mib=900)


# Weights


@pytest.mark.parametrize("size", [5 << 20, 100 << 20, (1 << 64) - 1])
def test_weights_with_an_endless_header(tmp_path: Path, size: int):
    """Of names alone, each without a value: they would take ten times the file."""
    save_network(Discriminator(), 64, tmp_path)
    entry = '"{}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'
    header = ("{" + ",".join(entry.format(n) for n in range(80_000)) + "}").encode().ljust(5 << 20)
    (tmp_path / WEIGHTS_FILE).write_bytes(struct.pack("<Q", size) + header)
    assert f"its header is said to have {size:,} bytes" in bounded(lambda: load_discriminator(tmp_path))


# Checkpoints


def checkpoint(folder: Path, **state: object) -> TrainingCheckpoint:
    kept = TrainingCheckpoint(folder, 1e9, "same")
    kept.save({"step": 1, **state})
    return kept


def with_pickle(file: Path, content: bytes, compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(file, "w", compression) as target:
        target.writestr("archive/data.pkl", content)
        target.writestr("archive/version", b"3\n")


def test_a_checkpoint_is_what_it_was(tmp_path: Path):
    state = {"sums": {"a": torch.ones(2)}, "history": [(1, {"val/miou": 0.5})], "random": torch.get_rng_state()}
    loaded = checkpoint(tmp_path, **state).load()
    assert torch.equal(loaded["sums"]["a"], torch.ones(2)) and loaded["history"] == state["history"]


def test_compressed_checkpoints(tmp_path: Path):
    kept = checkpoint(tmp_path)
    with_pickle(tmp_path / FILE, b"\x80\x02}(" + 50_000_000 * b"N" + b"1.", zipfile.ZIP_DEFLATED)
    assert (tmp_path / FILE).stat().st_size < 100_000
    assert "its records are compressed" in bounded(kept.load)


@pytest.mark.parametrize("key", [DEEP, WIDE], ids=["deep", "wide"])
@pytest.mark.parametrize("around", [(b"}", b"Ns"), (b"}X\1\0\0\0a}", b"Nss")], ids=["root", "within"])
def test_checkpoints_with_keys_that_crash_the_interpreter(tmp_path: Path, around: tuple[bytes, bytes], key: bytes):
    kept = checkpoint(tmp_path)
    with_pickle(tmp_path / FILE, b"\x80\x02" + around[0] + key + around[1] + b".")
    assert "a dict whose keys are no numbers or texts" in bounded(kept.load)


def test_checkpoints_that_call_something_with_what_crashes(tmp_path: Path):
    kept = checkpoint(tmp_path)
    for call in (b"c__builtin__\nset\n", b"ccollections\nOrderedDict\n", b"ccollections\nCounter\n"):
        with_pickle(tmp_path / FILE, b"\x80\x02}X\1\0\0\0a" + call + b"]]" + DEEP + b"aNaa\x85Rs.")
        assert "cannot be read" in bounded(kept.load)


def test_checkpoints_of_before_torch_1_6(tmp_path: Path):
    """They say how large a tensor is before it is there."""
    kept = checkpoint(tmp_path)
    torch.save({"step": 1}, tmp_path / FILE, _use_new_zipfile_serialization=False)
    assert "of torch before 1.6" in bounded(kept.load)


# MANO


@pytest.mark.parametrize("content", [
    b"\x80\x02}" + DEEP + b"Ns.", b"\x80\x02}(" + WIDE + b"Nu.", b"(" + DEEP + b"Nd.", b"\x80\x02]r\xff\xff\xff\x7f.",
    b"\x80\x02c__builtin__\nset\n](" + DEEP + b"e\x85R.", b"\x80\x04\x8f(" + DEEP + b"\x90.",
], ids=["deep", "wide", "old", "position", "set", "new set"])  # fmt: skip
def test_mano_files(tmp_path: Path, content: bytes):
    (tmp_path / "MANO_LEFT.pkl").write_bytes(content)
    assert "is no MANO model" in bounded(lambda: mano_file.read(tmp_path / "MANO_LEFT.pkl"))


def test_the_limits_of_these_tests_hold():
    """A process that takes too much is told from one that refuses."""
    with pytest.raises(AssertionError, match="MemoryError"):
        bounded(lambda: bytearray(1 << 30))
    with pytest.raises(AssertionError, match="ended by signal 24"):
        bounded(forever, seconds=1)
    with pytest.raises(AssertionError, match="ended by signal 11"):
        bounded(crash)
    assert bounded(list) == RETURNED


def forever() -> None:
    while True:
        pass


def crash() -> None:
    nested = ()
    for _ in range(1_000_000):
        nested = (nested,)
    hash(nested)


def test_bounded_hands_on_the_message():
    def refuse() -> None:
        raise InvalidInput("a sentence")

    assert bounded(refuse) == "a sentence"

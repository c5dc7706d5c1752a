"""A network comes back from its two files bit by bit, and nothing else in their place does harm."""

import json
import pickle
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from hands.errors import InvalidInput
from hands.networks.checkpoint import NETWORK_FILE, WEIGHTS_FILE, load_discriminator, load_network, network_kind, save_network
from hands.networks.discriminator import Discriminator
from hands.networks.hands_network import NAMED_NETWORKS, HandsNetwork, NetworkSpec
from tests.hostile_input import Attack, examples

SMALL = NetworkSpec("unet", "resnet18", 3, (8, 8, 8), 2)


def used_network(spec: NetworkSpec) -> HandsNetwork:
    """With running statistics that are not those of a new network."""
    torch.manual_seed(0)
    network = HandsNetwork(spec, None)
    for _ in range(2):
        network(torch.rand(2, 3, 32, 32))
    return network


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    save_network(used_network(SMALL), 32, folder)
    return folder


@pytest.fixture
def copied(saved: Path, tmp_path: Path) -> Path:
    for name in (NETWORK_FILE, WEIGHTS_FILE):
        (tmp_path / name).write_bytes((saved / name).read_bytes())
    return tmp_path


def rewrite(folder: Path, **changes) -> None:
    description = json.loads((folder / NETWORK_FILE).read_text())
    (folder / NETWORK_FILE).write_text(json.dumps(description | changes))


def rewrite_spec(folder: Path, **changes) -> None:
    rewrite(folder, spec=json.loads((folder / NETWORK_FILE).read_text())["spec"] | changes)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("spec", [SMALL, NAMED_NETWORKS["light"]], ids=["small", "light"])
def test_a_network_comes_back_bit_by_bit(tmp_path: Path, spec: NetworkSpec, memory_format: torch.memory_format):
    network = used_network(spec).to(memory_format=memory_format)
    save_network(network, 96, tmp_path / "new" / "folder")
    back, size = load_network(tmp_path / "new" / "folder")
    assert size == 96 and back.spec == spec
    state, back_state = network.state_dict(), back.state_dict()
    assert state.keys() == back_state.keys()
    assert any("running_mean" in name for name in state) and any("num_batches_tracked" in name for name in state)
    for name, value in state.items():
        assert value.dtype == back_state[name].dtype and torch.equal(value, back_state[name]), name
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(back.eval()(images), network.eval()(images))
    assert all(parameter.requires_grad for parameter in back.parameters())


def test_a_discriminator_comes_back_bit_by_bit(tmp_path: Path):
    torch.manual_seed(0)
    d = Discriminator()
    d(torch.rand(2, 34, 64, 64))
    save_network(d, 64, tmp_path)
    back = load_discriminator(tmp_path)
    for name, value in d.state_dict().items():
        assert torch.equal(value, back.state_dict()[name]), name


def test_loading_changes_neither_mode_nor_generator_for_the_rest(copied: Path):
    network, _ = load_network(copied)
    assert network.training and all(value.device.type == "cpu" for value in network.state_dict().values())
    assert network.mean.device.type == "cpu"


def test_kind(copied: Path, tmp_path: Path):
    assert network_kind(copied) == "segmentation"
    save_network(Discriminator(), 32, tmp_path / "d")
    assert network_kind(tmp_path / "d") == "discriminator"
    with pytest.raises(InvalidInput, match="describes 'discriminator'; expected a segmentation"):
        load_network(tmp_path / "d")
    with pytest.raises(InvalidInput, match="describes 'segmentation'; expected a discriminator"):
        load_discriminator(copied)


def test_saved_files_are_plain(saved: Path):
    description = json.loads((saved / NETWORK_FILE).read_text())
    assert description == {
        "format": 1,
        "size": 32,
        "kind": "segmentation",
        "spec": {
            "architecture": "unet",
            "encoder": "resnet18",
            "encoder_depth": 3,
            "decoder_channels": [8, 8, 8],
            "head_stride": 2,
        },
    }
    assert sorted(path.name for path in saved.iterdir()) == [NETWORK_FILE, WEIGHTS_FILE]


@pytest.mark.parametrize("name", [NETWORK_FILE, WEIGHTS_FILE])
@pytest.mark.parametrize("content", [None, b"", b"\0", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 200_000, b"9" * 10_000])
def test_refuses_a_file_that_is_missing_or_something_else(copied: Path, name: str, content: bytes | None):
    if content is None:
        (copied / name).unlink()
    else:
        (copied / name).write_bytes(content)
    with pytest.raises(InvalidInput, match=name):
        load_network(copied)


@pytest.mark.parametrize("name", [NETWORK_FILE, WEIGHTS_FILE])
def test_refuses_a_folder_in_the_place_of_a_file(copied: Path, name: str):
    (copied / name).unlink()
    (copied / name).mkdir()
    with pytest.raises(InvalidInput, match=name):
        load_network(copied)


def test_refuses_a_huge_description(copied: Path):
    with (copied / NETWORK_FILE).open("r+b") as file:
        file.truncate(2 << 20)
    with pytest.raises(InvalidInput, match="larger than"):
        load_network(copied)


@pytest.mark.parametrize("keep", [4, 8, 1000, -1])
def test_refuses_truncated_weights(copied: Path, keep: int):
    content = (copied / WEIGHTS_FILE).read_bytes()
    (copied / WEIGHTS_FILE).write_bytes(content[:keep])
    with pytest.raises(InvalidInput, match=WEIGHTS_FILE):
        load_network(copied)


def test_refuses_a_header_that_claims_terabytes(copied: Path):
    header = json.dumps({"w": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}).encode()
    (copied / WEIGHTS_FILE).write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(InvalidInput, match=WEIGHTS_FILE):
        load_network(copied)


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2},
        {"format": None},
        {"kind": "discriminator"},
        {"kind": ["segmentation"]},
        {"kind": {}},
        {"size": 8},
        {"size": 1 << 40},
        {"size": "32"},
        {"size": 32.0},
        {"size": True},
        {"spec": None},
        {"spec": "unet"},
        {"spec": []},
    ],
)
def test_refuses_other_descriptions(copied: Path, changes: dict):
    rewrite(copied, **changes)
    with pytest.raises(InvalidInput):
        load_network(copied)


@pytest.mark.parametrize(
    "changes",
    [
        {"architecture": "../../etc"},
        {"architecture": "linknet"},
        {"encoder": "resnet34"},
        {"encoder": "tu-hf-hub:someone/something"},
        {"encoder": "tu-resnet18"},
        {"encoder_depth": 5},
        {"encoder_depth": -1},
        {"encoder_depth": 1 << 70},
        {"head_stride": 1},
        {"head_stride": 0},
        {"decoder_channels": []},
        {"decoder_channels": [8, 16, 8]},
        {"decoder_channels": [1024, 1024, 1024]},
        {"decoder_channels": [1 << 30, 8, 8]},
        {"decoder_channels": [-8, 8, 8]},
        {"decoder_channels": [8.0, 8, 8]},
        {"decoder_channels": {"0": 8}},
    ],
)
def test_refuses_other_specs(copied: Path, changes: dict):
    rewrite_spec(copied, **changes)
    with pytest.raises(InvalidInput):
        load_network(copied)


def test_a_spec_beyond_its_weights_is_refused_before_memory_is_taken(copied: Path, monkeypatch: pytest.MonkeyPatch):
    """A gigabyte of decoder would be filled with random numbers first."""
    rewrite_spec(copied, architecture="unetplusplus", encoder="resnet152", encoder_depth=5, head_stride=1,
                 decoder_channels=5 * [1024])  # fmt: skip
    devices = []
    build = HandsNetwork.__init__

    def watched(self, *arguments):
        build(self, *arguments)
        devices.append(next(self.parameters()).device.type)

    monkeypatch.setattr(HandsNetwork, "__init__", watched)
    with pytest.raises(InvalidInput, match="does not fit"):
        load_network(copied)
    assert devices == ["meta"]


def test_an_encoder_that_computes_while_it_is_built_loads_too(tmp_path: Path):
    network = HandsNetwork(NetworkSpec("unet", "mit_b0", 5, (8, 8, 8, 8, 8), 1), None)
    save_network(network, 32, tmp_path)
    assert load_network(tmp_path)[0].spec == network.spec


def changed_weights(folder: Path, change) -> None:
    weights = load_file(folder / WEIGHTS_FILE)
    change(weights)
    save_file(weights, folder / WEIGHTS_FILE)


HEAD = "body.segmentation_head.0.bias"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop(HEAD), "is missing"),
        (lambda w: w.update(more=torch.zeros(1)), "more is not part of the network"),
        (lambda w: w.update({HEAD: torch.zeros(33)}), r"\(33,\), expected torch.float32 \(34,\)"),
        (lambda w: w.update({HEAD: torch.zeros(1, 34)}), r"\(1, 34\)"),
        (lambda w: w.update({HEAD: torch.zeros(34, dtype=torch.int32)}), "torch.int32"),
        (lambda w: w.update({HEAD: torch.zeros(34, dtype=torch.float16)}), "torch.float16"),
        (lambda w: w[HEAD].fill_(torch.nan), "NaN or infinite"),
        (lambda w: w[HEAD][3:4].fill_(torch.inf), "NaN or infinite"),
    ],
)
def test_refuses_other_weights(copied: Path, change, message: str):
    changed_weights(copied, change)
    with pytest.raises(InvalidInput, match=message):
        load_network(copied)


def test_fields_that_nobody_knows_do_no_harm(copied: Path):
    rewrite(copied, comment="mine", __class__="x")
    rewrite_spec(copied, weights="imagenet")
    assert load_network(copied)[0].spec == SMALL


@pytest.mark.parametrize("name", [NETWORK_FILE, WEIGHTS_FILE])
@pytest.mark.parametrize("dump", [pickle.dump, torch.save])
def test_a_pickle_is_refused_and_not_run(copied: Path, name: str, dump):
    trap = copied / "sprung"
    with (copied / name).open("wb") as file:
        dump(Attack(trap), file)
    with pytest.raises(InvalidInput):
        load_network(copied)
    assert not trap.exists()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mutated")


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.lists(st.integers(-2, 9), max_size=6)
)


@examples(150)
@given(data=st.data())
def test_damaged_bytes_end_in_invalid_input_or_in_a_network(saved: Path, stage: Path, data):
    content = {name: bytearray((saved / name).read_bytes()) for name in (NETWORK_FILE, WEIGHTS_FILE)}
    name = data.draw(st.sampled_from([NETWORK_FILE, WEIGHTS_FILE]))
    damaged = content[name]
    # most of the weights are numbers; the header in front of them is what can break a reader
    header = min(len(damaged), 4000)
    for _ in range(data.draw(st.integers(1, 4))):
        where = data.draw(st.integers(0, header - 1))
        damaged[where] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del damaged[data.draw(st.integers(0, header)) :]
    for file, value in content.items():
        (stage / file).write_bytes(value)
    try:
        network, size = load_network(stage)
    except InvalidInput as error:
        assert str(error)
        return
    assert network.spec == SMALL and 16 <= size <= 4096


@examples(150)
@given(data=st.data())
def test_other_json_values_end_in_invalid_input_or_in_a_network(saved: Path, stage: Path, data):
    description = json.loads((saved / NETWORK_FILE).read_text())
    inside = data.draw(st.sampled_from([description, description["spec"]]))
    key = data.draw(st.sampled_from(sorted(inside)))
    if data.draw(st.booleans()):
        inside[key] = data.draw(VALUES)
    else:
        del inside[key]
    (stage / NETWORK_FILE).write_text(json.dumps(description))
    (stage / WEIGHTS_FILE).write_bytes((saved / WEIGHTS_FILE).read_bytes())
    try:
        network, _ = load_network(stage)
    except InvalidInput as error:
        assert str(error)
        return
    assert network.spec.decoder_channels[:2] == (8, 8)  # with head_stride 2 the last block is not built

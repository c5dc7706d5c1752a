"""Device, precision and processes from parameters."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from hands.errors import InvalidInput
from hands.training import devices
from hands.training.device_config import DeviceConfig
from hands.training.devices import (
    create_fabric,
    prepared_network,
    resolve_memory_format,
    resolve_precision,
    resolved_devices,
)

CONFIG = DeviceConfig("cpu", "1", 1, "auto", "32-true", "auto", "disk")


@pytest.fixture(autouse=True)
def allocator_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "keep_freed_memory", lambda: None)


@pytest.mark.parametrize("wanted", ["1", "auto"])
def test_one_cpu_process_unless_asked_for_more(wanted: str):
    fabric = create_fabric(replace(CONFIG, devices=wanted))
    assert fabric.world_size == 1 and fabric.device.type == "cpu"


def test_processes_are_a_parameter():
    assert create_fabric(replace(CONFIG, devices="2", strategy="ddp")).world_size == 2


@pytest.mark.parametrize(
    "change",
    [
        {"devices": "0"},
        {"devices": "-1"},
        {"devices": "two"},
        {"devices": "²"},
        {"devices": ""},
        {"precision": "64-true"},
        {"memory_format": "rows"},
        {"accelerator": "abacus"},
        {"strategy": "abacus"},
    ],
)
def test_refuses(change: dict):
    with pytest.raises(InvalidInput, match=next(iter(change))):
        create_fabric(replace(CONFIG, **change))


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without CUDA")
def test_refuses_an_accelerator_that_is_not_there():
    with pytest.raises(InvalidInput, match="accelerator=cuda.*cannot be had here"):
        create_fabric(replace(CONFIG, accelerator="cuda"))


@pytest.mark.parametrize(("native", "expected"), [(True, "bf16-mixed"), (False, "32-true")])
def test_auto_precision_is_what_the_processor_multiplies(monkeypatch: pytest.MonkeyPatch, native: bool, expected: str):
    monkeypatch.setattr(devices, "_cpu_has_bf16", lambda: native)
    assert resolve_precision("auto", "cpu") == expected
    assert resolve_precision("16-mixed", "cpu") == "16-mixed"


@pytest.mark.parametrize(
    ("memory_format", "precision", "expected"),
    [
        ("auto", "32-true", torch.contiguous_format),
        ("auto", "bf16-mixed", torch.channels_last),
        ("contiguous", "bf16-mixed", torch.contiguous_format),
        ("channels_last", "32-true", torch.channels_last),
    ],
)
def test_memory_format(memory_format: str, precision: str, expected: torch.memory_format):
    assert resolve_memory_format(memory_format, precision) == expected


@pytest.mark.parametrize(("change", "expected"), [
    ({"precision": "auto"}, ("cpu", "1", "bf16-mixed", "channels_last")),
    ({"accelerator": "auto", "devices": "auto"}, ("cpu", "1", "32-true", "contiguous")),
    ({"devices": "2", "strategy": "ddp", "memory_format": "channels_last"}, ("cpu", "2", "32-true", "channels_last")),
])  # fmt: skip
def test_what_auto_comes_to(monkeypatch: pytest.MonkeyPatch, change: dict, expected: tuple[str, ...]):
    monkeypatch.setattr(devices, "_cpu_has_bf16", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    config = replace(CONFIG, **change)
    found = resolved_devices(config, create_fabric(config))
    assert tuple(found[name] for name in ("accelerator", "devices", "precision", "memory_format")) == expected


def test_prepared_network_is_frozen():
    network = prepared_network(create_fabric(CONFIG), nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), "channels_last")
    assert not network.training and not any(parameter.requires_grad for parameter in network.parameters())
    assert network[0].weight.is_contiguous(memory_format=torch.channels_last)

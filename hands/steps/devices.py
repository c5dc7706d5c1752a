"""Parameters as an entry point got them -> where it works. Free of torch."""

from types import SimpleNamespace

from hands.training.device_config import DeviceConfig


def device_config(params: SimpleNamespace) -> DeviceConfig:
    return DeviceConfig(
        accelerator=params.accelerator,
        devices=params.devices,
        num_nodes=params.num_nodes,
        strategy=params.strategy,
        precision=params.precision,
        memory_format=params.memory_format,
        data_residency=params.data_residency,
    )


def one_device(params: SimpleNamespace) -> DeviceConfig:
    """For steps that run in one process."""
    return DeviceConfig(
        accelerator=params.accelerator,
        devices="1",
        num_nodes=1,
        strategy="auto",
        precision=params.precision,
        memory_format=params.memory_format,
        data_residency=params.data_residency,
    )

"""Device, precision and processes, by Lightning Fabric; every count and strategy is a parameter."""

import ctypes
import logging
import platform
from pathlib import Path

import torch
from lightning.fabric import Fabric
from lightning_utilities.core import rank_zero
from torch import nn

from hands.errors import InvalidInput
from hands.training.device_config import DeviceConfig

rank_zero.log.setLevel(logging.WARNING)  # each Fabric tells its precision


def create_fabric(config: DeviceConfig) -> Fabric:
    """Fabric for the parameters of a training step; `launch()` is the caller's.

    Raises:
        InvalidInput: for a value that Fabric or this machine cannot serve.
    """
    keep_freed_memory()
    if config.devices != "auto":
        devices = int(config.devices)
    elif config.accelerator == "cpu" or not torch.cuda.is_available():
        devices = 1  # Fabric counts CPU processes, and one with all cores is the fastest
    try:
        return Fabric(
            accelerator=config.accelerator,
            devices=devices,
            num_nodes=config.num_nodes,
            strategy=config.strategy,
            precision=resolve_precision(config.precision, config.accelerator),
        )
    except (ValueError, RuntimeError, TypeError, ImportError) as error:
        raise InvalidInput(
            f"accelerator={config.accelerator} devices={config.devices} strategy={config.strategy} "
            f"precision={config.precision} cannot be had here: {error}"
        ) from error


def resolved_devices(config: DeviceConfig, fabric: Fabric) -> dict[str, str]:
    """What the parameters that may be `auto` come to here, by name: a result follows from that.

    Args:
        fabric: what create_fabric has made of config.
    """
    precision = fabric._precision.precision
    channels_last = resolve_memory_format(config.memory_format, precision) == torch.channels_last
    return {
        "accelerator": fabric.device.type,
        "devices": str(fabric.world_size // config.num_nodes),
        "precision": precision,
        "memory_format": "channels_last" if channels_last else "contiguous",
    }


def resolve_precision(precision: str, accelerator: str) -> str:
    """`auto` is bf16 where the processor multiplies it natively, and float32 elsewhere."""
    if precision != "auto":
        return precision
    if accelerator != "cpu" and torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = _cpu_has_bf16()
    return "bf16-mixed" if native else "32-true"


def _cpu_has_bf16() -> bool:
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.exists() and any(flag in cpuinfo.read_text() for flag in ("avx512_bf16", "amx_bf16"))


def resolve_memory_format(memory_format: str, precision: str) -> torch.memory_format:
    """`auto` is channels_last with reduced precision and contiguous in float32, where RegNetY loses by channels_last."""
    if memory_format == "auto":
        memory_format = "contiguous" if precision == "32-true" else "channels_last"
    return torch.channels_last if memory_format == "channels_last" else torch.contiguous_format


def prepared_network(fabric: Fabric, network: nn.Module, memory_format: str) -> nn.Module:
    """The network, frozen, in evaluation mode, on the device and in the layout that its precision is fastest in."""
    chosen = resolve_memory_format(memory_format, fabric._precision.precision)
    return network.to(fabric.device, memory_format=chosen).eval().requires_grad_(False)


def keep_freed_memory() -> None:
    """Lets glibc keep freed blocks instead of giving them back to the system at once: a training step frees and takes
    the same hundreds of megabytes again and again, and the page faults cost more than the arithmetic of small steps."""
    if platform.libc_ver()[0] != "glibc":
        return
    m_trim_threshold, m_mmap_max = -1, -4  # malloc.h
    libc = ctypes.CDLL("libc.so.6")
    libc.mallopt(m_mmap_max, 0)
    libc.mallopt(m_trim_threshold, (1 << 31) - 1)

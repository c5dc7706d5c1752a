"""Where a step works, as its parameters say it. Free of torch: wrong words are refused before it is imported."""

from dataclasses import dataclass

from hands.errors import InvalidInput

PRECISIONS = ("auto", "bf16-mixed", "16-mixed", "32-true")
MEMORY_FORMATS = ("auto", "channels_last", "contiguous")
ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps", "tpu")  # Lightning Fabric's (2.6.6)


@dataclass(frozen=True)
class DeviceConfig:
    """accelerator: one of ACCELERATORS; devices: a count or "auto"; strategy: auto | ddp | ...; precision: one of PRECISIONS;
    memory_format: one of MEMORY_FORMATS; data_residency: disk | device.

    Raises:
        InvalidInput: a word that is none of these. Whether this machine has it, create_fabric finds out.
    """

    accelerator: str
    devices: str
    num_nodes: int
    strategy: str
    precision: str
    memory_format: str
    data_residency: str

    def __post_init__(self):
        for name, known in (("accelerator", ACCELERATORS), ("precision", PRECISIONS), ("memory_format", MEMORY_FORMATS)):
            if getattr(self, name) not in known:
                raise InvalidInput(f"{name} is '{getattr(self, name)}'; expected one of {', '.join(known)}.")
        if self.devices != "auto" and not (self.devices.isdecimal() and int(self.devices) >= 1):
            raise InvalidInput(f"devices is '{self.devices}'; expected a count of at least 1, or auto.")

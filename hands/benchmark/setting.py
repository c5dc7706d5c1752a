"""What the benchmark measures on: the synthetic set it makes, its networks, the machine."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning.fabric import Fabric

from hands.benchmark.measure import Extent
from hands.errors import InvalidInput
from hands.method.losses import cross_entropy_loss
from hands.networks.hands_network import HandsNetwork, network_spec
from hands.packed.augment import AugmentConfig, augment
from hands.packed.batches import BatchStream, RecordReader, Shard, seeded_generator
from hands.packed.packed_set import PackedSet
from hands.packed.prepare import PackConfig, pack
from hands.parts import check_size
from hands.processes.processors import allowed_processors
from hands.raw.layout import RawDataset
from hands.raw.layout_writer import RawDatasetWriter
from hands.synthetic.dataset import SynthesisConfig, frames
from hands.training.device_config import DeviceConfig
from hands.training.devices import create_fabric, prepared_network, resolve_memory_format
from hands.training.learner import Learner

ONE_PROCESS = Shard(0, 1)
PUBLISHED = AugmentConfig("published", hand_paste=0.0)
SUBJECTS = 4
TRAINING_LR = 3e-3
TRAINING_STREAM = 90


@dataclass(frozen=True)
class BenchSetting:
    """What every line gets.

    Attributes:
        folder: a temporary one; `raw` and `packed` in it are the synthetic set.
        networks: names; the first one is what lines 2, 3, 4 and 7 use, all of them are line 5's.
        size: side of the crops in pixels; see hands.parts.check_size.
        batch_size: images of a training step, >= 2; eval_batch_size: of a forward pass.
        steps: training steps of an epoch, and so of a round.
        rounds: how often everything is measured; lines 1 to 5 oftener where that takes less than min_seconds.
        growth_frames: frames of the smallest set of line 6; the list of line 8 has 100 times as many entries.
        seed: of the synthetic set, order and weights.
        width, height: of the pictures in pixels.
        compiled: whether line 5 measures torch.compile too.
        device: as a step's.
    """

    folder: str
    networks: tuple[str, ...]
    size: int
    batch_size: int
    eval_batch_size: int
    steps: int
    rounds: int
    min_seconds: int
    growth_frames: int
    seed: int
    width: int
    height: int
    compiled: bool
    device: DeviceConfig

    def __post_init__(self):
        check_size(self.size)
        if self.batch_size < 2:
            raise InvalidInput(f"batch_size is {self.batch_size}; expected at least 2, which batch norm needs.")
        for name in self.networks:
            network_spec(name)

    @property
    def network(self) -> str:
        return self.networks[0]

    @property
    def extent(self) -> Extent:
        return Extent(self.rounds, self.min_seconds)

    @property
    def raw(self) -> str:
        return str(Path(self.folder) / "raw")

    @property
    def packed(self) -> str:
        return str(Path(self.folder) / "packed")

    def fabric(self) -> Fabric:
        fabric = create_fabric(self.device)
        fabric.launch()
        return fabric

    def reader(self, subset: str, fabric: Fabric) -> RecordReader:
        return RecordReader(PackedSet.open(self.packed).subset(subset), self.device.data_residency, fabric.device)

    def on(self, fabric: Fabric, batch_size: int) -> str:
        """The words of a row's `on`."""
        precision = fabric._precision.precision
        layout = "channels_last" if self.memory_format(fabric) == torch.channels_last else "contiguous"
        return f"{self.network} {self.size}x{self.size}, batch {batch_size}, {precision}, {layout}"

    def memory_format(self, fabric: Fabric) -> torch.memory_format:
        return resolve_memory_format(self.device.memory_format, fabric._precision.precision)


def make_set(setting: BenchSetting) -> None:
    """The synthetic set of lines 1 to 4 and 7: an epoch of `steps` steps, and as many unpaired pictures."""
    n = setting.steps * setting.batch_size
    config = SynthesisConfig(
        seed=setting.seed,
        level=1,
        width=setting.width,
        height=setting.height,
        paired=n,
        unpaired_images=n,
        unpaired_masks=2 * setting.batch_size,
        val=setting.eval_batch_size,
        test=0,
        paired_subjects=SUBJECTS,
        unpaired_subjects=SUBJECTS,
        eval_subjects=1,
        workers=allowed_processors(),
    )
    with RawDatasetWriter(setting.raw) as writer:
        for frame in frames(config):
            writer.add_frame(frame)
    pack(RawDataset(setting.raw, "bgr"), setting.packed, PackConfig(setting.size, 0.0, allowed_processors()))


def trained_network(setting: BenchSetting, fabric: Fabric) -> HandsNetwork:
    """The first network after two epochs of cross-entropy: its labels look like hands, and not like noise, which would be
    slower to encode. Frozen, in evaluation mode."""
    torch.manual_seed(setting.seed)
    network = HandsNetwork(network_spec(setting.network), None)
    learner = Learner(fabric, network, TRAINING_LR, 0.0, setting.device.memory_format)
    stream = BatchStream(setting.reader("train", fabric), setting.batch_size, setting.seed, TRAINING_STREAM, ONE_PROCESS)
    weights = torch.ones(17, device=fabric.device)
    for step, batch in enumerate(stream.batches(0, 2 * stream.steps_per_epoch)):
        images, labels, _ = augment(batch, setting.size, PUBLISHED, seeded_generator(setting.seed, step), ONE_PROCESS)
        learner.update(cross_entropy_loss(learner.forward(images), labels, weights))
    return prepared_network(fabric, network, setting.device.memory_format)


@contextmanager
def tracked_to(folder: Path) -> Iterator[None]:
    """What this process logs goes to a store in `folder`, and not to the run that the benchmark belongs to."""
    before = dict(os.environ)
    for name in before:
        if name.startswith("MLFLOW_"):
            del os.environ[name]
    folder.mkdir(parents=True, exist_ok=True)
    os.environ |= {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def machine(setting: BenchSetting) -> dict[str, str]:
    """What the figures hold for: processor, cores, accelerator, versions."""
    fabric = setting.fabric()
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    accelerator = torch.cuda.get_device_name(fabric.device) if fabric.device.type == "cuda" else "none"
    return {
        "processor": f"{model}, {allowed_processors()} cores, {torch.get_num_threads()} threads",
        "accelerator": accelerator,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }

"""Each training step learns sixteen synthetic pictures by heart, without augmentation: minutes, so marked slow."""

from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.fabric import Fabric

from hands.method.losses import SegmentationLoss
from hands.method.phase1 import Phase1Config, Phase1Data, fit_phase1
from hands.method.phase2_init import Phase2InitConfig, Phase2InitData, fit_phase2_init
from hands.method.phase2_paired import Phase2PairedConfig, Phase2PairedData, fit_phase2_paired
from hands.networks.discriminator import Discriminator
from hands.networks.hands_network import HandsNetwork, network_spec
from hands.packed import augment
from hands.packed.batches import RecordReader
from hands.packed.manifest import SUBSET_CHANNELS
from hands.packed.packed_set import PackedSet, PackedWriter
from hands.packed.prepare import PackConfig, pack
from hands.parts import HAND_TYPES
from hands.raw.layout import RawDataset
from hands.raw.layout_writer import RawDatasetWriter
from hands.synthetic.dataset import SynthesisConfig, frames
from hands.training.devices import DeviceConfig, create_fabric
from hands.training.loop import ScheduleConfig

pytestmark = pytest.mark.slow

N, SIZE = 16, 64
SYNTHESIS = SynthesisConfig(
    seed=0,
    level=1,
    width=160,
    height=160,
    paired=N,
    unpaired_images=0,
    unpaired_masks=0,
    val=0,
    test=0,
    paired_subjects=4,
    unpaired_subjects=4,
    eval_subjects=1,
    workers=2,
)
SCHEDULE = ScheduleConfig(seed=0, epochs=400, batch_size=8, lr=2e-3, lr_schedule="cosine", ema_decay=0.98, eval_every=100)
LEARNED = 0.9
WEIGHTS = (0.4,) + 16 * (1.0,)


class Silent:
    def epoch(self, epoch, metrics) -> None: ...

    def evaluated(self, epoch, network, is_best) -> None: ...


@pytest.fixture(scope="module", autouse=True)
def no_augmentation():
    """Learning by heart is about the step; a nearest-neighbour label of a few pixels is another one at each angle."""
    with pytest.MonkeyPatch.context() as patch:
        for amplitude in ("SCALE_STEP", "ROTATION_PROBABILITY", "TRANSLATION", "COLOUR", "FLIP_PROBABILITY"):
            patch.setattr(augment, amplitude, 0.0)
        yield


@pytest.fixture(scope="module")
def sixteen(tmp_path_factory: pytest.TempPathFactory) -> PackedSet:
    """The same sixteen frames as pairs, as pictures alone, as masks alone, and to validate on."""
    folder = tmp_path_factory.mktemp("sixteen")
    with RawDatasetWriter(folder / "raw") as writer:
        for frame in frames(SYNTHESIS):
            writer.add_frame(frame)
    pack(RawDataset(folder / "raw", "bgr"), folder / "packed", PackConfig(size=SIZE, max_broken=0.0, workers=1))
    return repeated(PackedSet.open(folder / "packed"), folder / "repeated")


def repeated(packed: PackedSet, folder: Path) -> PackedSet:
    train = packed.subset("train")
    records = train.read(np.arange(N), None).numpy()
    channels = {name: counts[-1] for name, counts in SUBSET_CHANNELS.items()}
    slices = {5: slice(None), 3: slice(3), 2: slice(3, None)}
    folder.mkdir()
    with PackedWriter(folder, SIZE, channels) as writer:
        for name, count in channels.items():
            for position, record in enumerate(records):
                hand_type = HAND_TYPES[train.hand_types[position]]
                writer.add(name, position, hand_type, train.paths[position], record[slices[count]])
        writer.finish("bgr", "0" * 32, dict.fromkeys(channels, N), {name: {} for name in channels})
    return PackedSet.open(folder)


def a_fabric() -> Fabric:
    return create_fabric(DeviceConfig("cpu", "1", 1, "auto", "auto", "auto", "device"))


def reader(packed: PackedSet, subset: str) -> RecordReader:
    return RecordReader(packed.subset(subset), "device", torch.device("cpu"))


def new_network(seed: int) -> HandsNetwork:
    torch.manual_seed(seed)
    return HandsNetwork(network_spec("unet:resnet18"), None)


@pytest.fixture(scope="module")
def phase1(sixteen: PackedSet) -> tuple[HandsNetwork, Discriminator, dict[str, float]]:
    g1, d = new_network(0), Discriminator()
    data = Phase1Data(reader(sixteen, "train"), None, reader(sixteen, "val"))
    config = Phase1Config(SCHEDULE, adv_input="one_hot", d_lr=2.5e-4, memory_format="auto")
    return g1, d, fit_phase1(a_fabric(), config, data, g1, d, torch.tensor(WEIGHTS), Silent())


def test_phase1_learns_them(phase1):
    _, _, best = phase1
    assert best["val/miou"] > LEARNED
    assert not best["val/absent_hand"] > 0.2  # NaN where no hand is absent


def test_phase2_init_learns_them_from_the_labels_of_g1(sixteen: PackedSet, phase1):
    g1, g2 = phase1[0], new_network(1)
    data = Phase2InitData(reader(sixteen, "unpaired_images"), reader(sixteen, "val"))
    # of so few pictures the drop would leave out the same ones for ever
    config = Phase2InitConfig(SCHEDULE, drop_fraction=0.0, memory_format="auto")
    loss = SegmentationLoss(0.35, 0.65, "dice", 0.0, WEIGHTS)
    best = fit_phase2_init(a_fabric(), config, data, g1, g2, loss, Silent())
    assert best["val/miou"] > LEARNED
    assert best["train/kept_confidence"] > 0.8


@pytest.mark.parametrize("update_discriminator", [False, True])
def test_phase2_paired_learns_them(sixteen: PackedSet, phase1, update_discriminator: bool):
    d, g2 = phase1[1], new_network(2)
    data = Phase2PairedData(reader(sixteen, "train"), None, reader(sixteen, "val"))
    config = Phase2PairedConfig(
        SCHEDULE,
        adv_weight=0.01,  # at 0.1 a D that knows sixteen pictures by heart drowns what the labels say
        adv_input="one_hot",
        update_discriminator=update_discriminator,
        d_lr=2.5e-4,
        memory_format="auto",
    )
    loss = SegmentationLoss(0.35, 0.65, "dice", 0.0, WEIGHTS)
    best = fit_phase2_paired(a_fabric(), config, data, g2, d, loss, Silent())
    assert best["val/miou"] > LEARNED

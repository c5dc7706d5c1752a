"""Every training step learns sixteen synthetic pictures by heart, without augmentation: minutes, so marked slow."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from hands.networks.hands_network import HandsNetwork, network_spec
from hands.packed import augment, published_augmentation
from hands.packed.manifest import SUBSET_CHANNELS
from hands.packed.packed_set import PackedSet
from hands.packed.packed_writer import PackedWriter
from hands.packed.prepare import PackConfig, pack
from hands.parts import HAND_TYPES
from hands.raw.layout import RawDataset
from hands.raw.layout_writer import RawDatasetWriter
from hands.raw.provenance import UNKNOWN
from hands.synthetic.dataset import SynthesisConfig, frames
from hands.training.device_config import DeviceConfig
from hands.training.devices import create_fabric
from tests.small_training import Notebook, new_discriminator
from tests.training_steps import PHASE1, Start, TrainingStep, each_step

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
GIVEN = {
    "epochs": 400, "batch_size": 8, "lr": 2e-3, "lr_schedule": "cosine", "ema_decay": 0.98, "eval_every": 100,
    "class_weights": "none", "background_factor": 0.4, "unpaired": "none", "data_residency": "device",
    "drop_fraction": 0.0,  # of so few pictures the drop would leave out the same ones for ever
    "adv_weight": 0.01,  # at 0.1 a D that knows sixteen pictures by heart drowns what the labels say
}  # fmt: skip
LEARNED = 0.9


@pytest.fixture(scope="module", autouse=True)
def no_augmentation():
    """Learning by heart is about the step; a nearest-neighbour label of a few pixels is another one at each angle."""
    with pytest.MonkeyPatch.context() as patch:
        for amplitude in ("SCALE_STEP", "ROTATION_PROBABILITY", "TRANSLATION", "COLOUR"):
            patch.setattr(published_augmentation, amplitude, 0.0)
        patch.setattr(augment, "FLIP_PROBABILITY", 0.0)
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
        writer.finish("bgr", "0" * 32, dict.fromkeys(channels, N), {name: {} for name in channels}, (UNKNOWN,))
    return PackedSet.open(folder)


def new_network(seed: int) -> HandsNetwork:
    torch.manual_seed(seed)
    return HandsNetwork(network_spec("unet:resnet18"), None)


def learned(step: TrainingStep, packed: PackedSet, start: Start) -> dict[str, float]:
    fabric = create_fabric(DeviceConfig("cpu", "1", 1, "auto", "auto", "auto", "device"))
    return step.train(packed, start, Notebook(), fabric=fabric, **GIVEN)


@pytest.fixture(scope="module")
def phase1(sixteen: PackedSet) -> tuple[Start, dict[str, float]]:
    """What phase 1 has trained, which the other steps start from, and its best epoch."""
    start = Start(new_network(0), new_network(0), new_discriminator())
    return start, learned(PHASE1, sixteen, start)


@each_step
def test_it_learns_them_by_heart(step: TrainingStep, sixteen: PackedSet, phase1):
    taught, best = phase1
    if step is not PHASE1:
        best = learned(step, sixteen, Start(new_network(1), taught.network, copy.deepcopy(taught.d)))
    assert best["val/miou"] > LEARNED
    assert not best["val/absent_hand"] > 0.2  # NaN where no hand is absent
    assert best.get("train/kept_confidence", 1) > 0.8

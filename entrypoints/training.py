"""What phase1, phase2_init and phase2_paired share between parsing and their fit."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import torch
from lightning.fabric import Fabric
from PIL import Image

from entrypoints.parameters import CHECKPOINT
from hands import tracking
from hands.batches import RecordReader
from hands.checkpoint import load_network
from hands.class_weights import ClassWeightConfig, class_weights
from hands.devices import DeviceConfig, create_fabric
from hands.errors import InvalidInput
from hands.inference import predict_subset
from hands.losses import SegmentationLoss
from hands.networks import HandsNetwork, build_network, network_spec
from hands.packed import PackedSet
from hands.phase1 import Phase1Config
from hands.phase2_init import Phase2InitConfig
from hands.phase2_paired import Phase2PairedConfig
from hands.pictures import frame_rows
from hands.resume import TrainingCheckpoint
from hands.tracking.models import fetch_network
from hands.tracking.outbox import Undelivered
from hands.tracking.recorder import StepRecorder
from hands.tracking.steps import run_to_resume
from hands.training import Recorder, ScheduleConfig

VAL_PICTURES = 8
OUTBOX = "outbox"  # beside the checkpoint


def schedule_config(params: SimpleNamespace) -> ScheduleConfig:
    return ScheduleConfig(
        seed=params.seed,
        epochs=params.epochs,
        batch_size=params.batch_size,
        lr=params.lr,
        lr_schedule=params.lr_schedule,
        ema_decay=params.ema_decay,
        eval_every=params.eval_every,
    )


def phase1_config(params: SimpleNamespace) -> Phase1Config:
    return Phase1Config(schedule_config(params), params.adv_input, params.d_lr, params.memory_format)


def phase2_init_config(params: SimpleNamespace) -> Phase2InitConfig:
    return Phase2InitConfig(schedule_config(params), params.drop_fraction, params.memory_format)


def phase2_paired_config(params: SimpleNamespace) -> Phase2PairedConfig:
    return Phase2PairedConfig(
        schedule=schedule_config(params),
        adv_weight=params.adv_weight,
        adv_input=params.adv_input,
        update_discriminator=params.update_discriminator,
        d_lr=params.d_lr,
        memory_format=params.memory_format,
    )


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


def class_weight_config(params: SimpleNamespace) -> ClassWeightConfig:
    return ClassWeightConfig(
        scheme=params.class_weights,
        exponent=params.class_weight_exponent,
        background=params.background_factor,
        palm=params.palm_factor,
        fingertips=params.fingertips_factor,
        fingers=params.fingers_factor,
    )


def ce_class_weights(params: SimpleNamespace, packed: PackedSet) -> np.ndarray:
    """The (17,) cross-entropy weights that the parameters and the training labels' pixel counts give."""
    return class_weights(class_weight_config(params), np.sum(packed.manifest.subsets["train"].class_pixels, axis=0))


def segmentation_loss(params: SimpleNamespace, packed: PackedSet) -> SegmentationLoss:
    return SegmentationLoss(
        params.ce_weight, params.dice_weight, params.loss, params.dice_alpha, ce_class_weights(params, packed)
    )


def start_network(name: str, model: str, encoder_weights: str, size: int, seed: int) -> HandsNetwork:
    """The network that training starts from: a logged model's, or a new one by name."""
    if model:
        return fetched_network(model, size)
    check_size(name, size)
    torch.manual_seed(seed)
    network, weights = build_network(network_spec(name), encoder_weights)
    if mlflow.active_run():
        mlflow.set_tag("hands.encoder_weights", weights)
    return network


def check_size(name: str, size: int) -> None:
    """Refuses a name that is no network, and pictures that its encoder cannot halve often enough."""
    multiple = 2 ** network_spec(name).encoder_depth
    if size % multiple:
        raise InvalidInput(f"size is {size}; {name} needs a multiple of {multiple}: pack the data with such a size.")


def fetched_network(model: str, size: int) -> HandsNetwork:
    network, trained_size = load_network(fetch_network(model))
    if trained_size != size:
        raise InvalidInput(
            f"the model '{model}' was trained on pictures of side {trained_size}, the packed set has {size}; "
            f"pack the data with size={trained_size} or train the model anew."
        )
    return network


@dataclass(frozen=True)
class Session:
    """What a training step works with: processes, the packed set, readers of it, and where it reports."""

    fabric: Fabric
    packed: PackedSet
    residency: str
    val: RecordReader
    recorder: Recorder
    checkpoint: TrainingCheckpoint

    def reader(self, subset: str) -> RecordReader:
        return RecordReader(self.packed.subset(subset), self.residency, self.fabric.device)

    def mask_reader(self, unpaired: str) -> RecordReader | None:
        """Unpaired masks, where they are used."""
        return self.reader("unpaired_masks") if unpaired in ("masks", "both") else None


@contextmanager
def session(entry_point: str, params: SimpleNamespace, model_names: tuple[str, ...]) -> Iterator[Session]:
    """Starts the processes and, in the first one, the MLflow run, or goes on with the one that `resume` names."""
    resumed = run_to_resume(entry_point, params.resume, params.checkpoint_dir) if params.resume else None
    packed = PackedSet.open(params.packed_dir)
    fabric = create_fabric(device_config(params))
    fabric.launch()
    val = RecordReader(packed.subset(params.val_split), params.data_residency, fabric.device)
    fingerprint = checkpoint_fingerprint(params, packed)
    if fabric.global_rank != 0:
        folder = Path(params.checkpoint_dir) / resumed if resumed else None
        checkpoint = TrainingCheckpoint(folder, params.checkpoint_minutes, fingerprint)
        yield Session(fabric, packed, params.data_residency, val, SilentRecorder(), checkpoint)
        return
    with tracking.run(entry_point, vars(params), resumed) as active:
        folder = Path(params.checkpoint_dir) / active.info.run_id
        checkpoint = TrainingCheckpoint(folder, params.checkpoint_minutes, fingerprint)
        checkpoint.claim()
        dataset = tracking.log_dataset(packed, "training")
        picture = partial(val_picture, fabric, val)
        recorder = StepRecorder(dataset, model_names, picture, folder / OUTBOX)
        try:
            yield Session(fabric, packed, params.data_residency, val, recorder, checkpoint)
        except (KeyboardInterrupt, Undelivered):
            raise  # the models stay pending: the run may go on
        except BaseException:
            recorder.abandon()
            checkpoint.remove_if_untrained()
            raise
    checkpoint.remove()  # not before the run is FINISHED: a process that is killed in between must find one of the two


def checkpoint_fingerprint(params: SimpleNamespace, packed: PackedSet) -> str:
    """What a checkpoint and the run that goes on from it must share: parameters that change results, and the data."""
    elsewhere = (*CHECKPOINT, "packed_dir")
    content = {name: value for name, value in vars(params).items() if name not in elsewhere} | {"data": packed.manifest.digest}
    return json.dumps(content, sort_keys=True)


class SilentRecorder:
    """Of every process but the first."""

    def epoch(self, epoch, metrics) -> None: ...

    def evaluated(self, epoch, network, is_best) -> None: ...

    def restore(self, history) -> None: ...

    def finish(self, networks, size, best) -> None: ...


def val_picture(fabric: Fabric, val: RecordReader, network: torch.nn.Module) -> Image.Image:
    """The same validation frames each time, spread over the split: picture, truth and prediction of each hand."""
    n = len(val.subset)
    indices = np.unique(np.linspace(0, n - 1, min(n, VAL_PICTURES)).astype(np.int64))
    _, images, truth, predicted = next(predict_subset(network, val, indices, len(indices), fabric.autocast))
    return frame_rows(images, truth, predicted, [val.subset.paths[i] for i in indices], columns=2)

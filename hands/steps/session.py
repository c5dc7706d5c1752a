"""A training step as an MLflow run: begun or gone on with, recorded, kept in checkpoints."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace

import torch
from lightning.fabric import Fabric
from mlflow.exceptions import MlflowException
from PIL import Image

from hands import tracking
from hands.evaluation.coverage import coverage
from hands.packed.batches import RecordReader, whole_batch
from hands.packed.packed_set import PackedSet
from hands.pictures.figures import spread
from hands.pictures.previews import predicted_frames
from hands.processes.origin import by_itself
from hands.processes.parents import end_with_parent
from hands.raw.provenance import merged
from hands.steps.devices import device_config
from hands.steps.given import Given, given_models
from hands.steps.known import known
from hands.steps.parameters import CHECKPOINT, DEVICES
from hands.tracking.models import model_param, model_sources
from hands.tracking.outbox import Undelivered
from hands.tracking.provenance import log_sources, source_tags
from hands.tracking.recorder import StepRecorder
from hands.tracking.steps import log_step_key, note_code, run_to_resume
from hands.training.claim import Interrupted
from hands.training.devices import create_fabric
from hands.training.loop import Recorder
from hands.training.resume import TrainingCheckpoint

VAL_PICTURES = 8
OUTBOX = "outbox"  # beside the checkpoint


@dataclass(frozen=True)
class Session:
    """What a training step works with: processes, the packed set, readers of it, and where it reports."""

    fabric: Fabric
    packed: PackedSet
    residency: str
    open_val: Callable[[], RecordReader]
    recorder: Recorder
    checkpoint: TrainingCheckpoint

    @property
    def val(self) -> RecordReader:
        """Pictures to choose the best epoch on; read with the first look at them where they live on the device."""
        return self.open_val()

    def share(self, subset: str, batch_size: int) -> int:
        """Records of a step in this process."""
        return whole_batch(len(self.packed.subset(subset)), batch_size, self.fabric.world_size) // self.fabric.world_size

    def reader(self, subset: str) -> RecordReader:
        return RecordReader(self.packed.subset(subset), self.residency, self.fabric.device)

    def mask_reader(self, unpaired: str) -> RecordReader | None:
        """Unpaired masks, where they are used."""
        return self.reader("unpaired_masks") if unpaired in ("masks", "both") else None


@contextmanager
def session(entry_point: str, params: SimpleNamespace, given: Given, kinds: tuple[str, ...]) -> Iterator[Session]:
    """Starts the processes and, in the first one, the MLflow run, or goes on with the one that `resume` names.

    Args:
        kinds: of the models that the step makes: g1, g2, discriminator.
    """
    packed = given.packed
    val_subset = packed.subset(params.val_split)
    fabric = create_fabric(device_config(params))
    if fabric.local_rank:
        end_with_parent(0)
    fabric.launch()
    # processes that look for the latest run at different moments may find different ones
    resumed = fabric.broadcast(given.resumed)
    val = cache(partial(RecordReader, val_subset, params.data_residency, fabric.device))
    fingerprint = checkpoint_fingerprint(params, packed)
    folder = Path(params.checkpoint_dir) / resumed if resumed else None
    checkpoint = TrainingCheckpoint(folder, params.checkpoint_minutes, fingerprint)
    if fabric.global_rank != 0:
        try:
            yield Session(fabric, packed, params.data_residency, val, SilentRecorder(), checkpoint)
        except KeyboardInterrupt as interrupt:
            raise Interrupted(str(interrupt), None) from interrupt
        return
    try:
        if resumed:
            checkpoint.claim()
            run_to_resume(entry_point, resumed, params.checkpoint_dir)  # whoever trained it until now may have finished it
        with tracking.run(entry_point, vars(params), resumed) as active:
            note_code(entry_point)
            tracking.name_run(f"{entry_point} {network_name(params)} {packed.manifest.size} px")
            if not resumed:
                checkpoint.folder = Path(params.checkpoint_dir) / active.info.run_id
                checkpoint.claim()
                checkpoint.begin()
            dataset = tracking.log_dataset(packed.folder, packed.manifest, "training")
            sources = merged(packed.manifest.sources, *map(model_sources, given_models(params)))
            log_sources(sources)
            tracking.log_coverage(params.val_split, coverage(val_subset), printed=by_itself())  # else its pipeline has said it
            picture = partial(val_picture, fabric, val)
            recorder = StepRecorder(
                dataset, kinds, picture, checkpoint.folder / OUTBOX, source_tags(sources),
                model_params(entry_point, params, packed),
            )  # fmt: skip
            with ended_with(recorder, checkpoint):
                yield Session(fabric, packed, params.data_residency, val, recorder, checkpoint)
            with suppress(MlflowException):  # all that the step made has been delivered
                log_step_key(entry_point, vars(params), known(params, packed, device_config(params), fabric))
        checkpoint.remove()  # not before the run is FINISHED: a process that is killed in between must find one of the two
    except KeyboardInterrupt as interrupt:
        if checkpoint.folder is None:
            raise
        raise Interrupted(str(interrupt), checkpoint.folder) from interrupt
    finally:
        checkpoint.release()


@contextmanager
def ended_with(recorder: StepRecorder, checkpoint: TrainingCheckpoint) -> Iterator[None]:
    """What becomes of models and checkpoint where the step breaks off."""
    try:
        yield
    except KeyboardInterrupt:
        raise  # the models stay pending: the run may go on
    except Undelivered as error:
        keeps = "holds an earlier state, since it could not be written" if checkpoint.outdated else "keeps it"
        again = f"run the step again with resume={recorder.run_id} when that is mended"
        raise Undelivered(f"{error}; its checkpoint {keeps}: {again}.") from error
    except BaseException:
        recorder.abandon()
        checkpoint.remove_if_untrained()
        raise


def network_name(params: SimpleNamespace) -> str:
    """Of the network that the step trains: as the user writes it, or as the model that it goes on with has it."""
    kind = "g2" if "g2" in vars(params) else "g1"
    given = getattr(params, f"{kind}_model")
    return (given and model_param(given, "network")) or getattr(params, kind)


def model_params(entry_point: str, params: SimpleNamespace, packed: PackedSet) -> dict[str, str]:
    """What models are told apart by in MLflow's lists."""
    return {
        "network": network_name(params),
        "size": str(packed.manifest.size),
        "method": entry_point,
        "epochs": str(params.epochs),
        "data": f"{packed.folder.name} ({packed.manifest.digest})",
        "seed": str(params.seed),
    }


def checkpoint_fingerprint(params: SimpleNamespace, packed: PackedSet) -> str:
    """What a checkpoint and the run that goes on from it must share: what is trained and on which data; not where."""
    elsewhere = (*CHECKPOINT, *DEVICES, "packed_dir")
    content = {name: value for name, value in vars(params).items() if name not in elsewhere} | {"data": packed.manifest.digest}
    return json.dumps(content, sort_keys=True)


class SilentRecorder:
    """Of every process but the first."""

    def epoch(self, epoch, metrics) -> None: ...

    def evaluated(self, epoch, network, is_best) -> None: ...

    def restore(self, history) -> None: ...

    def finish(self, networks, size, best) -> None: ...


def val_picture(fabric: Fabric, open_val: Callable[[], RecordReader], network: torch.nn.Module) -> Image.Image:
    """The same validation frames each time, spread over the split: picture, truth and prediction of each hand."""
    val = open_val()
    indices = spread(len(val.subset), VAL_PICTURES)
    return predicted_frames(network, val, indices, fabric.autocast)

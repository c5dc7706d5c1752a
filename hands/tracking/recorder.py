"""What a training step reports to MLflow: its epochs, pictures, learning curves and models."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import LoggedModel, LoggedModelStatus, Run
from mlflow.exceptions import MlflowException
from safetensors import SafetensorError
from torch import nn

from hands.pictures.figures import learning_curves
from hands.tracking import brief_requests, finite_metrics, log_output
from hands.tracking.models import log_network
from hands.tracking.outbox import Outbox, Undelivered

LOGGED_MODEL_TAG = "hands.logged_model."
VAL_FRAMES = "val_frames"
METRICS_OF_D = ("train/loss_d", "train/d_real_acc", "train/d_fake_acc")


class StepRecorder:
    """Writes a training step's epochs to MLflow, tied to its models and the packed set.

    While the tracking server is away, epochs wait on disk; the end of the step waits for it as long as MLflow retries.

    Args:
        dataset: what log_dataset returned.
        model_names: the step's models; the first one is what the metrics are about, a second one is D.
        draw: (network) -> picture of the same validation frames each time.
        folder: where epochs wait.
        tags: of the models.
    """

    def __init__(
        self, dataset: MetaDataset, model_names: tuple[str, ...], draw: Callable, folder: Path, tags: dict[str, str]
    ):
        self.dataset = dataset
        self.draw = draw
        self.history = []
        active = MlflowClient().get_run(mlflow.active_run().info.run_id)
        self.run_id = active.info.run_id
        self.models = {name: _logged_model(active, name, tags) for name in model_names}
        self.outbox = Outbox(folder, self.run_id)
        logged = MlflowClient().get_metric_history(self.run_id, "train/loss_total")
        # above 0 where a run goes on
        self.logged_epoch = max([metric.step for metric in logged] + [self.outbox.last_epoch()])
        self.outbox.try_to_send()

    def restore(self, history: list[tuple[int, dict[str, float]]]) -> None:
        """The epochs before those that a resumed run reports."""
        self.history = list(history)

    def epoch(self, epoch: int, metrics: dict[str, float]) -> None:
        """Every epoch is logged once, also one that is trained again because the checkpoint is from before it."""
        self.history.append((epoch, metrics))
        if epoch > self.logged_epoch:
            self.outbox.add_metrics(epoch, finite_metrics(metrics, epoch, self.dataset, self._model_id_of))
            self.outbox.try_to_send()

    def evaluated(self, epoch: int, network: nn.Module, is_best: bool) -> None:
        self.outbox.add_picture(epoch, VAL_FRAMES, self.draw(network))
        self.outbox.try_to_send()

    def finish(self, networks: dict[str, nn.Module], size: int, best: dict[str, float]) -> dict[str, str]:
        """Logs what waits, the models, the learning curves and the best epoch's scores; returns each model's URI.

        Raises:
            Undelivered: the tracking server is away for longer than MLflow retries, or a disk on the way to it is full.
        """
        with self._delivered():
            self.outbox.send()
            mlflow.log_figure(learning_curves(self.history), "learning_curves.png")
            if "best/epoch" not in MlflowClient().get_run(self.run_id).data.metrics:
                scores, epoch = {"best/miou": best["val/miou"], "best/epoch": best["best_epoch"]}, int(best["best_epoch"])
                metrics = finite_metrics(scores, epoch, self.dataset, self._model_id_of)
                MlflowClient().log_batch(self.run_id, metrics=metrics)
            uris = {name: log_network(network, name, size, self.models[name].model_id) for name, network in networks.items()}
            for name, uri in uris.items():
                log_output(f"{name}_model", uri)
            log_output("val_miou", str(best["val/miou"]))
            return uris

    def abandon(self) -> None:
        """The step has failed, and its models with it."""
        with brief_requests(), suppress(MlflowException):
            for model in self.models.values():
                mlflow.finalize_logged_model(model.model_id, LoggedModelStatus.FAILED)

    @contextmanager
    def _delivered(self) -> Iterator[None]:
        try:
            yield
        except (MlflowException, OSError, SafetensorError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise Undelivered(f"{mlflow.get_tracking_uri()} does not take what the step has made ({reason})") from error

    def _model_id_of(self, metric: str) -> str:
        names = list(self.models)
        return self.models[names[-1] if metric in METRICS_OF_D else names[0]].model_id


def _logged_model(active: Run, name: str, tags: dict[str, str]) -> LoggedModel:
    """The run's model of this name: the one that a run which goes on has begun, or a new one."""
    known = active.data.tags.get(LOGGED_MODEL_TAG + name)
    if known is not None:
        return mlflow.get_logged_model(known)
    model = mlflow.initialize_logged_model(name=name, source_run_id=active.info.run_id, model_type="pyfunc", tags=tags)
    mlflow.set_tag(LOGGED_MODEL_TAG + name, model.model_id)
    return model

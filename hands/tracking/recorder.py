"""What a training step reports to MLflow: its epochs, pictures, learning curves and models."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import LoggedModel, LoggedModelStatus, Metric, Run
from mlflow.exceptions import MlflowException
from safetensors import SafetensorError
from torch import nn

from hands.parts import PART_SCORES
from hands.pictures.figures import learning_curves
from hands.tracking import STEP_TAG, brief_requests, finite_metrics, log_output
from hands.tracking.models import log_network
from hands.tracking.outbox import Outbox, Undelivered

LOGGED_MODEL_TAG = "hands.logged_model."
VAL_FRAMES = "val_frames"


class StepRecorder:
    """Writes a training step's epochs to MLflow, tied to its models and the packed set.

    While the tracking server is away, epochs wait on disk; the end of the step waits for it as long as MLflow retries.

    Args:
        dataset: what log_dataset returned.
        kinds: of the step's models: g1, g2, discriminator.
        draw: (network) -> picture of the same validation frames each time.
        folder: where epochs wait.
        tags, params: of the models.
    """

    def __init__(
        self, dataset: MetaDataset, kinds: tuple[str, ...], draw: Callable, folder: Path, tags: dict[str, str],
        params: dict[str, str],
    ):  # fmt: skip
        self.dataset = dataset
        self.draw = draw
        self.history = []
        active = MlflowClient().get_run(mlflow.active_run().info.run_id)
        self.run_id = active.info.run_id
        self.models = {kind: _logged_model(active, kind, tags, params) for kind in kinds}
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
            self.outbox.add_metrics(epoch, finite_metrics(metrics, epoch, self.dataset, None))
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
                MlflowClient().log_batch(self.run_id, metrics=finite_metrics(scores, epoch, self.dataset, None))
            uris = {}
            for kind, network in networks.items():
                model = self.models[kind]
                if kind != "discriminator":  # its numbers are the run's: MLflow's table would show them before the headline
                    self._score(model, scores_of_models(best), int(best["best_epoch"]))
                uris[kind] = log_network(network, kind, size, model.model_id)
                log_output(f"{kind}_model", uris[kind])
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

    def _score(self, model: LoggedModel, names: Iterable[str], epoch: int) -> None:
        """Ties the run's own points of the epoch that is kept to the model, which then has each score once."""
        client = MlflowClient()
        known = {metric.key for metric in client.get_logged_model(model.model_id).metrics or []}
        for name in names:
            points = [point for point in client.get_metric_history(self.run_id, name) if point.step == epoch]
            if points and name not in known:
                point = points[0]
                tied = Metric(name, point.value, point.timestamp, epoch, model.model_id, self.dataset.name, self.dataset.digest)
                client.log_batch(self.run_id, metrics=[tied])


def scores_of_models(metrics: dict[str, float]) -> list[str]:
    """Names of the scores that a model is compared by, the headline first: those of single parts are the run's alone."""
    return [name for name in metrics if name.startswith("val/") and name.removeprefix("val/") not in PART_SCORES]


def model_name(kind: str, step: str | None) -> str:
    """A model as people see it in lists, by its kind and the pipeline's name for its step: g2-round1-init, say."""
    named = kind == "g2" and step is not None
    return f"{kind}-{step.replace('round ', 'round').replace(' ', '-')}" if named else kind


def _logged_model(active: Run, kind: str, tags: dict[str, str], params: dict[str, str]) -> LoggedModel:
    """The run's model of this kind: the one that a run which goes on has begun, or a new one."""
    known = active.data.tags.get(LOGGED_MODEL_TAG + kind)
    if known is not None:
        return mlflow.get_logged_model(known)
    model = mlflow.initialize_logged_model(
        name=model_name(kind, active.data.tags.get(STEP_TAG)), source_run_id=active.info.run_id, model_type="pyfunc",
        tags=tags, params=params | ({"network": kind} if kind == "discriminator" else {}),
    )  # fmt: skip
    mlflow.set_tag(LOGGED_MODEL_TAG + kind, model.model_id)
    return model

"""What a trial runs: short phase-2 steps, initialization and then pairs, from a finished phase 1.

They are the steps that the entry points phase2_init and phase2_paired run, in the worker's own process: the same parameters
and seed give the same scores there.
"""

import math
import os
import socket
import tempfile
from pathlib import Path
from types import SimpleNamespace

import mlflow
import optuna
from mlflow.data.dataset import Dataset
from torch import nn

from hands import tracking
from hands.method.phase2_init import Phase2InitData, fit_phase2_init
from hands.method.phase2_paired import Phase2PairedData, fit_phase2_paired
from hands.networks.checkpoint import load_discriminator, load_network, save_network
from hands.packed.batches import RecordReader
from hands.packed.packed_set import PackedSet
from hands.processes.progress import on_terminal, say
from hands.steps.configs import phase2_init_config, phase2_paired_config, segmentation_loss
from hands.steps.devices import one_device
from hands.steps.start import fetched_network, start_network
from hands.training.devices import create_fabric
from hands.training.loop import Diverged
from sweeps.ending import noted_end, trial_run
from sweeps.errors import Surplus
from sweeps.interruption import Interruption
from sweeps.job import Models, SweepRun
from sweeps.space import Space, suggest
from sweeps.study import FIRST, RUN_ID, WORKER, surplus

SWEEP_ONLY = ("space", "study_name", "storage", "n_trials", "n_workers", "sampler", "pruner", "heartbeat_interval")


class TrialRecorder:
    """Writes a step's epochs to the trial's run, reports its evaluations to the study, and breaks off what it prunes.

    Args:
        trial: whose steps these are.
        metric: the score that is reported, e.g. "val/miou".
        epochs_before: of the trial's earlier step; epochs are counted through.
        max_epochs: of the whole trial; what has come that far is not pruned any more.
        dataset: what tracking.log_dataset returned.
        interruption: of the worker; it waits while an epoch is written down.
    """

    def __init__(self, trial: optuna.Trial, metric: str, epochs_before: int, max_epochs: int, dataset: Dataset,
                 interruption: Interruption):  # fmt: skip
        self.trial = trial
        self.metric = metric
        self.epochs_before = epochs_before
        self.max_epochs = max_epochs
        self.dataset = dataset
        self.interruption = interruption

    def epoch(self, epoch: int, metrics: dict[str, float]) -> None:
        with self.interruption.holds():
            epoch += self.epochs_before
            tracking.log_metrics(metrics, epoch, self.dataset, None)
            if self.metric not in metrics:
                return
            self.trial.report(metrics[self.metric], epoch)
            if epoch < self.max_epochs and not self.trial.user_attrs.get(FIRST) and self.trial.should_prune():
                raise optuna.TrialPruned(f"after epoch {epoch} of {self.max_epochs}: {self.metric} {metrics[self.metric]:.4f}")

    def evaluated(self, epoch: int, network: nn.Module, is_best: bool) -> None: ...


class Objective:
    """Runs a trial in an MLflow run of its own and returns its score; the run's end tells how the trial ended.

    Args:
        params: of the entry point sweep; the space's weights take the place of those of the same name.
        models: folders that g1_model and d_model were fetched to.
        space: the search space.
        n_trials: at which the study is done.
        sweep: the run to nest in.
        interruption: of the worker.
    """

    def __init__(self, params: SimpleNamespace, models: Models, space: Space, n_trials: int, sweep: SweepRun,
                 interruption: Interruption):  # fmt: skip
        self.params = params
        self.models = models
        self.space = space
        self.n_trials = n_trials
        self.sweep = sweep
        self.interruption = interruption
        self.packed = PackedSet.open(params.packed_dir)
        self.size = self.packed.manifest.size
        self.fabric = create_fabric(one_device(params))
        self.val = self.reader(params.val_split)
        self.paired = self.reader(params.train_split)
        self.unpaired = self.reader(params.unpaired_split) if params.init_epochs else None
        masks = params.update_discriminator and params.unpaired in ("masks", "both")
        self.masks = self.reader("unpaired_masks") if masks else None

    def reader(self, subset: str) -> RecordReader:
        return RecordReader(self.packed.subset(subset), self.params.data_residency, self.fabric.device)

    def __call__(self, trial: optuna.Trial) -> float:
        with noted_end(trial):
            weights = self.space.weights(suggest(trial, self.space.axes))
            if surplus(trial.study.get_trials(deepcopy=False), trial.number, self.n_trials):
                raise Surplus(f"the study has its {self.n_trials} trials")
            trial.set_user_attr(WORKER, f"{socket.gethostname()}:{os.getpid()}")
            with trial_run(trial, self.sweep):
                if not on_terminal():
                    say(f"== trial {trial.number}: run {trial.user_attrs[RUN_ID]}, process {os.getpid()}")
                mlflow.log_params(trial_parameters(self.params) | weights)
                return self.train(trial, SimpleNamespace(**(vars(self.params) | weights)))

    def train(self, trial: optuna.Trial, params: SimpleNamespace) -> float:
        dataset = tracking.log_dataset(self.packed.folder, self.packed.manifest, "training")
        g2 = start_network(params.g2, "", params.encoder_weights, self.size, params.seed)
        recorders = [
            TrialRecorder(trial, self.space.metric, before, max_epochs(params), dataset, self.interruption)
            for before in (0, params.init_epochs)
        ]
        with self.interruption.breaks():
            if params.init_epochs:
                self.initialize(params, g2, recorders[0])
                g2 = as_logged(g2, self.size)
            best = self.train_on_pairs(params, g2, recorders[1])
        summary = {name.replace("val/", "best/"): value for name, value in best.items() if name.startswith("val/")}
        best_epoch = params.init_epochs + int(best["best_epoch"])
        tracking.log_metrics(summary | {"best/epoch": best_epoch}, best_epoch, dataset, None)
        if math.isnan(best[self.space.metric]):
            raise Diverged(f"{self.space.metric} is NaN in every epoch: no part could be judged.")
        return best[self.space.metric]

    def initialize(self, params: SimpleNamespace, g2: nn.Module, recorder: TrialRecorder) -> None:
        config = phase2_init_config(SimpleNamespace(**(vars(params) | {"epochs": params.init_epochs})))
        g1 = fetched_network(self.models.g1, self.size)
        loss = segmentation_loss(params, self.packed)
        data = Phase2InitData(self.unpaired, self.val)
        fit_phase2_init(self.fabric, config, data, g1, g2, loss, recorder)

    def train_on_pairs(self, params: SimpleNamespace, g2: nn.Module, recorder: TrialRecorder) -> dict[str, float]:
        step = SimpleNamespace(**(vars(params) | {"epochs": params.paired_epochs, "lr": params.paired_lr}))
        config = phase2_paired_config(step)
        d = load_discriminator(Path(self.models.d))
        loss = segmentation_loss(params, self.packed)
        data = Phase2PairedData(self.paired, self.masks, self.val)
        return fit_phase2_paired(self.fabric, config, data, g2, d, loss, recorder)


def max_epochs(params: SimpleNamespace) -> int:
    return params.init_epochs + params.paired_epochs


def as_logged(network: nn.Module, size: int) -> nn.Module:
    """The network as the next step gets it from MLflow: through its two files."""
    with tempfile.TemporaryDirectory() as folder:
        save_network(network, size, Path(folder) / "network")
        return load_network(Path(folder) / "network")[0]


def trial_parameters(params: SimpleNamespace) -> dict:
    """Parameters of the sweep that a trial trains by."""
    return {name: value for name, value in vars(params).items() if name not in SWEEP_ONLY}

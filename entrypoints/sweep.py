"""A sweep: an Optuna study over the weights of the losses and classes.

Consumes: a packed set (`packed_dir`); `g1_model` and `d_model` of a finished phase 1.
Produces: a nested run for each trial, best_params.json, trials.csv, plots; the study in `storage`, which another call of
the same command goes on with, here or on another machine.
"""

from types import SimpleNamespace
from typing import TYPE_CHECKING

import mlflow
from mlflow.entities import RunInfo

from entrypoints.parameters import SWEEP, entry_point
from hands import tracking

if TYPE_CHECKING:  # a storage that does not answer is refused before torch is imported
    from optuna.storages import RDBStorage

    from sweeps.space import Space
    from sweeps.study import StudyConfig


@entry_point(*SWEEP)
def main(params: SimpleNamespace) -> None:
    """Tries out weights of the losses or classes in short trials, on several workers."""
    from sweeps.space import load_space
    from sweeps.study import StudyConfig, open_storage, shown

    space = load_space(params.space)
    config = StudyConfig(
        name=params.study_name or params.space,
        storage=params.storage,
        n_trials=params.n_trials,
        sampler=params.sampler,
        pruner=params.pruner,
        max_epochs=params.init_epochs + params.paired_epochs,
        heartbeat_s=params.heartbeat_interval,
    )
    storage = open_storage(config.storage, config.heartbeat_s)
    with tracking.run("sweep", vars(params) | {"storage": shown(params.storage)}) as run:
        mlflow.set_tag("hands.study", config.name)
        run_sweep(params, space, config, storage, run.info)


def run_sweep(params: SimpleNamespace, space: "Space", config: "StudyConfig", storage: "RDBStorage", info: RunInfo) -> None:
    from sweeps.setting import models_and_setting
    from sweeps.study import create_study
    from sweeps.supervision import supervise
    from sweeps.trial import SweepRun
    from sweeps.worker import Job
    from sweeps.workers import start_server, threads_per_worker

    start_server()
    models, setting = models_and_setting(params, space)
    study = create_study(storage, config, space, setting)
    threads = threads_per_worker(params.n_workers)
    mlflow.set_tag("hands.threads", str(threads))
    sweep = SweepRun(info.run_id, info.experiment_id)
    job = Job(vars(params), models, config, sweep, mlflow.get_tracking_uri(), threads, None)
    supervise(study, space, job, params.n_workers)


if __name__ == "__main__":
    main()

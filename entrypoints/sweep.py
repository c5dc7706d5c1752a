"""A sweep: an Optuna study over the weights of the losses and classes.

Consumes: a packed set (`packed_dir`); `g1_model` and `d_model` of a finished phase 1.
Produces: a nested run for each trial, best_params.json, trials.csv, plots; the study in `storage`, which another call of
the same command goes on with, here or on another machine.
"""

from types import SimpleNamespace
from typing import TYPE_CHECKING

from entrypoints.launch.command_line import entry_point
from entrypoints.launch.parameters import SWEEP

if TYPE_CHECKING:
    from mlflow.entities import RunInfo

    from sweeps.study import StudyConfig


@entry_point(*SWEEP, goes_on=True)
def main(params: SimpleNamespace) -> None:
    """Tries out weights of the losses or classes in short trials, on several workers."""
    from sweeps.given import check_given

    check_given(params)

    import mlflow

    from hands import tracking
    from sweeps.storage import shown
    from sweeps.study import STUDY_TAG, StudyConfig

    config = StudyConfig(
        name=params.study_name or params.space,
        storage=params.storage,
        n_trials=params.n_trials,
        sampler=params.sampler,
        pruner=params.pruner,
        init_epochs=params.init_epochs,
        max_epochs=params.init_epochs + params.paired_epochs,
        heartbeat_s=params.heartbeat_interval,
    )
    with tracking.run("sweep", vars(params) | {"storage": shown(params.storage)}) as run:
        mlflow.set_tag(STUDY_TAG, config.name)
        tracking.name_run(f"sweep {config.name}")
        run_sweep(params, config, run.info)


def run_sweep(params: SimpleNamespace, config: "StudyConfig", info: "RunInfo") -> None:
    from pathlib import Path

    import mlflow

    from entrypoints.launch.processes import call
    from hands import tracking
    from hands.packed.manifest import read_manifest
    from hands.tracking.models import use_model
    from sweeps.begun import note_begin
    from sweeps.job import Job, SweepRun
    from sweeps.space import load_space
    from sweeps.storage import open_storage
    from sweeps.study import create_study
    from sweeps.supervision import supervise
    from sweeps.workers import find_setting, start_server, threads_per_worker

    space = load_space(params.space)
    storage = open_storage(config.storage, config.heartbeat_s)
    start_server()
    setting = call(find_setting, params)
    tracking.log_dataset(Path(params.packed_dir), read_manifest(Path(params.packed_dir)), "training")
    for model in (params.g1_model, params.d_model):
        use_model(model)
    study = create_study(storage, config, space, setting.common)
    note_begin(study, params)
    threads = threads_per_worker(params.n_workers)
    mlflow.set_tag("hands.threads", str(threads))
    sweep = SweepRun(info.run_id, info.experiment_id)
    job = Job(vars(params), setting.models, config, sweep, mlflow.get_tracking_uri(), threads, None)
    supervise(study, space, job, params.n_workers, setting.gpus)


if __name__ == "__main__":
    main()

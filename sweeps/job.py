"""What a worker is started with; light to import, as the process is that starts it."""

from dataclasses import dataclass

from sweeps.study import StudyConfig


@dataclass(frozen=True)
class Models:
    """Folders with network.json and weights.safetensors, that g1_model and d_model were fetched to."""

    g1: str
    d: str


@dataclass(frozen=True)
class SweepRun:
    """The MLflow run that trials are nested in."""

    run_id: str
    experiment_id: str


@dataclass(frozen=True)
class Job:
    """What a worker does.

    Attributes:
        params: of the entry point sweep.
        models: G1 and D.
        study: which study, and how it goes on.
        sweep: the run to nest in.
        tracking_uri: of that run.
        threads: of the processor, that this worker may use.
        device: position of its GPU among the visible ones; None on a machine without.
    """

    params: dict
    models: Models
    study: StudyConfig
    sweep: SweepRun
    tracking_uri: str
    threads: int
    device: int | None

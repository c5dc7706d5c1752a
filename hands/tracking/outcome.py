"""What a whole recipe's own run shows: the result of its steps, made now or reused, where people sort and compare runs."""

from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput, Run

from hands.packed.manifest import Manifest
from hands.parts import PART_SCORES
from hands.processes.progress import duration
from hands.tracking import SCORE_TAG, finite_metrics, log_dataset
from hands.tracking.experiments import NOTE_TAG, model_page, run_page
from hands.tracking.models import logged_model_id
from hands.tracking.registry import Standing

RATE = "train/images_per_s"
MODEL_TAG, STANDING_TAG = "hands.model", "hands.standing"
SCORES = ("miou", "miou_single", "miou_interacting", "miou_overlap", "absent_hand")  # of the description's table


@dataclass(frozen=True)
class Done:
    """A finished step. seconds: that its run took, whenever that was."""

    name: str
    run: Run
    seconds: float
    reused: bool

    @classmethod
    def of(cls, name: str, run: Run, reused: bool) -> "Done":
        return cls(name, run, (run.info.end_time - run.info.start_time) / 1000, reused)

    @property
    def trains(self) -> bool:
        return RATE in self.run.data.metrics

    def result(self) -> str:
        """Its score or count, in words; empty where it has none."""
        metrics = self.run.data.metrics
        if "best/miou" in metrics:
            return f"val/miou {metrics['best/miou']:.3f}"
        records = sum(value for name, value in metrics.items() if name.startswith("records/"))
        if records:
            return f"{records:,.0f} records"
        headline = next((name for name in metrics if name.endswith("/miou")), None)
        return "" if headline is None else f"{headline} {metrics[headline]:.3f}"

    def said(self) -> str:
        how = f"reused from run {self.run.info.run_id}" if self.reused else duration(self.seconds)
        return ", ".join(filter(None, [self.result(), how]))


@dataclass(frozen=True)
class Outcome:
    """What a recipe has come to.

    Attributes:
        steps: all that were done, in order; the evaluation among them.
        split: that was evaluated.
        scores: of the final model: "test/miou" and so on, and "val/miou" and so on of the epoch that is kept; no single parts.
        model: its URI, models:/m-...
        name, standing, said: its name in the registry, and what became of it there, also in words.
    """

    steps: list[Done]
    split: str
    scores: dict[str, float]
    model: str
    name: str
    standing: Standing
    said: str

    @property
    def version(self) -> str:
        return f"models:/{self.name}/{self.standing.version}"

    def headline(self) -> str:
        names = [f"{self.split}/miou", *(["val/miou"] if self.split != "val" else [])]
        return ", ".join(f"{name} {self.scores[name]:.4f}" for name in names if name in self.scores) or "no score"


def _evaluated(steps: list[Done]) -> Run:
    return next(step.run for step in steps if step.name.startswith("evaluate"))


def outcome(steps: list[Done], split: str, model: str, name: str, standing: Standing, said: str) -> Outcome:
    kept = {metric.key: metric.value for metric in mlflow.get_logged_model(logged_model_id(model)).metrics or []}
    scores = {key: value for key, value in kept.items() if key.startswith("val/")}
    own = {key: value for key, value in _evaluated(steps).data.metrics.items() if key.startswith(f"{split}/")}
    of_parts = {f"{split}/{part}" for part in PART_SCORES}
    scores |= {key: value for key, value in own.items() if key not in of_parts}
    return Outcome(steps, split, scores, model, name, standing, said)


def log_outcome(result: Outcome, packed_dir: str, manifest: Manifest) -> None:
    """Writes a recipe's result to the active run: metrics, the packed set, model, picture, tags, description."""
    client, run = MlflowClient(), mlflow.active_run().info
    dataset = log_dataset(Path(packed_dir), manifest, "training")
    metrics = finite_metrics(result.scores | timings(result.steps), 0, dataset, None)
    client.log_batch(run.run_id, metrics=metrics)
    client.log_outputs(run.run_id, [LoggedModelOutput(logged_model_id(result.model), step=0)])
    mlflow.set_tags({SCORE_TAG: result.headline(), MODEL_TAG: result.model, STANDING_TAG: result.said})
    picture = _frames(result)
    mlflow.set_tag(NOTE_TAG, description(result, packed_dir, manifest, picture))


def timings(steps: list[Done]) -> dict[str, float]:
    """Seconds of each step and of all training; images a second of those that train."""
    found = {f"seconds/{step.name.replace(' ', '_')}": step.seconds for step in steps}
    found["train/seconds"] = sum(step.seconds for step in steps if step.trains)
    return found | {f"images_per_s/{s.name.replace(' ', '_')}": s.run.data.metrics[RATE] for s in steps if s.trains}


def _frames(result: Outcome) -> str | None:
    """Puts the evaluation's picture of frames spread over the split on the active run, too; returns its name."""
    evaluated = _evaluated(result.steps)
    name = f"frames_{result.split}.png"
    if name not in [item.path for item in MlflowClient().list_artifacts(evaluated.info.run_id)]:
        return None
    picture = mlflow.artifacts.load_image(f"{evaluated.info.artifact_uri}/{name}")
    mlflow.log_image(picture, artifact_file=name)
    mlflow.log_image(picture, key=f"{result.split}_frames", step=0)
    return name


def description(result: Outcome, packed_dir: str, manifest: Manifest, picture: str | None) -> str:
    """Markdown of the run's page, whose first lines alone are seen at first."""
    run = mlflow.active_run().info
    registered = f"[{result.name} version {result.standing.version}](#/models/{result.name}/versions/{result.standing.version})"
    model_id = logged_model_id(result.model)
    lines = [f"**{result.headline()}** - {registered}: {result.said}", "", *score_table(result), ""]
    lines += ["| step | result | seconds | images/s | run |", "|---|---|---|---|---|"]
    for step in result.steps:
        info = step.run.info
        rate = f"{step.run.data.metrics[RATE]:.0f}" if step.trains else ""
        link = f"[{info.run_id}]({run_page(info.experiment_id, info.run_id)})" + (" (reused)" if step.reused else "")
        lines.append(f"| {step.name} | {step.result()} | {step.seconds:.0f} | {rate} | {link} |")
    lines += [
        "",
        f"Model [{result.model}]({model_page(run.experiment_id, model_id)}), trained on `{packed_dir}` (digest "
        f"`{manifest.digest}`, {manifest.size} pixels a side).",
    ]
    if picture is not None:
        lines += ["", f"[Frames of {result.split}, spread evenly](get-artifact?run_uuid={run.run_id}&path={picture})"]
    return "\n".join(lines)


def score_table(result: Outcome) -> list[str]:
    rows = [f"| {split} | {' | '.join(_cells(result, split))} |" for split in dict.fromkeys((result.split, "val"))]
    return [f"|  | {' | '.join(SCORES)} |", "|---" * (1 + len(SCORES)) + "|", *rows]


def _cells(result: Outcome, split: str) -> list[str]:
    found = [result.scores.get(f"{split}/{name}") for name in SCORES]
    return ["" if value is None else f"{value:.3f}" for value in found]

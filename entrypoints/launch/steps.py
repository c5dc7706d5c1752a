"""The steps of a recipe, one after the other: what each is given, what became of it, and a line about it."""

from pathlib import Path
from types import SimpleNamespace

from mlflow import MlflowClient

from entrypoints.launch.checks import Resolved
from entrypoints.launch.commands import declared, parsed
from entrypoints.launch.processes import run_step
from hands.raw.digest import raw_digest
from hands.tracking.code import code_digest
from hands.tracking.keys import step_key
from hands.tracking.outcome import Done
from hands.tracking.steps import outputs, packed_digest, step_folder


class Steps:
    """Runs steps, or reuses finished ones.

    Args:
        params: of the pipeline.
        count: of its steps.

    Attributes:
        done: the finished steps so far.
    """

    def __init__(self, params: SimpleNamespace, resolved: Resolved, count: int):
        self.params = params
        self.resolved = resolved
        self.count = count
        self.number = 0
        self.done: list[Done] = []

    def run(self, entry_point: str, name: str, **given: object) -> dict[str, str]:
        """Runs a step; returns its outputs.

        Its parameters are, in this order: what is given, the pipeline's of the same name, its own defaults. A folder that
        it writes (`out_dir`) lies in work_dir under the step's key, so that equal steps share it and others never meet.
        """
        own = vars(self.params)
        values = {
            parameter: str(given.get(parameter, own.get(parameter, default)))
            for parameter, default in declared(entry_point).items()
            if parameter != "out_dir"
        }
        known = dict(self.resolved.devices)
        if "data_dir" in values:
            known["data_dir"] = raw_digest(values["data_dir"], self.params.channel_order)
        if "packed_dir" in values:
            known["packed_dir"] = packed_digest(Path(values["packed_dir"]))
        if "encoder_weights" in values:  # what was had at the start: a step that begins later must not have another
            values["encoder_weights"] = self.resolved.encoder_weights[values.get("g1") or values["g2"]]
        key = step_key(entry_point, code_digest(entry_point), vars(parsed(entry_point, values)), known)
        if "out_dir" in declared(entry_point):
            values["out_dir"] = str(Path(self.params.work_dir) / step_folder(entry_point, key))
        place = self.next_place(name)
        run_id, reused = run_step(entry_point, name, place, values, key)
        step = Done.of(name, MlflowClient().get_run(run_id), reused)
        self.done.append(step)
        print(f"== {place}: {step.said()}", flush=True)
        return outputs(run_id)

    def leave_out(self, name: str, reason: str) -> None:
        print(f"== {self.next_place(name)}: left out, {reason}", flush=True)

    def next_place(self, name: str) -> str:
        self.number += 1
        return f"step {self.number} of {self.count}, {name}"

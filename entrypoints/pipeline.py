"""main, dryrun, full: the whole method, step by step; the only file that knows the order.

Consumes: a dataset in the raw layout (`data_dir`), or nothing: then it makes a synthetic one.
Produces: the steps' runs as children of one run, and a version of the registered model; a finished step whose inputs,
parameters and code are the same is reused.
"""

from pathlib import Path
from types import SimpleNamespace

from entrypoints.launch.checks import check_recipe
from entrypoints.launch.commands import declared
from entrypoints.launch.parameters import PIPELINE, entry_point
from entrypoints.launch.processes import call, run_step, start_server
from entrypoints.launch.winner import log_winner, with_winner
from hands import tracking
from hands.errors import InvalidInput
from hands.packed.manifest import read_manifest
from hands.steps.parameters import CHECKPOINT
from hands.tracking.models import register
from hands.tracking.steps import step_folder, step_key


@entry_point(*PIPELINE)
def main(params: SimpleNamespace) -> None:
    """Runs the whole method: data, phase 1, two rounds of phase 2, evaluation, prediction, registration."""
    start_server()
    params, winner = with_winner(params)
    with tracking.run(params.recipe, vars(params)):
        if winner is not None:
            log_winner(params, winner)
        call(check_recipe, params)
        run_recipe(params)


def run_recipe(params: SimpleNamespace) -> None:
    data_dir = params.data_dir or step(params, "synthesize", "synthesize")["data_dir"]
    packed_dir = step(params, "prepare", "prepare", data_dir=data_dir)["packed_dir"]
    manifest = read_manifest(Path(packed_dir))

    phase1 = step(params, "phase1", "phase1", packed_dir=packed_dir, epochs=params.phase1_epochs)
    g1_model, d_model, g2_model = phase1["g1_model"], phase1["discriminator_model"], ""
    for number, init_epochs, paired_epochs in (
        (1, params.round1_init_epochs, params.round1_paired_epochs),
        (2, params.round2_init_epochs, params.round2_paired_epochs),
    ):
        common = {"packed_dir": packed_dir, "seed": params.seed + number}
        if init_epochs and params.unpaired in ("images", "both"):
            init = step(
                params, "phase2_init", f"round {number} init", g1_model=g1_model, g2_model=g2_model,
                epochs=init_epochs, **common,
            )  # fmt: skip
            g2_model = init["g2_model"]
        paired = step(
            params, "phase2_paired", f"round {number} paired", g2_model=g2_model, d_model=d_model,
            epochs=paired_epochs, lr=params.paired_lr, **common,
        )  # fmt: skip
        g2_model, d_model = paired["g2_model"], paired.get("discriminator_model", d_model)

    test = manifest.subsets["test"]
    split = "test" if test.count and test.channels == 5 else params.val_split
    step(params, "evaluate", f"evaluate {split}", packed_dir=packed_dir, model=g2_model, split=split)
    if test.count:
        step(params, "predict", "predict test", packed_dir=packed_dir, model=g2_model, split="test")
    version, is_champion = register(g2_model, params.registered_model, manifest.digest, float(paired["val_miou"]))
    note = "champion" if is_champion else "not the best on this dataset; the champion stays"
    print(f"== {params.registered_model} version {version}: {note}", flush=True)


def step(params: SimpleNamespace, entry_point: str, name: str, **given: object) -> dict[str, str]:
    """Runs a step, or reuses a finished one; returns its outputs.

    Its parameters are, in this order: what is given, the pipeline's of the same name, its own defaults. A folder that
    it writes (`out_dir`) lies in work_dir under the step's key, so that equal steps share it and others never meet.
    """
    own = vars(params)
    values = {
        parameter: str(given.get(parameter, own.get(parameter, default)))
        for parameter, default in declared(entry_point).items()
        if parameter != "out_dir"
    }
    fingerprint = data_fingerprint(Path(values["data_dir"])) if "data_dir" in values else ""
    key = step_key(entry_point, {name: values[name] for name in values if name not in CHECKPOINT}, fingerprint)
    if "out_dir" in declared(entry_point):
        values["out_dir"] = str(Path(params.work_dir).resolve() / step_folder(entry_point, key))
    return run_step(entry_point, name, values, key)


def data_fingerprint(folder: Path) -> str:
    """Names, sizes and times of a dataset's files: enough to notice that it changed.

    Raises:
        InvalidInput: no such folder, or nothing in it.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
    if not files:
        raise InvalidInput(f"data_dir {folder} holds no files; expected a dataset in the raw InterHand2.6M layout.")
    stats = [(str(path.relative_to(folder)), path.stat()) for path in files]
    # a reader's lock file comes and goes
    return str([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats if not name.endswith("lock.mdb")])


if __name__ == "__main__":
    main()

"""main, dryrun, full: the whole method, step by step; the only file that knows the order.

Consumes: a dataset in the raw layout (`data_dir`) or the packed set that was made of one (`packed_dir`), or neither: then it
makes a synthetic one.
Produces: the steps' runs as children of one run, and a version of the registered model; a finished step whose inputs,
parameters and code are the same is reused.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

from entrypoints.launch.checks import Resolved, check_names, check_recipe, check_subsets
from entrypoints.launch.commands import declared, parsed
from entrypoints.launch.parameters import PIPELINE, entry_point
from entrypoints.launch.processes import call, run_step, start_server
from entrypoints.launch.winner import log_winner, with_winner
from hands import tracking
from hands.packed.manifest import read_manifest
from hands.raw.digest import raw_digest
from hands.steps.seeds import derived_seed
from hands.tracking.code import code_digest
from hands.tracking.keys import step_key
from hands.tracking.provenance import log_sources
from hands.tracking.registry import Score, Standing, check_name, register
from hands.tracking.steps import packed_digest, step_folder

STEPS = ("synthesize", "prepare", "phase1", "phase2_init", "phase2_paired", "evaluate", "predict")


@entry_point(*PIPELINE, goes_on=True)
def main(params: SimpleNamespace) -> None:
    """Runs the whole method: data, phase 1, two rounds of phase 2, evaluation, prediction, registration."""
    check_names(params)
    params, winner = with_winner(params)
    start_server()
    for name in STEPS:
        code_digest(name)  # as it is now, when the steps' process imports it
    with tracking.run(params.recipe, vars(params)):
        if winner is not None:
            log_winner(params, winner)
        check_name(params.registered_model)
        run_recipe(params, call(check_recipe, params))


def run_recipe(params: SimpleNamespace, resolved: Resolved) -> None:
    step = partial(run_one, params, resolved)
    packed_dir = params.packed_dir or packed_anew(params, step)
    manifest = read_manifest(Path(packed_dir))
    log_sources(manifest.sources)
    check_subsets(params, manifest)

    phase1 = step("phase1", "phase1", packed_dir=packed_dir, epochs=params.phase1_epochs)
    g1_model, d_model, g2_model = phase1["g1_model"], phase1["discriminator_model"], ""
    for number, init_epochs, paired_epochs in (
        (1, params.round1_init_epochs, params.round1_paired_epochs),
        (2, params.round2_init_epochs, params.round2_paired_epochs),
    ):
        if init_epochs and params.unpaired in ("images", "both"):
            init = step(
                "phase2_init", f"round {number} init", packed_dir=packed_dir, g1_model=g1_model, g2_model=g2_model,
                epochs=init_epochs, seed=derived_seed(params.seed, f"round {number} init"),
            )  # fmt: skip
            g2_model = init["g2_model"]
        paired = step(
            "phase2_paired", f"round {number} paired", packed_dir=packed_dir, g2_model=g2_model, d_model=d_model,
            epochs=paired_epochs, lr=params.paired_lr, seed=derived_seed(params.seed, f"round {number} paired"),
        )  # fmt: skip
        g2_model, d_model = paired["g2_model"], paired.get("discriminator_model", d_model)

    test = manifest.subsets["test"]
    split = "test" if test.count and test.channels == 5 else params.val_split
    step("evaluate", f"evaluate {split}", packed_dir=packed_dir, model=g2_model, split=split)
    if test.count:
        step("predict", "predict test", packed_dir=packed_dir, model=g2_model, split="test")
    score = Score(float(paired["val_miou"]), manifest.digest, params.train_split, params.val_split)
    standing = register(g2_model, params.registered_model, score)
    print(f"== {params.registered_model} version {standing.version}: {described(standing, score)}", flush=True)


def packed_anew(params: SimpleNamespace, step: Callable[..., dict[str, str]]) -> str:
    data_dir = params.data_dir or step("synthesize", "synthesize")["data_dir"]
    return step("prepare", "prepare", data_dir=data_dir)["packed_dir"]


def described(standing: Standing, score: Score) -> str:
    if score.train_split == "trainval":
        return "trained on val too (train_split=trainval), so that its score ranks nothing; no champion"
    if standing.champion is None:
        return f"its val/miou is {score.miou}; no champion"
    if standing.is_champion:
        return f"{standing.alias}, with val/miou {score.miou:.4f}"
    return (
        f"val/miou {score.miou:.4f}; version {standing.champion} stays {standing.alias} with {standing.champion_miou:.4f} "
        f"on the same pictures"
    )


def run_one(params: SimpleNamespace, resolved: Resolved, entry_point: str, name: str, **given: object) -> dict[str, str]:
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
    known = dict(resolved.devices)
    if "data_dir" in values:
        known["data_dir"] = raw_digest(values["data_dir"], params.channel_order)
    if "packed_dir" in values:
        known["packed_dir"] = packed_digest(Path(values["packed_dir"]))
    if "encoder_weights" in values:  # what was had at the start: a step that begins later must not have another
        values["encoder_weights"] = resolved.encoder_weights[values.get("g1") or values["g2"]]
    key = step_key(entry_point, code_digest(entry_point), vars(parsed(entry_point, values)), known)
    if "out_dir" in declared(entry_point):
        values["out_dir"] = str(Path(params.work_dir) / step_folder(entry_point, key))
    return run_step(entry_point, name, values, key)


if __name__ == "__main__":
    main()

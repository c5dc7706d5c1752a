"""main, dryrun, full: the whole method, step by step; the only file that knows the order.

Consumes: a dataset in the raw layout (`data_dir`) or the packed set that was made of one (`packed_dir`), or neither: then it
makes a synthetic one.
Produces: the steps' runs as children of one run, which shows what they have come to, and a version of the registered model; a
finished step whose inputs, parameters and code are the same is reused.
"""

import time
from types import SimpleNamespace

from entrypoints.launch.checks import check_names, check_recipe, check_subsets
from entrypoints.launch.command_line import entry_point
from entrypoints.launch.parameters import PIPELINE
from entrypoints.launch.processes import call, start_server
from entrypoints.launch.steps import Steps
from entrypoints.launch.winner import log_winner, with_winner
from hands import tracking
from hands.evaluation.coverage import coverage
from hands.packed.packed_set import PackedSet
from hands.processes.progress import duration
from hands.steps.seeds import derived_seed
from hands.tracking.code import code_digest
from hands.tracking.outcome import Outcome, log_outcome, outcome
from hands.tracking.provenance import log_sources
from hands.tracking.registry import Score, Standing, check_name, register
from hands.tracking.steps import outputs

STEPS = ("synthesize", "prepare", "phase1", "phase2_init", "phase2_paired", "evaluate", "predict")


@entry_point(*PIPELINE, goes_on=True)
def main(params: SimpleNamespace) -> None:
    """Runs the whole method: data, phase 1, two rounds of phase 2, evaluation, prediction, registration."""
    began = time.monotonic()
    check_names(params)
    params, winner = with_winner(params)
    start_server()
    for name in STEPS:
        code_digest(name)  # as it is now, when the steps' process imports it
    with tracking.run(params.recipe, vars(params), system_metrics=False):
        if winner is not None:
            log_winner(params, winner)
        check_name(params.registered_model)
        steps = Steps(params, call(check_recipe, params), count_steps(params))
        tracking.name_run(f"{params.recipe} {params.g2} seed {params.seed}")
        tell(run_recipe(params, steps), time.monotonic() - began)


def count_steps(params: SimpleNamespace) -> int:
    made = 0 if params.packed_dir else 1 if params.data_dir else 2
    rounds = sum(1 + initializes(params, number) for number in (1, 2))
    return made + len(["phase1"]) + rounds + len(["evaluate", "predict"])


def initializes(params: SimpleNamespace, number: int) -> bool:
    """Whether a round begins with weights initialization."""
    return bool(getattr(params, f"round{number}_init_epochs")) and params.unpaired in ("images", "both")


def run_recipe(params: SimpleNamespace, steps: Steps) -> Outcome:
    packed_dir = params.packed_dir or packed_anew(params, steps)
    packed = PackedSet.open(packed_dir)
    manifest = packed.manifest
    log_sources(manifest.sources)
    check_subsets(params, manifest)
    told = steps.done and not steps.done[-1].reused  # by prepare
    tracking.log_coverage(params.val_split, coverage(packed.subset(params.val_split)), printed=not told)

    phase1 = steps.run("phase1", "phase1", packed_dir=packed_dir, epochs=params.phase1_epochs)
    g1_model, d_model, g2_model = phase1["g1_model"], phase1["discriminator_model"], ""
    for number, init_epochs, paired_epochs in (
        (1, params.round1_init_epochs, params.round1_paired_epochs),
        (2, params.round2_init_epochs, params.round2_paired_epochs),
    ):
        if initializes(params, number):
            init = steps.run(
                "phase2_init", f"round {number} init", packed_dir=packed_dir, g1_model=g1_model, g2_model=g2_model,
                epochs=init_epochs, eval_every=eval_every_of_init(params, init_epochs),
                seed=derived_seed(params.seed, f"round {number} init"),
            )  # fmt: skip
            g2_model = init["g2_model"]
        paired = steps.run(
            "phase2_paired", f"round {number} paired", packed_dir=packed_dir, g2_model=g2_model, d_model=d_model,
            epochs=paired_epochs, lr=params.paired_lr, seed=derived_seed(params.seed, f"round {number} paired"),
        )  # fmt: skip
        g2_model, d_model = paired["g2_model"], paired.get("discriminator_model", d_model)

    test = manifest.subsets["test"]
    split = "test" if test.count and test.channels == 5 else params.val_split
    steps.run("evaluate", f"evaluate {split}", packed_dir=packed_dir, model=g2_model, split=split)
    if test.count:
        steps.run("predict", "predict test", packed_dir=packed_dir, model=g2_model, split="test")
    else:
        steps.leave_out("predict test", "the dataset has no test pictures")
    score = Score(float(paired["val_miou"]), manifest.digest, params.train_split, params.val_split)
    standing = register(g2_model, params.registered_model, score)
    said = described(standing, score)
    result = outcome(steps.done, split, g2_model, params.registered_model, standing, said)
    log_outcome(result, packed_dir, manifest)
    return result


def eval_every_of_init(params: SimpleNamespace, epochs: int) -> int:
    """Where the other steps train on val, its score chooses no epoch of an init, which would be the one that has unlearned
    least of val: it is evaluated at its end alone, and that epoch is kept."""
    return epochs if params.train_split == "trainval" else params.eval_every


def packed_anew(params: SimpleNamespace, steps: Steps) -> str:
    data_dir = params.data_dir or steps.run("synthesize", "synthesize")["data_dir"]
    return steps.run("prepare", "prepare", data_dir=data_dir)["packed_dir"]


def described(standing: Standing, score: Score) -> str:
    """What became of a model in the registry."""
    if score.train_split == "trainval":
        return "trained on val too (train_split=trainval), so that its score ranks nothing; no champion"
    if standing.champion is None:
        return f"its val/miou is {score.miou}; no champion"
    if standing.is_champion:
        return f"{standing.alias}, {champion_of(standing)}"
    return (
        f"val/miou {score.miou:.4f}; version {standing.champion} stays {standing.alias} with {standing.champion_miou:.4f} "
        f"on the same pictures"
    )


def champion_of(standing: Standing) -> str:
    if standing.runner_up is None:
        return "the first on this dataset"
    return f"before version {standing.runner_up} with val/miou {standing.runner_up_miou:.4f} on the same pictures"


def tell(result: Outcome, seconds: float) -> None:
    """The last screen."""
    folders = [
        f"{name} {value}"
        for step in result.steps
        for name, value in outputs(step.run.info.run_id).items()
        if name in ("data_dir", "packed_dir", "predictions")
    ]
    for title, text in (
        ("done", f"{result.headline()}, in {duration(seconds)}"),
        ("model", f"{result.version} ({result.model}): {result.said}"),
        ("folders", ", ".join(folders)),
    ):
        print(f"== {title}: {text}", flush=True)


if __name__ == "__main__":
    main()

"""Optuna's samplers, seeded anew for every trial."""

import hashlib
from collections.abc import Callable

import optuna
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler

STARTUP_TRIALS = 5  # random ones before the model is trusted; Hyperband's brackets each have a model of their own

SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "tpe": lambda seed: TPESampler(multivariate=True, constant_liar=True, n_startup_trials=STARTUP_TRIALS, seed=seed),
    "gp": lambda seed: GPSampler(n_startup_trials=STARTUP_TRIALS, seed=seed),
    "random": lambda seed: RandomSampler(seed=seed),
}


class SeededByTrial(BaseSampler):
    """A sampler whose random numbers follow from (seed, trial number).

    With one seed a worker, workers would propose the same points as each other, and a continued study those it began
    with. What is proposed follows from the seed, the trial's number and the trials that the study knows by then.

    Args:
        name: a name of SAMPLERS.
        seed: of the study.
    """

    def __init__(self, name: str, seed: int):
        self.make = SAMPLERS[name]
        self.seed = seed
        self.inner = self.make(seed)

    def before_trial(self, study, trial):
        digest = hashlib.sha256(f"{self.seed} {trial.number}".encode()).digest()
        self.inner = self.make(int.from_bytes(digest[:4], "big"))
        self.inner.before_trial(study, trial)

    def infer_relative_search_space(self, study, trial):
        return self.inner.infer_relative_search_space(study, trial)

    def sample_relative(self, study, trial, search_space):
        return self.inner.sample_relative(study, trial, search_space)

    def sample_independent(self, study, trial, param_name, param_distribution):
        return self.inner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study, trial, state, values):
        self.inner.after_trial(study, trial, state, values)


def create_pruner(name: str, init_epochs: int, max_epochs: int) -> optuna.pruners.BasePruner:
    """hyperband | median (after 3 trials) | none.

    Nothing is pruned during weights initialization: scores are close to 0 there, and adv_weight has no part in them.

    Args:
        name: of the pruner.
        init_epochs: of weights initialization, with which a trial begins.
        max_epochs: of a trial that is not pruned.
    """
    first_judged = init_epochs + 1
    if name == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=first_judged, max_resource=max_epochs, reduction_factor=3)
    if name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=first_judged)
    return optuna.pruners.NopPruner()

"""Sweeps: Optuna studies over the weights of the losses. A search space is a file in `spaces/`."""

import warnings

import optuna
from optuna.exceptions import ExperimentalWarning

warnings.filterwarnings("ignore", category=ExperimentalWarning)  # of the heartbeat and its retries, which sweeps rest on
optuna.logging.set_verbosity(optuna.logging.WARNING)  # it tells of the study that is made

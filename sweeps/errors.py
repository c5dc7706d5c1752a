"""What may break off a sweep's work, and how people are told."""

from optuna.exceptions import StorageInternalError

from hands.errors import masked

MAX_CHARACTERS = 500


class Surplus(Exception):
    """Another worker has begun the study's last trial."""


class LeftRunning(BaseException):
    """The storage does not take how a trial ended. It stays RUNNING there until its heartbeats are missed, and is queued then.

    No Exception: for one, Optuna would end the trial should the storage be back by then, and nobody would queue it.
    """


class GivenUp(Exception):
    """Trials of a worker were broken off again and again, by no fault of their weights."""


def origin(error: BaseException) -> BaseException:
    """The error that tells most: the database's, where Optuna hides it or stumbles over it; what a trial broke off for."""
    while isinstance(error, (LeftRunning, StorageInternalError, UnboundLocalError)) and (error.__cause__ or error.__context__):
        error = error.__cause__ or error.__context__
    return error


def cause(error: BaseException) -> str:
    """An error's type and first line, without passwords."""
    told = origin(error)
    return masked(": ".join([type(told).__name__, *str(told).strip().splitlines()[:1]]))[:MAX_CHARACTERS]

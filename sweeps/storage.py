"""Optuna's storage of a sweep: a database on this machine or another, which may go away and come back."""

import time
from collections.abc import Sequence
from contextlib import suppress

import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, TrialState

from hands.errors import InvalidInput

GRACE_HEARTBEATS = 4  # missed ones after which a worker counts as dead
CONNECT_TIMEOUT_S = 5
SQLITE_LOCK_TIMEOUT_S = 60


def shown(url: str) -> str:
    """The storage's URL without its password."""
    try:
        return sqlalchemy.engine.make_url(url).render_as_string(hide_password=True)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        return url


class Storage(RDBStorage):
    """Optuna's storage, whose heartbeats begin with a trial and outlast the database's absence.

    Optuna sends the first one after the sampler has proposed weights, and considers a trial that never had one alive for ever;
    and its thread ends with the first one that cannot be written.
    """

    def _create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> FrozenTrial:
        trial = super()._create_new_trial(study_id, template_trial)
        if trial.state == TrialState.RUNNING:
            self.record_heartbeat(trial._trial_id)
        return trial

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        if state == TrialState.RUNNING:
            self.record_heartbeat(trial_id)
        return super().set_trial_state_values(trial_id, state, values)

    def record_heartbeat(self, trial_id: int) -> None:
        with suppress(StorageInternalError):
            super().record_heartbeat(trial_id)


def open_storage(url: str, heartbeat_s: int) -> Storage:
    """Optuna's storage, with heartbeats, and retries of trials whose worker died; its tables are made where missing.

    Raises:
        InvalidInput: it cannot be reached, within CONNECT_TIMEOUT_S seconds, or is no storage of Optuna's.
    """
    options = {"pool_pre_ping": True}
    given = url
    if url.startswith("postgresql://"):
        url = url.replace("postgresql://", "postgresql+psycopg2://", 1)  # SQLAlchemy 2.1 would look for psycopg 3
    if url.startswith("postgresql"):
        options["connect_args"] = {"connect_timeout": CONNECT_TIMEOUT_S}
    elif url.startswith("sqlite"):
        options["connect_args"] = {"timeout": SQLITE_LOCK_TIMEOUT_S}
    for last_attempt in (False, True):
        try:
            storage = Storage(
                url.replace("{", "{{").replace("}", "}}"),  # Optuna takes it for a template
                engine_kwargs=options,
                heartbeat_interval=heartbeat_s,
                grace_period=GRACE_HEARTBEATS * heartbeat_s,
                heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(),
            )
            if storage.engine.dialect.name == "sqlite":
                lock_from_the_first_statement(storage.engine)
            return storage
        except (sqlalchemy.exc.IntegrityError, sqlalchemy.exc.ProgrammingError) as error:
            if last_attempt:
                raise _unreachable(given, error) from error
            time.sleep(1)  # another machine may be making the tables
        except (sqlalchemy.exc.SQLAlchemyError, StorageInternalError, ImportError, RuntimeError, ValueError) as error:
            raise _unreachable(given, error) from error
    raise AssertionError("unreachable")


def lock_from_the_first_statement(engine: sqlalchemy.Engine) -> None:
    """Makes SQLite's transactions lock the database when they begin, not when they first write.

    Optuna reads a queued trial's state and then sets it to running, in one transaction that other databases guard by a lock
    on the row. SQLite has none, and two workers would take the same trial. (After SQLAlchemy's documentation of pysqlite.)
    """

    @sqlalchemy.event.listens_for(engine, "connect")
    def leave_transactions_to_us(connection, record):
        connection.isolation_level = None

    @sqlalchemy.event.listens_for(engine, "begin")
    def begin(connection):
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    engine.dispose()  # connections from before know nothing of this


def _unreachable(url: str, error: Exception) -> InvalidInput:
    reason = str(error.__cause__ or error).strip().splitlines()[0]
    return InvalidInput(
        f"the storage {shown(url)} cannot be used ({reason}); expected the URL of a database that answers, "
        f"such as sqlite:///optuna.db or postgresql://user@host:5432/database. Start it, or correct the URL."
    )

"""One sentence instead of a traceback, where not the program but what is around it is at fault: packages, stores, disks."""

import errno
import re
import sys

from hands.errors import masked
from hands.processes.folders import FULL

OWN = ("hands", "sweeps", "entrypoints", "tests")
DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
ADVICE = {
    "Current state is deleted": "restore the experiment (`mlflow experiments restore -x <id>`), or set MLFLOW_EXPERIMENT_NAME",
    "out-of-date database schema": "another version of MLflow has made it: use {version}, which this project needs, for "
    "`mlflow run` and the server, too, and take an older store along with `mlflow db upgrade`, after a backup",
    r"Run with id=\w+ not found": "where `mlflow run` was started in another folder, a relative address names another file "
    "here: set MLFLOW_TRACKING_URI to sqlite:////<folder>/mlflow.db",
    r"table \w+ already exists": "another process was making its tables: start this again",
    "maintenance mode": "set MLFLOW_TRACKING_URI to a database, such as sqlite:////<folder>/mlflow.db "
    "(`mlflow migrate-filestore` takes your runs along)",
    "database is locked": "another process holds it: start this again when that has ended, or let `mlflow server` write it",
}


def explained(error: Exception) -> str | None:
    """What was found and what to do; None for an error that only its traceback explains."""
    if isinstance(error, ModuleNotFoundError):
        return _missing(error.name or "")
    if isinstance(error, OSError) and error.errno in (*FULL, *DENIED):
        where = "a disk" if error.filename is None else error.filename
        return f"{where} cannot be written ({error.strerror}); make room or give a place that you may write."
    if "mlflow" not in sys.modules:
        return None
    import mlflow
    from sqlalchemy.exc import SQLAlchemyError

    if isinstance(error, mlflow.MlflowException):
        what = f"the tracking store {mlflow.get_tracking_uri()} refuses"
    elif isinstance(error, SQLAlchemyError):
        what = "a database cannot be used"
    else:
        return None
    text = " ".join(str(error).split())
    advice = next((advice for pattern, advice in ADVICE.items() if re.search(pattern, text)), "look at MLFLOW_TRACKING_URI")
    return masked(f"{what} ({_brief(text)}); {advice.format(version=f'mlflow=={mlflow.__version__}')}.")


def _missing(name: str) -> str | None:
    package = name.partition(".")[0]
    if package in OWN:
        return None
    if package == "psycopg":
        return "PostgreSQL is spoken to by psycopg2 here; write postgresql+psycopg2:// instead of postgresql://."
    return (
        f"the Python {sys.executable} has no package {package}; let `mlflow run` make the project's environment with "
        f"--env-manager uv, or install the packages of conda.yaml there."
    )


def _brief(text: str) -> str:
    """Without the statement and the link that SQLAlchemy adds, and the advice that MLflow adds."""
    return text.partition(" [SQL:")[0].partition(". ")[0].partition(" (Background on")[0].rstrip(".")[:300]


def explain_missing_packages() -> None:
    """Also where an entry point's own imports fail, before it could catch anything."""
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: object) -> None:
        sentence = explained(error) if isinstance(error, ModuleNotFoundError) else None
        if sentence is None:
            before(kind, error, trace)
        else:
            print(f"Error: {sentence}", file=sys.stderr)

    sys.excepthook = hook

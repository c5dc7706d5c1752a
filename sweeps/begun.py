"""What a study began with: the same command goes on with it, whatever main has finished since."""

from dataclasses import dataclass
from types import SimpleNamespace

import optuna

from sweeps.storage import open_storage

BEGUN_WITH = "hands.begun_with"  # user attribute of a study
NAMES = ("packed_dir", "g1_model", "d_model")


@dataclass(frozen=True)
class BegunStudy:
    """values: parameters of its first call."""

    name: str
    values: dict[str, str]

    @property
    def said(self) -> str:
        return f"the study {self.name}, which goes on"

    def find(self, name: str) -> str | None:
        return self.values.get(name)


def begun_study(url: str, heartbeat_s: int, name: str) -> BegunStudy | None:
    """The study of that name in the storage, where there is one that says what it began with.

    Raises:
        InvalidInput: the storage cannot be reached.
    """
    storage = open_storage(url, heartbeat_s)
    try:
        attributes = storage.get_study_user_attrs(storage.get_study_id_from_name(name))
    except KeyError:
        return None
    return BegunStudy(name, attributes[BEGUN_WITH]) if BEGUN_WITH in attributes else None


def note_begin(study: optuna.Study, params: SimpleNamespace) -> None:
    """Writes down what a new study begins with."""
    if BEGUN_WITH not in study.user_attrs:
        study.set_user_attr(BEGUN_WITH, {name: getattr(params, name) for name in NAMES})

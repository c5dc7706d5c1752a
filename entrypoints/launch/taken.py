"""Parameters that a user need not pass: where packed_dir, g1_model and d_model are empty, they are taken from what is there.

What belongs together is taken together, from the first of these that has it: the run that `resume` names or the study that
goes on; the run that made a model which is passed; the last finished main or full. evaluate, predict and compare are about
models, and take the packed set that these were trained on.
"""

import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Protocol

from entrypoints.launch import places
from hands.errors import InvalidInput, masked

TAKES = {
    "phase1": ("packed_dir",),
    "phase2_init": ("packed_dir", "g1_model"),
    "phase2_paired": ("packed_dir", "d_model"),
    "sweep": ("packed_dir", "g1_model", "d_model"),
    "evaluate": ("packed_dir",),
    "compare": ("packed_dir",),
    "predict": ("packed_dir",),
}
MODELS = ("g1_model", "g2_model", "d_model", "model")


class Source(Protocol):
    """said: whose the values are, for people. find: the value of a parameter, None where it has none."""

    said: str

    def find(self, name: str) -> str | None: ...


def takes(entry_point: str, params: SimpleNamespace) -> tuple[str, ...]:
    """What an entry point needs of TAKES: no D where nothing is learned from it."""
    if entry_point == "phase2_paired" and params.adv_weight == 0:
        return ("packed_dir",)
    return TAKES.get(entry_point, ())


def with_taken(entry_point: str, params: SimpleNamespace) -> SimpleNamespace:
    """The parameters with what they lack, which is printed. Imports nothing slow where nothing is lacking.

    Raises:
        InvalidInput: it cannot be found, or the packed set is no longer what it was.
    """
    missing = [name for name in takes(entry_point, params) if not getattr(params, name)]
    if not missing or getattr(params, "images", ""):
        return params
    if getattr(params, "num_nodes", 1) > 1:
        raise InvalidInput(
            f"num_nodes is {params.num_nodes}, and machines that look for {_listed(missing)} themselves may find different "
            f"runs; pass {_passed(missing)} to all of them."
        )
    taken = {}
    if getattr(params, "resume", ""):
        taken["resume"] = _resumed(entry_point, params)
        params = SimpleNamespace(**vars(params) | taken)
    for source in _sources(entry_point, params):
        for name in missing:
            value = None if name in taken else source.find(name)
            if value is not None:
                taken[name] = value
                print(f"== {name}: {places.relative(value)} (of {source.said})", flush=True)
        if taken.keys() >= set(missing):
            # processes that Fabric starts for more devices are called as this one was
            sys.argv += [f"--{name}={value}" for name, value in taken.items()]
            return SimpleNamespace(**vars(params) | taken)
    raise _not_found([name for name in missing if name not in taken], entry_point, params)


def _resumed(entry_point: str, params: SimpleNamespace) -> str:
    from hands.tracking.steps import run_to_resume

    return run_to_resume(entry_point, params.resume, params.checkpoint_dir)


def _sources(entry_point: str, params: SimpleNamespace) -> Iterator[Source]:
    from hands.tracking.latest import Begun, last_pipeline, origin_of, run_of

    if getattr(params, "resume", ""):
        yield Begun(run_of(params.resume))
        return
    if entry_point == "sweep":
        from sweeps.begun import begun_study

        yield from filter(None, [begun_study(params.storage, params.heartbeat_interval, params.study_name or params.space)])
    if entry_point == "compare":
        yield from _of_one_set(params.models)
        return
    given = [uri for name in MODELS if (uri := getattr(params, name, ""))]
    yield from filter(None, map(origin_of, given))
    if entry_point not in ("evaluate", "predict"):
        yield from filter(None, [last_pipeline()])


def _of_one_set(models: str) -> Iterator[Source]:
    """Where models come from that were all trained on one packed set.

    Raises:
        InvalidInput: they were trained on several.
    """
    from hands.tracking.candidates import find_candidates
    from hands.tracking.latest import origin_of

    found = [origin for candidate in find_candidates(models) if (origin := origin_of(candidate.uri))]
    sets = {origin.digest: origin.said for origin in found if origin.digest}
    if len(sets) > 1:
        listed = "; ".join(f"{digest[:8]} of {said}" for digest, said in sets.items())
        raise InvalidInput(f"the models were trained on {len(sets)} packed sets ({listed}); pass packed_dir=... to score on.")
    yield from found


def _not_found(missing: list[str], entry_point: str, params: SimpleNamespace) -> InvalidInput:
    import mlflow

    if getattr(params, "resume", ""):
        return InvalidInput(f"run {params.resume} does not say {_listed(missing)}; pass {_passed(missing)} as it was.")
    if entry_point in ("evaluate", "predict", "compare"):
        model = getattr(params, "model", "") or params.models
        return InvalidInput(f"'{model}' does not say what packed set it was trained on; pass {_passed(missing)}.")
    store = masked(mlflow.get_tracking_uri())
    return InvalidInput(
        f"{store} holds no finished run of main or full to take {_listed(missing)} from; run main first, or pass "
        f"{_passed(missing)}."
    )


def _passed(names: list[str]) -> str:
    return _listed([f"{name}=..." for name in names])


def _listed(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))

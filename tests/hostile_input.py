"""Damaged and hostile input for every reader: each must end in a value or in InvalidInput, never in anything else.

A crash of the interpreter ends the test run itself, so it cannot pass unseen.
"""

import io
import os
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from hands.errors import InvalidInput


def examples(count: int):
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return settings(max_examples=count, deadline=None, suppress_health_check=checks, database=None, derandomize=True)


@st.composite
def mutated(draw: st.DrawFn, sources: list[bytes]) -> bytes:
    """One of `sources` with some bytes changed, cut, doubled or inserted."""
    content = bytearray(draw(st.sampled_from(sources)))
    for _ in range(draw(st.integers(1, 4))):
        position = draw(st.integers(0, max(len(content) - 1, 0)))
        match draw(st.sampled_from(["change", "change", "change", "cut", "remove", "insert", "double"])):
            case "change":
                content[position : position + 1] = draw(st.binary(min_size=1, max_size=1))
            case "cut":
                del content[position:]
            case "remove":
                del content[position : position + draw(st.integers(1, 20))]
            case "insert":
                content[position:position] = draw(st.binary(min_size=1, max_size=20))
            case "double":
                content[position:position] = content[position : position + 30]
    return bytes(content)


def ends_well(read: Callable[[], object]) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read()
    except InvalidInput as error:
        assert 10 < len(str(error)) < 1500  # a sentence or two, whatever the input was


def with_pickle(archive: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """The .pt archive with its pickle changed and its checksums right, so that damage reaches the unpickler."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as source, zipfile.ZipFile(changed, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(name, change(content) if name.endswith("data.pkl") else content)
    return changed.getvalue()


def pickle_of(archive: bytes) -> bytes:
    found = []
    with_pickle(archive, lambda content: found.append(content) or content)
    return found[0]


any_value = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=8)
    | st.sampled_from(
        [np.zeros(4), np.float32(1), torch.zeros(4), torch.zeros(2, requires_grad=True), 10**400, "\ud800", "\u0663"]
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@contextmanager
def put_back(file: Path) -> Iterator[bytes]:
    """What a file holds, and holds again afterwards."""
    whole = file.read_bytes()
    try:
        yield whole
    finally:
        file.write_bytes(whole)


class Attack:
    """Unpickling it makes a folder."""

    def __init__(self, flag: Path):
        self.flag = flag

    def __reduce__(self):
        return os.mkdir, (str(self.flag),)

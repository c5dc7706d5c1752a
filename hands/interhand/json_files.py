"""JSON files of unknown origin: streamed, so that memory does not grow with the file, and checked field by field."""

from collections.abc import Callable, Iterator
from pathlib import Path

import ijson
import numpy as np

from hands.errors import InvalidInput, shown

_BUFFER_BYTES = 1 << 16
_MAX_VALUES = 10_000  # of one field that is kept; the release's have 126 at most
_MAX_DEPTH = 12  # the release's files nest 6 deep; ijson's own `items` takes memory by the square of the depth

_STARTS, _ENDS = frozenset(("start_map", "start_array")), frozenset(("end_map", "end_array"))

Events = Iterator[tuple[str, object]]


def records(file: Path, lists: dict[str, frozenset[str]]) -> Iterator[tuple[str, int, object]]:
    """(list, position, record) of every record of {list: [record, ...]}, for the named lists, cut to the named fields.

    Raises:
        InvalidInput: the file is missing, no JSON from some point on, or not nested so.
    """
    yield from _checked(file, lambda events: _records(events, file, lists))


def nested(file: Path, wanted: Callable[[str, str], bool]) -> Iterator[tuple[str, str, object]]:
    """(outer key, inner key, value) of {outer: {inner: value}} for the keys that are wanted; others are never built.

    Raises:
        InvalidInput: the file is missing, no JSON from some point on, or not nested so.
    """
    yield from _checked(file, lambda events: _nested(events, file, wanted))


def _records(events: Events, file: Path, lists: dict[str, frozenset[str]]) -> Iterator[tuple[str, int, object]]:
    _expect(events, "start_map", file)
    for event, name in events:
        if event == "end_map":
            break
        if name not in lists:
            _skip(events, next(events)[0])
            continue
        _expect(events, "start_array", file)
        position = 0
        for event, value in events:
            if event == "end_array":
                break
            yield name, position, _fields(events, lists[name]) if event == "start_map" else _kept(events, event, value)
            position += 1
    _expect_end(events)


def _fields(events: Events, names: frozenset[str]) -> dict[str, object]:
    found = {}
    for event, key in events:
        if event == "end_map":
            break
        event, value = next(events)
        if key in names:
            found[key] = _kept(events, event, value)
        else:
            _skip(events, event)
    return found


def _nested(events: Events, file: Path, wanted: Callable[[str, str], bool]) -> Iterator[tuple[str, str, object]]:
    _expect(events, "start_map", file)
    for event, outer in events:
        if event == "end_map":
            break
        _expect(events, "start_map", file)
        for event, inner in events:
            if event == "end_map":
                break
            event, value = next(events)
            if wanted(outer, inner):
                yield outer, inner, _kept(events, event, value)
            else:
                _skip(events, event)
    _expect_end(events)


def _kept(events: Events, event: str, value: object) -> object:
    """The value that begins with an event."""
    return _value(events, event, value, 0, [_MAX_VALUES])


def _value(events: Events, event: str, value: object, depth: int, left: list[int]) -> object:
    """left: how many more values it may hold, counted down in place."""
    left[0] -= 1
    if depth > _MAX_DEPTH or left[0] < 0:
        raise ValueError("it nests too deep" if depth > _MAX_DEPTH else "a field holds more values than any of the release")
    if event == "start_map":
        found = {}
        for event, key in events:
            if event == "end_map":
                break
            found[key] = _value(events, *next(events), depth + 1, left)
        return found
    if event == "start_array":
        listed = []
        for event, value in events:
            if event == "end_array":
                break
            listed.append(_value(events, event, value, depth + 1, left))
        return listed
    return value


def _skip(events: Events, event: str) -> None:
    """Pass over the value that begins with an event."""
    depth = event in _STARTS
    while depth:
        event = next(events)[0]
        if event in _STARTS:
            depth += 1
        elif event in _ENDS:
            depth -= 1


def _expect(events: Events, event: str, file: Path) -> None:
    if next(events)[0] != event:
        raise InvalidInput(f"{file.name} is not nested as the release's is; copy the release's file again.")


def _expect_end(events: Events) -> None:
    for _ in events:
        raise ValueError("it goes on after its end")


def _checked(file: Path, read: Callable[[Events], Iterator]) -> Iterator:
    try:
        with file.open("rb") as stream:
            yield from read(iter(ijson.basic_parse(stream, use_float=True, buf_size=_BUFFER_BYTES)))
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read ({error.strerror}); the release has it: copy it again.") from error
    except (ijson.JSONError, ValueError, RuntimeError) as error:  # the last: a generator that ran out of events
        reason = " ".join(str(error).split())[:120] or "it ends too early"
        raise InvalidInput(f"{file} is not whole JSON ({reason}); copy it again.") from error


def field(record: object, key: str, where: str) -> object:
    """A field of a JSON object.

    Raises:
        InvalidInput: no object, or no such key; `where` names file and record.
    """
    if not isinstance(record, dict):
        raise InvalidInput(f"{where} is a {type(record).__name__}, not an object; copy the file again.")
    if key not in record:
        raise InvalidInput(f"{where} has no '{key}'; the release's records have: copy the file again.")
    return record[key]


def integer(record: object, key: str, where: str, largest: int) -> int:
    """A field that is a whole number from 0 to `largest`, or its digits as text."""
    value = field(record, key, where)
    if isinstance(value, str) and value.isdecimal() and len(value) < 19:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= largest:
        raise _wrong(where, key, value, f"a whole number from 0 to {largest}")
    return value


def text(record: object, key: str, where: str) -> str:
    """A field that is one line of text, or a number that stands for it."""
    value = field(record, key, where)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value or not value.isprintable() or len(value) > 300:
        raise _wrong(where, key, value, "a line of text")
    return value


def numbers(record: object, key: str, shape: tuple[int, ...], where: str) -> np.ndarray:
    """A field of finite numbers as float64 of `shape`; a trailing 1 in the file's shape does not matter."""
    value = field(record, key, where)
    expected = f"{'x'.join(map(str, shape))} finite numbers"
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise _wrong(where, key, value, expected) from None
    if array.shape not in (shape, (*shape, 1)) or not np.isfinite(array).all():
        raise _wrong(where, key, value, expected)
    return array.reshape(shape)


def _wrong(where: str, key: str, value: object, expected: str) -> InvalidInput:
    return InvalidInput(f"{where} has {key} {shown(value)}; expected {expected}.")

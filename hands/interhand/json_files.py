"""JSON files of unknown origin: streamed, so that memory does not grow with the file, and checked field by field."""

from collections.abc import Callable, Iterator
from pathlib import Path

import ijson
import numpy as np

from hands.errors import InvalidInput

_BUFFER_BYTES = 1 << 16
_END_OF = {"start_map": "end_map", "start_array": "end_array"}


def items(file: Path, prefix: str) -> Iterator[object]:
    """The elements of the list at `prefix` ('images.item'), one at a time.

    Raises:
        InvalidInput: the file is missing, or no JSON from some point on.
    """
    yield from _checked(file, lambda stream: ijson.items(stream, prefix, use_float=True, buf_size=_BUFFER_BYTES))


def nested(file: Path, wanted: Callable[[str, str], bool]) -> Iterator[tuple[str, str, object]]:
    """(outer key, inner key, value) of {outer: {inner: value}} for the keys that are wanted; others are never built.

    Raises:
        InvalidInput: as `items`, or the file is not nested so.
    """
    yield from _checked(file, lambda stream: _nested(stream, file, wanted))


def _nested(stream, file: Path, wanted: Callable[[str, str], bool]) -> Iterator[tuple[str, str, object]]:
    events = iter(ijson.basic_parse(stream, use_float=True, buf_size=_BUFFER_BYTES))
    _expect_object(next(events)[0], file)
    for event, outer in events:
        if event == "end_map":
            break
        _expect_object(next(events)[0], file)
        for event, inner in events:
            if event == "end_map":
                break
            builder = ijson.ObjectBuilder() if wanted(outer, inner) else None
            depth = 0
            for event, value in events:
                depth += (event in ("start_map", "start_array")) - (event in ("end_map", "end_array"))
                if builder is not None:
                    builder.event(event, value)
                if depth == 0:
                    break
            if builder is not None:
                yield outer, inner, builder.value
    for _ in events:  # what follows must be nothing
        pass


def _expect_object(event: str, file: Path) -> None:
    if event != "start_map":
        raise InvalidInput(f"{file.name} is not nested as {{capture: {{frame: ...}}}}; copy the release's file again.")


def _checked(file: Path, read: Callable) -> Iterator:
    try:
        with file.open("rb") as stream:
            yield from read(stream)
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read ({error.strerror}); the release has it: copy it again.") from error
    except (ijson.JSONError, UnicodeDecodeError, RecursionError, StopIteration) as error:
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
    shown = f"{value!r}"
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    return InvalidInput(f"{where} has {key} {shown}; expected {expected}.")

"""The `.pt` lists of the raw layout, read as untrusted streams: as long as a list may be, only what is used of it is kept."""

from collections.abc import Iterator
from pathlib import Path

from hands.errors import InvalidInput
from hands.files.pickles import WrongRoot
from hands.files.torch_files import TorchFile
from hands.raw.plain_values import table

_BUFFER = 1 << 20
_LEAST_BYTES = 32  # of an entry; what is shorter could make a small file an endless list
_FREE = 10_000  # entries that may be shorter


def read_list(file: Path, keys: frozenset[str]) -> Iterator[object]:
    """The members of a `.pt` file's list, one by one; of dicts in it only the values of `keys`. hands.raw.plain_values reads
    what they hold of numpy and torch.

    Raises:
        InvalidInput: missing, damaged, compressed or no list.
    """
    count = 0
    for values, size in _batches(file, list, keys):
        count += len(values)
        if keys and count > _FREE and count * _LEAST_BYTES > size:
            raise InvalidInput(f"{file} lists more than {count:,} entries in {size:,} bytes, too few for any: copy it again.")
        yield from values


def read_dict(file: Path) -> Iterator[tuple[object, object]]:
    """Keys and values of a `.pt` file's dict, one by one, values of dicts in it left out; raises as read_list does."""
    for pairs, _ in _batches(file, dict, frozenset()):
        yield from zip(pairs[::2], pairs[1::2], strict=False)


def _batches(file: Path, root: type, keys: frozenset[str]) -> Iterator[tuple[list, int]]:
    """Some members at a time, with the bytes of the whole pickle."""
    try:
        with file.open("rb", buffering=_BUFFER) as stream:
            saved = TorchFile(stream)
            scanned = saved.scan()
            for values in saved.members(scanned, table(saved), keys).batches(root):
                yield values, scanned.end - saved.start
    except FileNotFoundError as error:
        raise InvalidInput(f"{file} is missing; the raw layout has it: copy the data set again.") from error
    except WrongRoot as error:
        raise InvalidInput(f"{file} holds a {error}; a {root.__name__} was expected: copy it again.") from error
    except Exception as error:  # a damaged stream leads the reader to errors of almost every kind
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InvalidInput(
            f"{file} is not a readable list ({reason}); a torch.save of plain values, numpy arrays and tensors was expected:"
            " copy it again."
        ) from error

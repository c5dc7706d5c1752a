"""The `.pt` lists of the raw layout: untrusted pickles, of which only plain values and small numpy arrays are read.

torch.load with weights_only=True refuses every class that is not allowed explicitly. What numpy arrays need is allowed,
but as the stand-ins below: numpy's own `dtype` and `ndarray` trust the state they are given and can be made to
crash the interpreter.
"""

import re
from pathlib import Path

import numpy as np
import torch

from hands.errors import InvalidInput

_DTYPE = re.compile(r"[fiub][1248]|U\d{1,3}")
_BYTE_ORDERS = ("<", ">", "|", "=")


class PickledArray:
    """A numpy array as found in a list; `numpy.asarray` makes it one."""

    def __init__(self, kind: object, shape: object, typecode: object):
        self._values = np.zeros(0)

    def __setstate__(self, state: object) -> None:
        _, shape, dtype, _, content = state
        if not isinstance(dtype, _PickledDtype) or not isinstance(content, bytes):
            raise ValueError("an array of something other than numbers")
        if not isinstance(shape, tuple) or not all(type(side) is int for side in shape):
            raise ValueError("an array without a shape")
        self._values = np.frombuffer(content, dtype.value()).reshape(shape)

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self._values, dtype=dtype)


class _PickledDtype:
    """`numpy.dtype` as pickled: a type code, then the byte order."""

    def __init__(self, code: object, align: object, copy: object):
        if not isinstance(code, str) or not _DTYPE.fullmatch(code):
            raise ValueError("a numpy type other than numbers and text")
        self._code = code
        self._order = "="

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in _BYTE_ORDERS:
            raise ValueError("a numpy type without byte order")
        self._order = state[1]

    def value(self) -> np.dtype:
        return np.dtype(self._order + self._code)


class _NdarrayName:
    """What `numpy.ndarray` stands for: only named, as the first argument of _reconstruct."""


def _scalar(dtype: object, content: object) -> object:
    """`numpy._core.multiarray.scalar` as pickled: a plain Python value."""
    if not isinstance(dtype, _PickledDtype) or not isinstance(content, bytes):
        raise ValueError("a numpy scalar that is no number or text")
    return np.frombuffer(content, dtype.value(), count=1)[0].item()


_ALLOWED = [
    PickledArray,  # also where torch checks the type of what it calls __setstate__ on
    _PickledDtype,
    (_NdarrayName, "numpy.ndarray"),
    (_PickledDtype, "numpy.dtype"),
    (PickledArray, "numpy._core.multiarray._reconstruct"),
    (PickledArray, "numpy.core.multiarray._reconstruct"),  # written with numpy 1
    (_scalar, "numpy._core.multiarray.scalar"),
    (_scalar, "numpy.core.multiarray.scalar"),
]


def load_pt(file: Path, kind: type) -> list | dict:
    """Read a `.pt` file that holds a list or a dict of plain values; arrays in it become PickledArray.

    Raises:
        InvalidInput: missing, damaged, of another kind, or holding objects other than plain values and numpy arrays.
    """
    try:
        with torch.serialization.safe_globals(_ALLOWED):
            content = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InvalidInput(f"{file} is missing; the raw layout has it: copy the data set again.") from error
    except Exception as error:  # the unpickler raises whatever a damaged stream leads it to
        raise InvalidInput(
            f"{file} is not a readable list ({type(error).__name__}); a torch.save of plain values and numpy arrays"
            " was expected: copy it again."
        ) from error
    if not isinstance(content, kind):
        raise InvalidInput(f"{file} holds a {type(content).__name__}; a {kind.__name__} was expected: copy it again.")
    return content

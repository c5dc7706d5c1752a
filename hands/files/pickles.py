"""Pickles of unknown origin, read as a stream of plain values. Nothing that a pickle names is ever called or imported.

Python's unpickler calls what a pickle names, and keeps every object that it has made. Here names are looked up in a table of
ours, what is not in it becomes a Thing, and the members of the outermost list or dict are handed on as soon as they are
whole. A pickle is read twice: first for the positions that it refers back to, so that no other object need be kept.
"""

import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from hands.files.pickle_scan import BYTES, INTEGERS, OLD_TEXTS, TEXTS

MAX_TEXT = 1024  # bytes; longer texts, and arrays of more bytes, are passed over: nothing that is read is as long
_MAX_INTEGER = 16  # bytes


class Thing(dict):
    """An object of another class: its class's name, and as a dict those of its members that are wanted."""

    def __init__(self, name: str):
        super().__init__()
        self.name = name


@dataclass(frozen=True, slots=True)
class Named:
    """A class or function that a pickle names. make: what is called in its place, None for a Thing."""

    name: str
    make: Callable | None


@dataclass(frozen=True)
class Table:
    """What may be made of a pickle.

    makers: "module name" -> what is called in its place, with the pickle's own arguments. What the pickle then sets as the
        state of the result goes to the result's method `put`, if it has one.
    persistent: makes something of a reference to a record outside of the pickle.
    """

    makers: dict[str, Callable]
    persistent: Callable[[object], object]


class Members(pickle._Unpickler):
    """The members of the list or dict that a pickle holds.

    Args:
        file: at the pickle's beginning.
        shared: as `pickle_scan.scan` found them.
        keys: whose values are kept, in all dicts but the outermost.
    """

    def __init__(self, file: BinaryIO, shared: frozenset[int], table: Table, keys: frozenset[str]):
        super().__init__(file)
        self.file, self.shared, self.table, self.keys = file, shared, table, keys
        self.read, self.readline = file.read, lambda: file.readline(MAX_TEXT)
        self.metastack: list[list] = []
        self.stack: list = []
        self.append = self.stack.append
        self.proto = self.memoized = 0
        self.ready: list = []

    def batches(self, root: type) -> Iterator[list]:
        """Some members at a time: a list's values, or key, value, key, value of a dict.

        Raises:
            WrongRoot: the pickle holds something else than `root`, which is list or dict.
            Exception: almost any, where the pickle is damaged.
        """
        read, dispatch, memo, shared = self.read, self.dispatch, self.memo, self.shared
        put, get, small_number, found = pickle.LONG_BINPUT, pickle.BINGET, pickle.BININT1, None
        while (code := read(1)) != pickle.STOP:
            if code == put:  # these three are nearly two thirds of a list's instructions
                number = read(4)
                if shared and int.from_bytes(number, "little") in shared:
                    memo[int.from_bytes(number, "little")] = self.stack[-1]
            elif code == get:
                self.append(memo[read(1)[0]])
            elif code == small_number:
                self.append(read(1)[0])
            else:
                if not code:
                    raise EOFError("it is cut short")
                dispatch[code[0]](self)
                if self.ready:
                    found = list if code in (pickle.APPENDS, pickle.APPEND) else dict
                    if found is not root:
                        raise WrongRoot(found.__name__)
                    yield self.ready
                    self.ready = []
        if found is None and type(self.stack[-1]) is not root:
            raise WrongRoot(kind(self.stack[-1]))

    def find_class(self, module: str, name: str) -> Named:
        full = f"{module}.{name}"
        shown = full if full.isprintable() and len(full) <= 80 else "strange class"  # in messages
        return Named(shown, self.table.makers.get(f"{module} {name}"))

    def _reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack[-1]
        if type(function) is Named and function.make:
            self.stack[-1] = function.make(*arguments)
        else:
            self.stack[-1] = Thing(kind(function))

    def _new(self) -> None:
        self.stack.pop()
        self.stack[-1] = Thing(kind(self.stack[-1]))

    def _new_with_names(self) -> None:
        self.stack.pop()
        self._new()

    def _build(self) -> None:
        state = self.stack.pop()
        if hasattr(self.stack[-1], "put"):
            self.stack[-1].put(state)

    def _append(self) -> None:
        self._extend([self.stack.pop()])

    def _appends(self) -> None:
        self._extend(self.pop_mark())

    def _extend(self, values: list) -> None:
        if len(self.stack) == 1 and not self.metastack:
            self.ready = values
        elif type(self.stack[-1]) is list:
            self.stack[-1].extend(values)

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._update([key, value])

    def _set_items(self) -> None:
        self._update(self.pop_mark())

    def _update(self, pairs: list) -> None:
        target = self.stack[-1]
        if len(self.stack) == 1 and not self.metastack:
            self.ready = pairs
        elif isinstance(target, dict):
            for position in range(0, len(pairs), 2):
                key = pairs[position]
                if type(key) is str and key in self.keys:  # other keys may take for ever to hash
                    target[key] = pairs[position + 1]

    def _empty_set(self) -> None:
        self.append(Thing("set"))

    def _frozen_set(self) -> None:
        self.pop_mark()
        self.append(Thing("frozenset"))

    def _memoize(self) -> None:
        if self.memoized < 256 or self.memoized in self.shared:
            self.memo[self.memoized] = self.stack[-1]
        self.memoized += 1

    def _persistent(self) -> None:
        self.append(self.table.persistent(self.stack.pop()))

    def _frame(self) -> None:
        self.read(8)  # frames need not be read in one go


def kind(value: object) -> str:
    """The name of a value's class, as it stood in the pickle."""
    return getattr(value, "name", type(value).__name__)


class WrongRoot(Exception):
    """A pickle holds an object of another class, which the message names."""


def _text(content: bytes) -> str:
    return str(content, "utf-8", "surrogatepass")


def _old_text(content: bytes) -> str:
    return str(content, "latin1")


def _integer(content: bytes) -> int:
    return int.from_bytes(content, "little", signed=True)


def _prefixed(width: int, convert: Callable[[bytes], object], longest: int) -> Callable[[Members], None]:
    """What is done with a length of `width` bytes and that much content."""

    def load(self) -> None:
        size = int.from_bytes(self.read(width), "little")
        if size > longest:
            self.file.seek(size, 1)
            self.append(Thing("long value"))
            return
        content = self.read(size)
        if len(content) < size:
            raise EOFError("it is cut short")
        self.append(convert(content))

    return load


_AS_EVER = (
    pickle.PROTO, pickle.MARK, pickle.POP, pickle.POP_MARK, pickle.DUP, pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE,
    pickle.BININT, pickle.BININT2, pickle.BINFLOAT, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3,
    pickle.EMPTY_TUPLE, pickle.EMPTY_LIST, pickle.EMPTY_DICT, pickle.GLOBAL, pickle.STACK_GLOBAL,
    pickle.LONG_BINGET, pickle.BINPUT,
)  # fmt: skip
_OTHERWISE = {
    pickle.REDUCE: Members._reduce, pickle.BUILD: Members._build,
    pickle.NEWOBJ: Members._new, pickle.NEWOBJ_EX: Members._new_with_names,
    pickle.APPEND: Members._append, pickle.APPENDS: Members._appends,
    pickle.SETITEM: Members._set_item, pickle.SETITEMS: Members._set_items,
    pickle.EMPTY_SET: Members._empty_set, pickle.ADDITEMS: Members.pop_mark, pickle.FROZENSET: Members._frozen_set,
    pickle.MEMOIZE: Members._memoize, pickle.BINPERSID: Members._persistent, pickle.FRAME: Members._frame,
    **{code: _prefixed(width, _text, MAX_TEXT) for code, width in TEXTS.items()},
    **{code: _prefixed(width, _old_text, MAX_TEXT) for code, width in OLD_TEXTS.items()},
    **{code: _prefixed(width, bytes, MAX_TEXT) for code, width in BYTES.items()},
    **{code: _prefixed(width, _integer, _MAX_INTEGER) for code, width in INTEGERS.items()},
}  # fmt: skip
# every other instruction is refused
Members.dispatch = {code[0]: pickle._Unpickler.dispatch[code[0]] for code in _AS_EVER} | {
    code[0]: function for code, function in _OTHERWISE.items()
}

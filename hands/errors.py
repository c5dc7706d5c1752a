"""The one error that bad input ends in."""


class InvalidInput(Exception):
    """Something the user handed in cannot be used.

    The message is one or two sentences: what was found, what was expected and what to do.
    Entry points print it without a traceback and exit with code 1; every reader of untrusted
    input (lists, LMDB values, pictures, manifests, model folders, requests) raises this and
    nothing else.
    """


def shown(value: object) -> str:
    """A value of unknown origin as a message shows it: 80 characters at most, in a time that does not depend on its size."""
    if isinstance(value, str | bytes):
        return f"{value[:72]!r}"[:76] + ("..." if len(value) > 72 else "")
    if value is None or isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < 1 << 200):
        return repr(value)
    if isinstance(value, int):
        return f"a number of {value.bit_length()} bits"
    if isinstance(value, list | tuple | dict):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"[:80]

"""The one error that bad input ends in, and what nobody else may read."""

import re

HIDDEN = "***"
# a name alone may be a token in a web address, not in a database's; a database's password may hold a slash
_USER = re.compile(r"(?:(?<=http://)|(?<=https://))[^\s/]*@|(?<!http://)(?<!https://)(?<=://)[^\s/@:]*:[^\s@]*@")
_SECRET = re.compile(r"(?<=[?&;])([\w.-]*(?:password|passwd|pwd|token|secret)[\w.-]*=)[^&;\s'\")]*", re.IGNORECASE)


def masked(text: str) -> str:
    """The text with *** for user and password in URLs, and for passwords and tokens in what follows their question mark."""
    return _SECRET.sub(rf"\1{HIDDEN}", _USER.sub(f"{HIDDEN}@", text))


class InvalidInput(Exception):
    """Something the user handed in cannot be used.

    The message is one or two sentences: what was found, what was expected and what to do; it is masked.
    Entry points print it without a traceback and exit with code 1; every reader of untrusted
    input (lists, LMDB values, pictures, manifests, model folders, requests) raises this and
    nothing else.
    """

    def __init__(self, message: str):
        super().__init__(masked(message))

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

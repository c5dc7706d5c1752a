"""The one error that bad input ends in."""


class InvalidInput(Exception):
    """Something the user handed in cannot be used.

    The message is one or two sentences: what was found, what was expected and what to do.
    Entry points print it without a traceback and exit with code 1; every reader of untrusted
    input (lists, LMDB values, pictures, manifests, model folders, requests) raises this and
    nothing else.
    """

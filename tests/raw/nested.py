"""Small files that unfold into very much."""

DEEP = b")" + 1_000_000 * b"\x85"  # a tuple in a tuple in a tuple ...
WIDE = b")" + b"".join(b"q" + bytes([n]) + b"h" + bytes([n]) + b"\x86" for n in range(60))  # 2 to the power of 60


def shared(levels: int = 60) -> list:
    """2 to the power of `levels` lists, for whoever looks at each."""
    nested: list = []
    for _ in range(levels):
        nested = [nested, nested]
    return nested

"""What of the benchmark is asked for, by numbers and names. Free of torch."""

from hands.errors import InvalidInput
from hands.networks.names import check_name

N_LINES = 8


def chosen_lines(lines: str) -> list[int]:
    """The lines' numbers, ascending.

    Raises:
        InvalidInput: something else than numbers of lines with commas between.
    """
    words = [word.strip() for word in lines.split(",")]
    if not all(word.isdecimal() and 1 <= int(word) <= N_LINES for word in words):
        raise InvalidInput(f"lines is '{lines}'; expected numbers from 1 to {N_LINES} with commas between, such as 1,2,7.")
    return sorted({int(word) for word in words})


def chosen_networks(networks: str) -> tuple[str, ...]:
    """Names of networks.

    Raises:
        InvalidInput: there is none, or one that cannot be a network's.
    """
    names = tuple(name.strip() for name in networks.split(",") if name.strip())
    if not names:
        raise InvalidInput("networks is empty; give names with commas between, such as light,uxnet.")
    for name in names:
        check_name(name)
    return names

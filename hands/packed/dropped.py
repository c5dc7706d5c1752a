"""What is not packed of the entries that a data set lists, by subset and reason."""

from collections.abc import Iterable, Iterator


class Dropped:
    """Counts entries that are not packed, and keeps the first of each kind."""

    def __init__(self, subsets: Iterable[str]):
        self._counts: dict[str, dict[str, int]] = {name: {} for name in subsets}
        self._first: dict[tuple[str, str], str] = {}

    def add(self, subset: str, reason: str, example: str) -> None:
        """example: names the entry, and says what is wrong with it where the reason does not."""
        self._counts[subset][reason] = self._counts[subset].get(reason, 0) + 1
        self._first.setdefault((subset, reason), example)

    def counts(self) -> dict[str, dict[str, int]]:
        """Subset -> reason -> entries."""
        return self._counts

    def lines(self) -> Iterator[str]:
        """A line for each subset and reason."""
        for subset, reasons in self._counts.items():
            for reason, count in reasons.items():
                yield f"{subset}: {count} dropped, {reason}; the first: {self._first[subset, reason]}"

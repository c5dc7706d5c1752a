"""How many broken entries a data set may have and still be packed without them."""

from collections import Counter

from hands.errors import InvalidInput
from hands.files.decoding import BrokenEntry


class BrokenLimit:
    """Refuses a data set as soon as more than a share of a subset's entries are broken.

    Args:
        listed: entries by subset, broken ones included.
        share: 0 to 1; 0 refuses the first one.
    """

    def __init__(self, listed: dict[str, int], share: float):
        self._listed, self._share = listed, share
        self._reasons: dict[str, Counter] = {name: Counter() for name in listed}

    def count(self, subset: str, error: BrokenEntry) -> None:
        """Note one more.

        Raises:
            BrokenEntry: none may be broken: this one.
            InvalidInput: it is one too many; the message says what was wrong with how many.
        """
        if self._share == 0:
            raise error
        reasons, listed = self._reasons[subset], self._listed[subset]
        reasons[error.reason] += 1
        if reasons.total() > self._share * listed:
            counts = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
            raise InvalidInput(
                f"{subset}: more than {self._share:g} of its {listed} entries are broken, so far {counts}; the last: {error}"
                " Mend the data set, or give a larger max_broken."
            )

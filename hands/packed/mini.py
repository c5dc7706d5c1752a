"""The `mini` splits: a fixed sample of 1000 entries of a list."""

import random

MINI_COUNT = 1000


def mini_positions(listed: int) -> list[int]:
    """Positions, in sampled order, of the mini split of a list of `listed` entries; all in order up to 1000 of them.

    The same entries as `r = random.Random(1); r.randint(0, 100); r.sample(entries, 1000)` of the InterHand2.6M
    segmentation lists' own loader, so that scores on mini splits compare.
    """
    if listed <= MINI_COUNT:
        return list(range(listed))
    generator = random.Random(1)
    generator.randint(0, 100)
    return generator.sample(range(listed), MINI_COUNT)

"""Seeds of a recipe's steps. Free of torch, as the pipeline's own process is."""

import hashlib


def derived_seed(seed: int, name: str) -> int:
    """The seed of a part of a run, by the run's seed and the part's name: from 0 to 2 ** 32 - 1, and nothing like that of
    another part or of another run. (By adding, round 2 of one seed would be round 1 of the next.)"""
    return int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:4], "big")

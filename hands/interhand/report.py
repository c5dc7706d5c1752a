"""What an import did: counts, what was left out and why, how large the parts are."""

from collections import Counter

import numpy as np

from hands.interhand.frames import Frames
from hands.interhand.splits import LEFT_OUT, ROLES, TEST, VAL
from hands.parts import HANDS, NUM_CLASSES, PART_NAMES

EXAMPLES = 5
_KINDS = ("dropped", "without_labels", "hands_left_out")


class Tally:
    """Adds up the lines of an import's journal."""

    def __init__(self):
        self._roles: Counter[str] = Counter()
        self._base: Counter[str] = Counter()
        self._reasons: dict[str, dict[str, dict]] = {kind: {} for kind in _KINDS}
        self._part_pixels = np.zeros((len(HANDS), NUM_CLASSES), np.int64)
        self._joints = np.zeros(3, np.int64)
        self._chosen: dict = {}

    def chosen(self, frames: Frames, positions: np.ndarray, roles: np.ndarray) -> None:
        """Which pictures were chosen and how they were split."""
        subjects = frames.subjects[positions]
        splits = {"train": (roles != VAL) & (roles != TEST) & (roles != LEFT_OUT), "val": roles == VAL, "test": roles == TEST}
        self._chosen = {
            "in_release": len(frames.frames) + frames.without_annotation,
            "without_annotation": frames.without_annotation,
            "chosen": len(positions),
            "left_out_for_their_subject": int((roles == LEFT_OUT).sum()),
            "subjects": {name: np.unique(subjects[of_split]).tolist() for name, of_split in splits.items()},
        }

    def imported(self, line: dict) -> None:
        """Add one line of the journal."""
        counter = self._base if "base" in line else self._roles
        counter.update(values[1] for values in line["frames"])
        if "base" in line:
            return
        for kind in _KINDS:
            for reason, path in line[kind]:
                found = self._reasons[kind].setdefault(reason, {"count": 0, "examples": []})
                found["count"] += 1
                if len(found["examples"]) < EXAMPLES:
                    found["examples"].append(path)
        self._part_pixels += np.array(line["part_pixels"])
        self._joints += np.array(line["joints"])

    def reasons(self) -> str:
        """One line: why pictures and hands were left out."""
        counts = Counter()
        for kind in _KINDS:
            counts.update({reason: found["count"] for reason, found in self._reasons[kind].items()})
        return ", ".join(f"{reason} ({count})" for reason, count in counts.most_common()) or "none was chosen"

    def report(self, labels: str, seconds: float) -> dict:
        """All of it, for import.json. seconds: that this run took for reading annotations and importing."""
        return {
            "labels": labels,
            **self._chosen,
            "pictures": {role: self._roles[role] for role in ROLES},
            "base": {role: self._base[role] for role in ROLES},
            **self._reasons,
            "joints": dict(zip(("judged", "on_hand", "on_or_beside_part"), self._joints.tolist(), strict=True)),
            "seconds": round(seconds, 1),
            "part_shares": {hand: self._shares(k) for k, hand in enumerate(HANDS)},
        }

    def _shares(self, hand: int) -> dict[str, float]:
        """Of a hand's labelled pixels, how much is each part's."""
        pixels = self._part_pixels[hand, 1:]
        shares = pixels / max(pixels.sum(), 1)
        return {name: round(float(share), 4) for name, share in zip(PART_NAMES[1:], shares, strict=True)}

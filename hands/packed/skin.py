"""Whether a packed set's red and blue are swapped: skin has more red than blue, whatever its tone and the light.

Of 1,170 colour pictures of `synthesize` (2026-11-25, level 1) and 225 (levels 1 to 3, four seeds each) every one had, by 27
of 255 or more on average under its labels; swapped, none has.
"""

import numpy as np

from hands.packed.manifest import Manifest
from hands.parts import shows_part

GREY = 2.0  # of 255: red and blue that differ by less on average are a grey camera's, however it was stored
EXPECTED_SHARE = 0.5  # of colour pictures with more red than blue; fewer are a sign of swapped channels
_STRIDE = 2  # a quarter of the pixels tells as much


def red_above_blue(record: np.ndarray, size: int) -> bool | None:
    """Whether there is more red than blue under the labels of a (5, P, P) record's central size x size; None of a grey picture
    and of one without a part."""
    margin = (record.shape[-1] - size) // 2
    red, _, blue, left, right = record[:, margin : margin + size : _STRIDE, margin : margin + size : _STRIDE]
    shown = shows_part(left) | shows_part(right)
    difference = red[shown].astype(np.int16) - blue[shown]
    if not difference.size or np.abs(difference).mean() < GREY:
        return None
    return bool(difference.mean() > 0)


def swapped_channels(manifest: Manifest) -> str | None:
    """What to tell a user whose set seems to be packed with the wrong channel_order; None where nothing says so."""
    colour = sum(subset.colour_pictures for subset in manifest.subsets.values())
    red = sum(subset.red_above_blue for subset in manifest.subsets.values())
    if red >= EXPECTED_SHARE * colour:
        return None
    other = "rgb" if manifest.channel_order == "bgr" else "bgr"
    return (
        f"only {red} of {colour} colour pictures have more red than blue under the hands' labels, as skin has: red and blue"
        f" seem to be swapped. They were read with channel_order={manifest.channel_order}; pack the set again with"
        f" channel_order={other}."
    )

"""Framing: hands are moved and scaled to lie as those of other records do."""

import pytest
import torch

from hands.packed import augment as module
from hands.packed import published_augmentation
from hands.packed.augment import augment
from hands.packed.batches import Shard, seeded_generator
from hands.packed.framing import framed_like
from hands.parts import IGNORED
from tests.packed.augmented_records import interacting
from tests.small_training import PUBLISHED

SIZE, SIDE = 32, 40
IDENTITY = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def with_box(top: int, left: int, height: int, width: int) -> torch.Tensor:
    """Labels (1, 2, P, P): the left hand fills the upper half of the box, the right hand the lower one."""
    labels = torch.zeros(1, 2, SIDE, SIDE, dtype=torch.uint8)
    labels[:, 0, top : top + height // 2, left : left + width] = 3
    labels[:, 1, top + height // 2 : top + height, left : left + width] = 9
    return labels


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLIP_PROBABILITY", 0.0)
    for name in ("SCALE_STEP", "ROTATION_STEP", "TRANSLATION"):
        monkeypatch.setattr(published_augmentation, name, 0.0)


def test_a_map_by_hand():
    """A box of 8 x 10 pixels whose middle is 20, 15 pixels from the corner, framed like one of 16 x 20 about 18, 15."""
    framing = framed_like(with_box(10, 16, 10, 8), with_box(5, 10, 20, 16))
    # half as many pixels apart; in normalised coordinates 20, 15 is 0, -0.25 and 18, 15 is -0.1, -0.25
    torch.testing.assert_close(framing, torch.tensor([[[0.5, 0.0, 0.05], [0.0, 0.5, -0.125]]]))


def test_hands_lie_as_in_the_other_record(still):
    labels, frames = with_box(10, 16, 10, 8), with_box(5, 10, 20, 16)
    seen = augment(interacting(labels), SIZE, PUBLISHED, seeded_generator(0), Shard(0, 1), framed_like(labels, frames)).labels
    assert torch.equal(seen, frames[..., 4:36, 4:36].long())


def test_each_record_has_its_own_frame(still):
    labels = torch.cat([with_box(10, 16, 10, 8), with_box(12, 4, 20, 30)])
    frames = torch.cat([with_box(8, 16, 10, 8), with_box(6, 8, 20, 30)])
    seen = augment(interacting(labels), SIZE, PUBLISHED, seeded_generator(0), Shard(0, 1), framed_like(labels, frames)).labels
    assert torch.equal(seen, frames[..., 4:36, 4:36].long())


def test_the_shape_stays(still):
    """A box that is wide is framed like a box that is high by their longer sides."""
    labels, frames = with_box(14, 10, 10, 20), with_box(10, 12, 20, 16)
    seen = augment(interacting(labels), SIZE, PUBLISHED, seeded_generator(0), Shard(0, 1), framed_like(labels, frames)).labels
    assert torch.equal(seen, with_box(15, 10, 10, 20)[..., 4:36, 4:36].long())


@pytest.mark.parametrize("value", [0, IGNORED])
def test_what_shows_no_part_stays_as_it_is(value: int):
    nothing = torch.full((1, 2, SIDE, SIDE), value, dtype=torch.uint8)
    assert torch.equal(framed_like(nothing, with_box(5, 10, 20, 16))[0], IDENTITY)
    assert torch.equal(framed_like(with_box(5, 10, 20, 16), nothing)[0], IDENTITY)


def test_ignored_pixels_are_no_part_of_the_box():
    labels = with_box(10, 16, 10, 8)
    labels[..., :3] = IGNORED
    assert torch.equal(framed_like(labels, with_box(10, 16, 10, 8))[0], IDENTITY)

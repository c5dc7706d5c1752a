"""Augmentation: what moves, how far, and that picture and labels move together."""

import math

import pytest
import torch
import torch.nn.functional as F

from hands.packed import augment as module
from hands.packed import published_augmentation
from hands.packed.augment import AugmentConfig, centre
from hands.packed.batches import Batch, Shard, seeded_generator
from hands.packed.published_augmentation import draw_maps
from hands.parts import PART_COLOURS
from tests.packed.augmented_records import ALONE, SIDE, SIZE, decomposed, painted_records, random_records

PUBLISHED = AugmentConfig("published", hand_paste=0.0)


def augment(
    records: torch.Tensor, size: int, generator: torch.Generator, shard: Shard
) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and labels of published augmentation."""
    batch = Batch(records, torch.full((len(records),), 2))
    return module.augment(batch, size, PUBLISHED, generator, shard)[:2]


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """No movement, no colour, no flip."""
    for name in ("SCALE_STEP", "ROTATION_STEP", "TRANSLATION", "COLOUR"):
        monkeypatch.setattr(published_augmentation, name, 0.0)
    monkeypatch.setattr(module, "FLIP_PROBABILITY", 0.0)


def drawn(n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Unflipped maps (N, 2, 3) in units of the box's half side, and the same with flips."""
    flips = torch.zeros(n, dtype=torch.bool)
    plain, flipped = (draw_maps(n, which, seeded_generator(seed)) for which in (flips, ~flips))
    return plain, flipped


@pytest.mark.parametrize("size", [16, 32, 64, 128])
def test_without_movement_it_is_the_centre(still, size: int):
    generator = torch.Generator().manual_seed(0)
    records = torch.randint(0, 17, (3, 5, size * 5 // 4, size * 5 // 4), generator=generator, dtype=torch.uint8)
    images, labels = augment(records, size, generator, ALONE)
    expected_images, expected_labels = centre(records, size)
    torch.testing.assert_close(images, expected_images, atol=1e-4, rtol=0)
    assert torch.equal(labels, expected_labels)


def test_centre_is_the_middle_of_the_record():
    records = random_records(2)
    images, labels = centre(records, SIZE)
    assert images.dtype == torch.float32 and labels.dtype == torch.uint8
    torch.testing.assert_close(images * 255, records[:, :3, 8:72, 8:72].float())
    assert torch.equal(labels, records[:, 3:, 8:72, 8:72])
    assert images.min() >= 0 and images.max() <= 1


@pytest.mark.parametrize(
    ("crop", "kind"),
    [(centre, torch.uint8), (lambda records, size: augment(records, size, seeded_generator(1), ALONE), torch.int64)],
)
@pytest.mark.parametrize(("channels", "image_channels", "hands"), [(5, 3, 2), (3, 3, 0), (2, 0, 2)])
def test_what_a_record_lacks_has_no_channels(crop, kind: torch.dtype, channels: int, image_channels: int, hands: int):
    images, labels = crop(random_records(2, channels), SIZE)
    assert images.shape == (2, image_channels, SIZE, SIZE) and images.dtype == torch.float32
    assert labels.shape == (2, hands, SIZE, SIZE) and labels.dtype == kind


def test_a_flip_mirrors_and_swaps_the_hands(still, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "FLIP_PROBABILITY", 1.0)
    records = random_records(3)
    images, labels = augment(records, SIZE, seeded_generator(0), ALONE)
    expected_images, expected_labels = centre(records, SIZE)
    torch.testing.assert_close(images, expected_images.flip(3), atol=1e-4, rtol=0)
    assert torch.equal(labels, expected_labels.flip(3).flip(1))


@pytest.mark.parametrize("channels", [2, 3])
def test_a_flip_of_half_a_record(still, monkeypatch: pytest.MonkeyPatch, channels: int):
    monkeypatch.setattr(module, "FLIP_PROBABILITY", 1.0)
    records = random_records(3, channels)
    images, labels = augment(records, SIZE, seeded_generator(0), ALONE)
    expected_images, expected_labels = centre(records, SIZE)
    torch.testing.assert_close(images, expected_images.flip(3), atol=1e-4, rtol=0)
    assert torch.equal(labels, expected_labels.flip(3).flip(1))


def test_half_of_the_records_are_flipped():
    records = torch.zeros(400, 2, 20, 20, dtype=torch.uint8)
    records[:, 0] = 3  # a left hand everywhere: flipped, it is the right one
    _, labels = augment(records, 16, seeded_generator(0), ALONE)
    flipped = (labels[:, 1] == 3).all(dim=(1, 2))
    assert torch.equal(flipped, (labels[:, 0] == 0).all(dim=(1, 2)))
    assert abs(flipped.double().mean().item() - 0.5) < 4 * 0.5 / math.sqrt(400)


def test_hand_types_move_with_the_pictures():
    """The same pictures as with labels, and the hand types that their labels, moved along, have."""
    records, hand_types = random_records(60), torch.arange(60) % 3
    records[hand_types == 1, 3], records[hand_types == 0, 4] = 0, 0  # no left hand, no right hand
    images, labels = augment(records, SIZE, seeded_generator(0), ALONE)
    own_images, _, moved = module.augment(Batch(records[:, :3], hand_types), SIZE, PUBLISHED, seeded_generator(0), ALONE)
    assert torch.equal(own_images, images)
    shows = labels.flatten(2).any(2)  # (N, 2)
    assert torch.equal(shows, torch.tensor([[True, False], [False, True], [True, True]])[moved])
    assert 0 < (moved != hand_types).sum() < 40 and torch.equal(hand_types, torch.arange(60) % 3)


def test_picture_and_labels_move_together():
    images, labels = augment(painted_records(16), SIZE, seeded_generator(0), ALONE)
    palette = torch.from_numpy(PART_COLOURS).float() / 255
    wanted = palette[labels[:, 0]].permute(0, 3, 1, 2)
    # borders of blocks are blended in the picture; inside, colours differ by the gain alone
    near = (images - wanted).abs().amax(1) < 0.015
    values = labels[:, 0].float()
    inside = F.max_pool2d(values, 3, stride=1) == -F.max_pool2d(-values, 3, stride=1)  # of the pixels not at the edge
    assert inside.double().mean() > 0.5
    assert near[:, 1:-1, 1:-1][inside].all()
    assert torch.equal(labels[:, 0], labels[:, 1])


def test_both_hands_get_the_same_map():
    records = random_records(8)
    records[:, 4] = records[:, 3]
    _, labels = augment(records, SIZE, seeded_generator(5), ALONE)
    assert torch.equal(labels[:, 0], labels[:, 1])


def test_nearest_labels_invent_no_part():
    records = torch.zeros(32, 2, SIDE, SIDE, dtype=torch.uint8)
    records[:, :, ::2] = 16
    records[:, :, :, ::3] = 9
    _, labels = augment(records, SIZE, seeded_generator(0), ALONE)
    assert set(labels.unique().tolist()) <= {0, 9, 16}


def test_ranges_of_scale_rotation_and_translation():
    n = 4000
    scale, angle, translation = decomposed(drawn(n)[0])
    z = (scale - 1) / 0.01
    assert z.abs().max() < 1 + 1e-3
    # z ~ N(0, 1) clipped to [-1, 1]: 32 % of it at the ends, half of the rest beyond 0.45
    at_ends = (z.abs() > 0.999).double().mean().item()
    assert abs(at_ends - 0.3173) < 0.03

    assert angle.abs().max() < 10 + 1e-2
    turned = (angle.abs() > 1e-3).double().mean().item()
    assert abs(turned - 0.6) < 0.03
    clipped = (angle.abs() > 9.99).double().mean().item()
    assert abs(clipped - 0.6 * 0.0455) < 0.012
    one_sigma = (angle.abs()[angle.abs() > 1e-3] < 5).double().mean().item()
    assert abs(one_sigma - 0.6827) < 0.04
    assert abs(angle.mean().item()) < 0.3 and abs(z.mean().item()) < 0.06

    # 1 % of the box's side, which spans two units
    assert translation.abs().max() <= 0.02 + 1e-6
    assert translation.abs().max() > 0.0195
    assert translation.mean(0).abs().max() < 0.001
    correlation = torch.corrcoef(torch.stack([scale, angle, translation[:, 0], translation[:, 1]]))
    assert (correlation - torch.eye(4)).abs().max() < 0.06


def test_maps_are_similarities():
    matrix, _ = drawn(100)
    linear = matrix[:, :, :2]
    product = linear @ linear.transpose(1, 2)
    torch.testing.assert_close(product, product[:, :1, :1] * torch.eye(2), atol=1e-6, rtol=0)


def test_scale_above_one_enlarges_the_picture(still, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(published_augmentation, "SCALE_STEP", 0.2)
    records = torch.zeros(64, 2, SIDE, SIDE, dtype=torch.uint8)
    records[:, :, 24:56, 24:56] = 1  # 32 x 32 in the middle
    _, labels = augment(records, SIZE, seeded_generator(0), ALONE)
    scale = 1 + 0.2 * torch.randn(64, generator=_after_flips(64)).clamp(-1, 1)
    area = (labels[:, 0] == 1).sum((1, 2)).double()
    assert torch.corrcoef(torch.stack([scale.double(), area]))[0, 1] > 0.98
    torch.testing.assert_close(area, (32 * scale.double()) ** 2, rtol=0.15, atol=0)


def _after_flips(n: int) -> torch.Generator:
    generator = seeded_generator(0)
    torch.rand(n, generator=generator)
    return generator


def test_a_flip_mirrors_the_crop_after_it_has_moved():
    plain, flipped = drawn(50)
    corners = torch.tensor([[-1.0, -1.0, 1.0], [1.0, 0.5, 1.0]]).T
    mirrored = corners * torch.tensor([[-1.0], [1.0], [1.0]])
    torch.testing.assert_close(flipped @ corners, plain @ mirrored)


def test_the_record_holds_all_that_can_be_sampled():
    """Largest rotation, smallest scale and largest translation together stay on the record: nothing is made up."""
    size, side = 64, 80
    scale, angle = 1 / (1 - 0.01), math.radians(10)
    reach = scale * (math.cos(angle) + math.sin(angle)) * size / 2 + 0.01 * size
    assert reach + 0.5 < side / 2  # half a pixel for the bilinear neighbour


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_nothing_beyond_the_record_is_sampled_at_the_extremes(monkeypatch: pytest.MonkeyPatch, sign: float):
    monkeypatch.setattr(published_augmentation, "COLOUR", 0.0)
    monkeypatch.setattr(published_augmentation, "ROTATION_PROBABILITY", 1.1)
    monkeypatch.setattr(torch, "randn", lambda n, generator: torch.full((n,), 9.0 * sign))
    for size in (16, 32, 64, 128):
        records = torch.full((8, 5, size * 5 // 4, size * 5 // 4), 255, dtype=torch.uint8)
        records[:, 3:] = 7
        for seed in range(4):
            images, labels = augment(records, size, seeded_generator(seed), ALONE)
            assert images.min() > 1 - 1e-5
            assert labels.min() == 7


def test_colour_gains_are_within_one_percent_and_differ_by_channel():
    records = torch.full((500, 3, 20, 20), 200, dtype=torch.uint8)
    images, _ = augment(records, 16, seeded_generator(0), ALONE)
    gains = images.mean((2, 3)) * 255 / 200
    assert gains.min() >= 0.99 - 1e-5 and gains.max() <= 1.01 + 1e-5
    assert gains.min() < 0.9905 and gains.max() > 1.0095
    assert abs(gains.mean().item() - 1) < 1e-3
    assert images.std((2, 3)).max() < 1e-5  # one gain a channel and picture
    assert (torch.corrcoef(gains.T) - torch.eye(3)).abs().max() < 0.2


def test_colours_stay_in_range():
    records = torch.full((50, 3, 20, 20), 255, dtype=torch.uint8)
    images, _ = augment(records, 16, seeded_generator(0), ALONE)
    assert images.max() == 1.0 and images.min() < 0.995


def test_same_seed_same_crops_other_seed_others():
    records = random_records(4)
    first, again, other = (augment(records, SIZE, seeded_generator(seed), ALONE) for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0]) and not torch.equal(first[1], other[1])


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    augment(random_records(2), SIZE, seeded_generator(0), ALONE)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("world_size", [2, 4])
def test_processes_together_make_the_batch_of_one(world_size: int):
    records = random_records(8)
    images, labels = augment(records, SIZE, seeded_generator(3), ALONE)
    for rank in range(world_size):
        share = slice(rank, None, world_size)
        own_images, own_labels = augment(records[share], SIZE, seeded_generator(3), Shard(rank, world_size))
        torch.testing.assert_close(own_images, images[share], atol=1e-6, rtol=0)
        assert torch.equal(own_labels, labels[share])


def test_records_are_left_alone():
    records = random_records(2)
    copy = records.clone()
    augment(records, SIZE, seeded_generator(0), ALONE)
    centre(records, SIZE)
    assert torch.equal(records, copy)


def test_published_is_what_it_was():
    """Drawn in this order, sampled and coloured in this way, bit for bit: published results are to be had again."""
    records = random_records(16)
    generator = seeded_generator(7)
    flips = torch.rand(16, generator=generator) < 0.5
    scale = 1 + 0.01 * torch.randn(16, generator=generator).clamp_(-1, 1)
    rotated = torch.rand(16, generator=generator) < 0.6
    angle = rotated * 5.0 * torch.randn(16, generator=generator).clamp_(-2, 2) * (math.pi / 180)
    shift = 0.01 * 2 * (2 * torch.rand(16, 2, generator=generator) - 1)
    gains = 1 + 0.01 * (2 * torch.rand(16, 3, 1, 1, generator=generator) - 1)
    cosine, sine = (1 / scale) * torch.cos(angle), (1 / scale) * torch.sin(angle)
    theta = torch.stack([cosine, -sine, shift[:, 0], sine, cosine, shift[:, 1]], dim=1).view(16, 2, 3)
    theta[:, :, 0] *= torch.where(flips, -1.0, 1.0).unsqueeze(1)
    grid = F.affine_grid(theta * (SIZE / SIDE), [16, 5, SIZE, SIZE], align_corners=False)
    values = records.to(torch.float32, memory_format=torch.channels_last)
    expected = (F.grid_sample(values[:, :3], grid, mode="bilinear", align_corners=False) * (gains / 255)).clamp_(0, 1)
    labels = F.grid_sample(values[:, 3:], grid, mode="nearest", align_corners=False).long()
    labels = torch.where(flips.view(16, 1, 1, 1), labels.flip(1), labels)
    found = augment(records, SIZE, seeded_generator(7), ALONE)
    assert torch.equal(found[0], expected) and torch.equal(found[1], labels)

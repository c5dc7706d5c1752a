"""Strong augmentation: how far it goes, each change of colour by hand, and what holds of every augmentation."""

import math
from dataclasses import replace

import pytest
import torch

from hands.packed import strong_augmentation as strong
from hands.packed.augment import AugmentConfig, augment
from hands.packed.batches import Batch, Shard, seeded_generator
from hands.packed.strong_augmentation import Colours, draw_colours, draw_maps, gaussian_blur
from tests.packed.augmented_records import ALONE, SIDE, SIZE, decomposed, painted_records, random_records

STRONG = AugmentConfig("strong", hand_paste=0.0)
UNCHANGED = Colours(
    gamma=torch.ones(1, 1, 1, 1),
    gains=torch.ones(1, 3, 1, 1),
    offsets=torch.zeros(1, 1, 1, 1),
    grey=torch.zeros(1, 1, 1, 1, dtype=torch.bool),
    blurred=torch.zeros(1, dtype=torch.bool),
    deviations=torch.ones(1),
    noise=torch.zeros(2 * 3 * 8 * 8),
    noise_starts=torch.zeros(1, dtype=torch.int64),
)


def a_picture(*rgb: float) -> torch.Tensor:
    """(1, 3, 8, 8) of one colour, in [0, 255]."""
    return torch.tensor(rgb).view(1, 3, 1, 1).expand(1, 3, 8, 8).clone()


def coloured(picture: torch.Tensor, **changes: torch.Tensor) -> torch.Tensor:
    return replace(UNCHANGED, **changes)(picture)


def strongly(records: torch.Tensor, seed: int = 0, shard: Shard = ALONE):
    return augment(Batch(records, torch.full((len(records),), 2)), SIZE, STRONG, seeded_generator(seed), shard)


def test_ranges_of_scale_rotation_and_translation():
    n = 4000
    scale, angle, translation = decomposed(draw_maps(n, torch.zeros(n, dtype=torch.bool), seeded_generator(0)))
    for values, limit in ((scale.log(), 0.18), (angle, 30.0), (translation[:, 0], 0.16), (translation[:, 1], 0.16)):
        assert values.abs().max() <= limit * (1 + 1e-4) and values.abs().max() > 0.99 * limit
        assert abs(values.mean().item()) < 0.05 * limit
        assert values.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.05)  # uniform
    drawn = torch.stack([scale, angle, translation[:, 0], translation[:, 1]])
    assert (torch.corrcoef(drawn) - torch.eye(4)).abs().max() < 0.06


def test_ranges_of_colours():
    n = 4000
    drawn = draw_colours(n, slice(None), 8, seeded_generator(0))
    for values, low, high in (
        (drawn.gamma.log(), -0.5, 0.5),
        (drawn.gains, 0.6, 1.4),
        (drawn.offsets, -0.1, 0.1),
        (drawn.deviations / 8, 1 / 256, 1 / 64),
    ):
        assert low - 1e-6 <= values.min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < values.max() <= high + 1e-6
    assert drawn.grey.double().mean().item() == pytest.approx(0.2, abs=0.02)
    assert drawn.blurred.double().mean().item() == pytest.approx(0.3, abs=0.02)
    assert drawn.noise.std().item() == pytest.approx(0.03, rel=0.15)
    assert drawn.noise_starts.min() >= 0 and drawn.noise_starts.max() < 3 * 8 * 8
    assert (torch.corrcoef(drawn.gains.view(n, 3).T) - torch.eye(3)).abs().max() < 0.06


def test_no_change_is_none():
    picture = 255 * torch.rand(1, 3, 8, 8, generator=seeded_generator(0))
    torch.testing.assert_close(coloured(picture), picture / 255)


def test_gamma_gains_and_offset_by_hand():
    gains = torch.tensor([0.5, 1.0, 2.0]).view(1, 3, 1, 1)
    changed = coloured(a_picture(51, 127.5, 153), gamma=torch.full((1, 1, 1, 1), 2.0), gains=gains, offsets=gains[:, :1] / 5)
    # 0.2 ** 2 * 0.5 + 0.1; 0.5 ** 2 + 0.1; 0.6 ** 2 * 2 + 0.1
    expected = torch.tensor([0.12, 0.35, 0.82]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    torch.testing.assert_close(changed, expected)


def test_grey_by_hand():
    changed = coloured(a_picture(255, 0, 127.5), grey=torch.ones(1, 1, 1, 1, dtype=torch.bool))
    torch.testing.assert_close(changed, torch.full((1, 3, 8, 8), 0.299 + 0.114 / 2))


def test_colours_are_clipped_and_finite():
    bright = coloured(a_picture(255, 0, 128), offsets=torch.full((1, 1, 1, 1), 0.1), gamma=torch.full((1, 1, 1, 1), 0.6))
    assert (bright[:, 0] == 1).all()
    torch.testing.assert_close(bright[:, 1], torch.full((1, 8, 8), 0.1))
    assert (coloured(a_picture(0, 0, 0), offsets=torch.full((1, 1, 1, 1), -0.1)) == 0).all()


def test_blur_by_hand():
    """Of a point it makes a Gaussian; each picture has its own."""
    points = torch.zeros(2, 3, 64, 64)
    points[:, :, 20, 30] = 1
    deviations = torch.tensor([0.5, 1.0])
    blurred = gaussian_blur(points, deviations)
    for deviation, planes in zip(deviations.tolist(), blurred, strict=True):
        taps = [math.exp(-0.5 * (step / deviation) ** 2) for step in (-2, -1, 0, 1, 2)]
        taps = torch.tensor(taps) / sum(taps)
        for plane in planes:
            torch.testing.assert_close(plane[18:23, 28:33], taps.unsqueeze(1) * taps)
            assert plane.sum().item() == pytest.approx(1)


def test_blur_leaves_an_even_picture_alone():
    even = torch.full((1, 3, 32, 32), 0.4)
    torch.testing.assert_close(gaussian_blur(even, torch.tensor([0.5])), even)


def test_only_some_pictures_are_blurred():
    n, picture = 4, torch.zeros(4, 3, 8, 8)
    picture[:, :, 4, 4] = 255
    drawn = {name: getattr(UNCHANGED, name).expand(n, *getattr(UNCHANGED, name).shape[1:]) for name in
             ("gamma", "gains", "offsets", "grey", "deviations", "noise_starts")}  # fmt: skip
    which = torch.tensor([False, True, False, True])
    changed = replace(UNCHANGED, **drawn, blurred=which)(picture)
    assert ((changed[:, 0, 4, 4] < 0.9) == which).all()


def test_noise_by_hand():
    noise = torch.arange(384) / 1000
    n, starts = 2, torch.tensor([0, 5])
    drawn = {name: getattr(UNCHANGED, name).expand(n, *getattr(UNCHANGED, name).shape[1:]) for name in
             ("gamma", "gains", "offsets", "grey", "blurred", "deviations")}  # fmt: skip
    changed = replace(UNCHANGED, **drawn, noise=noise, noise_starts=starts)(torch.full((2, 3, 8, 8), 51.0))
    first = 0.2 + noise[:192].view(8, 8, 3).permute(2, 0, 1)
    torch.testing.assert_close(changed, torch.stack([first, first + 0.005]))


def test_labels_are_moved_as_the_picture_and_not_coloured(monkeypatch: pytest.MonkeyPatch):
    """Without colour changes the picture shows, away from borders, the colours of its labels."""
    for name in ("LOG_GAMMA", "GAIN", "OFFSET", "GREY_PROBABILITY", "BLUR_PROBABILITY", "NOISE"):
        monkeypatch.setattr(strong, name, 0.0)
    records = painted_records(16)
    images, labels, _ = strongly(records)
    palette = torch.zeros(17, 3)
    palette[records[:, 3].flatten().long()] = records[:, :3].permute(0, 2, 3, 1).reshape(-1, 3) / 255
    near = (images - palette[labels[:, 0]].permute(0, 3, 1, 2)).abs().amax(1) < 0.01
    assert near.double().mean() > 0.5  # the rest are borders of blocks, which are blended


def test_a_flip_swaps_the_hands():
    records = torch.zeros(400, 2, SIDE, SIDE, dtype=torch.uint8)
    records[:, 0, 30:50, 30:50] = 3
    labels = strongly(records).labels
    left, right = (labels[:, hand].flatten(1).any(1) for hand in (0, 1))
    assert torch.equal(left, ~right)
    assert left.double().mean().item() == pytest.approx(0.5, abs=0.1)


def test_values_shapes_and_repetition():
    records = random_records(4)
    copy = records.clone()
    before = torch.get_rng_state()
    first, again, other = (strongly(records, seed) for seed in (3, 3, 4))
    assert first.images.shape == (4, 3, SIZE, SIZE) and first.images.dtype == torch.float32
    assert first.labels.shape == (4, 2, SIZE, SIZE) and first.labels.dtype == torch.int64
    assert 0 <= first.images.min() and first.images.max() <= 1 and not first.images.requires_grad
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.images, other.images) and not torch.equal(first.labels, other.labels)
    assert torch.equal(records, copy) and torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("channels", "image_channels", "hands"), [(3, 3, 0), (2, 0, 2)])
def test_what_a_record_lacks_has_no_channels(channels: int, image_channels: int, hands: int):
    crops = strongly(random_records(2, channels))
    assert crops.images.shape[1] == image_channels and crops.labels.shape[1] == hands


@pytest.mark.parametrize("world_size", [2, 4])
def test_processes_together_make_the_batch_of_one(world_size: int):
    records = random_records(8)
    whole = strongly(records, 3)
    for rank in range(world_size):
        share = slice(rank, None, world_size)
        own = strongly(records[share], 3, Shard(rank, world_size))
        torch.testing.assert_close(own.images, whole.images[share], atol=1e-5, rtol=0)
        assert torch.equal(own.labels, whole.labels[share])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_makes_the_same_crops():
    records = painted_records(16)
    here, there = strongly(records), strongly(records.cuda())
    assert there.images.is_cuda
    torch.testing.assert_close(there.images.cpu(), here.images, atol=0.02, rtol=0)
    assert (there.labels.cpu() == here.labels).double().mean() > 0.999  # at a border between two pixels rounding decides

"""Hand paste: each pixel of picture and labels by hand, who gets a hand from whom, and that it repeats itself."""

import math

import pytest
import torch

from hands.errors import InvalidInput
from hands.packed import augment as augment_module
from hands.packed import hand_paste, published_augmentation
from hands.packed.augment import AugmentConfig, augment
from hands.packed.batches import Batch, Shard, seeded_generator
from hands.packed.crop_maps import sample
from hands.packed.hand_paste import Pastes, donor_maps, draw_pastes, flipped_types, paste, receiver_maps
from hands.parts import IGNORED
from tests.packed.augmented_records import ALONE, random_records

LEFT, RIGHT, INTERACTING = 0, 1, 2
ALWAYS = AugmentConfig("published", hand_paste=1.0)
IDENTITY = torch.tensor([[[1.0, 0, 0], [0, 1, 0]]])


def rows(*lines: str) -> torch.Tensor:
    """A small picture of digits; '.' is 0 and '?' is IGNORED."""
    return torch.tensor([[{".": 0, "?": IGNORED}.get(sign, ord(sign) - ord("0")) for sign in line] for line in lines])


OWN = rows(".33.", ".33?", "....", "....")
PASTED = rows("....", "..55", ".?55", "....")


@pytest.mark.parametrize("side", [LEFT, RIGHT])
@pytest.mark.parametrize(
    ("in_front", "from_the_pasted"),
    [
        (True, rows("....", "..11", "..11", "....")),
        (False, rows("....", "....", "..11", "....")),  # neither over the own hand nor where it may be
    ],
)
def test_a_paste_by_hand(side: int, in_front: bool, from_the_pasted: torch.Tensor):
    images = torch.full((2, 3, 4, 4), 0.25)
    pasted_images = torch.rand(1, 3, 4, 4, generator=seeded_generator(0))
    labels = torch.zeros(2, 2, 4, 4, dtype=torch.int64)
    labels[1, side] = OWN
    labels[0, 0] = 7
    found, found_labels, types = paste(
        images, labels, torch.tensor([INTERACTING, side]), pasted_images, PASTED.unsqueeze(0), torch.tensor([1]),
        torch.tensor([in_front]),
    )  # fmt: skip
    assert torch.equal(found[1], torch.where(from_the_pasted == 1, pasted_images[0], images[1]))
    assert torch.equal(found_labels[1, side], OWN)
    assert torch.equal(found_labels[1, 1 - side], PASTED)
    assert types.tolist() == [INTERACTING, INTERACTING]
    assert torch.equal(found[0], images[0]) and torch.equal(found_labels[0], labels[0])
    assert (images == 0.25).all() and torch.equal(labels[1, side], OWN) and (labels[1, 1 - side] == 0).all()  # left alone


def test_what_was_unknown_of_the_absent_hand_stays_so():
    labels = torch.zeros(1, 2, 4, 4, dtype=torch.int64)
    labels[0, LEFT] = OWN
    labels[0, RIGHT, 3] = IGNORED
    _, found, _ = paste(
        torch.zeros(1, 0, 4, 4), labels, torch.tensor([LEFT]), torch.zeros(1, 0, 4, 4), PASTED.unsqueeze(0), torch.tensor([0]),
        torch.tensor([True]),
    )  # fmt: skip
    assert torch.equal(found[0, RIGHT], rows("....", "..55", ".?55", "????"))


def a_record(hand: int, labels: torch.Tensor, colour: int) -> torch.Tensor:
    """(5, 10, 10): a single hand in the central 8 x 8, its colour everywhere in the picture."""
    record = torch.zeros(5, 10, 10, dtype=torch.uint8)
    record[:3] = colour
    record[3 + hand, 1:9, 1:9] = labels
    return record


FIRST = rows("........", ".333....", ".333....", ".333....", "........", "........", "........", "........")
SECOND = rows("........", "........", "..55....", "..55....", "..5.....", "........", "........", "........")


@pytest.fixture
def in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hands stay where they are, as large as they are, always in front; nothing flips."""
    for name in ("SCALE_STEP", "ROTATION_STEP", "TRANSLATION", "COLOUR"):
        monkeypatch.setattr(published_augmentation, name, 0.0)
    monkeypatch.setattr(augment_module, "FLIP_PROBABILITY", 0.0)
    monkeypatch.setattr(hand_paste, "SCALES", (1.0, 1.0))
    monkeypatch.setattr(hand_paste, "DISTANCES", (0.0, 0.0))


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("hands", [(LEFT, RIGHT), (RIGHT, LEFT), (LEFT, LEFT), (RIGHT, RIGHT)])
def test_a_batch_of_two_by_hand(in_place, monkeypatch: pytest.MonkeyPatch, hands: tuple[int, int], flipped: bool):
    """Each gets the other's hand: as it is where it is the absent one, else mirrored."""
    monkeypatch.setattr(augment_module, "FLIP_PROBABILITY", float(flipped))
    records = torch.stack([a_record(hands[0], FIRST, 100), a_record(hands[1], SECOND, 200)])
    batch = Batch(records, torch.tensor(hands))
    orders = set()
    for seed in range(12):
        images, labels, types = augment(batch, 8, ALWAYS, seeded_generator(seed), ALONE)
        assert types.tolist() == [INTERACTING, INTERACTING]
        for n, (own, other, colours) in enumerate([(FIRST, SECOND, (100, 200)), (SECOND, FIRST, (200, 100))]):
            other = other.flip(1) if hands[0] == hands[1] else other
            if flipped:  # the whole scene is mirrored, and the hands swapped
                own, other = own.flip(1), other.flip(1)
            side = 1 - hands[n] if flipped else hands[n]
            assert torch.equal(labels[n, side], own) and torch.equal(labels[n, 1 - side], other)
            front, behind = (torch.where(shown, colours[1], colours[0]) for shown in (other > 0, (other > 0) & (own == 0)))
            found = (255 * images[n]).round().int()
            assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])
            assert torch.equal(found[0], front) or torch.equal(found[0], behind)
            if not torch.equal(front, behind):
                orders.add(torch.equal(found[0], front))
    assert orders == ({True, False} if hands[0] != hands[1] else set())  # mirrored, they do not meet


def test_hands_are_moved_apart_and_shrunk_by_hand():
    """A quarter of the crop's side either way; the receiver's to half its size."""
    records = torch.zeros(2, 2, 8, 8, dtype=torch.uint8)
    records[:, 0, 2:6, 2:6] = torch.tensor([3, 5]).view(2, 1, 1)
    pastes = Pastes(
        receivers=torch.tensor([0]), donors=torch.tensor([1]), in_front=torch.tensor([True]), scales=torch.tensor([[0.5, 1.0]]),
        shifts=torch.tensor([[0.5, 0.0]]),
    )  # fmt: skip
    maps, still = IDENTITY.expand(2, 2, 3), torch.tensor([False, False])
    labels = sample(records, receiver_maps(maps, pastes), 8)[1]
    own = torch.zeros(8, 8, dtype=torch.int64)
    own[3:5, 5:7] = 3
    assert torch.equal(labels[0, 0], own) and torch.equal(labels[1, 0], records[1, 0].long())
    cut = sample(records[1:], donor_maps(maps, pastes, still, torch.tensor([LEFT, RIGHT])), 8)[1]
    other = torch.zeros(8, 8, dtype=torch.int64)
    other[2:6, 0:4] = 5
    assert torch.equal(cut[0, 0], other)


def test_a_donor_is_mirrored_where_its_hand_is_to_become_the_other():
    maps = torch.cat([IDENTITY, IDENTITY * torch.tensor([-1.0, 1, 1])])
    for own in (LEFT, RIGHT):
        for given in (LEFT, RIGHT):
            for flips in ([False, True], [True, True]):
                pastes = Pastes(torch.tensor([0]), torch.tensor([1]), torch.tensor([True]), torch.ones(1, 2), torch.zeros(1, 2))
                found = donor_maps(maps, pastes, torch.tensor(flips), torch.tensor([own, given]))
                absent = own if flips[0] else 1 - own
                assert (found[0, 0, 0] < 0) == (given != absent)


def drawn(types: list[int], probability: float, seed: int = 0) -> Pastes:
    return draw_pastes(torch.tensor(types), probability, len(types), slice(None), seeded_generator(seed))


def test_who_gets_a_hand_from_whom():
    types = 100 * [LEFT, INTERACTING, RIGHT]
    for probability in (0.0, 0.3, 1.0):
        pastes = [drawn(types, probability, seed) for seed in range(20)]
        share = sum(map(len, pastes)) / (20 * 200)
        assert share == pytest.approx(probability, abs=0.03) and (share == probability or 0 < probability < 1)
        for found in pastes:
            assert all(types[i] != INTERACTING for i in found.receivers.tolist() + found.donors.tolist())
            assert (found.receivers != found.donors).all()
            assert found.receivers.tolist() == sorted(set(found.receivers.tolist()))
    assert sum(found.in_front.sum().item() for found in pastes) / (20 * 200) == pytest.approx(0.5, abs=0.03)
    assert len(set(torch.cat([found.donors for found in pastes]).tolist())) == 200
    scales = torch.cat([found.scales for found in pastes])
    assert 0.6 <= scales.min() < 0.61 and 0.94 < scales.max() <= 0.95
    shifts = torch.cat([found.shifts for found in pastes])
    assert 0.08 - 1e-6 <= shifts.norm(dim=1).min() and shifts.norm(dim=1).max() <= 0.35 + 1e-6
    assert shifts.mean(0).abs().max() < 0.02  # in any direction


def test_every_other_single_hand_is_as_likely():
    donors = [drawn([LEFT, RIGHT, INTERACTING, LEFT], 1.0, seed).donors[0].item() for seed in range(400)]
    assert set(donors) == {1, 3}
    assert abs(donors.count(1) / 400 - 0.5) < 4 * 0.5 / math.sqrt(400)


@pytest.mark.parametrize("types", [[LEFT], [INTERACTING, INTERACTING], [INTERACTING, RIGHT, INTERACTING]])
def test_nobody_to_get_a_hand_from(types: list[int]):
    assert len(drawn(types, 1.0)) == 0
    batch = Batch(random_records(len(types)), torch.tensor(types))
    images, labels, found = augment(batch, 64, ALWAYS, seeded_generator(0), ALONE)
    plain = augment(batch, 64, AugmentConfig("published", 0.0), seeded_generator(0), ALONE)
    assert torch.equal(images, plain.images) and torch.equal(labels, plain.labels) and torch.equal(found, plain.hand_types)


def single_hands(n: int) -> Batch:
    """Records with a block of part 1 + n % 16 of one hand; every third shows two."""
    records, types = torch.zeros(n, 5, 80, 80, dtype=torch.uint8), torch.arange(n) % 3
    records[:, :3] = torch.randint(0, 256, (n, 3, 1, 1), generator=seeded_generator(1), dtype=torch.uint8)
    for i, hand in enumerate(types.tolist()):
        records[i, 3:5 if hand == INTERACTING else 4, 20:60, 25:55] = 1 + i % 16
        if hand == RIGHT:
            records[i, 3:] = records[i, 3:].flip(0)
    return Batch(records, types)


@pytest.mark.parametrize("kind", ["published", "strong"])
def test_a_paste_changes_receivers_alone_and_their_types(kind: str):
    batch = single_hands(15)
    with_paste, without = (augment(batch, 64, AugmentConfig(kind, p), seeded_generator(2), ALONE) for p in (0.5, 0.0))
    assert not with_paste.images.requires_grad
    received = (with_paste.hand_types != without.hand_types).tolist()
    assert 0 < sum(received) < 10
    for n, has in enumerate(received):
        shown = [set(hand.unique().tolist()) - {0} for hand in with_paste.labels[n]]
        if not has:
            assert torch.equal(with_paste.images[n], without.images[n]) and torch.equal(with_paste.labels[n], without.labels[n])
            assert with_paste.hand_types[n] == (INTERACTING if all(shown) else LEFT if shown[0] else RIGHT)
            continue
        assert with_paste.hand_types[n] == INTERACTING
        own = without.hand_types[n].item()
        assert shown[own] == {1 + n % 16}
        (given,) = shown[1 - own]
        assert given != 1 + n % 16 and given % 3 != 0  # of a picture with one hand: those of two have parts 3, 6, ...


def test_same_seed_same_pastes_other_seed_others():
    batch = single_hands(12)
    first, again, other = (augment(batch, 64, ALWAYS, seeded_generator(seed), ALONE) for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.labels, other.labels)


def test_each_process_pastes_within_its_share():
    """Who receives does not depend on the processes; from whom does, since each has its own records alone."""
    batch = single_hands(24)
    config = AugmentConfig("published", hand_paste=0.5)
    whole = augment(batch, 64, config, seeded_generator(3), ALONE)
    for rank in range(2):
        share = slice(rank, None, 2)
        own = augment(Batch(*(part[share] for part in batch)), 64, config, seeded_generator(3), Shard(rank, 2))
        assert torch.equal(own.hand_types, whole.hand_types[share])
        unpasted = (own.hand_types != INTERACTING) | (batch.hand_types[share] == INTERACTING)
        assert torch.equal(own.labels[unpasted], whole.labels[share][unpasted])


def test_masks_without_pictures_are_pasted_too():
    batch = single_hands(12)
    masks = augment(Batch(batch.records[:, 3:], batch.hand_types), 64, ALWAYS, seeded_generator(3), ALONE)
    pairs = augment(batch, 64, ALWAYS, seeded_generator(3), ALONE)
    assert masks.images.shape[1] == 0
    assert torch.equal(masks.labels, pairs.labels) and (masks.hand_types == INTERACTING).all()


def test_a_flip_makes_a_left_hand_a_right_one():
    types, flips = torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([False, True, False, True, False, True])
    assert flipped_types(types, flips).tolist() == [0, 1, 1, 0, 2, 2]


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_refuses_other_shares(share: float):
    with pytest.raises(InvalidInput, match="hand_paste is"):
        AugmentConfig("published", share)


def test_refuses_an_unknown_augmentation():
    with pytest.raises(InvalidInput, match="augmentation is 'wild'; expected published or strong"):
        AugmentConfig("wild", 0.0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_makes_the_same_scenes():
    batch = single_hands(12)
    here = augment(batch, 64, ALWAYS, seeded_generator(3), ALONE)
    there = augment(Batch(batch.records.cuda(), batch.hand_types), 64, ALWAYS, seeded_generator(3), ALONE)
    assert there.images.is_cuda and torch.equal(there.hand_types, here.hand_types)
    assert ((there.images.cpu() - here.images).abs() < 0.01).double().mean() > 0.999
    assert (there.labels.cpu() == here.labels).double().mean() > 0.999  # at a border between two pixels rounding decides

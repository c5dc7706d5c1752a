"""The losses: class-weighted cross-entropy, Dice and Jaccard over both hands, and the adversarial terms.

All take logits (N, 34, S, S) and labels (N, 2, S, S) as `hands.parts` defines them and return a scalar. Pixels are
laid out as rows of 17 logits, which is how channels_last networks write them: no one-hot targets, no copy.

Pixels whose label is IGNORED are left out of every sum over pixels: they change no loss and get no gradient.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from hands.errors import InvalidInput
from hands.networks.logits import at_least_float32, hand_rows
from hands.packed.ignored import known_pixels
from hands.parts import BACKGROUND, HANDS, NUM_CHANNELS, NUM_CLASSES

SMOOTH = 1.0  # pixels added to numerator and denominator of Dice and Jaccard: an empty class that stays empty costs nothing


def pixel_rows(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Logits as rows (N*S*S, 2, 17) in float32 or better, targets (N*S*S, 2) of 0..16, and known_pixels of the targets, which
    are background elsewhere.

    Raises:
        ValueError: shapes that are not those of the tensor contract.
    """
    if logits.ndim != 4 or labels.ndim != 4:
        raise ValueError(f"got logits {tuple(logits.shape)} and labels {tuple(labels.shape)}; expected four dimensions each")
    n, channels, height, width = logits.shape
    if channels != NUM_CHANNELS or labels.shape != (n, len(HANDS), height, width):
        raise ValueError(
            f"got logits {tuple(logits.shape)} and labels {tuple(labels.shape)}; "
            f"expected (N, {NUM_CHANNELS}, S, S) and (N, {len(HANDS)}, S, S)"
        )
    targets = labels.permute(0, 2, 3, 1).reshape(-1, len(HANDS))
    known = known_pixels(targets)
    if known is not None:
        targets = targets.masked_fill(~known, BACKGROUND)
    return at_least_float32(hand_rows(logits).flatten(0, 2)), targets, known


def cross_entropy_loss(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    r"""Class-weighted cross-entropy, summed over both hands.

    .. math:: \sum_h \frac{\sum_i w_{y_{hi}} \, (-\log p_{hi,y_{hi}})}{\sum_i w_{y_{hi}}}

    Args:
        logits: (N, 34, S, S).
        labels: (N, 2, S, S) int64, 0..16 or IGNORED.
        weights: (17,) class weights >= 0.

    Example:
        >>> logits, labels = torch.zeros(1, 34, 2, 2), torch.zeros(1, 2, 2, 2, dtype=torch.int64)
        >>> round(cross_entropy_loss(logits, labels, torch.ones(17)).item(), 4)  # 2 log 17
        5.6664
    """
    rows, targets, known = pixel_rows(logits, labels)
    return _cross_entropy(rows.log_softmax(dim=2), targets, known, weights)


def _cross_entropy(
    log_probabilities: torch.Tensor, targets: torch.Tensor, known: torch.Tensor | None, weights: torch.Tensor
) -> torch.Tensor:
    """Of rows (N*S*S, 2, 17), targets and known pixels (N*S*S, 2)."""
    pixel_weights = weights.to(log_probabilities.dtype)[targets]
    if known is not None:
        pixel_weights = pixel_weights * known
    on_target = log_probabilities.gather(2, targets.unsqueeze(2)).squeeze(2)
    weight_sums = pixel_weights.sum(0).clamp(min=torch.finfo(torch.float32).tiny)
    return -((pixel_weights * on_target).sum(0) / weight_sums).sum()


def dice_loss(logits: torch.Tensor, labels: torch.Tensor, alpha: float) -> torch.Tensor:
    r"""Soft Dice over the 17 classes of each hand, summed over both hands.

    .. math:: \sum_h \frac{1}{17} \sum_c 1 - \frac{2 \sum_i q_{hic} y_{hic} + 1}{\sum_i q_{hic} + \sum_i y_{hic} + 1},
              \quad q = (1 - p)^\alpha p

    Sums run over all pixels of the batch. alpha = 0 is ordinary Dice (q = p, Milletari et al., arXiv:1606.04797);
    alpha > 0 is the self-adjusting variant that turns away from easy pixels (Li et al., arXiv:1911.02855). As q falls
    to 0 where the network is sure, it alone does not ask for certainty; the cross-entropy beside it does.

    Args:
        logits: (N, 34, S, S).
        labels: (N, 2, S, S) int64, 0..16 or IGNORED.
        alpha: exponent >= 0.

    Example:
        >>> labels = torch.zeros(1, 2, 2, 2, dtype=torch.int64)
        >>> logits = torch.zeros(1, 34, 2, 2)
        >>> logits[:, [0, 17]] = 100.0  # sure of background, and right
        >>> round(dice_loss(logits, labels, alpha=0.0).item(), 4)
        0.0
    """
    rows, targets, known = pixel_rows(logits, labels)
    return _dice(rows.softmax(dim=2), targets, known, alpha)


def _dice(probabilities: torch.Tensor, targets: torch.Tensor, known: torch.Tensor | None, alpha: float) -> torch.Tensor:
    if alpha > 0:
        doubt = (1 - probabilities).clamp(min=torch.finfo(probabilities.dtype).eps)  # 0 ** alpha has no finite gradient
        probabilities = doubt**alpha * probabilities
    intersection, predicted, actual = _class_sums(probabilities, targets, known)
    dice = (2 * intersection + SMOOTH) / (predicted + actual + SMOOTH)
    return (1 - dice).mean(dim=1).sum()


def jaccard_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    r"""Soft Jaccard (1 - IoU) over the 17 classes of each hand, summed over both hands; shapes as in dice_loss.

    .. math:: \sum_h \frac{1}{17} \sum_c 1 - \frac{\sum_i p y + 1}{\sum_i p + \sum_i y - \sum_i p y + 1}
    """
    rows, targets, known = pixel_rows(logits, labels)
    return _jaccard(rows.softmax(dim=2), targets, known)


def _jaccard(probabilities: torch.Tensor, targets: torch.Tensor, known: torch.Tensor | None) -> torch.Tensor:
    intersection, predicted, actual = _class_sums(probabilities, targets, known)
    jaccard = (intersection + SMOOTH) / (predicted + actual - intersection + SMOOTH)
    return (1 - jaccard).mean(dim=1).sum()


def _class_sums(
    scores: torch.Tensor, targets: torch.Tensor, known: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Per hand and class (2, 17), over known pixels: sum of scores on the class's own pixels, sum of scores, number of its
    pixels."""
    bins = targets + torch.arange(len(HANDS), device=targets.device) * NUM_CLASSES
    if known is not None:
        scores = scores * known.unsqueeze(2)
        bins = bins.masked_fill(~known, NUM_CHANNELS)  # one more, which is dropped
    flat = bins.reshape(-1)
    on_target = scores.gather(2, targets.unsqueeze(2)).reshape(-1)
    intersection = scores.new_zeros(NUM_CHANNELS + 1).index_add(0, flat, on_target)[:NUM_CHANNELS]
    actual = torch.bincount(flat, minlength=NUM_CHANNELS + 1)[:NUM_CHANNELS].to(scores.dtype)
    shape = (len(HANDS), NUM_CLASSES)
    return intersection.view(shape), scores.sum(dim=0), actual.view(shape)


def one_hot_labels(labels: torch.Tensor) -> torch.Tensor:
    """Labels (N, 2, S, S) as the one-hot map (N, 34, S, S) float32, channels_last, that D judges; ignored pixels are of no
    class, zeros."""
    indices = labels.permute(0, 2, 3, 1).unsqueeze(4)
    known = known_pixels(indices)
    if known is None:
        return _as_map(_one_hot_rows(indices, torch.float32))
    return _as_map(_one_hot_rows(indices.masked_fill(~known, BACKGROUND), torch.float32) * known)


def without_ignored(maps: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """A network's maps (N, 34, S, S) with zeros where the labels (N, 2, S, S) of their pictures are ignored: as one_hot_labels
    has them, so that D cannot tell real from fake by where labels are unknown."""
    known = known_pixels(labels)
    return maps if known is None else _as_map(hand_rows(maps) * known.permute(0, 2, 3, 1).unsqueeze(4))


def straight_through_one_hot(logits: torch.Tensor) -> torch.Tensor:
    """Hard one-hot map of the argmax (N, 34, S, S) whose gradient is the softmax's (Bengio et al., arXiv:1308.3432).

    D sees what it sees of real labels (so it judges shape, not softness), and yet teaches the network.
    """
    rows = at_least_float32(hand_rows(logits))
    hard = _one_hot_rows(rows.detach().max(dim=4, keepdim=True).indices, rows.dtype)  # argmax takes twice as long
    if rows.requires_grad:
        hard = _WithGradientTo.apply(hard, rows.softmax(dim=4))
    return _as_map(hard)


class _WithGradientTo(torch.autograd.Function):
    """hard + (soft - soft.detach()), which is `hard` with its gradient handed to `soft`, without the sums."""

    @staticmethod
    def forward(ctx, hard: torch.Tensor, soft: torch.Tensor) -> torch.Tensor:
        return hard.view_as(hard)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> tuple[None, torch.Tensor]:
        return None, gradient


def softmax_map(logits: torch.Tensor) -> torch.Tensor:
    """Softmax probabilities of each hand (N, 34, S, S): the alternative input of D."""
    return _as_map(at_least_float32(hand_rows(logits)).softmax(dim=4))


def _one_hot_rows(indices: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Classes (N, S, S, 2, 1) as (N, S, S, 2, 17)."""
    zeros = torch.zeros(*indices.shape[:4], NUM_CLASSES, dtype=dtype, device=indices.device)
    return zeros.scatter_(4, indices, 1.0)


def _as_map(rows: torch.Tensor) -> torch.Tensor:
    """(N, S, S, 2, 17) as a map (N, 34, S, S) in the same memory: channels_last, which D is fastest in."""
    return rows.flatten(3).permute(0, 3, 1, 2)


ADV_INPUTS = {"one_hot": straight_through_one_hot, "softmax": softmax_map}


def adversarial_loss(fake_logits: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of D's logits for the network's labels against "real": low where D is fooled."""
    fake = at_least_float32(fake_logits)
    return F.binary_cross_entropy_with_logits(fake, torch.ones_like(fake))


def discriminator_loss(real_logits: torch.Tensor, fake_logits: torch.Tensor) -> torch.Tensor:
    """Mean binary cross-entropy of D's logits: real against 1, fake against 0 (Goodfellow et al., arXiv:1406.2661)."""
    real, fake = at_least_float32(real_logits), at_least_float32(fake_logits)
    return 0.5 * (
        F.binary_cross_entropy_with_logits(real, torch.ones_like(real))
        + F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
    )


class SegmentationLoss(nn.Module):
    """ce_weight x CE + dice_weight x second, where `second` is dice, jaccard or ce (then both are cross-entropy).

    Raises:
        InvalidInput: unknown second term, a negative weight, or both weights zero.
    """

    def __init__(self, ce_weight: float, dice_weight: float, second: str, dice_alpha: float, class_weights: Sequence[float]):
        super().__init__()
        if second not in ("dice", "jaccard", "ce"):
            raise InvalidInput(f"loss is '{second}'; expected dice, jaccard or ce.")
        if not all(math.isfinite(w) and w >= 0 for w in (ce_weight, dice_weight, dice_alpha)):
            raise InvalidInput(
                f"ce_weight={ce_weight} dice_weight={dice_weight} dice_alpha={dice_alpha}; expected finite numbers >= 0."
            )
        if ce_weight + dice_weight == 0:
            raise InvalidInput("ce_weight and dice_weight are both 0: nothing would be learned from labels; raise one.")
        self.ce_weight = ce_weight
        self.dice_weight = dice_weight
        self.second = second
        self.dice_alpha = dice_alpha
        self.register_buffer("class_weights", torch.tensor(class_weights, dtype=torch.float32))

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """`loss_total` and its terms, each a scalar; the second term is called loss_dice whatever it is."""
        rows, targets, known = pixel_rows(logits, labels)
        log_probabilities = rows.log_softmax(dim=2)  # once for both terms
        loss_ce = _cross_entropy(log_probabilities, targets, known, self.class_weights)
        if self.second == "dice":
            loss_dice = _dice(log_probabilities.exp(), targets, known, self.dice_alpha)
        elif self.second == "jaccard":
            loss_dice = _jaccard(log_probabilities.exp(), targets, known)
        else:
            loss_dice = loss_ce
        return {
            "loss_ce": loss_ce,
            "loss_dice": loss_dice,
            "loss_total": self.ce_weight * loss_ce + self.dice_weight * loss_dice,
        }

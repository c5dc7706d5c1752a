"""Whether the pseudo-labels that are kept are the better ones.

    python -m tests.method.pseudo_label_scores MODEL PACKED_DIR [SPLIT]

MODEL: a folder or MLflow URI of a G1. PACKED_DIR: a packed set. SPLIT: labelled pictures, train if none is given. G1 labels
them as if they were unpaired, unaugmented and in random order; half of each batch is dropped. Prints, for the confidence of
earlier states, which did not know which hands are there, and for that of now: Spearman's correlation with the true mean IoU of
the pseudo-labels, the mean IoU of those kept and of those dropped, the share of absent hands that they paint, and the shares
kept of each hand type, of pictures with an overlooked hand (there, and labelled nowhere) and of the others.
"""

import sys
from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import torch
from torchmetrics.functional import spearman_corrcoef

from hands.evaluation.inference import logits_of_subset
from hands.evaluation.metrics import confusion_matrices, image_hand_miou, paints_absent_hand
from hands.method.pseudo_labels import hands_present, most_confident, pseudo_labels
from hands.networks.checkpoint import load_network
from hands.networks.hands_network import HandsNetwork
from hands.networks.logits import probabilities_of
from hands.packed.batches import RecordReader
from hands.packed.packed_set import PackedSet
from hands.parts import BACKGROUND, HAND_TYPES
from hands.tracking.models import fetch_network

Labelling = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]

BATCH_SIZE, DROP_FRACTION = 32, 0.5


def main(model: str, packed_dir: str, split: str = "train") -> None:
    network, _ = load_network(fetch_network(model))
    reader = RecordReader(PackedSet.open(packed_dir).subset(split), "disk", torch.device("cpu"))
    for name, labelling in (("earlier", unaware), ("now", pseudo_labels)):
        scores = scored(network, reader, labelling)
        print("  ".join([f"{name}: {len(reader.subset)} pictures", *(f"{key} {value:.3f}" for key, value in scores.items())]))


def unaware(logits: torch.Tensor, present: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """As `pseudo_labels` was: the mean over both hands of (mean over parts + mean over background) / 2, or of one of them where
    there is no other."""
    largest, labels = probabilities_of(logits).max(dim=2)
    means = [(largest * on).sum((2, 3)) / on.sum((2, 3)) for on in (labels != BACKGROUND, labels == BACKGROUND)]
    return labels, torch.stack(means).nanmean(dim=0).mean(dim=1)


@torch.inference_mode()
def scored(network: HandsNetwork, reader: RecordReader, labelling: Labelling) -> dict[str, float]:
    order = np.random.default_rng(0).permutation(len(reader.subset))
    hand_types = torch.from_numpy(reader.subset.hand_types[order])
    found = []
    for batch, _, truth, logits in logits_of_subset(network, reader, order, BATCH_SIZE, nullcontext):
        present = hands_present(torch.from_numpy(reader.subset.hand_types[batch]))
        labels, confidence = labelling(logits, present)
        kept = torch.zeros(len(batch), dtype=torch.bool)
        kept[most_confident(confidence, DROP_FRACTION)] = True
        confusions = confusion_matrices(labels, truth)
        miou = image_hand_miou(confusions, reader.subset.size).nanmean(dim=1)
        absent, painted = paints_absent_hand(confusions, reader.subset.size)
        overlooks = (present & (labels == BACKGROUND).all(dim=(2, 3))).any(dim=1)
        found.append((confidence, kept, miou, absent.sum(dim=1), painted.sum(dim=1), overlooks))
    confidence, kept, miou, absent, painted, overlooks = map(torch.cat, zip(*found, strict=True))
    judged = ~miou.isnan()
    groups = {name: hand_types == code for code, name in enumerate(HAND_TYPES)}
    groups |= {"overlooked": overlooks, "others": ~overlooks}
    return {
        "correlation": spearman_corrcoef(confidence[judged], miou[judged].float()).item(),
        "miou_kept": miou[kept].nanmean().item(),
        "miou_dropped": miou[~kept].nanmean().item(),
        "absent_hand": (painted.sum() / absent.sum()).item(),
        **{f"kept_{name}": kept[group].double().mean().item() for name, group in groups.items()},
    }


if __name__ == "__main__":
    main(*sys.argv[1:])

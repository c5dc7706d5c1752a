"""Frames to write into the raw layout."""

from hands.interhand.chunks import ImportedFrame
from tests.raw.independent_layout import a_picture, label_pngs, png, some_labels


def a_frame(role: str, k: int, labelled: bool) -> ImportedFrame:
    """Frame k of a role, as it is handed to a writer; 40 x 32 pixels."""
    split = role if role in ("val", "test") else "train"
    left, right = label_pngs(some_labels(40, 32, k)) if labelled else (None, None)
    return ImportedFrame(
        split=split,
        role=role,
        path=f"{split}/Capture3/0012_x/cam400123/image{role}{k}",
        hand_type="interacting",
        hand_type_valid=True,
        bbox=(1.5, 2.0, 30.0, 30.0),
        seq_name="0012_x",
        capture=3,
        cam=400123,
        frame=k,
        image=None if role == "unpaired_masks" else png(a_picture(40, 32, k)),
        labels_l=left,
        labels_r=right,
    )

"""Names of networks, of which the wrong ones can be refused before torch is imported."""

from hands.errors import InvalidInput

# What `g1` and `g2` name in a word: architecture, encoder, encoder_depth, decoder_channels, head_stride of a NetworkSpec.
NAMED = {
    "uxnet": ("unet", "xception", 5, (), 1),
    "uplusregnet": ("unetplusplus", "timm-regnety_032", 5, (), 1),
    # For machines without an accelerator: a third of the arithmetic of unet:resnet18 at the same picture size.
    "light": ("unet", "resnet18", 4, (96, 64, 48, 32), 2),
}


def check_name(name: str) -> None:
    """Raises InvalidInput for what is neither a name of ours nor architecture:encoder, whichever these are."""
    if name not in NAMED and ":" not in name:
        raise InvalidInput(
            f"'{name}' names no network; expected one of {', '.join(NAMED)}, or architecture:encoder of "
            f"segmentation-models-pytorch, e.g. unet:resnet18."
        )

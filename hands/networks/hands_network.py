"""The segmentation networks: what `g1` and `g2` name, and how a network is built from its specification."""

import os
import socket
import warnings
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import segmentation_models_pytorch as smp
import timm
import torch
from torch import nn

from hands.errors import InvalidInput, shown
from hands.networks.names import NAMED, check_name
from hands.parts import NUM_CHANNELS

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
HUB_TIMEOUT_S = 5


@dataclass(frozen=True)
class NetworkSpec:
    """What rebuilds a network (the content of `network.json`).

    Attributes:
        architecture: a name of segmentation-models-pytorch, e.g. "unet".
        encoder: an encoder name of segmentation-models-pytorch, e.g. "resnet18".
        encoder_depth: number of encoder stages used, 3..5.
        decoder_channels: channels of each decoder block, coarse to fine; empty for the architecture's own.
        head_stride: 1, or 2 for a head at half resolution whose logits are upsampled bilinearly (U-Net only).

    Raises:
        InvalidInput: a value outside of these.
    """

    architecture: str
    encoder: str
    encoder_depth: int
    decoder_channels: tuple[int, ...]
    head_stride: int

    def __post_init__(self):
        if self.architecture not in smp.MODEL_ARCHITECTURES_MAPPING or not _is_encoder(self.encoder):
            raise InvalidInput(
                f"{shown(f'{self.architecture}:{self.encoder}')} names no network; expected an architecture of "
                f"{', '.join(sorted(smp.MODEL_ARCHITECTURES_MAPPING))} and an encoder of segmentation-models-pytorch, "
                f"e.g. unet:resnet18."
            )
        if self.encoder_depth not in (3, 4, 5) or self.head_stride not in (1, 2):
            raise InvalidInput(
                f"encoder_depth is {shown(self.encoder_depth)} and head_stride {shown(self.head_stride)}; expected 3 to 5"
                " and 1 or 2."
            )
        if len(self.decoder_channels) > 5 or not all(0 < channels <= 1024 for channels in self.decoder_channels):
            found = ", ".join(map(shown, self.decoder_channels[:6]))
            raise InvalidInput(f"decoder_channels are {found}; expected at most 5 numbers from 1 to 1024.")

    def to_json(self) -> dict:
        return asdict(self)

    @classmethod
    def from_json(cls, fields: dict) -> "NetworkSpec":
        expected = {
            "architecture": str,
            "encoder": str,
            "encoder_depth": int,
            "decoder_channels": list,
            "head_stride": int,
        }
        wrong = [
            name
            for name, kind in expected.items()
            if not isinstance(fields, dict) or type(fields.get(name)) is not kind
        ]
        if wrong or not all(type(c) is int for c in fields["decoder_channels"]):
            raise InvalidInput(
                f"network.json lacks or misstates {', '.join(wrong) or 'decoder_channels'}; "
                f"expected {sorted(expected)}. Take the file from a model that this project logged."
            )
        return cls(
            **{name: fields[name] for name in expected if name != "decoder_channels"},
            decoder_channels=tuple(fields["decoder_channels"]),
        )


def _is_encoder(name: str) -> bool:
    """Known offline: timm would go and fetch what a name like "tu-hf-hub:..." points to."""
    if name in smp.encoders.get_encoder_names():
        return True
    prefix, _, model = name.partition("-")
    return prefix in ("tu", "timm") and (timm.is_model(model) or timm.is_model(f"tf_{model}"))


NAMED_NETWORKS = {name: NetworkSpec(*fields) for name, fields in NAMED.items()}


def network_spec(name: str) -> NetworkSpec:
    """Resolves what a user writes for `g1` or `g2`.

    Args:
        name: "uxnet", "uplusregnet", "light", or any "architecture:encoder" of segmentation-models-pytorch.

    Raises:
        InvalidInput: for a name that is none of these.
    """
    if name in NAMED_NETWORKS:
        return NAMED_NETWORKS[name]
    check_name(name)
    architecture, _, encoder = name.partition(":")
    if architecture not in smp.MODEL_ARCHITECTURES_MAPPING or not _is_encoder(encoder):
        raise InvalidInput(
            f"'{name}' names no network; expected one of {', '.join(NAMED_NETWORKS)} or architecture:encoder with "
            f"architecture one of {', '.join(sorted(smp.MODEL_ARCHITECTURES_MAPPING))} and an encoder of "
            f"segmentation-models-pytorch, e.g. unet:resnet18."
        )
    return NetworkSpec(architecture, encoder, 5, (), 1)


class HandsNetwork(nn.Module):
    """Images (N, 3, S, S) in [0, 1] to logits (N, 34, S, S): 17 channels for the left hand, then 17 for the right.

    S is one that hands.parts.check_size takes.
    """

    def __init__(self, spec: NetworkSpec, encoder_weights: str | None):
        super().__init__()
        self.spec = spec
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)
        self.body = _build_body(spec, encoder_weights)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.body((images - self.mean) / self.std)


def _build_body(spec: NetworkSpec, encoder_weights: str | None) -> nn.Module:
    options = {}
    if spec.encoder_depth != 5:
        options["encoder_depth"] = spec.encoder_depth
    if spec.decoder_channels:
        options["decoder_channels"] = spec.decoder_channels
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="`timm-` encoders are deprecated", category=DeprecationWarning)
            warnings.filterwarnings("ignore", message="For 'tu-'.*encoder_weights", category=UserWarning)
            body = smp.create_model(
                spec.architecture,
                encoder_name=spec.encoder,
                encoder_weights=encoder_weights,
                in_channels=3,
                classes=NUM_CHANNELS,
                **options,
            )
    except (LookupError, ValueError, TypeError, AttributeError, RuntimeError, AssertionError) as error:
        raise InvalidInput(
            f"segmentation-models-pytorch cannot build {spec.architecture}:{spec.encoder} ({error}); "
            f"choose another architecture or encoder."
        ) from error
    if spec.head_stride == 2:
        _move_head_to_half_resolution(body, spec)
    _drop_unused_stages(body, spec)
    return body


def _move_head_to_half_resolution(body: nn.Module, spec: NetworkSpec) -> None:
    if spec.architecture != "unet" or len(spec.decoder_channels) < 2:
        raise InvalidInput(
            f"head_stride 2 is for unet with decoder_channels, found {spec.architecture} with {spec.decoder_channels}; "
            f"use head_stride 1."
        )
    body.decoder.blocks = body.decoder.blocks[:-1]
    body.segmentation_head = smp.base.SegmentationHead(
        in_channels=spec.decoder_channels[-2], out_channels=NUM_CHANNELS, kernel_size=3
    )
    body.segmentation_head[1] = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
    smp.base.initialization.initialize_head(body.segmentation_head)


def _drop_unused_stages(body: nn.Module, spec: NetworkSpec) -> None:
    """Removes stages beyond encoder_depth: parameters that never get a gradient (DistributedDataParallel refuses them)."""
    for stage in range(spec.encoder_depth, 5):
        if hasattr(body.encoder, f"layer{stage}"):
            setattr(body.encoder, f"layer{stage}", nn.Identity())


def build_network(spec: NetworkSpec, encoder_weights: str) -> tuple[HandsNetwork, str]:
    """Builds a network for training.

    Args:
        spec: what to build.
        encoder_weights: "imagenet" (fails where they cannot be had), "none" (random), or "auto" (imagenet, and
            random with a warning where they cannot be had).

    Returns:
        the network and the weights its encoder starts from: "imagenet" or "none".

    Raises:
        InvalidInput: for another value of encoder_weights, or "imagenet" where the weights cannot be had.
    """
    if encoder_weights not in ("auto", "imagenet", "none"):
        raise InvalidInput(f"encoder_weights is '{encoder_weights}'; expected auto, imagenet or none.")
    if encoder_weights == "none":
        return HandsNetwork(spec, None), "none"
    random_state = torch.get_rng_state()  # a failed try must not change the weights drawn after it
    try:
        return _with_hub_timeout(lambda: HandsNetwork(spec, "imagenet")), "imagenet"
    except (OSError, RuntimeError, ValueError, KeyError, InvalidInput) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split()).partition('. ')[0]}"
    if encoder_weights == "imagenet":
        raise InvalidInput(
            f"ImageNet weights for {spec.encoder} cannot be had ({reason}). Fetch them once on a machine that reaches "
            f"the hub and share its cache (HF_HOME), or use encoder_weights=none."
        )
    warnings.warn(f"no ImageNet weights for {spec.encoder} ({reason}): the encoder starts from random weights", stacklevel=2)
    torch.set_rng_state(random_state)
    return HandsNetwork(spec, None), "none"


def _with_hub_timeout(build):
    """Runs build() so that a hub that does not answer costs seconds, not the client's minutes of retries."""
    if not _hub_answers():
        import huggingface_hub.constants as hub

        offline, hub.HF_HUB_OFFLINE = hub.HF_HUB_OFFLINE, True  # the cache may still hold the weights
        try:
            return build()
        finally:
            hub.HF_HUB_OFFLINE = offline
    return build()


def _hub_answers() -> bool:
    endpoint = urlsplit(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))
    proxy = getproxies().get(endpoint.scheme)
    if proxy and not proxy_bypass(endpoint.hostname or ""):
        endpoint = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    try:
        port = endpoint.port or (443 if endpoint.scheme == "https" else 80)
        socket.create_connection((endpoint.hostname, port), timeout=HUB_TIMEOUT_S).close()
    except (OSError, ValueError):  # ValueError: a port that is no number
        return False
    return True

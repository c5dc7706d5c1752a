"""Networks by name, the shape of what they say, and where their encoders start from."""

import dataclasses
import socket
import time
import warnings

import pytest
import torch
from torch import nn

from hands.errors import InvalidInput
from hands.networks import hands_network as networks
from hands.networks.hands_network import NAMED_NETWORKS, HandsNetwork, NetworkSpec, build_network, network_spec

SMALL = NetworkSpec("unet", "resnet18", 3, (16, 16, 16), 1)


@pytest.mark.parametrize(
    ("name", "architecture", "encoder"),
    [
        ("uxnet", "unet", "xception"),
        ("uplusregnet", "unetplusplus", "timm-regnety_032"),
        ("light", "unet", "resnet18"),
        ("unet:resnet18", "unet", "resnet18"),
        ("fpn:timm-regnety_032", "fpn", "timm-regnety_032"),
        ("unet:tu-mobilenetv3_small_100", "unet", "tu-mobilenetv3_small_100"),
        ("unet:timm-mobilenetv3_small_minimal_100", "unet", "timm-mobilenetv3_small_minimal_100"),
    ],
)
def test_names(name: str, architecture: str, encoder: str):
    spec = network_spec(name)
    assert (spec.architecture, spec.encoder) == (architecture, encoder)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "unet",
        "unet:",
        ":resnet18",
        "unet:nonsense",
        "nonsense:resnet18",
        "unet:resnet18:x",
        "UXNET",
        "unet:tu-nonsense",
        "unet:tu-hf-hub:someone/something",  # would be fetched
        "unet:tu-local-dir:/tmp",
    ],
)
def test_refuses_other_names(name: str):
    with pytest.raises(InvalidInput, match="names no network.*unet:resnet18"):
        network_spec(name)


@pytest.mark.parametrize("spec", [*NAMED_NETWORKS.values(), SMALL], ids=[*NAMED_NETWORKS, "three stages"])
def test_every_parameter_gets_a_gradient(spec: NetworkSpec):
    """DistributedDataParallel refuses parameters that never do."""
    torch.manual_seed(0)
    network = HandsNetwork(spec, None)
    logits = network(torch.rand(2, 3, 64, 64))
    assert logits.shape == (2, 34, 64, 64) and logits.dtype == torch.float32
    logits.square().mean().backward()
    idle = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert idle == []


def test_light_is_light():
    """Three encoder stages and a stem, without the fourth stage's 8.4 million parameters."""
    network = HandsNetwork(NAMED_NETWORKS["light"], None)
    assert isinstance(network.body.encoder.layer4, nn.Identity)
    assert sum(p.numel() for p in network.parameters()) < 4e6
    assert isinstance(network.body.segmentation_head[1], nn.Upsample)
    assert network.body.segmentation_head[0].out_channels == 34


def test_images_are_normalised_as_imagenet_is():
    network = HandsNetwork(SMALL, None)
    network.body = nn.Identity()
    grey = network(torch.full((1, 3, 2, 2), 0.5))[0, :, 0, 0]
    expected = [(0.5 - 0.485) / 0.229, (0.5 - 0.456) / 0.224, (0.5 - 0.406) / 0.225]
    torch.testing.assert_close(grey, torch.tensor(expected))


@pytest.mark.parametrize("spec", [*NAMED_NETWORKS.values(), SMALL])
def test_spec_survives_json(spec: NetworkSpec):
    fields = dict(spec.to_json(), decoder_channels=list(spec.decoder_channels))  # JSON knows no tuples
    assert NetworkSpec.from_json(fields) == spec


@pytest.mark.parametrize(
    "change",
    [
        {"architecture": "nonsense"},
        {"architecture": 3},
        {"encoder": "tu-hf-hub:someone/something"},
        {"encoder": None},
        {"encoder_depth": 6},
        {"encoder_depth": True},
        {"head_stride": 3},
        {"decoder_channels": [1 << 40]},
        {"decoder_channels": [0, 0, 0]},
        {"decoder_channels": 100 * [16]},
        {"decoder_channels": ["16"]},
        {"decoder_channels": [True, True, True]},
        {"decoder_channels": "16"},
    ],
)
def test_refuses_other_specs(change: dict):
    fields = dict(SMALL.to_json(), decoder_channels=list(SMALL.decoder_channels))
    with pytest.raises(InvalidInput):
        NetworkSpec.from_json(fields | change)


@pytest.mark.parametrize("fields", [None, 3, "spec", [], {}])
def test_refuses_what_is_no_spec(fields):
    with pytest.raises(InvalidInput, match="network.json lacks"):
        NetworkSpec.from_json(fields)


@pytest.mark.parametrize(
    "spec",
    [
        dataclasses.replace(SMALL, decoder_channels=(16, 16)),  # as many as encoder_depth are needed
        dataclasses.replace(SMALL, architecture="fpn", head_stride=2),
        dataclasses.replace(SMALL, decoder_channels=(), encoder_depth=5, head_stride=2),
    ],
)
def test_what_cannot_be_built_is_invalid_input(spec: NetworkSpec):
    with pytest.raises(InvalidInput):
        HandsNetwork(spec, None)


def test_refuses_other_encoder_weights():
    with pytest.raises(InvalidInput, match="encoder_weights is 'random'"):
        build_network(SMALL, "random")


# --- where no hub answers


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path) -> list:
    """No connection can be made, nothing is cached; returns the connections that were tried."""
    import huggingface_hub.constants as hub

    tried = []

    def refuse(address, *arguments, **options):
        tried.append(address)
        raise OSError("no route to host")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path))
    for name in ("HF_ENDPOINT", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    return tried


@pytest.mark.parametrize("name", ["light", "uxnet", "uplusregnet"])
def test_imagenet_weights_that_cannot_be_had_fail_at_once(no_hub, name: str):
    started = time.monotonic()
    with pytest.raises(InvalidInput, match="ImageNet weights for .* cannot be had.*encoder_weights=none"):
        build_network(network_spec(name), "imagenet")
    assert time.monotonic() - started < 10
    assert no_hub == [("huggingface.co", 443)]


def test_auto_falls_back_with_a_warning_and_the_weights_of_none(no_hub):
    torch.manual_seed(3)
    with pytest.warns(UserWarning, match=r"for resnet18 \(.*local cache\): the encoder starts from random weights$"):
        fallen, weights = build_network(NAMED_NETWORKS["light"], "auto")
    assert weights == "none"
    torch.manual_seed(3)
    plain, weights = build_network(NAMED_NETWORKS["light"], "none")
    assert weights == "none"
    for (name, a), (_, b) in zip(fallen.state_dict().items(), plain.state_dict().items(), strict=True):
        assert torch.equal(a, b), name


def test_the_hub_is_online_again_after_a_failed_try(no_hub):
    import huggingface_hub.constants as hub

    before = hub.HF_HUB_OFFLINE
    with pytest.raises(InvalidInput):
        build_network(SMALL, "imagenet")
    assert hub.HF_HUB_OFFLINE == before


def test_none_asks_no_hub(no_hub):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, weights = build_network(network_spec("unet:resnet18"), "none")
    assert weights == "none" and no_hub == []


@pytest.mark.parametrize(
    ("variables", "address"),
    [
        ({}, ("huggingface.co", 443)),
        ({"HF_ENDPOINT": "http://mirror.example:8080/hf"}, ("mirror.example", 8080)),
        ({"HF_ENDPOINT": "http://mirror.example"}, ("mirror.example", 80)),
        ({"https_proxy": "http://proxy.example:3128"}, ("proxy.example", 3128)),
        ({"https_proxy": "proxy.example:3128"}, ("proxy.example", 3128)),
        ({"https_proxy": "http://proxy.example:3128", "no_proxy": "huggingface.co"}, ("huggingface.co", 443)),
    ],
)
def test_asks_the_host_that_would_be_connected_to(no_hub, monkeypatch: pytest.MonkeyPatch, variables: dict, address: tuple):
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert networks._hub_answers() is False
    assert no_hub == [address]


@pytest.mark.parametrize("endpoint", ["", "nonsense", "http://", "http://host:port"])
def test_an_odd_endpoint_is_no_answer(no_hub, monkeypatch: pytest.MonkeyPatch, endpoint: str):
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    assert networks._hub_answers() is False

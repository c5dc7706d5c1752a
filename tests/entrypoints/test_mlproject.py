"""MLproject: every parameter is declared, forwarded and accepted, and its default is one that the command line takes."""

import importlib
import math
import re
import shlex
from types import SimpleNamespace

import click
import pytest
import yaml

from entrypoints import pipeline
from entrypoints.launch import commands
from entrypoints.launch import steps as launched_steps
from entrypoints.launch.checks import Resolved
from entrypoints.launch.parameters import PIPELINE, TYPES
from hands.steps.seeds import derived_seed
from hands.tracking import ROOT
from hands.tracking.registry import Standing
from tests.project import PIPELINE_STEPS, command_of

PROJECT = yaml.safe_load((ROOT / "MLproject").read_text())
ENTRY_POINTS = PROJECT["entry_points"]
RECIPES = ("main", "dryrun", "full")
# of steps that the pipeline starts: what it gives them; the rest is the pipeline's of the same name, or the default
GIVEN = {
    "synthesize": set(),
    "prepare": {"data_dir"},
    "phase1": {"packed_dir", "epochs"},
    "phase2_init": {"packed_dir", "seed", "g1_model", "g2_model", "epochs"},
    "phase2_paired": {"packed_dir", "seed", "g2_model", "d_model", "epochs", "lr"},
    "evaluate": {"packed_dir", "model", "split"},
    "predict": {"packed_dir", "model", "split"},
}
# defaults that steps keep within the pipeline
NOT_FORWARDED = {"phase1": {"g1_model"}, "evaluate": {"flip"}, "predict": {"images", "boxes", "flip"}}


def declared(entry_point: str) -> dict[str, dict]:
    return ENTRY_POINTS[entry_point]["parameters"]


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
def test_command_forwards_every_parameter_once_under_its_name(entry_point):
    words = shlex.split(ENTRY_POINTS[entry_point]["command"])[4:]
    forwarded = list(zip(words[::2], words[1::2], strict=True))
    assert sorted(forwarded) == sorted((f"--{name}", f"{{{name}}}") for name in declared(entry_point))


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
def test_command_line_takes_exactly_the_declared_parameters(entry_point):
    options = {option.name for option in command_of(entry_point).params}
    assert options == set(declared(entry_point))


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
def test_no_default_stands_in_python(entry_point):
    for option in command_of(entry_point).params:
        assert option.required, option.name
        assert option.to_info_dict()["default"] is None, option.name


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
def test_defaults_are_taken_by_the_command_line(entry_point):
    command = command_of(entry_point)
    arguments = [f"--{name}={field.get('default', 'given')}" for name, field in declared(entry_point).items()]
    with command.make_context(entry_point, arguments) as context:
        assert set(declared(entry_point)) <= set(context.params)


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
def test_types_agree_with_the_command_line(entry_point):
    for name, field in declared(entry_point).items():
        kind = TYPES[name][0]
        expected = "int" if isinstance(kind, click.IntRange) else "float" if kind is click.FLOAT else "string"
        assert field["type"] == expected, name


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
def test_defaults_are_written_as_their_type(entry_point):
    python = {"int": (int,), "float": (int, float), "string": (str,)}
    for name, field in declared(entry_point).items():
        assert "default" not in field or type(field["default"]) in python[field["type"]], name


def test_every_explained_parameter_is_used():
    assert set(TYPES) == {name for entry_point in ENTRY_POINTS for name in declared(entry_point)}


def test_recipes_declare_the_same_parameters():
    assert all(set(declared(recipe)) == set(PIPELINE) for recipe in RECIPES)
    assert len({ENTRY_POINTS[recipe]["command"] for recipe in RECIPES}) == 1
    assert all(declared(recipe)["recipe"]["default"] == recipe for recipe in RECIPES)


def test_only_what_cannot_be_guessed_is_required():
    required = {(e, name) for e in ENTRY_POINTS for name, field in declared(e).items() if "default" not in field}
    assert required == {("compare", "models"), ("import_interhand", "release_dir")}


@pytest.mark.parametrize("entry_point", GIVEN)
def test_steps_get_each_parameter_from_somewhere(entry_point):
    from_pipeline = set(PIPELINE) - GIVEN[entry_point]
    kept = set(declared(entry_point)) - GIVEN[entry_point] - from_pipeline - {"out_dir", "resume"}  # run_step fills these
    assert GIVEN[entry_point] <= set(declared(entry_point))
    assert kept == NOT_FORWARDED.get(entry_point, set())


def recorded_steps(monkeypatch, **overrides) -> list[tuple[str, str, dict[str, str]]]:
    """The steps that main would run, without running any."""
    steps = []
    outputs = {
        "data_dir": "/data", "packed_dir": "/packed", "g1_model": "models:/g1", "discriminator_model": "models:/d",
        "g2_model": "models:/g2", "val_miou": "0.5",
    }  # fmt: skip

    def run_step(entry_point, run_name, place, params, key):
        steps.append((entry_point, run_name, params))
        return "", False

    subset = manifest_with_test(count=4, channels=5)
    info = SimpleNamespace(run_id="", start_time=0, end_time=1)
    client = SimpleNamespace(get_run=lambda run_id: SimpleNamespace(info=info, data=SimpleNamespace(metrics={})))
    monkeypatch.setattr(launched_steps, "run_step", run_step)
    monkeypatch.setattr(launched_steps, "MlflowClient", lambda: client)
    monkeypatch.setattr(launched_steps, "outputs", lambda run_id: outputs)
    monkeypatch.setattr(launched_steps, "raw_digest", lambda folder, channel_order: "a" * 32)
    monkeypatch.setattr(launched_steps, "packed_digest", lambda folder: "b" * 32)
    monkeypatch.setattr(pipeline, "outcome", lambda *arguments: None)
    monkeypatch.setattr(pipeline, "log_outcome", lambda *arguments: None)
    packed = SimpleNamespace(manifest=subset, subset=lambda name: name)
    monkeypatch.setattr(pipeline, "PackedSet", SimpleNamespace(open=lambda folder: packed))
    monkeypatch.setattr(pipeline, "coverage", lambda subset: [])
    monkeypatch.setattr(pipeline, "check_subsets", lambda params, manifest: None)
    monkeypatch.setattr(pipeline, "log_sources", lambda sources: None)
    monkeypatch.setattr(pipeline, "register", lambda *arguments: Standing(1, "champion", 1, 0.5, None, math.nan))
    values = {name: field.get("default") for name, field in declared("main").items()} | overrides
    devices = {"accelerator": "cpu", "devices": "1", "precision": "32-true", "memory_format": "contiguous"}
    resolved = Resolved(devices, {values["g1"]: "imagenet", values["g2"]: "none"})
    arguments = [f"--{name}={value}" for name, value in values.items()]
    with pipeline.main.make_context("main", arguments) as context:
        params = SimpleNamespace(**context.params)
        pipeline.run_recipe(params, launched_steps.Steps(params, resolved, pipeline.count_steps(params)))
    return steps


def manifest_with_test(count: int, channels: int):
    subset = SimpleNamespace(count=count, channels=channels)
    return SimpleNamespace(subsets={"test": subset}, digest="0" * 32, sources=())


def test_pipeline_gives_every_step_all_that_it_requires(monkeypatch):
    for entry_point, _, params in recorded_steps(monkeypatch):
        assert set(params) == set(declared(entry_point))
        assert "None" not in params.values()
        importlib.import_module(f"entrypoints.{entry_point}").main.make_context(
            entry_point, [f"--{name}={value}" for name, value in params.items()]
        ).close()


def test_pipeline_forwards_what_the_user_sets(monkeypatch):
    steps = recorded_steps(monkeypatch, paired_lr="0.002", drop_fraction="0.25", eval_every="7", skip_broken="true", seed="5")
    seeds = {name: params.get("seed") for _, name, params in steps}
    by_entry_point = {entry_point: params for entry_point, _, params in steps}
    assert by_entry_point["phase2_paired"]["lr"] == "0.002"
    assert by_entry_point["phase2_init"]["drop_fraction"] == "0.25"
    assert by_entry_point["phase1"]["eval_every"] == "7"
    assert by_entry_point["prepare"]["skip_broken"] == "True"
    assert seeds["synthesize"] == seeds["phase1"] == "5"
    assert (seeds["round 1 init"], seeds["round 2 paired"]) == (
        str(derived_seed(5, "round 1 init")),
        str(derived_seed(5, "round 2 paired")),
    )


@pytest.mark.parametrize(("train_split", "evaluated"), [("train", ["3", "3"]), ("trainval", ["8", "5"])])
def test_an_init_keeps_its_last_epoch_where_val_is_trained_on(monkeypatch, train_split, evaluated):
    epochs = {"round1_init_epochs": "8", "round2_init_epochs": "5"}
    steps = recorded_steps(monkeypatch, train_split=train_split, eval_every="3", **epochs)
    assert [params["eval_every"] for entry_point, _, params in steps if entry_point == "phase2_init"] == evaluated
    assert {params["eval_every"] for entry_point, _, params in steps if entry_point in ("phase1", "phase2_paired")} == {"3"}


def test_no_two_rounds_of_any_two_seeds_have_one_seed(monkeypatch):
    """By adding, round 2 of seed 5 was round 1 of seed 6."""
    rounds = [
        params["seed"]
        for seed in (4, 5, 6)
        for _, name, params in recorded_steps(monkeypatch, seed=str(seed))
        if name.startswith("round")
    ]
    assert len(set(rounds)) == len(rounds) == 12


def test_steps_start_from_the_encoder_weights_that_were_had(monkeypatch):
    steps = recorded_steps(monkeypatch, g1="light", g2="uxnet")
    had = {name: params["encoder_weights"] for _, name, params in steps if "encoder_weights" in params}
    assert had == {"phase1": "imagenet"} | dict.fromkeys(
        ("round 1 init", "round 1 paired", "round 2 init", "round 2 paired"), "none"
    )


@pytest.mark.parametrize(
    ("overrides", "left_out"),
    [
        ({}, set()),
        ({"data_dir": "/somewhere"}, {"synthesize"}),
        ({"packed_dir": "/somewhere"}, {"synthesize", "prepare"}),
        ({"round2_init_epochs": "0"}, {"round 2 init"}),
        ({"unpaired": "masks"}, {"round 1 init", "round 2 init"}),
    ],
)
def test_order_of_steps(monkeypatch, overrides, left_out):
    names = [name for _, name, _ in recorded_steps(monkeypatch, **overrides)]
    assert names == [name for name in PIPELINE_STEPS if name not in left_out]


def test_values_that_are_empty_reach_the_steps_as_empty(monkeypatch):
    first_init = next(params for _, name, params in recorded_steps(monkeypatch) if name == "round 1 init")
    assert first_init["g2_model"] == ""


def test_declared_says_which_parameters_are_required():
    assert commands.declared("compare")["models"] is None
    assert commands.declared("phase1")["g1_model"] == ""


def test_environment_is_pinned_and_stands_under_pip():
    environment = yaml.safe_load((ROOT / PROJECT["conda_env"]).read_text())
    python, pip = environment["dependencies"]
    assert python == "python=3.11"
    assert all(re.fullmatch(r"[A-Za-z0-9_.\[\]-]+==[0-9][\w.+]*", line) for line in pip["pip"])
    assert not any(line.startswith(("-", ".")) for line in pip["pip"])


def test_shared_values_are_resolved():
    assert declared("phase1")["batch_size"] == declared("full")["batch_size"] == {"type": "int", "default": 16}
    assert all("<<" not in declared(entry_point) for entry_point in ENTRY_POINTS)
    assert declared("phase2_paired")["lr"]["default"] == 1.5e-4  # its own, over the shared one


def resolved(node: yaml.MappingNode, clashes: list[str]) -> dict[str, object]:
    """Keys and values of a mapping with what is merged into it; clashes: what two merged mappings say otherwise."""
    own, merged = {}, {}
    for key, value in node.value:
        if key.tag != "tag:yaml.org,2002:merge":
            own[key.value] = yaml.serialize(value, Dumper=yaml.SafeDumper)
            continue
        for other in value.value if isinstance(value, yaml.SequenceNode) else [value]:
            for name, said in resolved(other, clashes).items():
                if merged.setdefault(name, said) != said:
                    clashes.append(name)
    return merged | own


def mappings(node: yaml.Node):
    if isinstance(node, yaml.MappingNode):
        yield node
    for child in node.value if isinstance(node, yaml.CollectionNode) else []:
        for part in child if isinstance(child, tuple) else (child,):
            yield from mappings(part)


def test_no_two_merged_maps_differ_in_a_key():
    """PyYAML 6.0.3 lets the first one win, 6.0.4 the last: `mlflow run` and the environment read other defaults."""
    clashes = []
    for mapping in mappings(yaml.compose((ROOT / "MLproject").read_text(), Loader=yaml.SafeLoader)):
        resolved(mapping, clashes)
    assert clashes == []

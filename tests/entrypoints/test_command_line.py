"""Command lines by themselves: MLproject's defaults for what is not passed, and a help that lists them in groups."""

import re
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from entrypoints import phase1, pipeline
from entrypoints.launch.command_line import grouped
from entrypoints.launch.commands import declared
from entrypoints.launch.parameters import GROUPS, TYPES
from hands.tracking import ROOT
from tests.project import ENTRY_POINTS, command_of

EMPTY = '""'
RECIPES = ("main", "dryrun", "full")


def help_of(entry_point: str, *arguments: str) -> str:
    """As a very wide terminal shows it."""
    result = CliRunner().invoke(command_of(entry_point), [*arguments, "--help"], terminal_width=10_000)
    assert result.exit_code == 0, result.output
    return re.sub(r"\n {10,}", "  ", result.output)  # what stands below a long list of choices


def lines(said: str) -> dict[str, str]:
    """Options and what is said of them, in order."""
    return dict(re.findall(r"^  --(\w+).*?  +(.*)$", said, re.MULTILINE))


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
def test_help_tells_meaning_and_default_of_every_option(entry_point):
    said = lines(help_of(entry_point, *([f"--recipe={entry_point}"] if entry_point in RECIPES else [])))
    assert said.pop("help")
    assert set(said) == set(declared(entry_point))
    for name, default in declared(entry_point).items():
        meaning, _, extra = said[name].rpartition("  [")
        assert meaning == TYPES[name][1]
        expected = "required" if default is None else f"default: {default or EMPTY}"
        assert re.fullmatch(rf"{re.escape(expected)}(; x>=\d|; 1<=x<=3)?\]", extra), name


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
def test_help_keeps_the_order_in_groups(entry_point):
    said = help_of(entry_point)
    headings = re.findall(r"^([A-Z].*):$", said, re.MULTILINE)
    assert headings == list(grouped([option.name for option in command_of(entry_point).params] + ["help"]))
    for heading, names in grouped([option.name for option in command_of(entry_point).params]).items():
        section = said.partition(f"{heading}:\n")[2].partition("\n\n")[0]
        assert list(lines(section)) == names


def test_groups_of_a_step():
    said = help_of("phase1")
    assert re.findall(r"^([A-Z]\w+):$", said, re.MULTILINE) == [
        "Data", "Schedule", "Networks", "Augmentation", "Losses", "Devices", "Checkpoints", "Help",
    ]  # fmt: skip
    assert list(lines(said))[:5] == ["packed_dir", "train_split", "val_split", "unpaired", "seed"]


def test_no_parameter_is_in_two_groups():
    assert sum(len(group) for group in GROUPS.values()) == len(TYPES)


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
def test_what_is_not_passed_is_mlprojects_default(entry_point):
    defaults = declared(entry_point)
    required = [f"--{name}=given" for name, default in defaults.items() if default is None]
    recipe = [f"--recipe={entry_point}"] if entry_point in RECIPES else []
    everything = [f"--{name}={'given' if default is None else default}" for name, default in defaults.items()]
    main = command_of(entry_point)
    with main.make_context("few", required + recipe) as few, main.make_context("all", everything) as all_given:
        assert few.params == all_given.params


def test_a_value_that_is_passed_goes_before():
    with phase1.main.make_context("phase1", ["--lr", "0.5"]) as context:
        assert (context.params["lr"], context.params["batch_size"]) == (0.5, int(declared("phase1")["batch_size"]))


def test_pipelines_are_main_where_no_recipe_is_named():
    with pipeline.main.make_context("pipeline", []) as context:
        assert context.params["recipe"] == "main" and str(context.params["size"]) == declared("main")["size"]
    assert f"[default: {declared('full')['size']}" in lines(help_of("main", "--help", "--recipe", "full"))["size"]


def test_a_recipe_that_is_none_is_refused():
    with pytest.raises(click.BadParameter, match="'half' is not one of"):
        pipeline.main.make_context("pipeline", ["--recipe", "half"])


def test_help_comes_without_torch():
    modules = sorted({re.search(r"-m (entrypoints\.\w+)", field["command"])[1] for field in ENTRY_POINTS.values()})
    code = f"import sys, {', '.join(modules)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0

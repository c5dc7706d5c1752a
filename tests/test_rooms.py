"""The order of the packages: each imports only from those before it, and nothing of hands or sweeps from entrypoints."""

import ast
from pathlib import Path

import pytest

from hands.tracking import ROOT
from hands.tracking.code import imports

ORDER = (
    "hands.errors", "hands.parts", "hands.processes", "hands.files", "hands.networks", "hands.raw", "hands.synthetic",
    "hands.interhand", "hands.packed", "hands.evaluation", "hands.pictures", "hands.training", "hands.method", "hands.tracking",
    "hands.prediction", "hands.steps", "hands.benchmark", "sweeps", "entrypoints",
)  # fmt: skip


def room(module: str) -> str:
    """The package of ORDER that a module belongs to."""
    words = module.split(".")
    return ".".join(words[:2]) if words[0] == "hands" else words[0]


def arrows(root: Path) -> dict[tuple[str, str], tuple[str, str]]:
    """(importing room, imported room) -> an importing module and what it imports, between different rooms."""
    found = {}
    for folder in ("hands", "sweeps", "entrypoints"):
        for path in sorted((root / folder).rglob("*.py")):
            module = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
            for imported in imports(path.read_text()):
                ours = imported.split(".")[0] in ("hands", "sweeps", "entrypoints") and imported != "hands"
                if ours and module != "hands":
                    ends = room(module), room(imported)
                    if ends[0] != ends[1]:
                        found.setdefault(ends, (module, imported))
    return found


def refused(found: dict[tuple[str, str], tuple[str, str]]) -> list[str]:
    """What goes up, or to or from a room that has no place in the order; both ends are named."""
    place = {name: number for number, name in enumerate(ORDER)}
    return [
        f"{module} imports {imported}"
        for (importing, target), (module, imported) in found.items()
        if importing not in place or target not in place or place[target] > place[importing]
    ]


def test_imports_go_one_way():
    assert refused(arrows(ROOT)) == []


def test_every_room_has_its_place_and_says_what_it_is():
    rooms = {f"hands.{path.name.removesuffix('.py')}" for path in (ROOT / "hands").iterdir() if path.name[0] not in "_."}
    assert rooms == {name for name in ORDER if name.startswith("hands.")}
    for name in ORDER:
        package = ROOT / name.replace(".", "/")
        if package.is_dir():
            said = ast.get_docstring(ast.parse((package / "__init__.py").read_text()))
            assert said and (not name.startswith("hands.") or ("May import" in said and "Read" in said)), name


@pytest.mark.parametrize(("path", "source", "said"), [
    ("hands/files/a.py", "def f():\n    from hands.packed.mini import a\n", "hands.files.a imports hands.packed.mini"),
    ("hands/steps/a.py", "import entrypoints.launch.checks", "hands.steps.a imports entrypoints.launch.checks"),
    ("hands/raw/a.py", "from hands import tracking", "hands.raw.a imports hands.tracking"),
    ("sweeps/a.py", "from entrypoints.launch import checks", "sweeps.a imports entrypoints.launch"),
    ("hands/stray/a.py", "import hands.parts", "hands.stray.a imports hands.parts"),
])  # fmt: skip
def test_what_goes_up_is_named(path: str, source: str, said: str, tmp_path: Path):
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(source)
    assert refused(arrows(tmp_path)) == [said]


def test_there_is_no_circle_of_modules():
    """Within a room too; imports in functions count."""
    graph, ours = {}, ("hands.", "sweeps.", "entrypoints.")
    for folder in ("hands", "sweeps", "entrypoints"):
        for path in (ROOT / folder).rglob("*.py"):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            graph[module] = {name for name in imports(path.read_text()) if name.startswith(ours)}
    assert circle(graph) == []


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Modules of a circle, the first one named again at the end; none where there is none."""
    done, path = set(), []

    def visit(module: str) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done or module not in graph:
            return []
        path.append(module)
        found = next(filter(None, map(visit, sorted(graph[module]))), [])
        path.pop()
        done.add(module)
        return found

    return next(filter(None, map(visit, sorted(graph))), [])


def test_a_circle_is_found():
    assert circle({"hands.a": {"hands.b"}, "hands.b": {"hands.c"}, "hands.c": {"hands.b"}}) == ["hands.b", "hands.c", "hands.b"]
    assert circle({"hands.a": {"hands.b", "hands.c"}, "hands.b": {"hands.c"}, "hands.c": set()}) == []

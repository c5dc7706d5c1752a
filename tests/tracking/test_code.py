"""What a change of code makes anew: the steps that import it, and no others."""

import shutil
from pathlib import Path

import pytest

from hands.tracking import ROOT, code
from hands.tracking.code import closure, code_digest, imports, meaning

STEPS = ("synthesize", "prepare", "phase1", "phase2_init", "phase2_paired", "evaluate", "predict")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A copy of the project's code to change; digests() of every step's code there."""
    for folder in ("entrypoints", "hands", "sweeps"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(code, "ROOT", tmp_path)
    return tmp_path


def digests() -> dict[str, str]:
    return {step: code_digest.__wrapped__(step) for step in STEPS}


def append(file: Path, text: str) -> None:
    file.write_text(file.read_text() + text)


STATEMENT = "\nTHRESHOLD = 0.75\n"


@pytest.mark.parametrize(("file", "text", "anew"), [
    ("hands/benchmark/growth.py", STATEMENT, set()),
    ("hands/tracking/__init__.py", STATEMENT, set()),
    ("entrypoints/launch/server.py", STATEMENT, set()),
    ("entrypoints/sweep.py", STATEMENT, set()),
    ("hands/packed/prepare.py", "\n# a remark\n", set()),
    ("hands/packed/prepare.py", STATEMENT, {"prepare"}),
    ("hands/synthetic/scene.py", STATEMENT, {"synthesize"}),
    ("hands/packed/packing.py", STATEMENT, {"prepare"}),
    ("hands/prediction/submission.py", STATEMENT, {"predict"}),
    ("hands/pictures/figures.py", STATEMENT, {"evaluate"}),
    ("hands/training/loop.py", STATEMENT, {"phase1", "phase2_init", "phase2_paired"}),
    ("hands/parts.py", STATEMENT, set(STEPS)),
])  # fmt: skip
def test_what_is_made_anew(project, file, text, anew):
    before = digests()
    append(project / file, text)
    after = digests()
    assert {step for step in STEPS if before[step] != after[step]} == anew


def test_packages_that_are_imported_count_by_their_version(project, monkeypatch):
    before = digests()
    installed = code.metadata.version
    monkeypatch.setattr(code.metadata, "version", lambda name: "0.0" if name == "lmdb" else installed(name))
    assert all(before[step] != digest for step, digest in digests().items())
    monkeypatch.setattr(code.metadata, "version", lambda name: "0.0" if name == "optuna" else installed(name))
    assert digests() == before


def test_a_step_keeps_the_code_that_it_began_with(project):
    code_digest.cache_clear()
    before = code_digest("prepare")
    append(project / "hands" / "parts.py", STATEMENT)
    assert code_digest("prepare") == before
    code_digest.cache_clear()
    assert code_digest("prepare") != before
    code_digest.cache_clear()


def test_imports_are_followed_wherever_they_stand(tmp_path):
    files = {
        "entrypoints/__init__.py": "",
        "entrypoints/a.py": "import torch.nn\ndef f():\n    from hands.b import C\n    from hands import d\n",
        "hands/__init__.py": "",
        "hands/b.py": "import hands.left.out\nimport numpy as np\n",
        "hands/d/__init__.py": "from hands.b import C\n",
        "hands/left/__init__.py": "import pandas\n",
        "hands/left/out.py": "",
        "hands/stray.py": "import scipy\n",
    }
    for name, source in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(source)
    modules, others = closure("entrypoints.a", ("hands.left",), tmp_path)
    assert modules == {"entrypoints", "entrypoints.a", "hands", "hands.b", "hands.d"}
    assert others == {"torch", "numpy"}


def test_every_import_names_its_module_in_full():
    """`from . import a` would not be followed."""
    sources = {path: path.read_text() for folder in ("entrypoints", "hands") for path in (ROOT / folder).rglob("*.py")}
    assert [path for path, source in sources.items() if any(not name or name[0] == "." for name in imports(source))] == []
    assert [path for path, source in sources.items() if "from ." in source] == []


def test_what_python_does_not_read_does_not_count():
    source = 'def area(a, b):\n    """Of a rectangle."""\n    return a * b  # not a + b\n'
    assert meaning(source) == meaning("def area(a,b):\n\n    return (a *\n        b)")
    assert meaning(source) != meaning(source.replace("a * b", "a + b"))
    assert meaning('x = """a text"""') != meaning('x = """another"""')

"""What a model asks to be installed where it is served is what the code that is served with it imports."""

import json
import subprocess
import sys
from importlib.metadata import packages_distributions

from hands.tracking import ROOT
from hands.tracking.models import SERVING_REQUIREMENTS

TRACE = """
import builtins, json, sys
original, imported = builtins.__import__, set()

def tracing(name, globals=None, locals=None, fromlist=(), level=0):
    if level == 0 and (globals or {}).get("__name__", "").split(".")[0] == "hands":
        imported.add(name.split(".")[0])
    return original(name, globals, locals, fromlist, level)

builtins.__import__ = tracing
import hands.prediction.served
print(json.dumps([sorted(imported), sorted({name.split(".")[0] for name in sys.modules})]))
"""


def test_requirements_are_what_the_served_code_imports():
    traced = subprocess.run([sys.executable, "-c", TRACE], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert traced.returncode == 0, traced.stderr
    imported, loaded = map(set, json.loads(traced.stdout.splitlines()[-1]))
    distributions = packages_distributions()
    direct = {min(distributions[name], key=len) for name in imported - sys.stdlib_module_names - {"hands"}}
    assert {name.lower().replace("_", "-") for name in direct} | {"torchvision"} == set(SERVING_REQUIREMENTS)
    assert "torchvision" in loaded
    assert not loaded & {"lightning", "lightning_fabric", "kornia", "torchmetrics", "lmdb", "cv2"}

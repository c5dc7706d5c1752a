"""Places and names that lead nowhere are refused before torch is imported, which takes seconds."""

import json
import subprocess
import sys

from hands.tracking import ROOT
from tests.project import environment
from tests.raw.independent_layout import small_set


def test_places_and_names_are_refused_without_torch(tmp_path, tiny_packed, session_store):
    raw = small_set({"train": 1, "val": 1}, 12, 9).write(tmp_path / "raw")
    (tmp_path / "occupied").mkdir()
    (tmp_path / "occupied" / "file").write_text("precious")
    nowhere, occupied, packed = str(tmp_path / "nowhere"), str(tmp_path / "occupied"), str(tiny_packed.folder)
    given = {"packed_dir": packed, "out_dir": nowhere}
    no_set, no_network, no_model = "is not a packed set", "'nonsense' names no network", "the model 'nonsense' is no folder"
    cases = [
        ("synthesize", {"out_dir": occupied}, "already holds files"),
        ("synthesize", {"out_dir": nowhere, "paired_subjects": "999"}, "paired_subjects is 999"),
        ("import_interhand", {"release_dir": nowhere}, f"release_dir {nowhere} has no images"),
        ("prepare", {"data_dir": nowhere}, f"data_dir {nowhere} is not a folder"),
        ("prepare", {"data_dir": str(raw), "out_dir": occupied}, "already holds files"),
        ("prepare", {"data_dir": str(raw), "out_dir": nowhere, "size": "50"}, "size is 50"),
        ("phase1", {"packed_dir": nowhere}, no_set),
        ("phase1", {"packed_dir": packed, "g1": "nonsense"}, no_network),
        ("phase1", {"packed_dir": packed, "g1_model": "nonsense"}, no_model),
        ("phase1", {"packed_dir": packed, "devices": "many"}, "devices is 'many'"),
        ("phase1", {"packed_dir": packed, "accelerator": "abacus"}, "accelerator is 'abacus'"),
        ("phase1", {"packed_dir": packed, "resume": "0" * 32}, "which is no run here"),
        ("phase2_init", {"packed_dir": packed, "g1_model": "nonsense"}, no_model),
        ("phase2_paired", {"packed_dir": packed, "d_model": "nonsense"}, no_model),
        ("phase2_paired", {"packed_dir": packed, "d_model": "models:/d", "g2": "nonsense"}, no_network),
        ("evaluate", {"packed_dir": nowhere, "model": "models:/g2"}, no_set),
        ("evaluate", {"packed_dir": packed, "model": "models:/g2", "split": "nonsense"}, "has no subset 'nonsense'"),
        ("evaluate", {"packed_dir": packed, "model": "nonsense"}, no_model),
        ("evaluate", {"packed_dir": packed, "model": ""}, "the model '' is no folder"),
        ("predict", given | {"images": nowhere}, f"{nowhere} is not a folder"),
        ("predict", given | {"split": "nonsense"}, "has no subset 'nonsense'"),
        ("predict", given | {"split": "val", "out_dir": occupied}, "already holds files"),
        ("compare", given | {"models": "a,b", "packed_dir": nowhere}, no_set),
        ("compare", given | {"models": "nonsense,b", "split": "val"}, "the model 'nonsense' cannot be had"),
        ("compare", given | {"models": "a,b", "split": "val", "out_dir": occupied}, "already holds files"),
        ("sweep", {"packed_dir": nowhere, "g1_model": "models:/g1", "d_model": "models:/d"}, no_set),
        ("sweep", {"packed_dir": packed, "g1_model": "models:/g1", "d_model": "nonsense"}, no_model),
        ("sweep", {"packed_dir": packed, "g1_model": "a", "d_model": "b", "space": "nonsense"}, "space is 'nonsense'"),
        ("bench", {"lines": "99"}, "lines is '99'"),
        ("bench", {"networks": "light,nonsense"}, no_network),
        ("main", {"data_dir": nowhere}, f"data_dir {nowhere} is not a folder"),
        ("main", {"packed_dir": nowhere}, no_set),
        ("main", {"g2": "nonsense"}, no_network),
        ("main", {"work_dir": f"{occupied}/file"}, "is a file; give a folder"),
        ("full", {}, "full trains on your data"),
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "tests.entrypoints.without_torch", json.dumps([case[:2] for case in cases])],
        cwd=ROOT, env=environment(session_store), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for (entry_point, values, sentence), said in zip(cases, json.loads(done.stdout), strict=True):
        assert sentence in said and said.count("Error: ") == 1, (entry_point, values, said)

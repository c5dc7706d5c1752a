"""Comparison of models.

Consumes: models (`models`: URIs, runs, or all finished runs of an experiment), a packed set (`packed_dir`), a labelled subset.
Produces: comparison.html in `out_dir` and in the run, one page that opens without a network; a table; the scores as metrics.
"""

from types import SimpleNamespace

from entrypoints.launch.command_line import entry_point
from entrypoints.launch.out_dir import check_out_dir
from hands.steps.parameters import ONE_DEVICE


@entry_point("models", "packed_dir", "split", "out_dir", "seed", "eval_batch_size", *ONE_DEVICE)
def main(params: SimpleNamespace) -> None:
    """Scores models on the same pictures and says which differences are more than chance."""
    from hands.evaluation.coverage import require_labels
    from hands.packed.packed_set import PackedSet
    from hands.steps.devices import one_device

    devices = one_device(params)
    packed = PackedSet.open(params.packed_dir)
    require_labels(packed.subset(params.split))
    check_out_dir(params.out_dir)

    from hands import tracking
    from hands.processes.folders import whole_folder
    from hands.tracking.candidates import find_candidates

    with tracking.run("compare", vars(params)), whole_folder(params.out_dir) as folder:
        candidates = find_candidates(params.models)
        tracking.name_run(f"compare {len(candidates)} models on {params.split}")

        from hands.steps.comparison import PAGE, compare
        from hands.training.devices import create_fabric

        fabric = create_fabric(devices)
        tracking.log_dataset(packed.folder, packed.manifest, "comparison")
        compare(candidates, packed, params, fabric, folder)
        tracking.log_output_folder("comparison", params.out_dir, None)
    print(f"== page: {params.out_dir}/{PAGE}")


if __name__ == "__main__":
    main()

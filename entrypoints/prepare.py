"""Packed set.

Consumes: a dataset in the raw layout (`data_dir`).
Produces: the packed set (`out_dir`), its manifest, class frequencies and weights, preview pictures.
"""

from types import SimpleNamespace

from entrypoints.launch.command_line import entry_point
from entrypoints.launch.out_dir import check_out_dir


@entry_point("data_dir", "out_dir", "size", "channel_order", "skip_broken", "max_broken", "workers")
def main(params: SimpleNamespace) -> None:
    """Checks a dataset, decodes and crops it once, and packs it for training."""
    from hands.packed.prepare import PackConfig, pack
    from hands.processes.processors import allowed_processors
    from hands.raw.layout import RawDataset

    max_broken = params.max_broken if params.skip_broken else 0.0
    config = PackConfig(params.size, max_broken, params.workers or allowed_processors())
    raw = RawDataset(params.data_dir, params.channel_order)
    check_out_dir(params.out_dir)

    import warnings
    from pathlib import Path

    import mlflow

    from hands import tracking
    from hands.evaluation.coverage import coverage
    from hands.method.class_weights import class_weight_table
    from hands.packed.packed_set import PackedSet
    from hands.packed.skin import swapped_channels
    from hands.pictures.previews import packed_preview
    from hands.raw.provenance import sources_text
    from hands.tracking.steps import is_made, log_step_key, note_code

    with tracking.run("prepare", vars(params)):
        note_code("prepare")
        tracking.name_run(f"prepare {params.size} px")
        known = {"data_dir": raw.digest}  # of what is about to be read
        if not is_made(params.out_dir):
            pack(raw, params.out_dir, config)
        packed = PackedSet.open(params.out_dir)
        manifest = packed.manifest
        print(f"== made from\n{sources_text(manifest.sources)}", flush=True)
        mlflow.log_artifact(str(Path(params.out_dir) / "manifest.json"))
        mlflow.log_table(class_weight_table(manifest.subsets["train"].class_pixels), "class_weights.json")
        for name, subset in manifest.subsets.items():
            mlflow.log_metrics({f"records/{name}": subset.count, f"dropped/{name}": sum(subset.dropped.values())})
            mlflow.log_metrics({f"dropped/{name}/{reason}": count for reason, count in subset.dropped.items()})
            if subset.channels != 3:
                mlflow.log_metric(f"ignored/{name}", manifest.ignored_share(name))
            if subset.colour_pictures:
                mlflow.log_metric(f"red_above_blue/{name}", subset.red_above_blue / subset.colour_pictures)
            if subset.count:
                mlflow.log_image(packed_preview(packed.subset(name)), artifact_file=f"preview_{name}.png")
            tracking.log_coverage(name, coverage(packed.subset(name)))
        if swapped := swapped_channels(manifest):
            warnings.warn(swapped, stacklevel=1)
            mlflow.set_tag(tracking.WARNING_TAG, swapped)
        tracking.log_dataset(packed.folder, packed.manifest, "prepared")
        tracking.log_output_folder("packed_dir", params.out_dir, manifest.digest)
        log_step_key("prepare", vars(params), known)


if __name__ == "__main__":
    main()

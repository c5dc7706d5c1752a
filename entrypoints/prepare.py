"""Packed set.

Consumes: a dataset in the raw layout (`data_dir`).
Produces: the packed set (`out_dir`), its manifest, class frequencies and weights, preview pictures.
"""

from types import SimpleNamespace

from entrypoints.launch.parameters import entry_point


@entry_point("data_dir", "out_dir", "size", "channel_order", "skip_broken", "max_broken", "workers")
def main(params: SimpleNamespace) -> None:
    """Checks a dataset, decodes and crops it once, and packs it for training."""
    import os
    from pathlib import Path

    import mlflow

    from hands import tracking
    from hands.method.class_weights import class_weight_table
    from hands.packed.packed_set import PackedSet
    from hands.packed.prepare import PackConfig, pack
    from hands.pictures.previews import packed_preview
    from hands.raw.layout import RawDataset
    from hands.tracking.steps import is_made

    with tracking.run("prepare", vars(params)):
        raw = RawDataset(params.data_dir, params.channel_order)
        max_broken = params.max_broken if params.skip_broken else 0.0
        config = PackConfig(params.size, max_broken, params.workers or os.cpu_count())
        if not is_made(params.out_dir):
            pack(raw, params.out_dir, config)
        packed = PackedSet.open(params.out_dir)
        manifest = packed.manifest
        mlflow.log_artifact(str(Path(params.out_dir) / "manifest.json"))
        mlflow.log_table(class_weight_table(manifest.subsets["train"].class_pixels), "class_weights.json")
        for name, subset in manifest.subsets.items():
            mlflow.log_metrics({f"records/{name}": subset.count, f"dropped/{name}": sum(subset.dropped.values())})
            if subset.count:
                mlflow.log_image(packed_preview(packed.subset(name)), artifact_file=f"preview_{name}.png")
        tracking.log_dataset(packed, "prepared")
        tracking.log_output_folder("packed_dir", params.out_dir)


if __name__ == "__main__":
    main()

"""The public InterHand2.6M release as a dataset.

Consumes: the release's folder (`release_dir`), and for labels=mano the user's MANO files (`mano_dir`).
Produces: a dataset in the raw layout (`out_dir`), a report, preview pictures.
"""

from types import SimpleNamespace

from entrypoints.launch.command_line import entry_point


@entry_point(
    "release_dir", "release_split", "out_dir", "labels", "mano_dir", "max_fit_error_mm", "hand_type", "cameras", "captures",
    "subjects", "every", "count", "seed", "split_by", "val_share", "test_share", "paired_share", "unpaired_masks_share",
    "channel_order", "base_dir", "workers", goes_on=True,
)  # fmt: skip
def main(params: SimpleNamespace) -> None:
    """Imports pictures of the public InterHand2.6M release, with amodal labels from joints or MANO fits."""
    from hands.interhand.importer import ImportConfig, run_import
    from hands.interhand.labels import LabelSource
    from hands.interhand.selection import Filters
    from hands.interhand.splits import Shares
    from hands.processes.processors import allowed_processors

    config = ImportConfig(
        release_dir=params.release_dir,
        release_split=params.release_split,
        filters=Filters(
            hand_type=params.hand_type,
            cameras=params.cameras,
            captures=params.captures,
            subjects=params.subjects,
            every=params.every,
            count=params.count,
        ),
        labels=LabelSource(params.labels, params.mano_dir, params.max_fit_error_mm),
        shares=Shares(
            by=params.split_by,
            val=params.val_share,
            test=params.test_share,
            paired=params.paired_share,
            unpaired_masks=params.unpaired_masks_share,
        ),
        seed=params.seed,
        channel_order=params.channel_order,
        base_dir=params.base_dir,
        workers=params.workers or allowed_processors(),
    )
    config.check()

    import mlflow

    from hands import tracking
    from hands.pictures.previews import raw_preview
    from hands.raw.provenance import read_sources
    from hands.tracking.provenance import log_sources

    with tracking.run("import_interhand", vars(params)):
        tracking.name_run(f"import {params.release_split} by {params.labels}")
        report = run_import(config, params.out_dir)
        mlflow.log_dict(report, "report.json")
        mlflow.log_metrics({f"pictures/{role}": count for role, count in report["pictures"].items()})
        for kind in ("dropped", "without_labels", "hands_left_out"):
            mlflow.log_metric(kind, sum(found["count"] for found in report[kind].values()))
            for reason, found in report[kind].items():
                print(f"== {kind.replace('_', ' ')}: {reason}, {found['count']}, such as {found['examples'][0]}", flush=True)
        for split in ("train", "val", "test"):
            picture = raw_preview(params.out_dir, split, params.channel_order)
            if picture is not None:
                mlflow.log_image(picture, artifact_file=f"preview_{split}.png")
        log_sources(read_sources(params.out_dir))
        tracking.log_output_folder("data_dir", params.out_dir, None)


if __name__ == "__main__":
    main()

"""Synthetic dataset.

Consumes: a seed, a level, counts.
Produces: a dataset in the raw layout (`out_dir`), preview pictures.
"""

from types import SimpleNamespace

from entrypoints.launch.command_line import entry_point
from entrypoints.launch.out_dir import check_out_dir
from entrypoints.launch.parameters import SYNTHESIS


@entry_point("out_dir", *SYNTHESIS)
def main(params: SimpleNamespace) -> None:
    """Poses and renders procedural hands and writes them in the raw layout."""
    from hands.synthetic.dataset import check

    config = synthesis_config(params)
    check(config)
    check_out_dir(params.out_dir)

    import mlflow

    from hands import tracking
    from hands.pictures.previews import raw_preview
    from hands.raw.digest import content_digest
    from hands.raw.layout_writer import RawDatasetWriter
    from hands.raw.provenance import SYNTHETIC, read_sources
    from hands.synthetic.dataset import frames
    from hands.tracking.provenance import log_sources
    from hands.tracking.steps import is_made, log_step_key, note_code

    with tracking.run("synthesize", vars(params)):
        note_code("synthesize")
        tracking.name_run(f"synthesize level {params.level} seed {params.seed}")
        if not is_made(params.out_dir):
            with RawDatasetWriter(params.out_dir) as writer:
                writer.write_sources((SYNTHETIC,))
                for frame in frames(config):
                    writer.add_frame(frame)
        for split in ("train", "val", "test"):
            picture = raw_preview(params.out_dir, split, "bgr")
            if picture is not None:
                mlflow.log_image(picture, artifact_file=f"preview_{split}.png")
        log_sources(read_sources(params.out_dir))
        tracking.log_output_folder("data_dir", params.out_dir, content_digest(params.out_dir))
        log_step_key("synthesize", vars(params), {})


def synthesis_config(params: SimpleNamespace):
    """The hands.synthetic.dataset.SynthesisConfig of the parameters."""

    from hands.processes.processors import allowed_processors
    from hands.synthetic.dataset import SynthesisConfig

    return SynthesisConfig(
        seed=params.seed,
        level=params.level,
        width=params.width,
        height=params.height,
        paired=params.n_paired,
        unpaired_images=params.n_unpaired_images,
        unpaired_masks=params.n_unpaired_masks,
        val=params.n_val,
        test=params.n_test,
        paired_subjects=params.paired_subjects,
        unpaired_subjects=params.unpaired_subjects,
        eval_subjects=params.eval_subjects,
        workers=params.workers or allowed_processors(),
    )


if __name__ == "__main__":
    main()

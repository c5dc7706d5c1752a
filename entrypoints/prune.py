"""Room on the disk.

Consumes: the folders that pipelines fill (`work_dir`, `checkpoint_dir`), the cache of downloaded models, the tracking store.
Produces: a list of what nothing needs any more; with `yes` it is removed.
"""

from types import SimpleNamespace

from entrypoints.launch.command_line import entry_point


@entry_point("work_dir", "checkpoint_dir", "yes")
def main(params: SimpleNamespace) -> None:
    """Says which folders, checkpoints and downloads nothing needs any more, and removes them if told to."""
    import mlflow

    from hands import tracking
    from hands.tracking.pruning import find, remove, size_of

    with tracking.run("prune", vars(params)) as active:
        going, left = find(params.work_dir, params.checkpoint_dir, active.info.run_id)
        for found in left:
            print(f"== left: {found.folder} ({megabytes(size_of(found.folder))}): {found.why}")
        total, said = 0, []
        for found in going:
            size = size_of(found.folder)
            if params.yes and not remove(found):
                print(f"== left: {found.folder}: a process has begun to use it")
                continue
            total += size
            said.append(f"{'removed' if params.yes else 'would remove'} {found.folder} ({megabytes(size)}): {found.why}")
            print(f"== {said[-1]}", flush=True)
        mlflow.log_text("\n".join(said), "pruned.txt")
        mlflow.log_metric("removed/bytes", total if params.yes else 0)
        rest = "" if params.yes or not said else "; run it again with yes=true to remove it"
        print(f"== {'removed' if params.yes else 'would remove'} {megabytes(total)} in {len(said)} folders{rest}")


def megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"


if __name__ == "__main__":
    main()

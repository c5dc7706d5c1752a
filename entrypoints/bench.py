"""Benchmark.

Consumes: nothing; it makes a synthetic set in a temporary folder.
Produces: a table of what was measured, each value beside what it is compared with (docs/performance.md explains the lines):
printed, bench.json, bench.md, a logged table, and metrics `bench/<line>/<what>/ratio`.
"""

from types import SimpleNamespace

from entrypoints.launch.command_line import entry_point
from entrypoints.launch.parameters import BENCH


@entry_point(*BENCH)
def main(params: SimpleNamespace) -> None:
    """Measures reading, training, evaluation, prediction, layouts, growth, start and lists."""
    from hands.benchmark.choice import chosen_lines, chosen_networks
    from hands.steps.devices import one_device

    lines = chosen_lines(params.lines)
    chosen_networks(params.networks)
    one_device(params)

    import tempfile

    from entrypoints.launch.commands import parsed
    from entrypoints.launch.processes import call, start_server

    start_server()
    from hands import tracking
    from hands.benchmark.lines import Host, bench_setting, run_lines

    with tempfile.TemporaryDirectory() as folder:
        setting = bench_setting(params, folder)
        with tracking.run("bench", vars(params)):
            tracking.name_run(f"bench {params.networks} {params.size} px")
            run_lines(lines, setting, params.compiled, params.published, Host(call, parsed))


if __name__ == "__main__":
    main()

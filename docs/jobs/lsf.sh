#!/bin/bash
# Trains on one host of an LSF cluster until it is done, over as many run limits as that takes:
#   cd <the project>; bsub -J hands -n 16 -gpu "num=1" -W 24:00 -wa USR1 -wt 5 -r -Q 99 -o hands.%J.log docs/jobs/lsf.sh main
#   cd <the project>; bsub ... docs/jobs/lsf.sh phase1 -P packed_dir=/shared/packed -P epochs=300
# -wa, -wt: SIGUSR1 five minutes before the run limit; -Q 99: exit code 99 queues the job again; -r: so does a host that fails.
# The project, its data and MLFLOW_TRACKING_URI must be the same on every host.

job_id=$LSB_JOBID
queue_again() { exit 99; } # as in -Q above
source docs/jobs/until_done.sh # from the project, where the job begins: schedulers run a copy of this file elsewhere

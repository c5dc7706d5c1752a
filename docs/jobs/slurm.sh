#!/bin/bash
# Trains on one node of a Slurm cluster until it is done, over as many jobs' time limits as that takes:
#   cd <the project>; sbatch docs/jobs/slurm.sh main
#   cd <the project>; sbatch docs/jobs/slurm.sh phase1 -P packed_dir=/shared/packed -P epochs=300
# The project, its data and MLFLOW_TRACKING_URI must be the same on every node.
#SBATCH --job-name=hands
#SBATCH --nodes=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus=1
#SBATCH --time=24:00:00
#SBATCH --signal=B:USR1@300
#SBATCH --requeue
#SBATCH --open-mode=append

job_id=$SLURM_JOB_ID
queue_again() { scontrol requeue "$job_id"; }
source docs/jobs/until_done.sh # from the project, where the job begins: schedulers run a copy of this file elsewhere

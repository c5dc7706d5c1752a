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

entry_point=$1
shift
checkpoints=$PWD/checkpoints/job-$SLURM_JOB_ID  # of this job alone, which keeps its id when it is queued again
arguments=(-e "$entry_point" -P checkpoint_dir="$checkpoints" "$@")
case $entry_point in
phase1 | phase2_init | phase2_paired)
  if compgen -G "$checkpoints/*/last.pt" >/dev/null; then arguments+=(-P resume=latest); fi
  ;;
esac

asked=
ask() { # the signal goes to a group of their own, of which mlflow ignores it and the entry point does not
  if [ -z "$asked" ]; then kill -USR1 -- "-$group"; fi
  asked=$1
}
trap 'ask requeue' USR1 # --signal above: the time limit is near
trap 'ask end' TERM INT # scancel, preemption
(
  trap '' USR1
  exec setsid mlflow run . --env-manager "${HANDS_ENV_MANAGER:-uv}" "${arguments[@]}"
) &
group=$!
while true; do
  wait $group
  status=$?
  kill -0 $group 2>/dev/null || break # a signal ends `wait`, not what it waits for
done
while kill -0 -- "-$group" 2>/dev/null; do sleep 1; done

if [ "$asked" = requeue ] && [ $status -ne 0 ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit $status

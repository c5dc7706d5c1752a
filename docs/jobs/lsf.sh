#!/bin/bash
# Trains on one host of an LSF cluster until it is done, over as many run limits as that takes:
#   cd <the project>; bsub -J hands -n 16 -gpu "num=1" -W 24:00 -wa USR1 -wt 5 -r -Q 99 -o hands.%J.log docs/jobs/lsf.sh main
#   cd <the project>; bsub ... docs/jobs/lsf.sh phase1 -P packed_dir=/shared/packed -P epochs=300
# -wa, -wt: SIGUSR1 five minutes before the run limit; -Q 99: exit code 99 queues the job again; -r: so does a host that fails.
# The project, its data and MLFLOW_TRACKING_URI must be the same on every host.

again=99 # as in -Q above
entry_point=$1
shift
checkpoints=$PWD/checkpoints/job-$LSB_JOBID # of this job alone, which keeps its id when it is queued again
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
trap 'ask requeue' USR1 # -wa above: the run limit is near
trap 'ask end' TERM INT # bkill
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
  exit $again
fi
exit $status

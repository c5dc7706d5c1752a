# What the job scripts of this folder share; they say `job_id` and `queue_again` and hand on their arguments.

entry_point=$1
shift
checkpoints=$PWD/checkpoints/job-$job_id # of this job alone, which keeps its id when it is queued again
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
trap 'ask requeue' USR1 # the time limit is near
trap 'ask end' TERM INT # cancelled, preempted
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
  queue_again
fi
exit $status

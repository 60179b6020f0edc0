# Sourced by tools/slurm_train.sh.

STOPPED=75  # exit code of a training that a signal stopped and that is saved

# run_again LIMIT COMMAND [arguments]: runs the command until it ends with
# another code than STOPPED. From the second time on --resume is appended. In
# a batch job the second time is a job of its own, which SLURM starts.
run_again() {
    local limit=$1 restarts=${SLURM_RESTART_COUNT:-0} code
    shift
    while true; do
        code=0
        if [ "$restarts" -eq 0 ]; then
            "$@" || code=$?
        else
            "$@" --resume || code=$?
        fi
        { set +x; } 2>/dev/null
        [ "$code" -eq "$STOPPED" ] || return "$code"
        if [ "$restarts" -ge "$limit" ]; then
            echo "Started again $restarts times already" \
                "(MAX_REQUEUE=$limit); go on by --resume" >&2
            return "$code"
        fi
        restarts=$((restarts + 1))
        if [ "${ENVIRONMENT:-}" = BATCH ] && [ -n "${SLURM_JOB_ID:-}" ]; then
            echo "Job $SLURM_JOB_ID goes back into the queue" >&2
            # refused, e.g. by JobRequeue=0 without sbatch --requeue: say so
            scontrol requeue "$SLURM_JOB_ID" || return "$code"
            return 0
        fi
        echo "Start number $((restarts + 1))" >&2
    done
}

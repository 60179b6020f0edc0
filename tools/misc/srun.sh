# Sourced by tools/slurm_*.sh.

# run_tasks PARTITION JOB_NAME SCRIPT [arguments]: one srun with a task a GPU.
run_tasks() {
    local partition=$1 job=$2 gpus=${GPUS:-8} per_node gres options=()
    shift 2
    per_node=${GPUS_PER_NODE:-8}
    per_node=$((per_node < gpus ? per_node : gpus))
    gres=${GRES-gpu:$per_node}
    [ -z "$gres" ] || options+=(--gres="$gres")
    # Split on purpose: SRUN_ARGS holds several options.
    # shellcheck disable=SC2206
    options+=(${SRUN_ARGS:-})
    set -x
    PYTHONPATH="$TOOLS/..${PYTHONPATH:+:$PYTHONPATH}" \
        srun -p "$partition" \
        --job-name="$job" \
        --ntasks="$gpus" \
        --ntasks-per-node="$per_node" \
        --cpus-per-task="${CPUS_PER_TASK:-5}" \
        --kill-on-bad-exit=1 \
        ${options[@]+"${options[@]}"} \
        "${PYTHON:-python}" -u "$@"
}

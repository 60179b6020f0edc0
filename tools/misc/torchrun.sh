# Sourced by tools/dist_*.sh.

# run_processes GPUS SCRIPT [arguments]: starts SCRIPT GPUS times by torchrun.
# Runs on one machine take a free port unless PORT says one, so that several
# of them can share it.
run_processes() {
    local gpus=$1 nnodes=${NNODES:-1} where
    shift
    if [ "$nnodes" = 1 ] && [ -z "${PORT:-}" ]; then
        where=(--standalone)
    else
        where=(--nnodes="$nnodes" --node_rank="${NODE_RANK:-0}"
               --master_addr="${MASTER_ADDR:-127.0.0.1}"
               --master_port="${PORT:-29500}")
    fi
    # As a module, torchrun needs no activated environment.
    PYTHONPATH="$TOOLS/..${PYTHONPATH:+:$PYTHONPATH}" \
        "${PYTHON:-python}" -m torch.distributed.run \
        "${where[@]}" --nproc_per_node="$gpus" "$@"
}

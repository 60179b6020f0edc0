#!/usr/bin/env bash
# Trains on a SLURM cluster, one task a GPU.
#   tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR \
#       [arguments of tools/train.py]
# Environment: GPUS (8), GPUS_PER_NODE (8, at most GPUS), CPUS_PER_TASK (5),
# SRUN_ARGS, PYTHON, and GRES: what a node has to offer; default
# gpu:GPUS_PER_NODE, empty on clusters without GPUs (then GPUS counts tasks).
set -euo pipefail

if [ $# -lt 4 ]; then
    echo "usage: $0 PARTITION JOB_NAME CONFIG WORK_DIR" \
        "[arguments of tools/train.py]" >&2
    exit 2
fi
PARTITION=$1
JOB_NAME=$2
CONFIG=$3
WORK_DIR=$4
TOOLS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

source "$TOOLS/misc/srun.sh"
run_tasks "$PARTITION" "$JOB_NAME" "$TOOLS/train.py" "$CONFIG" \
    --work-dir="$WORK_DIR" --launcher=slurm "${@:5}"

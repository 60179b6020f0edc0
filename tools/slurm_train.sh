#!/usr/bin/env bash
# Trains on a SLURM cluster, one task a GPU, and starts the training again
# after it was stopped by a signal (exit code 75).
#   tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR \
#       [arguments of tools/train.py]
# Environment: GPUS (8), GPUS_PER_NODE (8, at most GPUS), CPUS_PER_TASK (5),
# SRUN_ARGS, PYTHON, GRES: what a node has to offer; default
# gpu:GPUS_PER_NODE, empty on clusters without GPUs (then GPUS counts tasks),
# and MAX_REQUEUE (100): how often to start again; 0: never.
#
# For jobs with a time limit shorter than the training, let SLURM send USR1
# before the end, early enough for an optimiser step, a validation and a save:
#   SRUN_ARGS="--time=4:00:00 --signal=USR1@120" tools/slurm_train.sh ...
# From a login node the same srun is then submitted again with --resume.
# In a batch job the job itself goes back into the queue (scontrol requeue)
# and resumes when it runs again (SLURM_RESTART_COUNT > 0), also when SLURM
# requeued it without asking:
#   sbatch --requeue --open-mode=append --time=4:00:00 --signal=USR1@120 \
#       --ntasks=8 --gres=gpu:8 --wrap "tools/slurm_train.sh ..."
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
source "$TOOLS/misc/requeue.sh"
run_again "${MAX_REQUEUE:-100}" \
    run_tasks "$PARTITION" "$JOB_NAME" "$TOOLS/train.py" "$CONFIG" \
    --work-dir="$WORK_DIR" --launcher=slurm "${@:5}"

#!/usr/bin/env bash
# Trains with one process a GPU (on a machine without GPUs: a process of the
# CPU), on one or several machines.
#   tools/dist_train.sh CONFIG GPUS [arguments of tools/train.py]
# Environment: NNODES NODE_RANK PORT MASTER_ADDR for several machines, PYTHON.
set -euo pipefail

if [ $# -lt 2 ]; then
    echo "usage: $0 CONFIG GPUS [arguments of tools/train.py]" >&2
    exit 2
fi
CONFIG=$1
GPUS=$2
TOOLS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

source "$TOOLS/misc/torchrun.sh"
run_processes "$GPUS" "$TOOLS/train.py" "$CONFIG" --launcher pytorch "${@:3}"

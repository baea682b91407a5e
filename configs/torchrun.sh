#!/bin/bash
# A row under torchrun, from the repository's root. On one host with two processes:
#   configs/torchrun.sh ghugre_sequential
# On two hosts, called on each, with the address of the first:
#   NODES=2 NODE=0 ADDRESS=10.0.0.1 configs/torchrun.sh ghugre_sequential --run_dir runs/two_hosts --resume
#   NODES=2 NODE=1 ADDRESS=10.0.0.1 configs/torchrun.sh ghugre_sequential --run_dir runs/two_hosts --resume
set -euo pipefail
row=$1
shift
exec torchrun --nnodes="${NODES:-1}" --node-rank="${NODE:-0}" --nproc-per-node="${PROCESSES:-2}" \
    --master-addr="${ADDRESS:-127.0.0.1}" --master-port="${PORT:-29500}" \
    -m cifar_hpc fit -c "$row" -c "${OVERLAY:-cpu_cluster}" "$@"

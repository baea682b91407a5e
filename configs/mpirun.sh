#!/bin/bash
# A row under Open MPI, from the repository's root; needs the extra mpi:
#   configs/mpirun.sh ghugre_sequential
#   HOSTS=node1:2,node2:2 PROCESSES=4 configs/mpirun.sh ghugre_sequential --run_dir runs/four --resume
# Processes are not bound by mpirun: cifar_hpc gives each its share of the cores, which is more than one.
set -euo pipefail
row=$1
shift
exec mpirun -np "${PROCESSES:-2}" ${HOSTS:+--host "$HOSTS"} --bind-to none \
    "${PYTHON:-python}" -m cifar_hpc fit -c "$row" -c "${OVERLAY:-cpu_cluster}" "$@"

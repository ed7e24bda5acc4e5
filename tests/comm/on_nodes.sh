#!/bin/sh
# Under mpirun: on_nodes.sh R0,R1,.. PROGRAM [ARG ..] makes pseudo-nodes of one host: PROGRAM runs with DDP_COMM_NODE=node0 in the
# first R0 ranks, node1 in the next R1, .. (mpirun with several programs, "-n 1 true : -n 1 true", would do without this, but that of
# Debian 13, Open MPI 5.0.7, crashes on it.)
set -eu
left=${OMPI_COMM_WORLD_RANK:-${PMI_RANK:?on_nodes.sh: not started by mpirun}}
node=0
for ranks in $(echo "$1" | tr ',' ' '); do
    [ "$left" -ge "$ranks" ] || break
    left=$((left - ranks))
    node=$((node + 1))
done
shift
DDP_COMM_NODE=node$node exec "$@"

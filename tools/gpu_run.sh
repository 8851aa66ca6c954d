#!/usr/bin/env bash
# The first thing to run on a machine with a GPU: what it is worth most for, in order, within so many minutes.
#
#   MINUTES=40 OUT=results/gpu tools/gpu_run.sh
#
# 1. benchmarks of a training and a sampling step, toy and paper width, and of the layout loss
# 2. all trainings and scores that PROFILE lacks (toy-scratch by default), which another run goes on with
# 3. CamVid, where data/camvid/streets/raw is there
# Benchmarks and tables come to OUT; networks and records stay in results/<profile>, from where
# tools/release_weights.py releases them. PYTHON names another interpreter than that of .venv, for a machine that brings
# its own torch: PYTHON=python3 PYTHONPATH=src. A rehearsal on a CPU: PROFILE=smoke SIZES=toy MINUTES=5.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python} PROFILE=${PROFILE:-toy-scratch} MINUTES=${MINUTES:-40} OUT=${OUT:-results/gpu}
mkdir -p "$OUT"
start=$SECONDS
minutes_left() { echo $((MINUTES - (SECONDS - start) / 60)); }
said() { echo "[$(((SECONDS - start) / 60)) min] $*" | tee -a "$OUT/log.txt"; }
# One part: its output goes to a file of its own, and what fails leaves the others alone.
part() {
    local name=$1; shift
    said "$name"
    "$@" > "$OUT/$name.txt" 2>&1 || said "$name ended before it was complete: $(tail -n 1 "$OUT/$name.txt")"
}

workers=$(nproc)
if nvidia-smi -L > "$OUT/device.txt" 2>&1; then
    cat "$OUT/device.txt"
    sizes=${SIZES:-toy paper} workers=$((workers < 14 ? workers : 14))
    # Small networks leave a card idle: with this daemon the kernels of several processes share it.
    if command -v nvidia-cuda-mps-control > /dev/null; then
        export CUDA_MPS_PIPE_DIRECTORY=${TMPDIR:-/tmp}/gcdp-mps
        export CUDA_MPS_LOG_DIRECTORY=$CUDA_MPS_PIPE_DIRECTORY
        mkdir -p "$CUDA_MPS_PIPE_DIRECTORY"
        nvidia-cuda-mps-control -d || said "the MPS daemon runs already, or may not"
    fi
else
    said "no GPU found: this is a rehearsal"
    sizes=${SIZES:-toy}
fi

# shellcheck disable=SC2086
part network_step "$PYTHON" benchmarks/network_step.py --sizes $sizes
part layout_loss "$PYTHON" benchmarks/layout_loss.py
cp -f benchmarks/*.json "$OUT"
train() {
    local left
    left=$(minutes_left)
    if [ "$left" -gt 0 ]; then
        part "train_all-$1" "$PYTHON" -m gcdp.experiments.train_all --profile "$1" --workers "$workers" \
            --deadline-minutes "$left"
    fi
}
train "$PROFILE"
cp -f "results/$PROFILE/study/progress.txt" "$OUT" 2> /dev/null || true
if [ -d data/camvid/streets/raw ]; then
    train camvid
fi
said "done; what is not done yet goes on with the same command"

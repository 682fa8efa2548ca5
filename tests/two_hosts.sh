#!/bin/bash
# What docs/scaling.md says of several machines, on two that are network namespaces of this one. As root, on Linux,
# with axial-deeplab, torchrun and (for the last part) dask on the PATH; not part of the tests, takes ten minutes:
#
#   sudo env PATH="$PATH" bash tests/two_hosts.sh [straight killed fsdp connecting dask_workers]
#
# The name of each host resolves to loopback, as on Debian and in many containers. Files are on one disk.
set -euo pipefail
export OMP_NUM_THREADS=1
HOSTS=(two-hosts-a two-hosts-b)
WORK=$(mktemp -d)

remove_hosts() {
  for host in "${HOSTS[@]}"; do
    ip netns pids "$host" 2>/dev/null | xargs -r kill -9 2>/dev/null || true
    ip netns del "$host" 2>/dev/null || true
    rm -rf "/etc/netns/$host"
  done
}
trap 'remove_hosts; rm -rf "$WORK"' EXIT
remove_hosts
for place in 0 1; do
  host=${HOSTS[$place]}
  ip netns add "$host"
  mkdir -p "/etc/netns/$host"
  printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$host" >"/etc/netns/$host/hosts"
done
ip link add eth1 netns "${HOSTS[0]}" type veth peer name eth1 netns "${HOSTS[1]}"
for place in 0 1; do
  ip -n "${HOSTS[$place]}" addr add "10.77.0.$((place + 1))/24" dev eth1
  ip -n "${HOSTS[$place]}" link set lo up
  ip -n "${HOSTS[$place]}" link set eth1 up
done

on() { # PLACE COMMAND...: run on a host
  local host=${HOSTS[$1]}
  shift
  ip netns exec "$host" unshare --uts sh -c 'hostname "$0" && exec "$@"' "$host" "$@"
}

cd "$WORK"
axial-deeplab scenes --output scenes --num-images 20 --height 40 --width 48 >log 2>&1
cat >tiny.yaml <<'END'
model:
  name: axial_deeplab_nano
  overrides: {width_multiplier: 0.0625, depths: [1, 1, 1, 1], num_heads: 2, max_span: 9}
data:
  train: &scenes {images: scenes/images, panoptic: scenes/panoptic, json: scenes/panoptic.json}
  val: *scenes
  val_limit: 3
augmentation: {crop_size: [33, 33]}
optim: {max_steps: 12, warmup_steps: 0, lookahead_steps: 1}
trainer: {batch_size: 4, accelerator: cpu, num_workers: 0, log_interval: 1, val_interval: 12,
          checkpoint_interval: 3, progress_bar: false, precision: 32-true}
END

train() { # PLACE OUTPUT STRATEGY [torchrun's options]: what is typed on a host
  local place=$1 output=$2 strategy=$3
  shift 3
  on "$place" env GLOO_SOCKET_IFNAME="${INTERFACE-eth1}" \
    torchrun --nnodes 2 --nproc-per-node 1 --rdzv-backend c10d --rdzv-endpoint "${HEAD:-10.77.0.1:29500}" --rdzv-id run1 \
    --rdzv-conf "is_host=$((1 - place)),join_timeout=30,read_timeout=15" --local-addr "10.77.0.$((place + 1))" "$@" \
    --no-python axial-deeplab train --config tiny.yaml --trainer.output "$output" \
    --trainer.num_nodes 2 --trainer.devices 1 --trainer.strategy "$strategy" --resume
}

both() { # OUTPUT STRATEGY [options]: train on both hosts; print how each ends
  train 0 "$@" >log.0 2>&1 &
  local first=$!
  train 1 "$@" >log.1 2>&1 &
  wait_for $first $!
}

wait_for() { # PROCESS...: print how each ends, and what it says of an error
  local place=0 start=$SECONDS process status
  for process; do
    status=0
    wait "$process" || status=$?
    echo "  host $place: exit status $status after $((SECONDS - start)) s"
    { grep -h 'axial-deeplab: error' "log.$place" || grep -h '^torch.*Error' "log.$place" || true; } | tail -n 1 | cut -c 1-150 | sed 's/^/  /'
    place=$((place + 1))
  done
}

straight() {
  echo "ddp, to the end"
  both whole ddp
}

killed() {
  echo "ddp, a process killed in the middle of a step, --max-restarts 3"
  [ -e whole ] || straight
  both restarted ddp --max-restarts 3 >ends &
  local run=$!
  until [ -e restarted/last.ckpt ]; do sleep 0.1; done
  ip netns pids "${HOSTS[1]}" | while read -r process; do
    tr '\0' ' ' <"/proc/$process/cmdline" | grep -q 'bin/axial-deeplab train' || continue
    tr '\0' ' ' <"/proc/$process/cmdline" | grep -q torchrun || kill -9 "$process"
  done
  wait $run
  cat ends
  grep -h '^resuming' log.0 log.1 | sort -u | sed 's/^/  /'
  cmp whole/weights.safetensors restarted/weights.safetensors && echo "  the same bits"
}

fsdp() {
  echo "fsdp, to the end"
  both sharded fsdp
  ls sharded/weights.safetensors
}

connecting() {
  echo "no interface named"
  INTERFACE='' both none ddp
  echo "an interface that is not there"
  INTERFACE=eth7 both none ddp
  echo "the first host is missing"
  train 1 none ddp >log.0 2>&1 &
  wait_for $!
  echo "the second host is missing"
  train 0 none ddp >log.0 2>&1 &
  wait_for $!
  echo "another address of the head, then another port, on the second host"
  for head in 10.77.0.9:29500 10.77.0.1:29501; do
    train 0 none ddp >log.0 2>&1 &
    first=$!
    HEAD=$head train 1 none ddp >log.1 2>&1 &
    wait_for $first $!
  done
}

workers() { # OUTPUT: predict with a scheduler on the first host and a worker on each; kill that of the second
  on 0 dask scheduler --host 10.77.0.1 --port 8786 --no-dashboard >log.s 2>&1 &
  for place in 0 1; do
    on $place dask worker tcp://10.77.0.1:8786 --nthreads 1 --no-dashboard --local-directory "$WORK" >log.w$place 2>&1 &
  done
  on 0 axial-deeplab predict scenes/images --weights axial_deeplab_nano_scenes --output "$1" --scheduler tcp://10.77.0.1:8786 &
  local run=$!
  until [ "$(find "$1/panoptic" -name '*.png' 2>/dev/null | wc -l)" -ge 3 ]; do sleep 0.05; done
  ip netns pids "${HOSTS[1]}" | xargs kill -9
  wait $run
}

dask_workers() {
  echo "Dask, the workers of the second host killed"
  axial-deeplab predict scenes/images --weights axial_deeplab_nano_scenes --output alone >log 2>&1
  workers spread
  diff -r alone spread && echo "  the same bytes"
}

[ $# -gt 0 ] || set -- straight killed fsdp connecting dask_workers
for part; do $part; done

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs inside the guest (tools/quickstart): fio on /dev/vda, one JSON document a workload, all of
# them in an array in $FASTVMM_RESULT, without blanks: an emulated serial port takes its time for each.
# FASTVMM_SECONDS bounds each workload.
set -e
disk=/dev/vda
cpus=$(nproc)
set -- "/sys/block/${disk##*/}/mq"/*
queues=$#
echo "guest: Linux $(uname -r), $cpus CPUs, $disk with $queues queues"

separator='['
: >"$FASTVMM_RESULT"
for mode in randread read randwrite write; do
	block=4k
	case $mode in read | write) block=128k ;; esac
	for depth in 1 32; do
		echo "fio: $mode, $block, depth $depth"
		printf '%s' "$separator" >>"$FASTVMM_RESULT"
		# At depth 32, as many jobs as there are CPUs share it, so that every queue works.
		jobs=1
		[ "$depth" = 1 ] || jobs=$cpus
		fio --name="$mode" --filename="$disk" --rw="$mode" --bs="$block" --direct=1 \
			--ioengine=io_uring --numjobs="$jobs" --iodepth=$((depth / jobs > 0 ? depth / jobs : 1)) \
			--group_reporting --time_based --runtime="${FASTVMM_SECONDS:-4}" --ramp_time=1 \
			--randrepeat=0 --norandommap --output-format=json >/run/fio.json
		sed '/^fio: /d; s/^ *//; s/ : /:/' /run/fio.json >>"$FASTVMM_RESULT"
		separator=,
	done
done
printf ']' >>"$FASTVMM_RESULT"

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs inside a Linux guest of the comparison: one fio job on one disk. Its parameters are words of the
# kernel command line: bench.rw= bench.bs= bench.qd= (of each job) bench.jobs= bench.seconds=
# bench.warmup= bench.direct=. The result is one JSON object: fio's document, and how many interrupts
# the disk's queues raised while fio ran.
set -e
rw=randread bs=4k qd=1 jobs=1 seconds=5 warmup=1 direct=1 disk=/dev/vda
read -r words </proc/cmdline
for word in $words; do
	value=${word#*=}
	case $word in
	bench.rw=*) rw=$value ;;
	bench.bs=*) bs=$value ;;
	bench.qd=*) qd=$value ;;
	bench.jobs=*) jobs=$value ;;
	bench.seconds=*) seconds=$value ;;
	bench.warmup=*) warmup=$value ;;
	bench.direct=*) direct=$value ;;
	esac
done

# Both transports name a queue's interrupt after its device: virtio0-req.0; by MMIO it is virtio0.
interrupts() {
	awk '/virtio/ && !/config/ { for (i = 2; i <= NF && $i ~ /^[0-9]+$/; i++) n += $i }
		END { print n + 0 }' /proc/interrupts
}

before=$(interrupts)
fio --name=bench --filename="$disk" --rw="$rw" --bs="$bs" --iodepth="$qd" --numjobs="$jobs" \
	--direct="$direct" --ioengine=io_uring --group_reporting --time_based --runtime="$seconds" \
	--ramp_time="$warmup" --randrepeat=1 --norandommap --output-format=json >/run/fio.json
echo BENCH-LOAD-END >"$FASTVMM_REPORT"
after=$(interrupts)
{
	printf '{"interrupts":%s,"queues":%s,"kernel":"%s","fio":' $((after - before)) \
		"$(find "/sys/block/${disk##*/}/mq" -mindepth 1 -maxdepth 1 | wc -l)" "$(uname -r)"
	sed -n '/^{/,$p' /run/fio.json
	printf '}\n'
} >"$FASTVMM_RESULT"

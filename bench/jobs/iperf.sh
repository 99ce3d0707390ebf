#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs inside a Linux guest of the comparison: one stream of frames to or from the host at 192.0.2.1. Its
# parameters are words of the kernel command line: bench.test=tcp|udp|rr (iperf3; or one byte there and one
# back, by fio) bench.dir=out|in bench.streams= bench.length= (of a datagram) bench.seconds= bench.warmup=.
# The result is one JSON object: the program's document, and how many interrupts the NIC's queues raised
# and how many frames (up to 64 KiB each) there were meanwhile.
set -e
test=tcp dir=out streams=1 length=1400 seconds=3 warmup=1 host=192.0.2.1
read -r words </proc/cmdline
for word in $words; do
	value=${word#*=}
	case $word in
	bench.test=*) test=$value ;;
	bench.dir=*) dir=$value ;;
	bench.streams=*) streams=$value ;;
	bench.length=*) length=$value ;;
	bench.seconds=*) seconds=$value ;;
	bench.warmup=*) warmup=$value ;;
	esac
done

interrupts() {
	awk '/virtio/ && !/config/ { for (i = 2; i <= NF && $i ~ /^[0-9]+$/; i++) n += $i }
		END { print n + 0 }' /proc/interrupts
}

frames() { cat "/sys/class/net/eth0/statistics/$1_packets"; }

# Its own document says what went wrong.
stream() {
	iperf3 -c $host -t "$seconds" -O "$warmup" -P "$streams" --json "$@" >/run/said ||
		{ cat /run/said && exit 1; }
}

# fio may print notes before its document.
round_trips() {
	fio --name=rr --ioengine=net --protocol=tcp --hostname=$host --port=8765 --rw=write --pingpong=1 \
		--bs=1 --size=1m --time_based --ramp_time="$warmup" --runtime="$seconds" \
		--output-format=json >/run/fio.json
	sed -n '/^{/,$p' /run/fio.json >/run/said
}

ip addr add 192.0.2.2/24 dev eth0
ip link set eth0 up
for _ in $(seq 60); do ping -c 1 -W 1 $host >/dev/null 2>&1 && break; done

reverse=''
[ "$dir" = out ] || reverse=-R
before=$(interrupts) sent=$(frames tx) received=$(frames rx)
case $test in
tcp) stream $reverse ;;
udp) stream $reverse -u -b 0 -l "$length" ;;
rr) round_trips ;;
*) echo "bench.test=$test: unknown" && exit 2 ;;
esac
echo BENCH-LOAD-END >"$FASTVMM_REPORT"
after=$(interrupts) sent=$(($(frames tx) - sent)) received=$(($(frames rx) - received))
{
	printf '{"interrupts":%s,"queues":%s,"kernel":"%s",' $((after - before)) \
		"$(find /sys/class/net/eth0/queues -name 'rx-*' | wc -l)" "$(uname -r)"
	printf '"frames":{"sent":%s,"received":%s},' $sent $received
	printf '"test":"%s","dir":"%s","streams":%s,"length":%s,"said":' "$test" "$dir" "$streams" "$length"
	cat /run/said
	printf '}\n'
} >"$FASTVMM_RESULT"

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Guest job of bench/iperf.py: iperf3 and a request-response test against the host at 192.0.2.1.
# The result has a line "NAME VALUE" for each: kbit/s for TCP, datagrams a second for UDP, round trips
# a second for tcp-rr; and "interrupts N", the NIC's over the whole run.
#
# What counts of UDP is what went through the NIC: all that was sent on the way out (a full tap pushes
# back to the sender; what the receiver's socket has no room for is lost behind the NIC), and what
# arrived on the way in. The first seconds of each are left out: code is still being warmed up.
host=192.0.2.1
seconds=$(sed -n 's/.*iperf\.seconds=\([0-9]*\).*/\1/p' /proc/cmdline)
seconds=${seconds:-3}
warmup=2

say() { echo "$*" >>"$FASTVMM_RESULT"; }

ip link set eth0 up
ip addr add 192.0.2.2/24 dev eth0
for _ in $(seq 60); do ping -c 1 -W 1 $host >/dev/null 2>&1 && break; done

# tcp NAME OPTION...
tcp() {
	name=$1
	shift
	iperf3 -c $host -t "$seconds" -O $warmup -f k "$@" >/tmp/log || { cat /tmp/log; return 1; }
	say "$name" "$(awk '/receiver/ { for (i = 2; i <= NF; i++) if ($i == "Kbits/sec") value = $(i - 1) }
		END { print value }' /tmp/log)"
}

# udp NAME out|in OPTION...: as fast as it goes.
udp() {
	name=$1 way=$2
	shift 2
	iperf3 -c $host -t "$seconds" -O $warmup -u -b 0 "$@" >/tmp/log || { cat /tmp/log; return 1; }
	say "$name" "$(awk -v seconds="$seconds" -v way="$way" '/receiver/ {
		for (i = 1; i <= NF; i++) if (split($i, part, "/") == 2 && part[2] + 0 > 0 && part[1] ~ /^[0-9]+$/)
			value = (part[2] - (way == "in" ? part[1] : 0)) / seconds } END { print int(value) }' /tmp/log)"
}

tcp tcp-out && tcp tcp-in -R && tcp tcp-out-4 -P 4 && tcp tcp-in-4 -P 4 -R &&
	udp udp-64-out out -l 64 && udp udp-64-in in -l 64 -R && udp udp-1400-out out -l 1400 &&
	udp udp-1400-in in -l 1400 -R || exit 1

# One byte there, one byte back.
fio --name=rr --ioengine=net --protocol=tcp --hostname=$host --port=8765 --rw=write --pingpong=1 \
	--bs=1 --size=1m --time_based --ramp_time=$warmup --runtime="$seconds" --output-format=terse >/tmp/log || {
	cat /tmp/log
	exit 1
}
say tcp-rr "$(tail -1 /tmp/log | cut -d';' -f49)"
say interrupts "$(awk '/virtio.-(input|output)/ { for (i = 2; i < NF; i++) if ($i ~ /^[0-9]+$/) n += $i }
	END { print n }' /proc/interrupts)"

# SPDX-License-Identifier: Apache-2.0
"""virtio-net under a real driver: traffic of every kind, reconfiguration under it, links that fail."""
import os
import re

from guest import HANG_SECONDS, SOAK_SECONDS, Scratch, expect
from lab import GUEST_LIBRARY, MIN_TSO_SEGMENTS, Lab

QUEUES = ["--queues", "4", "--cpus", "4"]
NIC = "tap=auto,bridge=br0"
TRANSFER = 100_000_000
GROWTH_KIB = 256  # of fastvmm's own memory, while traffic goes on

# iperf NAME ARGUMENT...: "NAME received N of M" in bytes (UDP: datagrams), or the job fails.
IPERF = r"""
iperf() {
	name=$1
	shift
	iperf3 -c $HOST4 -t 2 --json "$@" >/tmp/$name || { cat /tmp/$name; exit 1; }
	say $name $(awk '/"sum_received"/ { in_sum = 1 } in_sum && /"bytes"/ { gsub(/[^0-9]/, ""); print; exit }' \
		/tmp/$name)
}
"""


def pairs(outcome, direction, name):
    """A counter of each queue pair of the first NIC."""
    return [pair[direction][name] for pair in outcome.stats["nics"][0]["pairs"]]


def streams(host):
    """Pings, iperf3 over TCP and UDP, both ways, one stream and four, over four queue pairs."""
    with Lab(host) as lab:
        lab.iperf_server()
        outcome = lab.guest(IPERF + r"""
up 2
ping -c 3 $HOST4
ping6 -c 3 $HOST6
say pairs $(ethtool -l eth0 | awk '/^Combined/ {print $2}')
iperf tcp-out-1
iperf tcp-in-1 -R
iperf tcp-out-4 -P 4
iperf tcp-in-4 -P 4 -R
iperf udp-out-1 -u -b 10M
iperf udp-in-1 -u -b 10M -R
iperf udp-out-4 -u -b 2M -P 4
iperf udp-in-4 -u -b 2M -P 4 -R
say link $(cat /sys/class/net/eth0/carrier)
""", *QUEUES, "--net", NIC)
    words = outcome.words()
    expect(words["pairs"] == "4 4", f"queue pairs, most and used: {words['pairs']}")
    for name in [name for name in words if "-" in name]:
        # How fast it went is not the question here.
        expect(int(words[name] or 0) >= 100_000, f"{name}: {words[name]} bytes arrived")
    expect(len(words) == 10, f"not all ran: {words}")
    expect(sum(frames > 0 for frames in pairs(outcome, "transmit", "frames")) > 1,
           f"one pair carried it all: {pairs(outcome, 'transmit', 'frames')}")
    expect(sum(pairs(outcome, "transmit", "rejected")) == 0, "frames were rejected")
    expect(sum(pairs(outcome, "receive", "errors")) == 0, "receive errors")


# Both transfers at once; the sums go to the result as "sink SHA" and "source SHA". The programs behind nc -e
# have the socket as their input and output: nc itself copies a kilobyte at a time.
TRANSFERS = r"""
head -c ${BYTES:-""" + str(TRANSFER) + r"""} /dev/urandom >/tmp/data
sum=$(sha256sum </tmp/data | cut -d' ' -f1)
echo """ + str(MIN_TSO_SEGMENTS) + r""" >/proc/sys/net/ipv4/tcp_min_tso_segs
transfer() {
	begin=$(cut -d. -f1 /proc/uptime)
	nc $HOST4 $SOURCE -e sh -c 'sha256sum >/tmp/arrived' &
	source=$!
	nc $HOST4 $SINK -e cat /tmp/data && arrived || return 1
	wait $source
	say sink $sum
	say source $(cut -d' ' -f1 /tmp/arrived)
	echo "two transfers took $(($(cut -d. -f1 /proc/uptime) - begin)) s"
}
# transfer_beside CHANGE: transfers, while this function is called over and over. It makes a file
# /tmp/refused-* of what it could not do; told are the rounds and these.
transfer_beside() {
	touch /tmp/go-on
	while [ -e /tmp/go-on ]; do $1; echo x >>/tmp/rounds; done >/dev/null &
	changes=$!
	transfer || exit 1
	rm /tmp/go-on
	wait $changes
	say rounds $(wc -l </tmp/rounds)
	say refused $(ls /tmp/refused-* 2>/dev/null)
}
"""


def random_file(host, length=TRANSFER):
    path = host.scratch / "random"
    path.write_bytes(os.urandom(length))
    return path


def matching_sums(outcome, peer_output):
    """How many transfers there were; every one arrived as it was sent."""
    guest = re.findall(r"^(sink|source) ([0-9a-f]{64})$", outcome.result, re.M)
    peer = re.findall(r"^(sink|source) ([0-9a-f]{64})$", peer_output, re.M)
    expect(sorted(guest) == sorted(peer), f"sent and received differ:\n{guest}\n{peer_output}")
    return len(guest)


def finish(process):
    process.terminate()
    return process.communicate()[0]


def changed_beside(outcome):
    """What was refused while transfer_beside ran."""
    words = outcome.words()
    expect(int(words["rounds"]) >= 1, "nothing was changed")
    return words["refused"].split()


def reconfigured(host):
    """Queue pairs, RSS tables and offloads change under two 100 MB transfers, which arrive whole."""
    with Lab(host) as lab:
        peer = lab.peer(random_file(host))
        outcome = lab.guest(TRANSFERS + r"""
up 2
change_pairs() {
	for n in 1 4 2 3 4; do
		ethtool -L eth0 combined $n || touch /tmp/refused-pairs-$n
		ethtool -X eth0 equal $n || touch /tmp/refused-rss-$n
		sleep 1
		# With a table of one's own ethtool refuses to give up a pair that is in it.
		ethtool -X eth0 default || touch /tmp/refused-rss-default
	done
}
change_offloads() {
	for feature in tx tso gso sg gro rx-gro-hw rx; do
		ethtool -K eth0 $feature off || touch /tmp/refused-$feature-off
		sleep 0.5
		ethtool -K eth0 $feature on || touch /tmp/refused-$feature-on
		sleep 1
	done
}
change() { change_pairs; change_offloads; }
transfer_beside change
answers $HOST4
""", "--queues", "4", "--cpus", "2", "--net", f"{NIC},rss=on")
        count = matching_sums(outcome, finish(peer))
    expect(count == 2, f"{count} transfers")
    refused = changed_beside(outcome)
    expect(set(refused) <= {"/tmp/refused-rx-off", "/tmp/refused-rx-on"}, f"refused: {refused}")


def packed(host):
    """Packed virtqueues: two transfers over two queue pairs, another driver's life, two more."""
    with Lab(host) as lab:
        peer = lab.peer(random_file(host, 20_000_000))
        outcome = lab.guest("BYTES=20000000\n" + TRANSFERS + r"""
up 2
device=$(basename $(readlink /sys/class/net/eth0/device))
# Bit 34, counted from the left and from 1: VIRTIO_F_RING_PACKED.
say packed $(cut -c35 /sys/bus/virtio/devices/$device/features)
transfer || exit 1
ethtool -L eth0 combined 1
cd /sys/bus/virtio/drivers/virtio_net
echo $device >unbind
echo $device >bind
up 2
transfer || exit 2
""", "--queues", "2", "--net", f"{NIC},packed=on")
        count = matching_sums(outcome, finish(peer))
    expect(outcome.words()["packed"] == "1", "the driver did not take packed rings")
    expect(count == 4, f"{count} transfers")
    expect(sum(pairs(outcome, "transmit", "rejected")) == 0, "frames were rejected")
    expect(sum(pairs(outcome, "receive", "errors")) == 0, "receive errors")


def coalesced(host):
    """ethtool -C: what was set is shown, lone pings come back by the timer, changes under transfers."""
    with Lab(host) as lab:
        peer = lab.peer(random_file(host, 5_000_000))
        outcome = lab.guest("BYTES=5000000\n" + TRANSFERS + r"""
up 2
shown() { ethtool -c eth0 | awk -v name=$1: '$1 == name {print $2}'; }
ethtool -C eth0 rx-usecs 100 rx-frames 32 tx-usecs 200 tx-frames 64 || exit 1
say all $(shown rx-usecs) $(shown rx-frames) $(shown tx-usecs) $(shown tx-frames)
ethtool -Q eth0 queue_mask 0x2 --coalesce rx-usecs 300 rx-frames 16 || exit 2
say one $(ethtool -Q eth0 queue_mask 0x2 --show-coalesce | awk '$1 == "rx-usecs:" {print $2}')
ethtool -C eth0 rx-usecs 20000 rx-frames 1000 || exit 3
say lone $(ping -c 3 -W 10 $HOST4 | grep -c 'bytes from')
change() {
	ethtool -C eth0 rx-usecs 0 rx-frames 0 || touch /tmp/refused-off
	ethtool -C eth0 rx-usecs 5000 rx-frames 64 tx-usecs 5000 tx-frames 64 || touch /tmp/refused-long
	ethtool -C eth0 rx-usecs 100 rx-frames 32 tx-usecs 0 tx-frames 1 || touch /tmp/refused-short
	ethtool -C eth0 adaptive-rx on || touch /tmp/refused-adaptive
	sleep 1
	ethtool -C eth0 adaptive-rx off || touch /tmp/refused-not-adaptive
	ethtool -G eth0 rx 128 && ethtool -G eth0 rx 256 || touch /tmp/refused-ring
}
transfer_beside change
answers $HOST4
""", "--queues", "2", "--cpus", "2", "--net", NIC, kernel="cloud-6.12")
        count = matching_sums(outcome, finish(peer))
    words = outcome.words()
    expect(words["all"] == "100 32 200 64", f"ethtool -c after ethtool -C: {words['all']}")
    expect(words["one"] == "300", f"of one queue: {words['one']}")
    expect(words["lone"] == "3", f"{words['lone']} of 3 pings came back")
    refused = changed_beside(outcome)
    expect(not refused, f"refused: {refused}")
    expect(count == 2, f"{count} transfers")
    queues = [pair[direction] for pair in outcome.stats["nics"][0]["pairs"] for direction in pair]
    decisions = sum(queue["interrupts"] + queue["interrupts_suppressed"] for queue in queues)
    expect(sum(queue["publishes"] for queue in queues) > decisions, "nothing was kept back")


def vhost(host):
    """The kernel moves the frames: streams, two transfers, fewer pairs, another driver's life."""
    with Lab(host) as lab:
        lab.run("modprobe", "vhost_net")
        lab.iperf_server()
        peer = lab.peer(random_file(host, 20_000_000))
        outcome = lab.guest(IPERF + "BYTES=20000000\n" + TRANSFERS + r"""
up 2
transfer || exit 1
iperf tcp-out-4 -P 4
iperf udp-in-4 -u -b 2M -P 4 -R
ethtool -L eth0 combined 1
iperf tcp-in-1 -R
ethtool -L eth0 combined 4
device=$(basename $(readlink /sys/class/net/eth0/device))
cd /sys/bus/virtio/drivers/virtio_net
echo $device >unbind
echo $device >bind
up 2
ethtool -L eth0 combined 4
iperf tcp-in-4 -P 4 -R
""", *QUEUES, "--net", f"{NIC},vhost=on")
        count = matching_sums(outcome, finish(peer))
    expect(count == 2, f"{count} transfers")
    words = outcome.words()
    for name in ("tcp-out-4", "udp-in-4", "tcp-in-1", "tcp-in-4"):
        expect(int(words.get(name) or 0) >= 100_000, f"{name}: {words.get(name)} bytes arrived")
    nic = outcome.stats["nics"][0]
    expect(nic["vhost"] is True and not nic["pairs"], f"statistics: {nic}")


def large_frames(host):
    """MTU 9000, a VLAN interface, IPv6 over both."""
    with Lab(host) as lab:
        lab.run("ip", "link", "set", lab.bridge, "mtu", 9000)
        lab.run("ip", "link", "add", "link", lab.bridge, "name", "vlan7", "type", "vlan", "id", 7)
        lab.run("ip", "addr", "add", "198.51.100.1/24", "dev", "vlan7")
        lab.run("ip", "addr", "add", "2001:db8:7::1/64", "dev", "vlan7", "nodad")
        lab.run("ip", "link", "set", "vlan7", "up")
        outcome = lab.guest(r"""
up 2 9000
say mtu $(cat /sys/class/net/eth0/mtu)
say large $(ping -c 3 -s 8972 $HOST4 | grep -c '8980 bytes from')
say large6 $(ping6 -c 3 -s 8952 $HOST6 | grep -c '8960 bytes from')
modprobe 8021q
ip link add link eth0 name eth0.7 type vlan id 7
ip link set eth0.7 up
ip addr add 198.51.100.2/24 dev eth0.7
ip addr add 2001:db8:7::2/64 dev eth0.7
answers 198.51.100.1
answers 2001:db8:7::1
say vlan $(ping -c 3 -s 8972 198.51.100.1 | grep -c '8980 bytes from')
say vlan6 $(ping6 -c 3 2001:db8:7::1 | grep -c 'bytes from')
""", "--queues", "2", "--net", f"{NIC},mtu=9000")
    words = outcome.words()
    expect(words == {"mtu": "9000", "large": "3", "large6": "3", "vlan": "3", "vlan6": "3"},
           f"{words}")


def two_guests(host):
    """Two guests on one bridge talk to each other."""
    with Lab(host) as lab, Scratch() as server:
        initrd = server.job_initrd("cloud-6.1", GUEST_LIBRARY + r"""
up 3
iperf3 -s -1 >/tmp/log || { cat /tmp/log; exit 1; }
""")
        command = server.command("cloud-6.1", initrd, ["--no-reboot", "--queues", "2", "--net", NIC],
                                 "quiet")
        other = lab.start(*command)
        outcome = lab.guest(r"""
up 2
answers 192.0.2.3
for try in $(seq 60); do
	iperf3 -c 192.0.2.3 -t 3 -P 2 >/tmp/log 2>&1 && say sent 0 && break
	grep -q 'Connection refused' /tmp/log || break
	sleep 0.5
done
cat /tmp/log
""", "--queues", "2", "--net", NIC)
        output, _ = other.communicate(timeout=HANG_SECONDS)
        expect(outcome.words().get("sent") == "0", "iperf3 from guest to guest failed")
        expect(other.returncode == 0, f"the other guest ended with {other.returncode}:\n{output}")
        expect(server.outcome(0, "").job_status == 0, "the other guest's job failed")


def promiscuous(host):
    """Frames to another address arrive in promiscuous mode, and only then; multicast as well."""
    with Lab(host) as lab:
        stranger = lab.start("python3", "-c", STRANGER, lab.bridge)
        outcome = lab.guest(r"""
up 2
received() { awk '/eth0:/ {print $3}' /proc/net/dev; }
count() { before=$(received); sleep 2; echo $(($(received) - before)); }
say without $(count)
ip link set eth0 promisc on
before=$(received)
for try in $(seq 300); do
	[ $(($(received) - before)) -lt 50 ] || break
	sleep 0.2
done
say with $(($(received) - before))
ip link set eth0 promisc off
say again $(count)
""", "--queues", "2", "--net", NIC)
        finish(stranger)
    words = outcome.words()
    without, within, again = (int(words[name]) for name in ("without", "with", "again"))
    expect(within >= 50, f"{within} frames to a stranger in promiscuous mode, in a minute")
    # Two seconds of the stranger are up to 100; multicast and ARP are a handful.
    expect(max(without, again) < 12,
           f"frames to a stranger: {without} before, {again} after promiscuous mode")
    expect(sum(pairs(outcome, "receive", "filtered")) > 0, "nothing was filtered")


# 50 frames a second to an address that nobody has.
STRANGER = r"""
import socket, sys, time
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
link.bind((sys.argv[1], 0))
frame = bytes.fromhex("02000000beef" "02000000cafe" "88b5") + bytes(50)
while True:
    try:
        link.send(frame)
    except OSError:
        pass
    time.sleep(0.02)
"""


def link_lost(host):
    """The tap goes down and up: the guest sees it and talks again. It vanishes: the guest lives."""
    with Lab(host) as lab:
        initrd = host.job_initrd("cloud-6.1", GUEST_LIBRARY + r"""
carrier() {
	for try in $(seq 300); do
		[ "$(cat /sys/class/net/eth0/carrier)" = $1 ] && return 0
		sleep 0.1
	done
	return 1
}
up 2 || exit 1
echo up >"$FASTVMM_REPORT"
carrier 0 || exit 2
echo down >"$FASTVMM_REPORT"
carrier 1 || exit 3
answers $HOST4 || exit 4
echo again >"$FASTVMM_REPORT"
carrier 0 || exit 5
say lived
""")
        command = host.command("cloud-6.1", initrd, ["--no-reboot", "--queues", "2", "--net",
                                                     "tap=fvtest0,bridge=br0"], "quiet")
        process = lab.start(*command)
        steps = [("up", ["link", "set", "fvtest0", "down"]),
                 ("down", ["link", "set", "fvtest0", "up"]),
                 ("again", ["link", "del", "fvtest0"])]
        for line, change in steps:
            host.wait_for_report(line, process)
            lab.run("ip", *change)
        output, _ = process.communicate(timeout=HANG_SECONDS)
    outcome = host.outcome(process.returncode, output)
    expect(outcome.job_status == 0, f"the job ended with {outcome.job_status}:\n{output[-3000:]}")
    expect(process.returncode == 0, f"fastvmm ended with {process.returncode}")
    expect("fvtest0" in output, f"no line about the tap:\n{output[-2000:]}")


def mixed(host):
    """TCP both ways, UDP and pings for a while: no byte lost, no queue stuck, no memory grown."""
    with Lab(host) as lab:
        lab.iperf_server()
        peer = lab.peer(random_file(host))
        with lab.memory_of_fastvmm() as memory:
            outcome = lab.guest(TRANSFERS + r"""
up 2
end=$(($(cut -d. -f1 /proc/uptime) + """ + str(SOAK_SECONDS) + r"""))
now() { cut -d. -f1 /proc/uptime; }
while [ $(now) -lt $end ]; do
	iperf3 -c $HOST4 -u -b 5M -P 2 -t 5 >/dev/null || touch /tmp/udp-failed
done &
while [ $(now) -lt $end ]; do ping -q -c 3 -s 4000 $HOST4 >/dev/null; done &
while [ $(now) -lt $end ]; do
	transfer || exit 1
	echo "two transfers, $((end - $(now))) s left"
done
wait
[ ! -e /tmp/udp-failed ] || say udp failed
for cpu in 0 1; do taskset -c $cpu ping -c 2 $HOST4 >/dev/null || say stuck $cpu; done
""", "--queues", "4", "--cpus", "2", "--net", NIC, timeout=SOAK_SECONDS + HANG_SECONDS)
        count = matching_sums(outcome, finish(peer))
    expect(count >= 2, f"{count} transfers")
    expect(memory.growth() <= GROWTH_KIB, f"fastvmm's own memory grew: {memory.samples} KiB")
    expect("udp" not in outcome.words(), "iperf3 -u failed")
    expect("stuck" not in outcome.words(), f"a queue is stuck: {outcome.result[-500:]}")


def tests(quick):
    result = [
        ("net/streams", streams),
        ("net/reconfigured under traffic", reconfigured),
        ("net/packed virtqueues", packed),
        ("net/interrupt coalescing", coalesced),
        ("net/vhost", vhost),
        ("net/MTU 9000, VLAN, IPv6", large_frames),
    ]
    if not quick:
        result += [
            ("net/two guests", two_guests),
            ("net/promiscuous", promiscuous),
            ("net/link lost", link_lost),
            ("net/mixed traffic", mixed),
        ]
    return result

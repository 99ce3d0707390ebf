/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding the NICs, features, roles and addresses, and the control queue. Offloads are agreed on
 * only where the options use them, so that what is measured is what was asked for.
 */
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>

#include "clock.h"
#include "cpu.h"
#include "ring_features.h"
#include "finish.h"
#include "memory.h"
#include "net.h"

#define F_GUEST_USO4 54
#define F_GUEST_USO6 55
#define F_HOST_USO   56
#define BIT(n)       (1ull << (n))

static bool has(const struct net_nic *nic, unsigned bit)
{
	return nic->device->features & BIT(bit);
}

static bool wants_checksum(const struct options *options)
{
	return options->gso || options->checksum == SWITCH_ON;
}

static uint64_t wanted_features(const struct options *options)
{
	uint64_t wanted = features_wanted(options) | BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_MTU) |
	                  BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_MQ);
	bool receive_gso = options->receive_gso == SWITCH_ON ||
	                   (options->receive_gso == SWITCH_AUTO && options->gso);

	if (options->mergeable != SWITCH_OFF)
		wanted |= BIT(VIRTIO_NET_F_MRG_RXBUF);
	if (wants_checksum(options))
		wanted |= BIT(VIRTIO_NET_F_CSUM);
	if (wants_checksum(options) || receive_gso)
		wanted |= BIT(VIRTIO_NET_F_GUEST_CSUM);
	if (options->gso || options->direction == DIRECTION_REFLECT ||
		options->direction == DIRECTION_ECHO)
		wanted |= BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(F_HOST_USO);
	if (receive_gso)
		wanted |= BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(F_GUEST_USO4) | BIT(F_GUEST_USO6);
	return wanted;
}

static void demand(const struct net_nic *nic, bool demanded, unsigned bit, const char *name)
{
	if (demanded && !has(nic, bit))
		finish_fail("%s is asked for, NIC %u does not offer it", name, nic->index);
}

static void check_features(const struct net_nic *nic)
{
	const struct options *options = nic->options;

	features_demand(options, nic->device);
	demand(nic, options->mergeable == SWITCH_ON, VIRTIO_NET_F_MRG_RXBUF, "mrg=1");
	demand(nic, options->checksum == SWITCH_ON, VIRTIO_NET_F_CSUM, "csum=1");
	demand(nic, options->receive_gso == SWITCH_ON, VIRTIO_NET_F_GUEST_TSO4, "rx-gso=1");
	if (!net_nic_sends(nic) || !options->gso)
		return;
	demand(nic, options->gso_type == GSO_TCP, VIRTIO_NET_F_HOST_TSO4, "gso-type=tcp");
	demand(nic, options->gso_type == GSO_UDP, F_HOST_USO, "gso-type=udp");
}

static enum net_role role_of(const struct options *options, unsigned position)
{
	switch (options->direction) {
	case DIRECTION_TX:
		return NET_TX;
	case DIRECTION_RX:
		return NET_RX;
	case DIRECTION_BOTH:
		return NET_BOTH;
	case DIRECTION_REFLECT:
		return NET_REFLECT;
	case DIRECTION_PAIR:
		return position % 2 ? NET_RX : NET_TX;
	case DIRECTION_ECHO:
		return position % 2 ? NET_REFLECT : NET_BOTH;
	}
	return NET_TX;
}

static bool is_zero(const uint8_t mac[6])
{
	return !(mac[0] | mac[1] | mac[2] | mac[3] | mac[4] | mac[5]);
}

static void copy_mac(uint8_t to[6], const uint8_t from[6])
{
	for (unsigned i = 0; i < 6; i++)
		to[i] = from[i];
}

static void set_addresses(struct net_nic *nic)
{
	static const uint8_t fallback[6] = {0x52, 0x54, 0x00, 0x00, 0x00, 0x01};
	const struct options *options = nic->options;

	copy_mac(nic->mac, fallback);
	nic->mac[5] += (uint8_t)nic->index;
	for (unsigned i = 0; has(nic, VIRTIO_NET_F_MAC) && i < 6; i++)
		nic->mac[i] = virtio_config8(nic->device, i);
	if (!is_zero(options->source)) {
		copy_mac(nic->mac, options->source);
		nic->mac[5] += (uint8_t)nic->index;
	}
	nic->source_ip = options->source_ip ? options->source_ip + nic->index
	                                    : 0x0a630000u | (uint32_t)nic->mac[4] << 8 |
	                                              nic->mac[5]; /* 10.99.x.y */
	nic->destination_ip = options->destination_ip ? options->destination_ip : 0x0a63fffe;
}

/* dst=, else the other NIC of the couple, else a unicast address that nobody has. */
static void set_destinations(const struct options *options, struct net_nic *nics, unsigned count)
{
	static const uint8_t nobody[6] = {0x02, 0, 0, 0, 0, 0x01};

	for (unsigned i = 0; i < count; i++) {
		unsigned other = i ^ 1u;

		if (!is_zero(options->destination))
			copy_mac(nics[i].destination, options->destination);
		else
			copy_mac(nics[i].destination, other < count ? nics[other].mac : nobody);
	}
}

static void set_pairs(struct net_nic *nic)
{
	bool multi = has(nic, VIRTIO_NET_F_MQ) && has(nic, VIRTIO_NET_F_CTRL_VQ);

	nic->max_pairs = multi ? virtio_config16(nic->device, 8) : 1;
	nic->pairs = nic->options->pairs ? nic->options->pairs : nic->max_pairs;
	if (nic->pairs > nic->max_pairs)
		finish_fail("NIC %u has %u queue pairs, pairs=%u", nic->index, nic->max_pairs,
			nic->pairs);
	if (nic->options->mode == MODE_CALLBACK)
		finish_fail("mode=callback is for blk; net takes mode=poll and mode=irq");
	if (nic->options->mode == MODE_IRQ && !nic->device->msix_entries)
		finish_fail("NIC %u has no MSI-X, mode=irq wants it", nic->index);
}

static void open_nic(const struct options *options, struct virtio_device *device, unsigned index,
	unsigned position, struct net_nic *ret_nic)
{
	*ret_nic = (struct net_nic){.device = device, .options = options, .index = index};
	ret_nic->role = role_of(options, position);
	virtio_pci_negotiate(device, wanted_features(options));
	check_features(ret_nic);
	ret_nic->mergeable = has(ret_nic, VIRTIO_NET_F_MRG_RXBUF);
	set_addresses(ret_nic);
	set_pairs(ret_nic);
	ret_nic->sequences = memory_allocate(NET_SEQUENCES * sizeof(*ret_nic->sequences), 64);
}

unsigned net_nic_open(const struct options *options, struct net_nic *ret_nics)
{
	struct virtio_device *devices = memory_allocate(NET_MAX_NICS * sizeof(*devices), 64);
	unsigned found = virtio_pci_find(VIRTIO_ID_NET, devices, NET_MAX_NICS), count = 0;
	bool couple = options->direction == DIRECTION_PAIR || options->direction == DIRECTION_ECHO;

	for (unsigned i = 0; i < found; i++) {
		if (couple || options->nic == OPTION_ALL || options->nic == i) {
			open_nic(options, &devices[i], i, count, &ret_nics[count]);
			count++;
		}
	}
	if (count == 0)
		finish_fail("no virtio-net device with the number of nic= (%u found)", found);
	if (couple && count % 2)
		finish_fail(
			"dir=pair and dir=echo want an even number of NICs, there are %u", count);
	set_destinations(options, ret_nics, count);
	return count;
}

bool net_nic_sends(const struct net_nic *nic)
{
	return nic->role == NET_TX || nic->role == NET_BOTH;
}

bool net_nic_receives(const struct net_nic *nic)
{
	return nic->role != NET_TX;
}

const char *net_role_name(enum net_role role)
{
	static const char *const names[] = {"tx", "rx", "both", "reflect"};

	return names[role];
}

/* One command, waited for. */
static void set_pair_count(struct net_nic *nic)
{
	struct {
		struct virtio_net_ctrl_hdr header;
		uint8_t ack;
		uint16_t pairs;
	} *command = memory_allocate(sizeof(*command), 64);
	struct virtq_segment segments[3] = {
		{(uint64_t)&command->header, sizeof(command->header)},
		{(uint64_t)&command->pairs, 2},
		{(uint64_t)&command->ack, 1},
	};
	uint64_t limit = cpu_tsc() + clock_to_ticks(nic->options->timeout_ns);
	uint32_t length;
	uint16_t slot;

	command->header.class = VIRTIO_NET_CTRL_MQ;
	command->header.cmd = VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET;
	command->pairs = (uint16_t)nic->pairs;
	command->ack = 0xff;
	virtq_add(&nic->control, segments, 2, 1, 0);
	virtq_publish(&nic->control);
	while (!virtq_take(&nic->control, &slot, &length)) {
		if (cpu_tsc() > limit)
			finish_fail("NIC %u: no answer on the control queue", nic->index);
		cpu_relax();
	}
	if (*(volatile uint8_t *)&command->ack != VIRTIO_NET_OK)
		finish_fail("NIC %u refuses %u queue pairs", nic->index, nic->pairs);
}

void net_nic_start(struct net_nic *nic)
{
	bool control = has(nic, VIRTIO_NET_F_CTRL_VQ);

	if (control)
		virtq_create(&nic->control, nic->device, 2 * nic->max_pairs, 0,
			nic->options->indirect != SWITCH_OFF, 0);
	virtio_pci_start(nic->device);
	if (control && has(nic, VIRTIO_NET_F_MQ))
		set_pair_count(nic);
}

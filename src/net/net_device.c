/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device as the transport sees it: features, configuration space, and which queue is which. A
 * feature is offered where all three agree: this file does it, the tap does it (tap.c has tried),
 * and the user has not switched it off. Frames never come by here: once a queue is started it is
 * its worker's (net_rx.c, net_tx.c, net_control_queue.c).
 */
#include "net/net_device.h"

#include "io/worker.h"
#include "net/net_control_queue.h"
#include "net/net_rx.h"
#include "net/net_tx.h"
#include "net/net_vhost.h"
#include "net/tap.h"
#include "net/topology.h"
#include "net/virtio_net_abi.h"
#include "util/cleanup.h"
#include "util/error.h"
#include "util/log.h"

#include <assert.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define FEATURE(bit) (1ull << (bit))

#define FRAME_MTU_DEFAULT 1500u

struct net_device {
	struct virtio_device virtio;
	struct net_shared shared;
	struct tap tap;
	struct net_steering steering;
	struct net_vhost vhost; /* where shared.vhost is set */
	bool hash_report;       /* can be offered */
	struct topology *topology;
	struct io_worker **workers;
	unsigned worker_count;
	unsigned pairs;
	unsigned mtu; /* 0: not known, not offered */
	uint32_t speed;
	uint8_t duplex;
	uint8_t mac[NET_MAC_LENGTH]; /* after a reset */
	struct net_rx *rx[NET_QUEUE_PAIRS_MAX];
	struct net_tx *tx[NET_QUEUE_PAIRS_MAX];
	struct net_control_queue control;
};

static struct net_device *device_of(struct virtio_device *virtio)
{
	return container_of(virtio, struct net_device, virtio);
}

/* ---- features ---- */

static const struct {
	enum net_offload offload;
	uint64_t features;
} offload_features[] = {
	{NET_OFFLOAD_CSUM, FEATURE(VIRTIO_NET_F_CSUM) | FEATURE(VIRTIO_NET_F_GUEST_CSUM)},
	{NET_OFFLOAD_TSO4, FEATURE(VIRTIO_NET_F_HOST_TSO4) | FEATURE(VIRTIO_NET_F_GUEST_TSO4)},
	{NET_OFFLOAD_TSO6, FEATURE(VIRTIO_NET_F_HOST_TSO6) | FEATURE(VIRTIO_NET_F_GUEST_TSO6)},
	{NET_OFFLOAD_ECN, FEATURE(VIRTIO_NET_F_HOST_ECN) | FEATURE(VIRTIO_NET_F_GUEST_ECN)},
	{NET_OFFLOAD_USO, FEATURE(VIRTIO_NET_F_HOST_USO) | FEATURE(VIRTIO_NET_F_GUEST_USO4) |
				  FEATURE(VIRTIO_NET_F_GUEST_USO6)},
};

static uint64_t features_to_offer(const struct net_device *device, const struct net_config *config)
{
	uint32_t offloads = device->tap.offloads & config->offloads;
	uint64_t features = FEATURE(VIRTIO_NET_F_MAC) | FEATURE(VIRTIO_NET_F_STATUS) |
	                    FEATURE(VIRTIO_NET_F_SPEED_DUPLEX) | FEATURE(VIRTIO_NET_F_MRG_RXBUF) |
	                    FEATURE(VIRTIO_NET_F_CTRL_VQ) | FEATURE(VIRTIO_NET_F_CTRL_RX) |
	                    FEATURE(VIRTIO_NET_F_CTRL_RX_EXTRA) | FEATURE(VIRTIO_NET_F_CTRL_VLAN) |
	                    FEATURE(VIRTIO_NET_F_CTRL_MAC_ADDR) |
	                    FEATURE(VIRTIO_NET_F_GUEST_ANNOUNCE) | FEATURE(VIRTIO_NET_F_NOTF_COAL) |
	                    FEATURE(VIRTIO_NET_F_VQ_NOTF_COAL);

	if (device->mtu)
		features |= FEATURE(VIRTIO_NET_F_MTU);
	if (device->pairs > 1)
		features |= FEATURE(VIRTIO_NET_F_MQ);
	if (device->shared.steering)
		features |= FEATURE(VIRTIO_NET_F_RSS);
	if (device->hash_report)
		features |= FEATURE(VIRTIO_NET_F_HASH_REPORT);
	for (size_t i = 0; i < ARRAY_SIZE(offload_features); i++) {
		if (offloads & offload_features[i].offload)
			features |= offload_features[i].features;
	}
	if (offloads)
		features |= FEATURE(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS);
	if (config->packed)
		features |= FEATURE(VIRTIO_F_RING_PACKED);
	return device->shared.vhost ? net_vhost_features(features) : features;
}

/* Section 5.1.3.1: each of `features` needs one of `needs`. */
static const struct {
	uint64_t features;
	uint64_t needs;
} requirements[] = {
	{FEATURE(VIRTIO_NET_F_HOST_TSO4) | FEATURE(VIRTIO_NET_F_HOST_TSO6) |
			FEATURE(VIRTIO_NET_F_HOST_USO),
		FEATURE(VIRTIO_NET_F_CSUM)},
	{FEATURE(VIRTIO_NET_F_HOST_ECN),
		FEATURE(VIRTIO_NET_F_HOST_TSO4) | FEATURE(VIRTIO_NET_F_HOST_TSO6)},
	{FEATURE(VIRTIO_NET_F_CTRL_RX) | FEATURE(VIRTIO_NET_F_CTRL_RX_EXTRA) |
			FEATURE(VIRTIO_NET_F_CTRL_VLAN) | FEATURE(VIRTIO_NET_F_CTRL_MAC_ADDR) |
			FEATURE(VIRTIO_NET_F_GUEST_ANNOUNCE) | FEATURE(VIRTIO_NET_F_MQ) |
			FEATURE(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) | FEATURE(VIRTIO_NET_F_RSS) |
			FEATURE(VIRTIO_NET_F_HASH_REPORT) | FEATURE(VIRTIO_NET_F_NOTF_COAL) |
			FEATURE(VIRTIO_NET_F_VQ_NOTF_COAL),
		FEATURE(VIRTIO_NET_F_CTRL_VQ)},
};

static bool net_features_valid(struct virtio_device *virtio, uint64_t features)
{
	(void)virtio;
	for (size_t i = 0; i < ARRAY_SIZE(requirements); i++) {
		if ((features & requirements[i].features) && !(features & requirements[i].needs))
			return false;
	}
	return net_guest_offloads_valid(features);
}

/* ---- configuration space, section 5.1.4 ---- */

static void net_config_read(
	struct virtio_device *virtio, uint32_t offset, void *data, uint32_t length)
{
	const struct net_device *device = device_of(virtio);
	struct virtio_net_config config = {
		.status = atomic_load(&device->shared.status),
		.max_virtqueue_pairs = (uint16_t)device->pairs,
		.mtu = (uint16_t)device->mtu,
		.speed = device->speed,
		.duplex = device->duplex,
	};

	if (device->hash_report || device->shared.steering) {
		config.rss_max_key_size = NET_TOEPLITZ_KEY_MAX;
		config.supported_hash_types = NET_HASH_TYPES;
	}
	if (device->shared.steering)
		config.rss_max_indirection_table_length = NET_RSS_TABLE_MAX;
	net_shared_mac(&device->shared, config.mac);
	if (offset < sizeof(config))
		memcpy(data, (const char *)&config + offset,
			min_of((size_t)length, sizeof(config) - offset));
}

/* Nothing is writable: the address is set by a command (section 5.1.4.2). */
static void net_config_write(
	struct virtio_device *virtio, uint32_t offset, const void *data, uint32_t length)
{
	(void)virtio;
	(void)offset;
	(void)data;
	(void)length;
}

/* ---- queues ---- */

/*
 * Section 5.1.2: with neither MQ nor RSS there is one pair, and the control queue is the third
 * queue.
 */
static unsigned control_index(const struct net_device *device)
{
	bool many = virtio_device_has(&device->virtio, VIRTIO_NET_F_MQ) ||
	            virtio_device_has(&device->virtio, VIRTIO_NET_F_RSS);

	return many ? 2 * device->pairs : 2;
}

static struct io_worker *worker_of(const struct net_device *device, unsigned pair)
{
	return device->workers[pair % device->worker_count];
}

/* Chooses the header in front of each frame; no queue is started. */
static int set_hash_report(struct net_device *device, bool on)
{
	if (device->shared.hash_report == on)
		return 0;
	device->shared.hash_report = on;
	return tap_set_header(&device->tap, net_shared_header_bytes(&device->shared));
}

static int net_activate(struct virtio_device *virtio)
{
	struct net_device *device = device_of(virtio);
	const struct net_policy *policy;
	int result;

	device->shared.control_fd = virtio->queues[control_index(device)].kick_fd;
	net_control_queue_reset(&device->control, virtio->features, device->mac);
	policy = atomic_load(&device->shared.policy);
	result = set_hash_report(device, virtio_device_has(virtio, VIRTIO_NET_F_HASH_REPORT));
	if (!result)
		result = tap_set_offloads(&device->tap, policy->offloads);
	if (!result && device->shared.vhost)
		result = net_vhost_activate(device->shared.vhost);
	return atomic_load(&device->shared.gone) ? 0 : result;
}

static int net_queue_start(struct virtio_device *virtio, unsigned index)
{
	struct net_device *device = device_of(virtio);
	struct virtio_queue *queue = &virtio->queues[index];
	unsigned pair = index / 2;

	if (index == control_index(device))
		return net_control_queue_start(&device->control, worker_of(device, 0),
			&queue->virtqueue, queue->kick_fd, queue->call_fd);
	if (index > control_index(device))
		return 0; /* without MQ, further queues have no meaning: nobody serves them */
	if (device->shared.vhost)
		return net_vhost_queue_start(device->shared.vhost, index);
	return index % 2 ? net_tx_start(device->tx[pair], worker_of(device, pair))
	                 : net_rx_start(device->rx[pair], worker_of(device, pair));
}

static void net_queue_stop(struct virtio_device *virtio, unsigned index)
{
	struct net_device *device = device_of(virtio);
	unsigned pair = index / 2;

	if (index == control_index(device))
		net_control_queue_stop(&device->control);
	else if (index > control_index(device))
		return;
	else if (device->shared.vhost)
		net_vhost_queue_stop(device->shared.vhost, index);
	else if (index % 2)
		net_tx_stop(device->tx[pair]);
	else
		net_rx_stop(device->rx[pair]);
}

static void net_reset(struct virtio_device *virtio)
{
	struct net_device *device = device_of(virtio);

	net_control_queue_reset(&device->control, 0, device->mac);
	net_shared_set_mac(&device->shared, device->mac);
	atomic_fetch_and(&device->shared.status, (uint16_t)~VIRTIO_NET_S_ANNOUNCE);
	(void)tap_set_offloads(&device->tap, 0); /* nothing is received before the next driver */
	(void)set_hash_report(device, false);
	if (device->shared.steering)
		(void)net_steering_set(
			device->shared.steering, &(struct net_rss){.on = false}, NULL);
}

static const struct virtio_device_ops net_ops = {
	.config_read = net_config_read,
	.config_write = net_config_write,
	.features_valid = net_features_valid,
	.activate = net_activate,
	.queue_start = net_queue_start,
	.queue_stop = net_queue_stop,
	.reset = net_reset,
};

/* ---- life ---- */

/* A locally administered address of one station. */
static int make_up_mac(uint8_t ret_mac[NET_MAC_LENGTH])
{
	if (getrandom(ret_mac, NET_MAC_LENGTH, 0) != NET_MAC_LENGTH)
		return -EIO;
	ret_mac[0] = (uint8_t)((ret_mac[0] & 0xfc) | 0x02);
	return 0;
}

static int create_pairs(struct net_device *device, unsigned poll_us)
{
	for (unsigned i = 0; i < device->pairs; i++) {
		const struct virtio_queue *queues = &device->virtio.queues[2 * i];

		device->rx[i] =
			aligned_alloc(CACHE_LINE, align_up(sizeof(struct net_rx), CACHE_LINE));
		device->tx[i] =
			aligned_alloc(CACHE_LINE, align_up(sizeof(struct net_tx), CACHE_LINE));
		if (!device->rx[i] || !device->tx[i])
			return -ENOMEM;
		memset(device->rx[i], 0, sizeof(*device->rx[i]));
		memset(device->tx[i], 0, sizeof(*device->tx[i]));
		net_rx_init(device->rx[i], &device->shared, i, queues[0].kick_fd, queues[0].call_fd,
			&device->virtio.queues[2 * i].virtqueue, poll_us);
		net_tx_init(device->tx[i], &device->shared, i, queues[1].kick_fd, queues[1].call_fd,
			&device->virtio.queues[2 * i + 1].virtqueue, poll_us);
	}
	return 0;
}

static void init_shared(struct net_device *device)
{
	unsigned mtu = topology_tap_mtu(device->topology);
	bool up = topology_link_read(device->topology) == TOPOLOGY_LINK_UP;

	device->shared.device = &device->virtio;
	device->shared.tap = &device->tap;
	device->shared.pairs = device->pairs;
	device->shared.frame_mtu = mtu ? mtu : max_of(device->mtu, FRAME_MTU_DEFAULT);
	atomic_init(&device->shared.status, up ? VIRTIO_NET_S_LINK_UP : 0);
	net_shared_set_mac(&device->shared, device->mac);
	net_control_queue_init(&device->control, &device->shared, device->rx);
}

/* Offers what the tap and our rights allow. */
static void try_hashing(struct net_device *device, const char *name)
{
	int result = -ENOTSUP;

	device->hash_report = !tap_set_header(&device->tap, NET_HEADER_HASH_BYTES) &&
	                      !tap_set_header(&device->tap, NET_HEADER_BYTES);
	if (device->pairs == 1)
		return;
	/* With queues of somebody else's the kernel's order of them cannot be known. */
	if (device->tap.multi_queue && topology_tap_queues(device->topology) == device->pairs)
		result = net_steering_init(&device->steering, &device->tap);
	if (!result)
		device->shared.steering = &device->steering;
	else
		log_debug("%s: no receive-side scaling on tap %s: %s", name, device->tap.name,
			strerror(-result));
}

/* The tap is there; everything else. */
static int create_device(struct net_device *device, const struct net_config *config,
	const char *name, const struct guest_memory *memory, struct error *error)
{
	int result;

	device->mtu = topology_mtu(device->topology);
	topology_speed(device->topology, &device->speed, &device->duplex);
	if (config->has_mac)
		memcpy(device->mac, config->mac, NET_MAC_LENGTH);
	else if (make_up_mac(device->mac))
		return error_set(error, -EIO, "--net: no random numbers for an address; give mac=");
	init_shared(device);
	if (config->vhost) {
		result = net_vhost_init(
			&device->vhost, &device->shared, worker_of(device, 0), memory, error);
		if (result)
			return result;
		device->shared.vhost = &device->vhost;
	}
	if (config->rss)
		try_hashing(device, name);
	result = virtio_device_init(&device->virtio, &net_ops, memory, VIRTIO_ID_NET, name,
		2 * device->pairs + 1, config->queue_size, features_to_offer(device, config));
	if (result)
		return error_set(
			error, result, "--net: cannot make %s: %s", name, strerror(-result));
	device->shared.control_fd = device->virtio.queues[2 * device->pairs].kick_fd;
	return create_pairs(device, config->poll_us);
}

static int copy_workers(struct net_device *device, struct io_worker *const *workers, unsigned count)
{
	device->workers = calloc(count, sizeof(struct io_worker *));
	if (!device->workers)
		return -ENOMEM;
	memcpy(device->workers, workers, count * sizeof(struct io_worker *));
	device->worker_count = count;
	return 0;
}

int net_device_create(const struct net_config *config, const char *name,
	const struct guest_memory *memory, struct io_worker *const *workers, unsigned worker_count,
	struct net_device **ret_device, struct error *error)
{
	struct net_device *device = calloc(1, sizeof(*device));
	int result;

	assert(config->queues && config->queues <= NET_QUEUE_PAIRS_MAX && worker_count);
	if (!device)
		return -ENOMEM;
	device->pairs = config->queues;
	result = copy_workers(device, workers, worker_count);
	if (!result)
		result = topology_create(config, &device->tap, &device->topology, error);
	if (!result)
		result = create_device(device, config, name, memory, error);
	if (result) {
		if (device->tap.adopted)
			device->tap.count = 0; /* still the caller's descriptors */
		net_device_destroy(device);
		return result;
	}
	*ret_device = device;
	return 0;
}

void net_device_destroy(struct net_device *device)
{
	if (!device)
		return;
	virtio_device_deinit(&device->virtio);
	net_vhost_deinit(&device->vhost);
	net_steering_deinit(&device->steering);
	topology_destroy(device->topology);
	for (unsigned i = 0; i < device->pairs; i++) {
		free(device->rx[i]);
		free(device->tx[i]);
	}
	free(device->workers);
	free(device);
}

/* ---- the machine's side ---- */

struct virtio_device *net_device_virtio(struct net_device *device)
{
	return &device->virtio;
}

int net_device_link_fd(const struct net_device *device)
{
	return topology_link_fd(device->topology);
}

void net_device_link_event(struct net_device *device)
{
	enum topology_link link = topology_link_read(device->topology);
	bool up = link == TOPOLOGY_LINK_UP;

	if (link == TOPOLOGY_LINK_GONE) {
		net_shared_tap_gone(&device->shared);
		return;
	}
	if (atomic_load(&device->shared.gone) || !net_shared_set_link(&device->shared, up))
		return;
	log_info("%s: tap %s is %s, and so is the guest's link", device->virtio.name,
		device->tap.name, up ? "up" : "down");
	if (up)
		net_device_announce(device);
}

void net_device_announce(struct net_device *device)
{
	uint64_t features = virtio_device_features(&device->virtio);

	if (!(features & FEATURE(VIRTIO_NET_F_GUEST_ANNOUNCE)) ||
		!(virtio_device_status(&device->virtio) & VIRTIO_STATUS_DRIVER_OK))
		return;
	atomic_fetch_or(&device->shared.status, VIRTIO_NET_S_ANNOUNCE);
	virtio_device_config_changed(&device->virtio);
}

const char *net_device_tap_name(const struct net_device *device)
{
	return device->tap.name;
}

bool net_device_vhost(const struct net_device *device)
{
	return device->shared.vhost;
}

unsigned net_device_pair_count(const struct net_device *device)
{
	return device->pairs;
}

const struct net_rx_counters *net_device_rx_counters(const struct net_device *device, unsigned pair)
{
	return &device->rx[pair]->counters;
}

const struct net_tx_counters *net_device_tx_counters(const struct net_device *device, unsigned pair)
{
	return &device->tx[pair]->counters;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a request lies in memory and in descriptors: header, payload that the device reads, payload
 * that it writes, status. layout=plain is what ordinary drivers do (one header, pieces of whole
 * sectors, one status byte); layout=random cuts and joins anywhere, as the specification allows
 * since 1.0, to try the other side's parser.
 */
#include "blk.h"
#include "pattern.h"

void *memset(void *to, int value, size_t length);
void *memcpy(void *to, const void *from, size_t length);

static const uint32_t request_types[BLK_OPS] = {
	[BLK_READ] = VIRTIO_BLK_T_IN,
	[BLK_WRITE] = VIRTIO_BLK_T_OUT,
	[BLK_FLUSH] = VIRTIO_BLK_T_FLUSH,
	[BLK_DISCARD] = VIRTIO_BLK_T_DISCARD,
	[BLK_ZEROES] = VIRTIO_BLK_T_WRITE_ZEROES,
	[BLK_GET_ID] = VIRTIO_BLK_T_GET_ID,
};

uint32_t blk_data_segments(const struct blk_queue *queue)
{
	uint32_t wanted = queue->options->segments, size_max = queue->disk->size_max;

	if (size_max && queue->options->block_max / wanted > size_max)
		wanted = (queue->options->block_max + size_max - 1) / size_max;
	return wanted;
}

static void prepare_data(struct blk_queue *queue, struct blk_slot *slot)
{
	enum option_verify verify = queue->options->verify;

	slot->bytes = slot->op == BLK_GET_ID ? BLK_ID_SIZE : slot->units * queue->unit_bytes;
	if (verify == VERIFY_OFF)
		return;
	if (slot->op == BLK_WRITE) {
		slot->generation =
			verify == VERIFY_FILL ? queue->options->generation : queue->generation++;
		pattern_fill(slot->data, blk_sector_of(queue, slot), slot->bytes / PATTERN_SECTOR,
			slot->generation, queue->options->seed);
	} else if (slot->op == BLK_READ) {
		memset(slot->data, 0xa5, slot->bytes);
	}
}

static void prepare_header(struct blk_queue *queue, struct blk_slot *slot)
{
	struct blk_slot_dma *dma = slot->dma;
	bool in_place = slot->op == BLK_READ || slot->op == BLK_WRITE;

	dma->header.type = request_types[slot->op];
	dma->header.ioprio = 0;
	dma->header.sector = in_place ? blk_sector_of(queue, slot) : 0;
	if (slot->op == BLK_DISCARD || slot->op == BLK_ZEROES) {
		dma->range.sector = blk_sector_of(queue, slot);
		dma->range.num_sectors = slot->bytes / PATTERN_SECTOR;
		dma->range.flags = 0;
		if (slot->op == BLK_ZEROES && queue->options->unmap)
			dma->range.flags = VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
	}
	slot->status = &dma->status;
}

/* Splits [address, address + bytes) into `parts` pieces: equal ones of whole sectors, or any. */
static unsigned split_data(struct blk_queue *queue, uint64_t address, uint32_t bytes,
	uint32_t parts, struct virtq_segment *ret_segments)
{
	bool random = queue->options->layout == LAYOUT_RANDOM;
	uint32_t piece = ((bytes + parts - 1) / parts + 511) & ~511u;
	unsigned count = 0;

	while (bytes) {
		uint32_t length = piece < bytes ? piece : bytes;

		if (random)
			length = 1 + (uint32_t)random_below(&queue->random, length);
		if (random && count + 1 >= parts)
			length = bytes;
		ret_segments[count++] = (struct virtq_segment){address, length};
		address += length;
		bytes -= length;
	}
	return count;
}

/* Payload that the device reads: written data, or the range of a discard. */
static unsigned payload_out(
	struct blk_queue *queue, struct blk_slot *slot, struct virtq_segment *segments)
{
	if (slot->op == BLK_WRITE)
		return split_data(queue, (uint64_t)slot->data, slot->bytes,
			blk_data_segments(queue), segments);
	if (slot->op == BLK_DISCARD || slot->op == BLK_ZEROES) {
		segments[0] = (struct virtq_segment){
			(uint64_t)&slot->dma->range, sizeof(slot->dma->range)};
		return 1;
	}
	return 0;
}

static unsigned payload_in(
	struct blk_queue *queue, struct blk_slot *slot, struct virtq_segment *segments)
{
	if (slot->op == BLK_READ)
		return split_data(queue, (uint64_t)slot->data, slot->bytes,
			blk_data_segments(queue), segments);
	if (slot->op == BLK_GET_ID) {
		segments[0] = (struct virtq_segment){(uint64_t)slot->data, BLK_ID_SIZE};
		return 1;
	}
	return 0;
}

/* layout=random: header in one or two pieces, or joined to the written data. Returns segments used.
 */
static unsigned header_segments(struct blk_queue *queue, struct blk_slot *slot,
	struct virtq_segment *segments, bool *ret_joined)
{
	uint64_t header = (uint64_t)&slot->dma->header;
	uint64_t dice =
		queue->options->layout == LAYOUT_RANDOM ? random_next(&queue->random) >> 32 : 0;
	uint32_t cut = (uint32_t)(1 + dice % 15);

	*ret_joined = false;
	segments[0] = (struct virtq_segment){header, 16};
	if (queue->options->layout == LAYOUT_PLAIN)
		return 1;
	if ((dice & 0x300) == 0 && slot->op == BLK_WRITE) {
		*ret_joined = true;
		memcpy(slot->data - 16, &slot->dma->header, 16);
		return 0;
	}
	if (dice & 0x400)
		return 1;
	segments[0].length = cut;
	segments[1] = (struct virtq_segment){header + cut, 16 - cut};
	return 2;
}

bool blk_add_request(struct blk_queue *queue, struct blk_slot *slot)
{
	struct virtq_segment segments[VIRTQ_MAX_SEGMENTS];
	unsigned out, in, payload;
	bool joined;

	prepare_data(queue, slot);
	prepare_header(queue, slot);
	out = header_segments(queue, slot, segments, &joined);
	payload = payload_out(queue, slot, segments + out);
	if (joined) {
		segments[0].address -= 16;
		segments[0].length += 16;
	}
	out += payload;
	in = payload_in(queue, slot, segments + out);
	if (in && queue->options->layout == LAYOUT_RANDOM &&
		random_next(&queue->random) >> 62 == 0) {
		slot->status = slot->data + slot->bytes; /* right behind what is read */
		segments[out + in - 1].length++;
	} else {
		segments[out + in++] = (struct virtq_segment){(uint64_t)slot->status, 1};
	}
	*slot->status = 0xff;
	return virtq_add(&queue->ring, segments, out, in, (uint16_t)(slot - queue->slots));
}

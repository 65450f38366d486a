// SPDX-License-Identifier: GPL-2.0-or-later
#include <endian.h>
#include <string.h>

#include "qcow2_header.h"

#define MAGIC		   0x514649fbu
#define VERSION		   3u
#define HEADER_BYTES	   104u
#define REFCOUNT_ORDER	   4u /* 2^4 bits each */
#define EXT_BACKING_FORMAT 0xe2792acau

/* Byte offsets of the fields that are not zero. */
enum {
	AT_MAGIC = 0,
	AT_VERSION = 4,
	AT_BACKING_OFFSET = 8,
	AT_BACKING_BYTES = 16,
	AT_CLUSTER_BITS = 20,
	AT_SIZE = 24,
	AT_L1_ENTRIES = 36,
	AT_L1_OFFSET = 40,
	AT_REFTABLE_OFFSET = 48,
	AT_REFTABLE_CLUSTERS = 56,
	AT_INCOMPATIBLE = 72,
	AT_REFCOUNT_ORDER = 96,
	AT_HEADER_BYTES = 100,
};

static void put32(uint8_t *block, unsigned int at, uint32_t value)
{
	value = htobe32(value);
	memcpy(block + at, &value, sizeof(value));
}

static void put64(uint8_t *block, unsigned int at, uint64_t value)
{
	value = htobe64(value);
	memcpy(block + at, &value, sizeof(value));
}

static uint32_t get32(const uint8_t *block, unsigned int at)
{
	uint32_t value;

	memcpy(&value, block + at, sizeof(value));
	return be32toh(value);
}

static uint64_t get64(const uint8_t *block, unsigned int at)
{
	uint64_t value;

	memcpy(&value, block + at, sizeof(value));
	return be64toh(value);
}

void qcow2_header_encode(const struct qcow2_header *header, const struct qcow2_backing *backing,
			 uint8_t block[QCOW2_HEADER_BLOCK])
{
	unsigned int format_bytes = strlen(backing->format), name_bytes = strlen(backing->name);
	unsigned int at = HEADER_BYTES;

	memset(block, 0, QCOW2_HEADER_BLOCK);
	put32(block, AT_MAGIC, MAGIC);
	put32(block, AT_VERSION, VERSION);
	put32(block, AT_CLUSTER_BITS, __builtin_ctz(header->cluster_bytes));
	put64(block, AT_SIZE, header->size_bytes);
	put32(block, AT_L1_ENTRIES, header->l1_entries);
	put64(block, AT_L1_OFFSET, header->l1_offset);
	put64(block, AT_REFTABLE_OFFSET, header->reftable_offset);
	put32(block, AT_REFTABLE_CLUSTERS, header->reftable_clusters);
	put32(block, AT_REFCOUNT_ORDER, REFCOUNT_ORDER);
	put32(block, AT_HEADER_BYTES, HEADER_BYTES);

	put32(block, at, EXT_BACKING_FORMAT);
	put32(block, at + 4, format_bytes);
	memcpy(block + at + 8, backing->format, format_bytes);
	at += 8 + (format_bytes + 7) / 8 * 8;
	at += 8; /* the end of the extensions: type and length zero */
	put64(block, AT_BACKING_OFFSET, at);
	put32(block, AT_BACKING_BYTES, name_bytes);
	memcpy(block + at, backing->name, name_bytes);
}

bool qcow2_header_decode(const uint8_t block[QCOW2_HEADER_BLOCK], struct qcow2_header *header)
{
	uint32_t bits = get32(block, AT_CLUSTER_BITS);

	if (get32(block, AT_MAGIC) != MAGIC || get32(block, AT_VERSION) != VERSION ||
	    get32(block, AT_HEADER_BYTES) != HEADER_BYTES ||
	    get32(block, AT_REFCOUNT_ORDER) != REFCOUNT_ORDER || get64(block, AT_INCOMPATIBLE) ||
	    bits < 12 || bits > 20)
		return false;
	header->size_bytes = get64(block, AT_SIZE);
	header->cluster_bytes = 1u << bits;
	header->l1_entries = get32(block, AT_L1_ENTRIES);
	header->l1_offset = get64(block, AT_L1_OFFSET);
	header->reftable_offset = get64(block, AT_REFTABLE_OFFSET);
	header->reftable_clusters = get32(block, AT_REFTABLE_CLUSTERS);
	return true;
}

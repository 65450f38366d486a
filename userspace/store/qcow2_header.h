/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The first 512 bytes of an overlay: the qcow2 header, its extensions, the backing file's name. */
#ifndef VMR_STORE_QCOW2_HEADER_H
#define VMR_STORE_QCOW2_HEADER_H

#include "qcow2.h"

#define QCOW2_HEADER_BLOCK	512

struct qcow2_header {		/* what differs between overlays; all else is fixed */
	uint64_t size_bytes;
	uint32_t cluster_bytes;
	uint32_t l1_entries;
	uint64_t l1_offset;
	uint64_t reftable_offset;
	uint32_t reftable_clusters;
};

/* The backing file's name may have up to 255 bytes. */
void qcow2_header_encode(const struct qcow2_header *header, const struct qcow2_backing *backing,
			 uint8_t block[QCOW2_HEADER_BLOCK]);

/* False: not the header of an overlay as qcow2_header_encode() writes them. */
bool qcow2_header_decode(const uint8_t block[QCOW2_HEADER_BLOCK], struct qcow2_header *header);

#endif

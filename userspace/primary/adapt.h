/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Decides whether lz4 is worth its while: it makes a pass faster only where the
 * link takes fewer bytes a second than the compressors put out. Both rates
 * are measured over windows; pure, no clock of its own.
 */
#ifndef VMR_PRIMARY_ADAPT_H
#define VMR_PRIMARY_ADAPT_H

#include <stdbool.h>
#include <stdint.h>

#define ADAPT_WINDOW_BYTES	(16u << 20)
#define ADAPT_WINDOW_NS		500000000ull
/* buffers: while off, of one of so many a sample is packed, to measure */
#define ADAPT_PROBE_EVERY	32

enum adapt_choice { ADAPT_RAW, ADAPT_PROBE, ADAPT_PACK };

struct adapt {
	bool on;			/* not before it has been measured that it pays */
	unsigned int threads;		/* that pack at the same time */
	unsigned int skipped;		/* buffers since the last probe */
	uint64_t sent_bytes, sent_ns;	/* this window: the socket was busy so long with so much */
	uint64_t packed_bytes, packed_ns;	/* halved with each window: the past fades */
};

void adapt_init(struct adapt *a, unsigned int threads);

/* The socket took @ns to accept @bytes. */
void adapt_sent(struct adapt *a, uint64_t bytes, uint64_t ns);

/* A thread took @ns to pack @bytes of disk. */
void adapt_packed(struct adapt *a, uint64_t bytes, uint64_t ns);

/* What is to be done with the next buffer. */
enum adapt_choice adapt_next(struct adapt *a);

#endif

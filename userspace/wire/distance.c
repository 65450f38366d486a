// SPDX-License-Identifier: GPL-2.0-or-later
#include <netinet/in.h>
#include <sys/socket.h>

#include <linux/tcp.h>

#include "distance.h"

/* Shorter ones are left alone: BBR's pacing costs CPU, and the defaults suffice there. */
#define LONG_RTT_US	20000
/* Under way at 1 Gbit/s and 50 ms are 6.25 MB; the kernel takes twice as much for its own use. */
#define BUFFER_BYTES	(8 << 20)

void distance_tune(int sock)
{
	static const char bbr[] = "bbr";
	const int bytes = BUFFER_BYTES;
	struct tcp_info info = { 0 };
	socklen_t size = sizeof(info);

	if (getsockopt(sock, IPPROTO_TCP, TCP_INFO, &info, &size))
		return;
	if (info.tcpi_min_rtt < LONG_RTT_US)
		return;
	setsockopt(sock, IPPROTO_TCP, TCP_CONGESTION, bbr, sizeof(bbr) - 1);
	/* FORCE is for root: the ordinary limit is lower than what the kernel does by itself. */
	setsockopt(sock, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes));
	setsockopt(sock, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
}

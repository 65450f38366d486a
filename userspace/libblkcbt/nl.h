/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One request and its answers on a generic netlink socket, with the kernel's sentence.
 * A negative return is a negative errno, and nl->error then says why.
 */
#ifndef BLKCBT_NL_H
#define BLKCBT_NL_H

#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>

#define NL_ERROR_BYTES 384

struct cbt {
	struct nl_sock *sock;
	int family;
	char error[NL_ERROR_BYTES];
};

/*
 * Called for each answer, with its attributes by type (of one that repeats, the last)
 * and whole. A non-zero return ends it and is returned.
 */
typedef int (*cbti_answer_fn)(struct nlattr **attrs, struct nlmsghdr *answer, void *arg);

int cbti_nl_open(struct cbt *cbt);
void cbti_nl_close(struct cbt *cbt);

/* A message for command @cmd; null and an error sentence without memory. */
struct nl_msg *cbti_nl_message(struct cbt *cbt, int cmd, int flags);

/*
 * Sends @msg (and frees it), waits for the answers and the acknowledgement; attributes
 * up to @max_attr are given to @answer, which may be null.
 */
int cbti_nl_call(struct cbt *cbt, struct nl_msg *msg, int max_attr, cbti_answer_fn answer,
		 void *arg);

int cbti_nl_fail(struct cbt *cbt, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif

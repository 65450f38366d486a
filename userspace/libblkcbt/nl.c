// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <linux/blkcbt.h>
#include <linux/netlink.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>

#include "nl.h"

#define MESSAGE_BYTES	(64 << 10)
#define MAX_ATTRS	32	/* more than any set of attributes has */
#define TIMEOUT_S	60	/* for an answer; the kernel waits for no one that long */

struct call {
	uint32_t sequence;	/* of the request */
	struct cbt *cbt;
	int max_attr;
	cbti_answer_fn answer;
	void *arg;
	int result;
	int done;
};

int cbti_nl_fail(struct cbt *cbt, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cbt->error, sizeof(cbt->error), fmt, ap);
	va_end(ap);
	return code;
}

/* libnl has its own error numbers; only what can come from a socket matters here. */
static int from_nl(int nle)
{
	switch (-nle) {
	case NLE_AGAIN: return -ETIMEDOUT;
	case NLE_NOMEM: return -ENOMEM;
	case NLE_PERM: return -EPERM;
	case NLE_OBJ_NOTFOUND: return -ENOENT;
	case NLE_DUMP_INTR: return -EINTR;
	default: return -EIO;
	}
}

int cbti_nl_open(struct cbt *cbt)
{
	struct timeval timeout = { .tv_sec = TIMEOUT_S };
	int nle;

	cbt->sock = nl_socket_alloc();
	if (!cbt->sock)
		return cbti_nl_fail(cbt, -ENOMEM, "not enough memory for a netlink socket");
	nle = genl_connect(cbt->sock);
	if (nle < 0)
		return cbti_nl_fail(cbt, from_nl(nle), "cannot open a netlink socket: %s", nl_geterror(nle));
	nl_socket_set_msg_buf_size(cbt->sock, MESSAGE_BYTES);
	nl_socket_set_buffer_size(cbt->sock, 4 * MESSAGE_BYTES, MESSAGE_BYTES);
	nl_socket_disable_auto_ack(cbt->sock);
	setsockopt(nl_socket_get_fd(cbt->sock), SOL_NETLINK, NETLINK_EXT_ACK, &(int){ 1 },
		   sizeof(int));
	setsockopt(nl_socket_get_fd(cbt->sock), SOL_NETLINK, NETLINK_CAP_ACK, &(int){ 1 },
		   sizeof(int));
	setsockopt(nl_socket_get_fd(cbt->sock), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	cbt->family = genl_ctrl_resolve(cbt->sock, CBT_GENL_NAME);
	if (cbt->family < 0)
		return cbti_nl_fail(cbt, -ENOENT, "the kernel module blkcbt is not loaded; run \"modprobe blkcbt\"");
	return 0;
}

void cbti_nl_close(struct cbt *cbt)
{
	if (cbt->sock)
		nl_socket_free(cbt->sock);
}

struct nl_msg *cbti_nl_message(struct cbt *cbt, int cmd, int flags)
{
	struct nl_msg *msg = nlmsg_alloc();

	if (msg && genlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, cbt->family, 0, flags | NLM_F_ACK,
			       cmd, CBT_GENL_VERSION))
		return msg;
	nlmsg_free(msg);
	cbti_nl_fail(cbt, -ENOMEM, "not enough memory for a netlink message");
	return NULL;
}

/* What is left of a call that failed half-way is no answer to the one after it. */
static int check_sequence(struct nl_msg *msg, void *arg)
{
	const struct call *call = arg;

	return nlmsg_hdr(msg)->nlmsg_seq == call->sequence ? NL_OK : NL_SKIP;
}

static int got_answer(struct nl_msg *msg, void *arg)
{
	struct call *call = arg;
	struct nlattr *attrs[MAX_ATTRS];

	if (call->result)
		return NL_OK;
	if (genlmsg_parse(nlmsg_hdr(msg), 0, attrs, call->max_attr, NULL) < 0)
		call->result = cbti_nl_fail(call->cbt, -EBADMSG, "the kernel's answer cannot be read");
	else if (call->answer)
		call->result = call->answer(attrs, nlmsg_hdr(msg), call->arg);
	return NL_OK;
}

/* The sentence in the attributes behind an error message's head, if there is one. */
static void take_sentence(struct cbt *cbt, const struct nlmsghdr *hdr, const void *attrs, int code)
{
	int left = (const char *)hdr + hdr->nlmsg_len - (const char *)attrs;
	const struct nlattr *text = NULL;

	if ((hdr->nlmsg_flags & NLM_F_ACK_TLVS) && left > 0)
		text = nla_find(attrs, left, NLMSGERR_ATTR_MSG);
	if (text)
		snprintf(cbt->error, sizeof(cbt->error), "%.*s", nla_len(text), (const char *)nla_data(text));
	else
		snprintf(cbt->error, sizeof(cbt->error), "the tracker refused: %s", strerror(-code));
}

static int got_error(struct sockaddr_nl *who, struct nlmsgerr *err, void *arg)
{
	const struct nlmsghdr *hdr = (const void *)((const char *)err - NLMSG_HDRLEN);
	struct call *call = arg;
	int code = err->error;

	(void)who;
	call->done = 1;
	if (!call->result) {
		take_sentence(call->cbt, hdr, err + 1, code);
		call->result = code;
	}
	return NL_STOP;
}

static int got_ack(struct nl_msg *msg, void *arg)
{
	struct call *call = arg;

	(void)msg;
	call->done = 1;
	return NL_STOP;
}

/* The end of a listing carries an error when the listing is not complete. */
static int got_done(struct nl_msg *msg, void *arg)
{
	const struct nlmsghdr *hdr = nlmsg_hdr(msg);
	struct call *call = arg;
	int code = 0;

	call->done = 1;
	if (hdr->nlmsg_len >= NLMSG_LENGTH(sizeof(code)))
		memcpy(&code, NLMSG_DATA(hdr), sizeof(code));
	if (code < 0 && !call->result) {
		take_sentence(call->cbt, hdr, (const char *)NLMSG_DATA(hdr) + sizeof(code), code);
		call->result = code;
	}
	return NL_STOP;
}

int cbti_nl_call(struct cbt *cbt, struct nl_msg *msg, int max_attr, cbti_answer_fn answer,
		 void *arg)
{
	struct call call = { .cbt = cbt, .max_attr = max_attr, .answer = answer, .arg = arg };
	struct nl_cb *cb = nl_cb_alloc(NL_CB_DEFAULT);
	int nle;

	if (!cb) {
		nlmsg_free(msg);
		return cbti_nl_fail(cbt, -ENOMEM, "not enough memory for a netlink call");
	}
	nl_cb_set(cb, NL_CB_SEQ_CHECK, NL_CB_CUSTOM, check_sequence, &call);
	nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, got_answer, &call);
	nl_cb_set(cb, NL_CB_ACK, NL_CB_CUSTOM, got_ack, &call);
	nl_cb_set(cb, NL_CB_FINISH, NL_CB_CUSTOM, got_done, &call);
	nl_cb_err(cb, NL_CB_CUSTOM, got_error, &call);
	nle = nl_send_auto(cbt->sock, msg);
	call.sequence = nlmsg_hdr(msg)->nlmsg_seq;
	nlmsg_free(msg);
	while (nle >= 0 && !call.done)
		nle = nl_recvmsgs(cbt->sock, cb);
	nl_cb_put(cb);
	if (!call.done)
		return cbti_nl_fail(cbt, from_nl(nle), "the tracker did not answer: %s", nl_geterror(nle));
	return call.result;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* Bad input on the netlink interface: refused with a reason, and nothing is changed. */
#include <errno.h>
#include <linux/genetlink.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "rig.h"

#define CHUNK		4096
#define MESSAGE_BYTES	1024

FIXTURE(nl) {
	struct rig rig;
	const char *path;
	struct nl_sock *sock;
	int family;
	char sentence[256];	/* of the last refusal */
	struct nl_msg *msg;
};

static struct nl_sock *open_socket(int *family)
{
	struct nl_sock *sock = nl_socket_alloc();
	struct timeval timeout = { .tv_sec = 100 };

	if (!sock || genl_connect(sock))
		rig_die("no socket");
	setsockopt(nl_socket_get_fd(sock), SOL_NETLINK, NETLINK_EXT_ACK, &(int){ 1 }, sizeof(int));
	setsockopt(nl_socket_get_fd(sock), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	*family = genl_ctrl_resolve(sock, CBT_GENL_NAME);
	return sock;
}

FIXTURE_SETUP(nl)
{
	rig_reset();
	self->path = rig_brd(0);
	rig_open(&self->rig);
	rig_track(&self->rig, self->path, CHUNK);
	rig_trust(&self->rig);
	self->sock = open_socket(&self->family);
	ASSERT_LT(0, self->family);
}

/* Whatever came in: the disk is tracked as before. */
FIXTURE_TEARDOWN(nl)
{
	nl_socket_free(self->sock);
	EXPECT_EQ(0, rig_write(self->path, 3 * CHUNK, CHUNK));
	EXPECT_STREQ("3", rig_marked(&self->rig, 0));
	rig_close(&self->rig);
}

/* --- one message and its answer --------------------------------------------------------- */

static struct nl_msg *message(int family, int cmd, int flags)
{
	struct nl_msg *msg = nlmsg_alloc_size(MESSAGE_BYTES);

	genlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, family, 0, NLM_F_REQUEST | NLM_F_ACK | flags,
		    cmd, 1);
	return msg;
}

/* Reads answers until the error or acknowledgement. */
static int answer(int fd, char *sentence, size_t room)
{
	static char data[32768];
	const struct nlmsghdr *hdr = (const void *)data;
	const struct nlmsgerr *err = NLMSG_DATA(hdr);
	struct nlattr *text;
	ssize_t got;
	int skip;

	sentence[0] = '\0';
	do {
		got = recv(fd, data, sizeof(data), 0);
		if (got < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
	} while (hdr->nlmsg_type != NLMSG_ERROR && hdr->nlmsg_type != NLMSG_DONE);
	if (hdr->nlmsg_type == NLMSG_DONE)
		return *(const int *)NLMSG_DATA(hdr);
	/* Behind the code the request comes back, whole unless it was acknowledged. */
	skip = sizeof(*err) + (err->error && !(hdr->nlmsg_flags & NLM_F_CAPPED) ?
			       NLMSG_ALIGN(err->msg.nlmsg_len) - NLMSG_HDRLEN : 0);
	if (hdr->nlmsg_flags & NLM_F_ACK_TLVS) {
		text = nla_find((void *)((char *)err + skip), hdr->nlmsg_len - NLMSG_HDRLEN - skip,
				NLMSGERR_ATTR_MSG);
		if (text)
			snprintf(sentence, room, "%.*s", nla_len(text), (char *)nla_data(text));
	}
	return err->error;
}

static int ask(struct nl_sock *sock, struct nl_msg *msg, char *sentence, size_t room)
{
	int sent = nl_send_auto(sock, msg);

	nlmsg_free(msg);
	return sent < 0 ? -EIO : answer(nl_socket_get_fd(sock), sentence, room);
}

#define ASK() ask(self->sock, self->msg, self->sentence, sizeof(self->sentence))
#define NEW(cmd) (self->msg = message(self->family, cmd, 0))
#define EXPECT_REFUSED(code) do { \
	EXPECT_EQ(code, ASK()); \
	EXPECT_STRNE("", self->sentence) \
		TH_LOG("a refusal without a reason"); \
} while (0)

static bool is_event(int cmd)
{
	return cmd == CBT_CMD_PASS_SEALED || cmd == CBT_CMD_DISK_UNTRUSTED ||
	       cmd == CBT_CMD_PASS_EXPIRED;
}

#define for_each_command(cmd)	for (int cmd = CBT_CMD_GROUP_NEW; cmd <= CBT_CMD_MAX; cmd++)	\
					if (!is_event(cmd))

/* --- what lacks, or is wrong ---------------------------------------------------------------- */

TEST_F(nl, nothing_given)
{
	for_each_command(cmd) {
		NEW(cmd);
		EXPECT_REFUSED(-EINVAL);
	}
}

TEST_F(nl, unknown_command)
{
	NEW(CBT_CMD_MAX + 1);
	EXPECT_EQ(-EOPNOTSUPP, ASK());
	for (int cmd = CBT_CMD_PASS_SEALED; cmd <= CBT_CMD_PASS_EXPIRED; cmd++) {
		ASSERT_TRUE(is_event(cmd));
		NEW(cmd);
		EXPECT_EQ(-EOPNOTSUPP, ASK());
	}
	NEW(255);
	EXPECT_EQ(-EOPNOTSUPP, ASK());
}

TEST_F(nl, unknown_attribute)
{
	for_each_command(cmd) {
		NEW(cmd);
		nla_put_u32(self->msg, 99, 1);
		EXPECT_REFUSED(-EINVAL);
	}
	/* Known elsewhere, but no part of this command. */
	NEW(CBT_CMD_DISK_DEL);
	nla_put_u32(self->msg, CBT_A_DISK_GROUP, self->rig.group);
	nla_put_u32(self->msg, CBT_A_DISK_ID, self->rig.disks[0]);
	nla_put_u32(self->msg, CBT_A_DISK_UNTRUSTED, 0);
	EXPECT_REFUSED(-EINVAL);
}

TEST_F(nl, attribute_of_another_length)
{
	NEW(CBT_CMD_GROUP_DEL);
	nla_put_u8(self->msg, CBT_A_GROUP_ID, self->rig.group);
	EXPECT_REFUSED(-EINVAL);
	NEW(CBT_CMD_GROUP_DEL);
	nla_put_u64(self->msg, CBT_A_GROUP_ID, self->rig.group);
	EXPECT_REFUSED(-EINVAL);
	NEW(CBT_CMD_GROUP_DEL);
	nla_put(self->msg, CBT_A_GROUP_ID, 0, NULL);
	EXPECT_REFUSED(-EINVAL);
}

TEST_F(nl, names)
{
	char name[300];

	memset(name, 'n', sizeof(name));
	name[64] = '\0';
	NEW(CBT_CMD_GROUP_NEW);
	nla_put(self->msg, CBT_A_GROUP_NAME, 65, name);
	EXPECT_REFUSED(-EINVAL);
	NEW(CBT_CMD_GROUP_NEW);
	nla_put(self->msg, CBT_A_GROUP_NAME, 0, NULL);
	EXPECT_REFUSED(-EINVAL);
	NEW(CBT_CMD_GROUP_NEW);
	nla_put(self->msg, CBT_A_GROUP_NAME, 1, "");
	EXPECT_REFUSED(-EINVAL);
	/* Not terminated. */
	NEW(CBT_CMD_GROUP_NEW);
	nla_put(self->msg, CBT_A_GROUP_NAME, 10, name);
	EXPECT_REFUSED(-EINVAL);
	NEW(CBT_CMD_GROUP_NEW);
	snprintf(name, sizeof(name), "test-%d", getpid());
	nla_put_string(self->msg, CBT_A_GROUP_NAME, name);
	EXPECT_REFUSED(-EEXIST);
	/* 63 bytes are allowed. */
	memset(name, 'n', sizeof(name));
	name[63] = '\0';
	NEW(CBT_CMD_GROUP_NEW);
	nla_put_string(self->msg, CBT_A_GROUP_NAME, name);
	EXPECT_EQ(0, ASK());
}

TEST_F(nl, paths)
{
	static const struct { const char *path; int code; } bad[] = {
		{ "", -ENOENT }, { "/dev/no-such-device", -ENOENT }, { "/dev/null", -ENOTBLK },
		{ "/", -ENOTBLK }, { "/tmp/rig/loop0", -ENOTBLK }, { "/dev/null/x", -ENOTDIR },
	};
	char path[300];

	rig_must("touch /tmp/rig/loop0");
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		NEW(CBT_CMD_DISK_ADD);
		nla_put_u32(self->msg, CBT_A_DISK_GROUP, self->rig.group);
		nla_put_string(self->msg, CBT_A_DISK_PATH, bad[i].path);
		EXPECT_EQ(i ? bad[i].code : -EINVAL, ASK())
			TH_LOG("path \"%s\"", bad[i].path);
		EXPECT_STRNE("", self->sentence);
	}
	memset(path, '/', sizeof(path));
	path[256] = '\0';
	NEW(CBT_CMD_DISK_ADD);
	nla_put_u32(self->msg, CBT_A_DISK_GROUP, self->rig.group);
	nla_put(self->msg, CBT_A_DISK_PATH, 257, path);
	EXPECT_REFUSED(-EINVAL);
}

TEST_F(nl, chunk_sizes)
{
	static const uint32_t bad[] = { 1, 512, 2048, 4095, 4097, 12288, 2 << 20, 1U << 31, ~0U };

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		NEW(CBT_CMD_DISK_ADD);
		nla_put_u32(self->msg, CBT_A_DISK_GROUP, self->rig.group);
		nla_put_string(self->msg, CBT_A_DISK_PATH, rig_brd(1));
		nla_put_u32(self->msg, CBT_A_DISK_CHUNK, bad[i]);
		EXPECT_REFUSED(-EINVAL);
	}
}

TEST_F(nl, wrong_ids)
{
	static const uint32_t bad[] = { 0, 4711, 1U << 31, ~0U };

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		NEW(CBT_CMD_GROUP_DEL);
		nla_put_u32(self->msg, CBT_A_GROUP_ID, bad[i]);
		EXPECT_REFUSED(-ENOENT);
		NEW(CBT_CMD_DISK_DEL);
		nla_put_u32(self->msg, CBT_A_DISK_GROUP, self->rig.group);
		nla_put_u32(self->msg, CBT_A_DISK_ID, bad[i]);
		EXPECT_REFUSED(-ENOENT);
		NEW(CBT_CMD_PASS_BEGIN);
		nla_put_u32(self->msg, CBT_A_PASS_GROUP, bad[i]);
		EXPECT_REFUSED(-ENOENT);
		for (int cmd = CBT_CMD_PASS_COMMIT; cmd <= CBT_CMD_PASS_GIVE_UP; cmd++) {
			NEW(cmd);
			nla_put_u32(self->msg, CBT_A_PASS_GROUP, self->rig.group);
			nla_put_u32(self->msg, CBT_A_PASS_ID, bad[i]);
			EXPECT_REFUSED(-ENOENT);
		}
	}
	NEW(CBT_CMD_GROUP_GET);
	nla_put_u32(self->msg, CBT_A_GROUP_ID, self->rig.group);
	nla_put_string(self->msg, CBT_A_GROUP_NAME, "both");
	EXPECT_REFUSED(-EINVAL);
	NEW(CBT_CMD_PASS_BEGIN);
	nla_put_u32(self->msg, CBT_A_PASS_GROUP, self->rig.group);
	nla_put_u32(self->msg, CBT_A_PASS_FLAGS, 0x80);
	EXPECT_REFUSED(-EINVAL);
	NEW(CBT_CMD_PASS_BEGIN);
	nla_put_u32(self->msg, CBT_A_PASS_GROUP, self->rig.group);
	nla_put_u32(self->msg, CBT_A_PASS_FLAGS, CBT_PASS_F_SEALED);
	EXPECT_REFUSED(-EINVAL);
}

/* A message about the group with one more number. */
#define NEW_OF(cmd, group_attr, attr, value) do { \
	NEW(cmd); \
	nla_put_u32(self->msg, group_attr, self->rig.group); \
	nla_put_u32(self->msg, attr, value); \
} while (0)

static int list_nothing(const struct cbt_disk_info *info, void *arg)
{
	(void)info;
	(*(unsigned int *)arg)++;
	return 0;
}

TEST_F(nl, wrong_consumers)
{
	static const uint32_t bad[] = { 0, 2, 4711, 1U << 31, ~0U };
	unsigned int listed = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		NEW_OF(CBT_CMD_CONSUMER_DEL, CBT_A_CONSUMER_GROUP, CBT_A_CONSUMER_ID, bad[i]);
		EXPECT_REFUSED(-ENOENT);
		NEW_OF(CBT_CMD_CONSUMER_GET, CBT_A_CONSUMER_GROUP, CBT_A_CONSUMER_ID, bad[i]);
		EXPECT_REFUSED(-ENOENT);
		NEW_OF(CBT_CMD_PASS_BEGIN, CBT_A_PASS_GROUP, CBT_A_PASS_CONSUMER, bad[i]);
		EXPECT_REFUSED(-ENOENT);
		NEW_OF(CBT_CMD_DISK_GET, CBT_A_DISK_GROUP, CBT_A_DISK_CONSUMER, bad[i]);
		nla_put_u32(self->msg, CBT_A_DISK_ID, self->rig.disks[0]);
		EXPECT_REFUSED(-ENOENT);
		EXPECT_EQ(-ENOENT, cbt_disk_list_of(self->rig.cbt, self->rig.group, bad[i],
						    list_nothing, &listed));
		NEW(CBT_CMD_CONSUMER_NEW);
		nla_put_u32(self->msg, CBT_A_CONSUMER_GROUP, self->rig.group + 1 + bad[i] % 99);
		nla_put_string(self->msg, CBT_A_CONSUMER_NAME, "c");
		EXPECT_REFUSED(-ENOENT);
	}
	EXPECT_EQ(0, listed);
	NEW_OF(CBT_CMD_CONSUMER_DEL, CBT_A_CONSUMER_GROUP, CBT_A_CONSUMER_ID, CBT_CONSUMER_FIRST);
	EXPECT_REFUSED(-EPERM);
	NEW_OF(CBT_CMD_CONSUMER_GET, CBT_A_CONSUMER_GROUP, CBT_A_CONSUMER_ID, CBT_CONSUMER_FIRST);
	nla_put_string(self->msg, CBT_A_CONSUMER_NAME, "default");
	EXPECT_REFUSED(-EINVAL);
	/* Reported only. */
	NEW_OF(CBT_CMD_CONSUMER_NEW, CBT_A_CONSUMER_GROUP, CBT_A_CONSUMER_PASS, 1);
	nla_put_string(self->msg, CBT_A_CONSUMER_NAME, "c");
	EXPECT_REFUSED(-EINVAL);
}

TEST_F(nl, consumer_names)
{
	static const struct { const char *name; int length, code; } bad[] = {
		{ "", 0, -EINVAL }, { "", 1, -EINVAL }, { "cccccccccc", 10, -EINVAL },
		{ "ccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc", 65, -EINVAL },
		{ "default", 8, -EEXIST },
	};
	struct cbt_consumer_info info;
	char name[64];

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		NEW(CBT_CMD_CONSUMER_NEW);
		nla_put_u32(self->msg, CBT_A_CONSUMER_GROUP, self->rig.group);
		nla_put(self->msg, CBT_A_CONSUMER_NAME, bad[i].length, bad[i].name);
		EXPECT_REFUSED(bad[i].code);
	}
	/* 63 bytes are allowed. */
	memset(name, 'c', sizeof(name));
	name[63] = '\0';
	NEW(CBT_CMD_CONSUMER_NEW);
	nla_put_u32(self->msg, CBT_A_CONSUMER_GROUP, self->rig.group);
	nla_put_string(self->msg, CBT_A_CONSUMER_NAME, name);
	EXPECT_EQ(0, ASK());
	EXPECT_EQ(0, cbt_consumer_find(self->rig.cbt, self->rig.group, name, &info));
	EXPECT_STREQ(name, info.name);
	/* None of the refused ones is there. */
	EXPECT_EQ(2, info.id);
}

TEST_F(nl, timeouts)
{
	static const uint32_t bad[] = { 0, 1, 999, 86400001, 1U << 31, ~0U };

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		NEW_OF(CBT_CMD_PASS_BEGIN, CBT_A_PASS_GROUP, CBT_A_PASS_TIMEOUT, bad[i]);
		EXPECT_REFUSED(-ERANGE);
	}
	NEW(CBT_CMD_PASS_BEGIN);
	nla_put_u32(self->msg, CBT_A_PASS_GROUP, self->rig.group);
	nla_put_u64(self->msg, CBT_A_PASS_TIMEOUT, 5000);
	EXPECT_REFUSED(-EINVAL);
	/* No pass was begun by any of them. */
	ASSERT_EQ(0, rig_cut(&self->rig, 0));
	EXPECT_EQ(2, self->rig.pass.id);
	rig_commit(&self->rig);
}

static void put_range(struct nl_msg *msg, struct rig *rig, uint64_t offset, uint64_t length)
{
	nla_put_u32(msg, CBT_A_PASS_GROUP, rig->group);
	nla_put_u32(msg, CBT_A_PASS_ID, rig->pass.id);
	nla_put_u32(msg, CBT_A_PASS_DISK, rig->disks[0]);
	nla_put_u64(msg, CBT_A_PASS_OFFSET, offset);
	nla_put_u64(msg, CBT_A_PASS_LENGTH, length);
}

TEST_F(nl, ranges)
{
	static const uint64_t bad[][2] = {
		{ 0, 0 },
		{ 0, 64 * RIG_MIB + 1 },
		{ 64 * RIG_MIB, 1 },
		{ 64 * RIG_MIB - 1, 2 },
		{ ~0ULL, 1 },
		{ 1, ~0ULL },
		{ 1ULL << 63, 1ULL << 63 },
		{ CHUNK, ~0ULL - CHUNK + 1 },
	};
	struct rig *rig = &self->rig;

	EXPECT_EQ(0, rig_write(self->path, 0, CHUNK));
	ASSERT_EQ(0, rig_cut(rig, 0));
	/*
	 * A socket that the pass does not belong to cannot come so far, so these go by the library.
	 */
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-ERANGE, cbt_pass_release(rig->cbt, rig->group, rig->pass.id,
						    rig->disks[0], bad[i][0], bad[i][1]));
		EXPECT_EQ(-ERANGE, cbt_pass_commit_range(rig->cbt, rig->group, rig->pass.id,
							 rig->disks[0], bad[i][0], bad[i][1]));
	}
	EXPECT_STREQ("0", rig_map(rig, 0));
	rig_commit(rig);
}

TEST_F(nl, pass_of_another_socket)
{
	struct rig *rig = &self->rig;

	EXPECT_EQ(0, rig_write(self->path, 0, CHUNK));
	ASSERT_EQ(0, rig_cut(rig, 0));
	for (int cmd = CBT_CMD_PASS_GET; cmd <= CBT_CMD_PASS_GIVE_UP; cmd++) {
		NEW(cmd);
		if (cmd == CBT_CMD_PASS_RELEASE || cmd == CBT_CMD_PASS_COMMIT_RANGE) {
			put_range(self->msg, rig, 0, CHUNK);
		} else {
			nla_put_u32(self->msg, CBT_A_PASS_GROUP, rig->group);
			nla_put_u32(self->msg, CBT_A_PASS_ID, rig->pass.id);
		}
		EXPECT_REFUSED(-EPERM);
	}
	NEW(CBT_CMD_MAP_GET);
	nla_put_u32(self->msg, CBT_A_MAP_GROUP, rig->group);
	nla_put_u32(self->msg, CBT_A_MAP_PASS, rig->pass.id);
	nla_put_u32(self->msg, CBT_A_MAP_DISK, rig->disks[0]);
	EXPECT_REFUSED(-EPERM);
	EXPECT_STREQ("0", rig_map(rig, 0));
	rig_commit(rig);
}

TEST_F(nl, map_offsets)
{
	struct nl_msg *msg;
	uint32_t group = self->rig.group, disk = self->rig.disks[0];

	/* The pass must be this socket's. */
	NEW(CBT_CMD_PASS_BEGIN);
	nla_put_u32(self->msg, CBT_A_PASS_GROUP, group);
	ASSERT_EQ(0, ASK());
	for (uint64_t offset = 0; offset < 5; offset++) {
		static const uint64_t offsets[] = { 1, CHUNK + 1, ~0ULL, 64 * RIG_MIB,
						    ~0ULL - CHUNK + 1 };

		msg = NEW(CBT_CMD_MAP_GET);
		nla_put_u32(msg, CBT_A_MAP_GROUP, group);
		nla_put_u32(msg, CBT_A_MAP_PASS, self->rig.pass.id + 1);
		nla_put_u32(msg, CBT_A_MAP_DISK, disk);
		nla_put_u64(msg, CBT_A_MAP_OFFSET, offsets[offset]);
		/* Beyond the end is an empty list; what is no multiple of a chunk is refused. */
		EXPECT_EQ(offset < 3 ? -EINVAL : 0, ASK());
	}
	nl_socket_free(self->sock);
	self->sock = open_socket(&self->family);
}

/* --- who may -------------------------------------------------------------------------------- */

static void as_nobody(struct nl_sock *sock, int family, uint32_t group, int flags)
{
	struct nl_msg *msg;
	char sentence[256];
	int err;

	for_each_command(cmd) {
		if (flags && cmd != CBT_CMD_GROUP_GET && cmd != CBT_CMD_DISK_GET &&
		    cmd != CBT_CMD_CONSUMER_GET)
			continue;
		msg = message(family, cmd, flags);
		nla_put_u32(msg, CBT_A_GROUP_ID, group);
		err = ask(sock, msg, sentence, sizeof(sentence));
		if (err != -EPERM) {
			fprintf(stderr, "# command %d was answered with %d\n", cmd, err);
			_exit(1);
		}
	}
}

TEST_F(nl, privilege_is_needed)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		struct nl_sock *sock;
		int family;

		if (setgid(65534) || setuid(65534))
			_exit(2);
		sock = open_socket(&family);
		as_nobody(sock, family, self->rig.group, 0);
		as_nobody(sock, family, self->rig.group, NLM_F_DUMP);
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

/* --- damaged messages ------------------------------------------------------------------------- */

TEST_F(nl, truncated)
{
	struct nlmsghdr *hdr;
	uint32_t whole;
	int fd = nl_socket_get_fd(self->sock);

	NEW(CBT_CMD_GROUP_DEL);
	nla_put_u32(self->msg, CBT_A_GROUP_ID, self->rig.group);
	hdr = nlmsg_hdr(self->msg);
	nl_complete_msg(self->sock, self->msg);
	whole = hdr->nlmsg_len;
	/* Each length but the whole, in the head and of what is sent. */
	for (uint32_t length = NLMSG_HDRLEN; length < whole; length++) {
		hdr->nlmsg_len = length;
		ASSERT_EQ(length, send(fd, hdr, length, 0));
		EXPECT_GT(0, answer(fd, self->sentence, sizeof(self->sentence)))
			TH_LOG("length %u", length);
	}
	nlmsg_free(self->msg);
}

static void put_random(struct nl_msg *msg, unsigned int *seed, struct rig *rig)
{
	static const uint16_t lengths[] = { 0, 1, 2, 4, 4, 4, 8, 8, 16, 64, 100 };
	unsigned char data[128];
	uint16_t length = lengths[rand_r(seed) % ARRAY_SIZE(lengths)];
	uint32_t pick[] = { rig->group, rig->pass.id, rig->disks[0], 0, 1,
			    rand_r(seed), 4096, ~0U };

	for (unsigned int i = 0; i < sizeof(data); i++)
		data[i] = rand_r(seed) % 3 ? rand_r(seed) : 0;
	if (rand_r(seed) % 4)
		memcpy(data, &pick[rand_r(seed) % ARRAY_SIZE(pick)], 4);
	if (rand_r(seed) % 8 == 0)
		strcpy((char *)data, "/dev/ram1");
	nla_put(msg, rand_r(seed) % 18 | (rand_r(seed) % 50 ? 0 : NLA_F_NESTED), length, data);
}

/* What a command takes, most of it right. */
static void put_plausible(struct nl_msg *msg, int cmd, unsigned int *seed, struct rig *rig)
{
	char name[8] = { 'a' + rand_r(seed) % 26 };
	static const uint32_t timeouts[] = { 0, 1000, 1000, 5000, 86400000, ~0U };

	if (cmd == CBT_CMD_GROUP_NEW || (cmd == CBT_CMD_GROUP_GET && rand_r(seed) % 2)) {
		nla_put_string(msg, CBT_A_GROUP_NAME, name);
		return;
	}
	/*
	 * Attribute 1 is the group everywhere, 2 the pass, disk or path; few other groups come to
	 * be.
	 */
	nla_put_u32(msg, 1,
		    rand_r(seed) % 4 && cmd != CBT_CMD_GROUP_DEL ? rig->group :
								   rig->group + rand_r(seed) % 40);
	if (cmd == CBT_CMD_CONSUMER_NEW || (cmd == CBT_CMD_CONSUMER_GET && rand_r(seed) % 2)) {
		nla_put_string(msg, CBT_A_CONSUMER_NAME, name);
		return;
	}
	if (cmd == CBT_CMD_PASS_BEGIN && rand_r(seed) % 2)
		nla_put_u32(msg, CBT_A_PASS_CONSUMER, rand_r(seed) % 12);
	if (cmd == CBT_CMD_PASS_BEGIN && rand_r(seed) % 2)
		nla_put_u32(msg, CBT_A_PASS_TIMEOUT,
			    timeouts[rand_r(seed) % ARRAY_SIZE(timeouts)]);
	if (cmd == CBT_CMD_DISK_GET && rand_r(seed) % 2)
		nla_put_u32(msg, CBT_A_DISK_CONSUMER, rand_r(seed) % 12);
	if (cmd == CBT_CMD_DISK_ADD)
		nla_put_string(msg, CBT_A_DISK_PATH, rand_r(seed) % 2 ? "/dev/ram1" : "/dev/ram0");
	else if (cmd == CBT_CMD_PASS_BEGIN)
		nla_put_u32(msg, CBT_A_PASS_FLAGS,
			    CBT_PASS_F_FULL | (rand_r(seed) % 2 ? CBT_PASS_F_FUZZY : 0));
	else
		nla_put_u32(msg, 2, rand_r(seed) % 4);
	if (cmd == CBT_CMD_MAP_GET)
		nla_put_u32(msg, CBT_A_MAP_DISK, 1 + rand_r(seed) % 2);
	if (cmd == CBT_CMD_PASS_RELEASE || cmd == CBT_CMD_PASS_COMMIT_RANGE) {
		nla_put_u32(msg, CBT_A_PASS_DISK, 1 + rand_r(seed) % 2);
		nla_put_u64(msg, CBT_A_PASS_OFFSET, rand_r(seed) % 20000 * 4096ULL);
		nla_put_u64(msg, CBT_A_PASS_LENGTH, rand_r(seed) % 2000 * 512ULL);
	}
}

/* Sends one message, in one of eight cases with a bit flipped; returns the answer. */
static int send_random(struct nl_sock *sock, int family, unsigned int *seed, struct rig *rig)
{
	int cmd = rand_r(seed) % (CBT_CMD_MAX + 2), fd = nl_socket_get_fd(sock), err;
	struct nl_msg *msg = message(family, cmd, 0);
	struct nlmsghdr *hdr = nlmsg_hdr(msg);
	char sentence[256];

	if (rand_r(seed) % 2)
		put_plausible(msg, cmd, seed, rig);
	if (rand_r(seed) % 2)
		for (unsigned int i = rand_r(seed) % 5; i; i--)
			put_random(msg, seed, rig);
	nl_complete_msg(sock, msg);
	if (rand_r(seed) % 8 == 0)
		((unsigned char *)
			 hdr)[NLMSG_HDRLEN + rand_r(seed) % (hdr->nlmsg_len - NLMSG_HDRLEN)] ^=
			1 << rand_r(seed) % 8;
	if (send(fd, hdr, hdr->nlmsg_len, 0) < 0)
		rig_die("cannot send");
	err = answer(fd, sentence, sizeof(sentence));
	nlmsg_free(msg);
	return err;
}

/* Anything may happen to groups here, nothing to the kernel. */
TEST(random_messages)
{
	unsigned int seed = 20240229, sent = 0, taken = 0;
	uint64_t end = rig_now_ms() + 10000;
	struct nl_sock *sock;
	struct rig rig;
	int family, err;

	rig_reset();
	sock = open_socket(&family);
	rig_open(&rig);
	/* Longer where little comes of it; the harness has the last word. */
	for (unsigned int i = 0; rig_now_ms() < end || taken <= 100; i++) {
		err = send_random(sock, family, &seed, &rig);
		ASSERT_NE(-ETIMEDOUT, err)
			TH_LOG("message %u was not answered", i);
		sent++;
		taken += !err;
	}
	TH_LOG("%u messages, %u of them taken", sent, taken);
	EXPECT_LT(100, taken);
	EXPECT_LT(taken, sent);
	nl_socket_free(sock);
	cbt_close(rig.cbt);
	rig_reset();
	rig_open(&rig);
	rig_track(&rig, rig_brd(0), CHUNK);
	rig_trust(&rig);
	EXPECT_EQ(0, rig_write(rig_brd(0), 0, CHUNK));
	EXPECT_STREQ("0", rig_marked(&rig, 0));
	rig_close(&rig);
}

/*
 * --- events
 * --------------------------------------------------------------------------------------
 */

/* Waits for event @cmd and returns attribute @attr of it; 0 without one in 100 s. */
static uint32_t wait_event(struct nl_sock *sock, int cmd, int attr)
{
	char data[4096];
	const struct nlmsghdr *hdr = (void *)data;
	uint64_t end = rig_now_ms() + 100000;
	struct pollfd wait = { .fd = nl_socket_get_fd(sock), .events = POLLIN };
	struct nlattr *found;

	while (rig_now_ms() < end) {
		if (poll(&wait, 1, 100) != 1 || recv(wait.fd, data, sizeof(data), 0) < 0)
			continue;
		if (((struct genlmsghdr *)NLMSG_DATA(hdr))->cmd != cmd)
			continue;
		found = nlmsg_find_attr((void *)hdr, GENL_HDRLEN, attr);
		return found ? nla_get_u32(found) : 0;
	}
	return 0;
}

TEST_F(nl, events)
{
	int group = genl_ctrl_resolve_grp(self->sock, CBT_GENL_NAME, BLKCBT_MCGRP_EVENTS), fd;
	const struct cbt_pass_spec silent = { .timeout_ms = 1000 };
	struct rig *rig = &self->rig;
	const char *loop = rig_loop(16 * RIG_MIB);

	ASSERT_LE(0, group);
	ASSERT_EQ(0, nl_socket_add_membership(self->sock, group));
	ASSERT_EQ(0, rig_cut(rig, 0));
	EXPECT_EQ(rig->pass.id, wait_event(self->sock, CBT_CMD_PASS_SEALED, CBT_A_PASS_ID));
	rig_commit(rig);
	ASSERT_EQ(0, cbt_pass_begin_as(rig->cbt, rig->group, &silent, &rig->pass));
	EXPECT_EQ(rig->pass.id, wait_event(self->sock, CBT_CMD_PASS_EXPIRED, CBT_A_PASS_ID));
	EXPECT_EQ(-ETIME, cbt_pass_commit(rig->cbt, rig->group, rig->pass.id));
	rig_track(rig, loop, CHUNK);
	rig_trust(rig);
	fd = open(loop, O_RDWR | O_CLOEXEC);
	rig_must("truncate -s 20M /tmp/rig/loop0");
	ASSERT_EQ(0, ioctl(fd, LOOP_SET_CAPACITY));
	close(fd);
	EXPECT_EQ(CBT_UNTRUSTED_RESIZED, rig_info(rig, 1).untrusted);
	EXPECT_EQ(CBT_UNTRUSTED_RESIZED,
		  wait_event(self->sock, CBT_CMD_DISK_UNTRUSTED, CBT_A_DISK_UNTRUSTED));
	EXPECT_EQ(0, cbt_disk_del(rig->cbt, rig->group, rig->disks[1]));
}

TEST_HARNESS_MAIN

// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <linux/blkcbt.h>

#include "blkcbt.h"
#include "nl.h"

int cbt_open(struct cbt **cbt)
{
	int err;

	*cbt = calloc(1, sizeof(**cbt));
	if (!*cbt)
		return -ENOMEM;
	err = cbti_nl_open(*cbt);
	if (err) {
		cbt_close(*cbt);
		*cbt = NULL;
	}
	return err;
}

void cbt_close(struct cbt *cbt)
{
	if (!cbt)
		return;
	cbti_nl_close(cbt);
	free(cbt);
}

const char *cbt_error(const struct cbt *cbt)
{
	return cbt->error;
}

static uint32_t get_u32(struct nlattr *attr)
{
	return attr ? nla_get_u32(attr) : 0;
}

static uint64_t get_u64(struct nlattr *attr)
{
	return attr ? nla_get_u64(attr) : 0;
}

static void get_string(char *to, size_t room, struct nlattr *attr)
{
	to[0] = '\0';
	if (attr)
		nla_strlcpy(to, attr, room);
}

/* --- groups -------------------------------------------------------------- */

static int take_group_id(struct nlattr **attrs, struct nlmsghdr *answer, void *arg)
{
	*(uint32_t *)arg = get_u32(attrs[CBT_A_GROUP_ID]);
	return 0;
}

int cbt_group_new(struct cbt *cbt, const char *name, uint32_t *group)
{
	struct nl_msg *msg = cbti_nl_message(cbt, CBT_CMD_GROUP_NEW, 0);

	if (!msg)
		return -ENOMEM;
	NLA_PUT_STRING(msg, CBT_A_GROUP_NAME, name);
	return cbti_nl_call(cbt, msg, CBT_A_GROUP_MAX, take_group_id, group);

nla_put_failure:
	nlmsg_free(msg);
	return cbti_nl_fail(cbt, -EINVAL, "the group's name is too long");
}

int cbt_group_del(struct cbt *cbt, uint32_t group)
{
	struct nl_msg *msg = cbti_nl_message(cbt, CBT_CMD_GROUP_DEL, 0);

	if (!msg)
		return -ENOMEM;
	nla_put_u32(msg, CBT_A_GROUP_ID, group);
	return cbti_nl_call(cbt, msg, CBT_A_GROUP_MAX, NULL, NULL);
}

static int take_group(struct nlattr **attrs, struct nlmsghdr *answer, void *arg)
{
	struct cbt_group_info *info = arg;

	info->id = get_u32(attrs[CBT_A_GROUP_ID]);
	get_string(info->name, sizeof(info->name), attrs[CBT_A_GROUP_NAME]);
	info->disks = get_u32(attrs[CBT_A_GROUP_DISKS]);
	info->pass = get_u32(attrs[CBT_A_GROUP_PASS]);
	info->memory_bytes = get_u64(attrs[CBT_A_GROUP_MEMORY]);
	info->consumers = get_u32(attrs[CBT_A_GROUP_CONSUMERS]);
	info->shared_bytes = get_u64(attrs[CBT_A_GROUP_SHARED_MEMORY]);
	return 0;
}

int cbt_group_find(struct cbt *cbt, const char *name, struct cbt_group_info *info)
{
	struct nl_msg *msg = cbti_nl_message(cbt, CBT_CMD_GROUP_GET, 0);

	if (!msg)
		return -ENOMEM;
	NLA_PUT_STRING(msg, CBT_A_GROUP_NAME, name);
	return cbti_nl_call(cbt, msg, CBT_A_GROUP_MAX, take_group, info);

nla_put_failure:
	nlmsg_free(msg);
	return cbti_nl_fail(cbt, -EINVAL, "the group's name is too long");
}

struct each_group {
	int (*each)(const struct cbt_group_info *info, void *arg);
	void *arg;
};

static int list_group(struct nlattr **attrs, struct nlmsghdr *answer, void *arg)
{
	struct each_group *each = arg;
	struct cbt_group_info info;

	take_group(attrs, answer, &info);
	return each->each(&info, each->arg);
}

int cbt_group_list(struct cbt *cbt, int (*each)(const struct cbt_group_info *info, void *arg),
		   void *arg)
{
	struct nl_msg *msg = cbti_nl_message(cbt, CBT_CMD_GROUP_GET, NLM_F_DUMP);
	struct each_group list = { each, arg };

	if (!msg)
		return -ENOMEM;
	return cbti_nl_call(cbt, msg, CBT_A_GROUP_MAX, list_group, &list);
}

/* --- consumers ----------------------------------------------------------- */

static int take_consumer(struct nlattr **attrs, struct nlmsghdr *answer, void *arg)
{
	struct cbt_consumer_info *info = arg;

	(void)answer;
	info->id = get_u32(attrs[CBT_A_CONSUMER_ID]);
	get_string(info->name, sizeof(info->name), attrs[CBT_A_CONSUMER_NAME]);
	info->pass = get_u32(attrs[CBT_A_CONSUMER_PASS]);
	return 0;
}

/* A command on the consumer @name. */
static int named_consumer(struct cbt *cbt, int cmd, uint32_t group, const char *name,
			  struct cbt_consumer_info *info)
{
	struct nl_msg *msg = cbti_nl_message(cbt, cmd, 0);

	if (!msg)
		return -ENOMEM;
	NLA_PUT_U32(msg, CBT_A_CONSUMER_GROUP, group);
	NLA_PUT_STRING(msg, CBT_A_CONSUMER_NAME, name);
	return cbti_nl_call(cbt, msg, CBT_A_CONSUMER_MAX, take_consumer, info);

nla_put_failure:
	nlmsg_free(msg);
	return cbti_nl_fail(cbt, -EINVAL, "the consumer's name is too long");
}

int cbt_consumer_new(struct cbt *cbt, uint32_t group, const char *name, uint32_t *consumer)
{
	struct cbt_consumer_info info = { 0 };
	int err = named_consumer(cbt, CBT_CMD_CONSUMER_NEW, group, name, &info);

	*consumer = info.id;
	return err;
}

int cbt_consumer_del(struct cbt *cbt, uint32_t group, uint32_t consumer)
{
	struct nl_msg *msg = cbti_nl_message(cbt, CBT_CMD_CONSUMER_DEL, 0);

	if (!msg)
		return -ENOMEM;
	nla_put_u32(msg, CBT_A_CONSUMER_GROUP, group);
	nla_put_u32(msg, CBT_A_CONSUMER_ID, consumer);
	return cbti_nl_call(cbt, msg, CBT_A_CONSUMER_MAX, NULL, NULL);
}

int cbt_consumer_find(struct cbt *cbt, uint32_t group, const char *name,
		      struct cbt_consumer_info *info)
{
	return named_consumer(cbt, CBT_CMD_CONSUMER_GET, group, name, info);
}

struct each_consumer {
	int (*each)(const struct cbt_consumer_info *info, void *arg);
	void *arg;
};

static int list_consumer(struct nlattr **attrs, struct nlmsghdr *answer, void *arg)
{
	struct each_consumer *each = arg;
	struct cbt_consumer_info info;

	take_consumer(attrs, answer, &info);
	return each->each(&info, each->arg);
}

int cbt_consumer_list(struct cbt *cbt, uint32_t group,
		      int (*each)(const struct cbt_consumer_info *info, void *arg), void *arg)
{
	struct nl_msg *msg = cbti_nl_message(cbt, CBT_CMD_CONSUMER_GET, NLM_F_DUMP);
	struct each_consumer list = { each, arg };

	if (!msg)
		return -ENOMEM;
	nla_put_u32(msg, CBT_A_CONSUMER_GROUP, group);
	return cbti_nl_call(cbt, msg, CBT_A_CONSUMER_MAX, list_consumer, &list);
}

/* --- disks --------------------------------------------------------------- */

static int take_disk(struct nlattr **attrs, struct nlmsghdr *answer, void *arg)
{
	struct cbt_disk_info *info = arg;

	info->id = get_u32(attrs[CBT_A_DISK_ID]);
	get_string(info->path, sizeof(info->path), attrs[CBT_A_DISK_PATH]);
	info->major = get_u32(attrs[CBT_A_DISK_MAJOR]);
	info->minor = get_u32(attrs[CBT_A_DISK_MINOR]);
	info->size_bytes = get_u64(attrs[CBT_A_DISK_SIZE]);
	info->chunk_bytes = get_u32(attrs[CBT_A_DISK_CHUNK]);
	info->dirty_chunks = get_u64(attrs[CBT_A_DISK_DIRTY]);
	info->pass_chunks = get_u64(attrs[CBT_A_DISK_PASS_CHUNKS]);
	info->overwritten_chunks = get_u64(attrs[CBT_A_DISK_OVERWRITTEN]);
	info->untrusted = get_u32(attrs[CBT_A_DISK_UNTRUSTED]);
	info->writes = get_u64(attrs[CBT_A_DISK_WRITES]);
	info->written_bytes = get_u64(attrs[CBT_A_DISK_WRITTEN]);
	get_string(info->image, sizeof(info->image), attrs[CBT_A_DISK_IMAGE]);
	return 0;
}

int cbt_disk_add(struct cbt *cbt, uint32_t group, const char *path, uint32_t chunk_bytes,
		 struct cbt_disk_info *info)
{
	struct nl_msg *msg = cbti_nl_message(cbt, CBT_CMD_DISK_ADD, 0);

	if (!msg)
		return -ENOMEM;
	NLA_PUT_U32(msg, CBT_A_DISK_GROUP, group);
	NLA_PUT_STRING(msg, CBT_A_DISK_PATH, path);
	NLA_PUT_U32(msg, CBT_A_DISK_CHUNK, chunk_bytes);
	return cbti_nl_call(cbt, msg, CBT_A_DISK_MAX, take_disk, info);

nla_put_failure:
	nlmsg_free(msg);
	return cbti_nl_fail(cbt, -EINVAL, "the device's path is too long");
}

int cbt_disk_del(struct cbt *cbt, uint32_t group, uint32_t disk)
{
	struct nl_msg *msg = cbti_nl_message(cbt, CBT_CMD_DISK_DEL, 0);

	if (!msg)
		return -ENOMEM;
	nla_put_u32(msg, CBT_A_DISK_GROUP, group);
	nla_put_u32(msg, CBT_A_DISK_ID, disk);
	return cbti_nl_call(cbt, msg, CBT_A_DISK_MAX, NULL, NULL);
}

struct each_disk {
	int (*each)(const struct cbt_disk_info *info, void *arg);
	void *arg;
};

static int list_disk(struct nlattr **attrs, struct nlmsghdr *answer, void *arg)
{
	struct each_disk *each = arg;
	struct cbt_disk_info info;

	take_disk(attrs, answer, &info);
	return each->each(&info, each->arg);
}

int cbt_disk_list(struct cbt *cbt, uint32_t group,
		  int (*each)(const struct cbt_disk_info *info, void *arg), void *arg)
{
	return cbt_disk_list_of(cbt, group, CBT_CONSUMER_FIRST, each, arg);
}

int cbt_disk_list_of(struct cbt *cbt, uint32_t group, uint32_t consumer,
		     int (*each)(const struct cbt_disk_info *info, void *arg), void *arg)
{
	struct nl_msg *msg = cbti_nl_message(cbt, CBT_CMD_DISK_GET, NLM_F_DUMP);
	struct each_disk list = { each, arg };

	if (!msg)
		return -ENOMEM;
	nla_put_u32(msg, CBT_A_DISK_GROUP, group);
	nla_put_u32(msg, CBT_A_DISK_CONSUMER, consumer);
	return cbti_nl_call(cbt, msg, CBT_A_DISK_MAX, list_disk, &list);
}

/* --- passes -------------------------------------------------------------- */

static int take_pass(struct nlattr **attrs, struct nlmsghdr *answer, void *arg)
{
	struct cbt_pass_info *info = arg;
	uint32_t flags = get_u32(attrs[CBT_A_PASS_FLAGS]);

	info->id = get_u32(attrs[CBT_A_PASS_ID]);
	info->sealed = flags & CBT_PASS_F_SEALED;
	info->fuzzy = flags & CBT_PASS_F_FUZZY;
	info->full = flags & CBT_PASS_F_FULL;
	info->cut_time_ns = get_u64(attrs[CBT_A_PASS_CUT_TIME]);
	info->chunks = get_u64(attrs[CBT_A_PASS_CHUNKS]);
	info->overwritten = get_u64(attrs[CBT_A_PASS_OVERWRITTEN]);
	info->consumer = get_u32(attrs[CBT_A_PASS_CONSUMER]);
	info->timeout_ms = get_u32(attrs[CBT_A_PASS_TIMEOUT]);
	return 0;
}

int cbt_pass_begin(struct cbt *cbt, uint32_t group, uint32_t flags, struct cbt_pass_info *info)
{
	const struct cbt_pass_spec spec = { .flags = flags };

	return cbt_pass_begin_as(cbt, group, &spec, info);
}

int cbt_pass_begin_as(struct cbt *cbt, uint32_t group, const struct cbt_pass_spec *spec,
		      struct cbt_pass_info *info)
{
	struct nl_msg *msg = cbti_nl_message(cbt, CBT_CMD_PASS_BEGIN, 0);

	if (!msg)
		return -ENOMEM;
	nla_put_u32(msg, CBT_A_PASS_GROUP, group);
	nla_put_u32(msg, CBT_A_PASS_FLAGS, spec->flags);
	if (spec->consumer)
		nla_put_u32(msg, CBT_A_PASS_CONSUMER, spec->consumer);
	if (spec->timeout_ms)
		nla_put_u32(msg, CBT_A_PASS_TIMEOUT, spec->timeout_ms);
	return cbti_nl_call(cbt, msg, CBT_A_PASS_MAX, take_pass, info);
}

static struct nl_msg *pass_message(struct cbt *cbt, int cmd, uint32_t group, uint32_t pass)
{
	struct nl_msg *msg = cbti_nl_message(cbt, cmd, 0);

	if (msg) {
		nla_put_u32(msg, CBT_A_PASS_GROUP, group);
		nla_put_u32(msg, CBT_A_PASS_ID, pass);
	}
	return msg;
}

int cbt_pass_get(struct cbt *cbt, uint32_t group, uint32_t pass, struct cbt_pass_info *info)
{
	struct nl_msg *msg = pass_message(cbt, CBT_CMD_PASS_GET, group, pass);

	return msg ? cbti_nl_call(cbt, msg, CBT_A_PASS_MAX, take_pass, info) : -ENOMEM;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

/* As a rule the pass is sealed when it begins; the rest is looked at with growing pauses. */
int cbt_pass_wait_sealed(struct cbt *cbt, uint32_t group, uint32_t pass, unsigned int timeout_ms,
			 struct cbt_pass_info *info)
{
	int64_t end = now_ms() + timeout_ms;
	struct timespec pause = { .tv_nsec = 1000000 };
	int err;

	for (;;) {
		err = cbt_pass_get(cbt, group, pass, info);
		if (err || info->sealed)
			return err;
		if (now_ms() >= end)
			return cbti_nl_fail(cbt, -ETIMEDOUT,
					    "writes of before the cut are still in flight after %u ms; the device may hang",
					    timeout_ms);
		nanosleep(&pause, NULL);
		if (pause.tv_nsec < 50000000)
			pause.tv_nsec *= 2;
	}
}

static int pass_range(struct cbt *cbt, int cmd, uint32_t group, uint32_t pass, uint32_t disk,
		      uint64_t offset, uint64_t length)
{
	struct nl_msg *msg = pass_message(cbt, cmd, group, pass);

	if (!msg)
		return -ENOMEM;
	nla_put_u32(msg, CBT_A_PASS_DISK, disk);
	nla_put_u64(msg, CBT_A_PASS_OFFSET, offset);
	nla_put_u64(msg, CBT_A_PASS_LENGTH, length);
	return cbti_nl_call(cbt, msg, CBT_A_PASS_MAX, NULL, NULL);
}

int cbt_pass_release(struct cbt *cbt, uint32_t group, uint32_t pass, uint32_t disk,
		     uint64_t offset, uint64_t length)
{
	return pass_range(cbt, CBT_CMD_PASS_RELEASE, group, pass, disk, offset, length);
}

int cbt_pass_commit_range(struct cbt *cbt, uint32_t group, uint32_t pass, uint32_t disk,
			  uint64_t offset, uint64_t length)
{
	return pass_range(cbt, CBT_CMD_PASS_COMMIT_RANGE, group, pass, disk, offset, length);
}

int cbt_pass_commit(struct cbt *cbt, uint32_t group, uint32_t pass)
{
	struct nl_msg *msg = pass_message(cbt, CBT_CMD_PASS_COMMIT, group, pass);

	return msg ? cbti_nl_call(cbt, msg, CBT_A_PASS_MAX, NULL, NULL) : -ENOMEM;
}

int cbt_pass_give_up(struct cbt *cbt, uint32_t group, uint32_t pass)
{
	struct nl_msg *msg = pass_message(cbt, CBT_CMD_PASS_GIVE_UP, group, pass);

	return msg ? cbti_nl_call(cbt, msg, CBT_A_PASS_MAX, NULL, NULL) : -ENOMEM;
}

// SPDX-License-Identifier: LGPL-2.1-or-later
/* Reads the map of a pass and proves that it was read whole. */
#include <errno.h>
#include <linux/blkcbt.h>
#include <linux/genetlink.h>

#include "blkcbt.h"
#include "nl.h"

struct map_read {
	struct cbt *cbt;
	int (*each)(uint64_t offset, uint64_t length, void *arg);
	void *arg;
	uint32_t chunk_bytes;
	uint64_t size_bytes;
	uint64_t chunks;	/* counted so far */
	uint64_t end;		/* of the last extent */
	uint64_t next;		/* where to go on */
	uint64_t expected;	/* chunks, by the tracker's count; none until it has said so */
	int more;
	int answered;
};

static int bad_extent(struct map_read *read)
{
	return cbti_nl_fail(read->cbt, -EIO, "the tracker's map makes no sense at byte %llu",
			    (unsigned long long)read->end);
}

static int take_extent(struct map_read *read, struct nlattr *nest)
{
	struct nlattr *attrs[CBT_A_EXTENT_MAX + 1];
	uint64_t offset, length;

	if (nla_parse_nested(attrs, CBT_A_EXTENT_MAX, nest, NULL) < 0 ||
	    !attrs[CBT_A_EXTENT_OFFSET] || !attrs[CBT_A_EXTENT_LENGTH])
		return bad_extent(read);
	offset = nla_get_u64(attrs[CBT_A_EXTENT_OFFSET]);
	length = nla_get_u64(attrs[CBT_A_EXTENT_LENGTH]);
	if (!length || offset % read->chunk_bytes || offset < read->end ||
	    offset > read->size_bytes || length > read->size_bytes - offset)
		return bad_extent(read);
	read->end = offset + length;
	read->chunks += (length + read->chunk_bytes - 1) / read->chunk_bytes;
	return read->each(offset, length, read->arg);
}

static int take_answer(struct nlattr **attrs, struct nlmsghdr *answer, void *arg)
{
	struct map_read *read = arg;
	struct nlattr *attr;
	int left, err;

	read->answered = 1;
	if (attrs[CBT_A_MAP_CHUNKS])
		read->expected = nla_get_u64(attrs[CBT_A_MAP_CHUNKS]);
	nlmsg_for_each_attr(attr, answer, GENL_HDRLEN, left) {
		if (nla_type(attr) != CBT_A_MAP_EXTENT)
			continue;
		err = take_extent(read, attr);
		if (err)
			return err;
	}
	read->more = attrs[CBT_A_MAP_NEXT] != NULL;
	if (!read->more)
		return 0;
	/* Going on where we are would never end. */
	if (nla_get_u64(attrs[CBT_A_MAP_NEXT]) <= read->next)
		return bad_extent(read);
	read->next = nla_get_u64(attrs[CBT_A_MAP_NEXT]);
	return 0;
}

static int ask(struct map_read *read, uint32_t group, uint32_t pass, uint32_t disk)
{
	struct nl_msg *msg = cbti_nl_message(read->cbt, CBT_CMD_MAP_GET, 0);

	if (!msg)
		return -ENOMEM;
	nla_put_u32(msg, CBT_A_MAP_GROUP, group);
	nla_put_u32(msg, CBT_A_MAP_PASS, pass);
	nla_put_u32(msg, CBT_A_MAP_DISK, disk);
	nla_put_u64(msg, CBT_A_MAP_OFFSET, read->next);
	read->answered = 0;
	return cbti_nl_call(read->cbt, msg, CBT_A_MAP_MAX, take_answer, read);
}

static int take_disk_size(struct nlattr **attrs, struct nlmsghdr *answer, void *arg)
{
	struct map_read *read = arg;

	(void)answer;
	if (!attrs[CBT_A_DISK_SIZE] || !attrs[CBT_A_DISK_CHUNK])
		return cbti_nl_fail(read->cbt, -EBADMSG, "the tracker's answer lacks the size of the disk");
	read->size_bytes = nla_get_u64(attrs[CBT_A_DISK_SIZE]);
	read->chunk_bytes = nla_get_u32(attrs[CBT_A_DISK_CHUNK]);
	return 0;
}

static int ask_size(struct map_read *read, uint32_t group, uint32_t disk)
{
	struct nl_msg *msg = cbti_nl_message(read->cbt, CBT_CMD_DISK_GET, 0);

	if (!msg)
		return -ENOMEM;
	nla_put_u32(msg, CBT_A_DISK_GROUP, group);
	nla_put_u32(msg, CBT_A_DISK_ID, disk);
	return cbti_nl_call(read->cbt, msg, CBT_A_DISK_MAX, take_disk_size, read);
}

int cbt_map_get(struct cbt *cbt, uint32_t group, uint32_t pass, uint32_t disk,
		int (*each)(uint64_t offset, uint64_t length, void *arg), void *arg)
{
	struct map_read read = { .cbt = cbt, .each = each, .arg = arg, .expected = UINT64_MAX };
	int err = ask_size(&read, group, disk);

	if (err)
		return err;
	if (!read.chunk_bytes)
		return bad_extent(&read);
	do {
		err = ask(&read, group, pass, disk);
		if (!err && !read.answered)
			err = cbti_nl_fail(cbt, -EIO, "the tracker acknowledged, but sent no map");
		if (err)
			return err;
	} while (read.more);
	if (read.chunks != read.expected)
		return cbti_nl_fail(
			cbt, -EIO,
			"the map holds %llu chunks, but the tracker counts %llu; begin a new pass",
			(unsigned long long)read.chunks, (unsigned long long)read.expected);
	return 0;
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdio.h>

#include "../common/format.h"
#include "client.h"
#include "dry_run.h"
#include "json.h"

struct amount {
	bool whole;		/* all of the disks, since what changed is not known */
	bool compares;		/* and only what differs of that is sent */
	uint64_t bytes, disk_bytes;
	uint64_t wire_bytes;	/* as passes went so far; only if @known */
	bool known;
};

static struct amount amount_of(const struct client_relationship *r)
{
	struct amount a = { 0 };
	unsigned int i;

	for (i = 0; i < r->disk_count; i++) {
		a.disk_bytes += r->disks[i].size_bytes;
		a.bytes += r->disks[i].dirty_bytes;
		a.whole |= r->disks[i].untrusted != 0;
	}
	a.compares = client_compares(r);
	a.whole |= a.compares;
	if (a.whole)
		a.bytes = a.disk_bytes;
	a.known = r->bytes > 0 && !a.compares;
	if (a.known)
		a.wire_bytes = (double)a.bytes * r->wire_bytes / r->bytes;
	return a;
}

static void print_json(const struct client_relationship *r, const struct amount *a)
{
	struct json json = { stdout, true };
	unsigned int i;

	json_open(&json, NULL, '{');
	json_text(&json, "vm", r->vm);
	json_flag(&json, "whole", a->whole);
	json_flag(&json, "compares", a->compares);
	json_number(&json, "bytes", a->bytes);
	json_number(&json, "disk_bytes", a->disk_bytes);
	if (a->known)
		json_number(&json, "wire_bytes_estimate", a->wire_bytes);
	else
		json_text(&json, "wire_bytes_estimate", NULL);
	json_open(&json, "disks", '[');
	for (i = 0; i < r->disk_count; i++) {
		json_open(&json, NULL, '{');
		json_text(&json, "device", r->disks[i].device);
		json_number(&json, "bytes", a->whole ? r->disks[i].size_bytes : r->disks[i].dirty_bytes);
		json_close(&json, '}');
	}
	json_close(&json, ']');
	json_close(&json, '}');
	putchar('\n');
}

static void print_text(const struct client_relationship *r, const struct amount *a)
{
	char bytes[FORMAT_BYTES], disk[FORMAT_BYTES], wire[FORMAT_BYTES];

	if (a->compares) {
		printf("%s: a pass now would read and compare all of the disks, %s on each side, and send what differs, which is not known before; nothing was sent\n",
		       r->vm, format_bytes(a->disk_bytes, disk));
		return;
	}
	printf("%s: a pass now would hold %s of %s", r->vm, format_bytes(a->bytes, bytes),
	       format_bytes(a->disk_bytes, disk));
	if (a->known)
		printf(", about %s on the wire as passes went so far", format_bytes(a->wire_bytes, wire));
	if (a->whole)
		printf("; all of it, since it is not known what changed");
	printf("; nothing was sent\n");
}

int dry_run(const char *vm, bool json, struct err *e)
{
	const struct client_relationship *r;
	struct client_snapshot snapshot;
	struct amount a;
	int rc = client_snapshot(&snapshot, e);

	if (rc)
		return rc;
	r = client_find(&snapshot, vm, CLIENT_PRIMARY);
	if (r) {
		a = amount_of(r);
		if (json)
			print_json(r, &a);
		else
			print_text(r, &a);
	} else {
		rc = err_set(e, -ENOENT, "this host does not replicate '%.64s'", vm);
	}
	client_snapshot_free(&snapshot);
	return rc;
}

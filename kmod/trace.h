/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tracepoints: what happens to passes, and to writes that have to wait for one. None is
 * passed by every write. Times are in nanoseconds, sectors in 512 bytes and from the start of the
 * tracked disk, which is named by its device number.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM blkcbt

#if !defined(CBT_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define CBT_TRACE_H

#include <linux/kdev_t.h>
#include <linux/tracepoint.h>
#include <uapi/linux/blkcbt.h>

#include "epoch.h"

/* A pass was cut: @inflight writes of the epoch @cut have yet to complete. */
TRACE_EVENT(blkcbt_cut,
	    TP_PROTO(u32 group, const char *name, u32 pass, u32 flags, const struct cbt_epoch *cut),
	    TP_ARGS(group, name, pass, flags, cut),
	    TP_STRUCT__entry(
		__field(u32, group)
		__field(u32, pass)
		__field(u32, flags)
		__field(unsigned long, inflight)
		__array(char, name, BLKCBT_NAME_LEN)
	    ),
	    TP_fast_assign(
		__entry->group = group;
		__entry->pass = pass;
		__entry->flags = flags;
		__entry->inflight = cbt_epoch_inflight(cut);
		strscpy(__entry->name, name, BLKCBT_NAME_LEN);
	    ),
	    TP_printk("group=%u pass=%u flags=%s inflight=%lu name=%s", __entry->group,
		      __entry->pass,
		      __print_flags(__entry->flags, "|", { CBT_PASS_F_FULL, "full" },
				    { CBT_PASS_F_FUZZY, "fuzzy" }),
		      __entry->inflight, __entry->name)
);

/* Every write of the epoch has completed, @waited_ns after the cut. */
TRACE_EVENT(blkcbt_sealed,
	    TP_PROTO(u32 group, u32 pass, u64 waited_ns),
	    TP_ARGS(group, pass, waited_ns),
	    TP_STRUCT__entry(
		__field(u32, group)
		__field(u32, pass)
		__field(u64, waited_ns)
	    ),
	    TP_fast_assign(
		__entry->group = group;
		__entry->pass = pass;
		__entry->waited_ns = waited_ns;
	    ),
	    TP_printk("group=%u pass=%u waited_ns=%llu", __entry->group, __entry->pass,
		      __entry->waited_ns)
);

DECLARE_EVENT_CLASS(blkcbt_pass_end,
		    TP_PROTO(u32 group, u32 pass),
		    TP_ARGS(group, pass),
		    TP_STRUCT__entry(
			__field(u32, group)
			__field(u32, pass)
		    ),
		    TP_fast_assign(
			__entry->group = group;
			__entry->pass = pass;
		    ),
		    TP_printk("group=%u pass=%u", __entry->group, __entry->pass)
);

DEFINE_EVENT(blkcbt_pass_end, blkcbt_commit, TP_PROTO(u32 group, u32 pass), TP_ARGS(group, pass));
DEFINE_EVENT(blkcbt_pass_end, blkcbt_give_up, TP_PROTO(u32 group, u32 pass), TP_ARGS(group, pass));

/* A pass has ceased to be of one instant on a disk; @caller found the reason. */
TRACE_EVENT(blkcbt_fuzzy,
	    TP_PROTO(dev_t dev, unsigned long caller),
	    TP_ARGS(dev, caller),
	    TP_STRUCT__entry(
		__field(dev_t, dev)
		__field(unsigned long, caller)
	    ),
	    TP_fast_assign(
		__entry->dev = dev;
		__entry->caller = caller;
	    ),
	    TP_printk("dev=%d:%d caller=%pS", MAJOR(__entry->dev), MINOR(__entry->dev),
		      (void *)__entry->caller)
);

/* The map of a disk may miss a write, for new reasons (CBT_UNTRUSTED_*). */
TRACE_EVENT(blkcbt_distrust,
	    TP_PROTO(dev_t dev, u32 reasons),
	    TP_ARGS(dev, reasons),
	    TP_STRUCT__entry(
		__field(dev_t, dev)
		__field(u32, reasons)
	    ),
	    TP_fast_assign(
		__entry->dev = dev;
		__entry->reasons = reasons;
	    ),
	    TP_printk("dev=%d:%d reasons=%s", MAJOR(__entry->dev), MINOR(__entry->dev),
		      __print_flags(__entry->reasons, "|", { CBT_UNTRUSTED_FRESH, "fresh" },
				    { CBT_UNTRUSTED_RESIZED, "resized" },
				    { CBT_UNTRUSTED_REMOVED, "removed" },
				    { CBT_UNTRUSTED_PASSTHROUGH, "passthrough" },
				    { CBT_UNTRUSTED_MEMORY, "memory" },
				    { CBT_UNTRUSTED_UNKNOWN_WRITE, "unknown-write" }))
);

/* A write has to wait until what stands in sectors @first to @end is kept. */
TRACE_EVENT(blkcbt_hold,
	    TP_PROTO(dev_t dev, const void *bio, u64 first, u64 end),
	    TP_ARGS(dev, bio, first, end),
	    TP_STRUCT__entry(
		__field(dev_t, dev)
		__field(const void *, bio)
		__field(u64, first)
		__field(u64, end)
	    ),
	    TP_fast_assign(
		__entry->dev = dev;
		__entry->bio = bio;
		__entry->first = first;
		__entry->end = end;
	    ),
	    TP_printk("dev=%d:%d bio=%p sector=%llu+%llu", MAJOR(__entry->dev), MINOR(__entry->dev),
		      __entry->bio, __entry->first, __entry->end - __entry->first)
);

/* It goes on; @kept: what it was to wait for is kept, and preserving has not ended. */
TRACE_EVENT(blkcbt_unhold,
	    TP_PROTO(dev_t dev, const void *bio, u64 waited_ns, bool kept),
	    TP_ARGS(dev, bio, waited_ns, kept),
	    TP_STRUCT__entry(
		__field(dev_t, dev)
		__field(const void *, bio)
		__field(u64, waited_ns)
		__field(bool, kept)
	    ),
	    TP_fast_assign(
		__entry->dev = dev;
		__entry->bio = bio;
		__entry->waited_ns = waited_ns;
		__entry->kept = kept;
	    ),
	    TP_printk("dev=%d:%d bio=%p waited_ns=%llu kept=%d", MAJOR(__entry->dev), MINOR(__entry->dev),
		      __entry->bio, __entry->waited_ns, __entry->kept)
);

#endif

/* Outside of the guard: it is read several times. */
#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>

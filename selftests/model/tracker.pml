/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tracker's protocol, for spin: epochs, marks, seal, preserving, passes. README
 * says what stands for what, what is left out, and what each M_ switch breaks.
 */
#ifndef WRITERS
#define WRITERS	2
#endif
#ifndef WRITES
#define WRITES	1	/* of writer 0, one after another; the others make one */
#endif
#ifndef CHUNKS
#define CHUNKS	2
#endif
#ifndef PASSES
#define PASSES	2
#endif

#define UNKNOWN		255	/* what the replica holds of a chunk that was never shipped */

/* Of a kept chunk. */
#define NONE		0
#define READING(i)	((i) + 1)	/* by writer i */
#define READY		255

/* --- memory --------------------------------------------------------------- */

typedef of_chunks { bit at[CHUNKS] };
typedef of_cpus { short at[WRITERS] };
typedef kept_chunks { byte state[CHUNKS]; byte content[CHUNKS] };

/* cbt_epochs, cbt_disk. */
#ifdef M_CUT_PER_DISK
bit live[CHUNKS];
#define live_for(c)	live[c]
#else
bit live;
#define live_for(c)	live
#endif
of_cpus inflight[2];
of_chunks map[2];
of_chunks released;
byte preserve;		/* slot + 1; 0: null */
bit inside[WRITERS];	/* in the probe: synchronize_rcu() waits for it */

/* cbt_preserve, by slot: nobody is left of one when the next of the same slot comes. */
bit alive[2];		/* the pass has its reference */
bit over[2];		/* .disk is null */
bit off[2], torn[2], sealed[2];
byte gate[2];		/* how many readers hold it */
kept_chunks kept[2];

/*
 * With BUFFERS, what a CPU stores becomes visible one by one: what goes to one place in
 * order, what goes to different places in any order. Without, at once: the same
 * where a barrier follows before the CPU's next load, and much fewer states.
 */
#ifdef BUFFERS
#define COUNT	1	/* slot, 1 or 0: up or down */
#define MARK	2	/* slot, chunk */
#define TORN	3	/* slot */
chan stores[WRITERS] = [4] of { byte, byte, byte };
bit cut_unseen;		/* the cutter's store to live is under way */

#define count_in(cpu, s)	stores[cpu]!COUNT,s,1
#define count_out(cpu, s)	stores[cpu]!COUNT,s,0
#define mark(cpu, s, c)		stores[cpu]!MARK,s,c
#define tear(cpu, s)		stores[cpu]!TORN,s,0
#define and_barrier(cpu)	; empty(stores[cpu])
#define all_seen		(empty(stores[0]) && empty(stores[WRITERS - 1]) && empty(stores[WRITERS / 2]))
#else
#define count_in(cpu, s)	inflight[s].at[cpu] = inflight[s].at[cpu] + 1
#define count_out(cpu, s)	inflight[s].at[cpu] = inflight[s].at[cpu] - 1
#define mark(cpu, s, c)		map[s].at[c] = 1
#define tear(cpu, s)		torn[s] = 1
#define and_barrier(cpu)
#define all_seen		true
#endif

/* --- the world, and what the outcome is compared with ----------------------- */

byte device[CHUNKS];	/* the last write that reached it */
byte replica[CHUNKS];
byte as_cut[CHUNKS];	/* the last write of before the last cut that reached it */
byte cuts;		/* how many; the number of the epoch under way */
byte completed;		/* the highest number of an epoch that a completed write is of */
byte running = WRITERS;

#define number_of(slot)	((cuts % 2 == (slot)) -> cuts : cuts - 1)

#if CHUNKS > 1
#define both(one, other)	one; other
#define any_chunk(c)		if :: c = 0 :: c = 1 fi
#else
#define both(one, other)	one
#define any_chunk(c)		c = 0
#endif

/* What the store to live does, where it becomes visible. */
inline cut_seen()
{
	d_step {
		cuts++;
		both(as_cut[0] = device[0], as_cut[1] = device[1]);
#ifdef BUFFERS
		cut_unseen = 0;
#endif
#ifdef M_CUT_PER_DISK
		live[0] = !live[0]
#else
		live = !live
#endif
	}
}

#ifdef BUFFERS
#define deliver(cpu)										\
	:: atomic { stores[cpu]??COUNT,0,v -> inflight[0].at[cpu] = inflight[0].at[cpu] + 2 * v - 1; v = 0 }	\
	:: atomic { stores[cpu]??COUNT,1,v -> inflight[1].at[cpu] = inflight[1].at[cpu] + 2 * v - 1; v = 0 }	\
	:: atomic { stores[cpu]??MARK,0,v -> map[0].at[v] = 1; v = 0 }				\
	:: atomic { stores[cpu]??MARK,1,v -> map[1].at[v] = 1; v = 0 }				\
	:: atomic { stores[cpu]??TORN,0,v -> torn[0] = 1; v = 0 }				\
	:: atomic { stores[cpu]??TORN,1,v -> torn[1] = 1; v = 0 }

active proctype memory()
{
	byte v;

end:	do
	deliver(0)
	deliver(1)
#if WRITERS > 2
	deliver(2)
#endif
	:: cut_unseen -> cut_seen()
	od
}
#endif

/* --- preserve.c ------------------------------------------------------------- */

inline fail(p)
{
#ifdef M_OFF_BEFORE_TORN
	off[p] = 1;
	torn[p] = 1;
#else
	torn[p] = 1;
	off[p] = 1;
#endif
	sealed[p] = 1
}

/*
 * claim(), the gate being held. @mine: this writer has to read the chunk; @state as it
 * is then: NONE without memory. Not mine and NONE: there is nothing to keep.
 */
inline claim(p, c)
{
	atomic {
		assert(!over[p]);
		if
		:: off[p] || !map[p].at[c] || released.at[c]
		:: else ->
			state = kept[p].state[c];
			if
			:: state == NONE ->
				kept[p].state[c] = READING(me);
				state = READING(me);
				mine = 1
#ifdef SHORTAGE
			:: state == NONE -> mine = 1
#endif
			:: state != NONE
			fi
		fi;
		gate[p]--
	}
}

inline fill(p, c)
{
	content = device[c];
	d_step {
		if
		:: kept[p].state[c] == READING(me) ->
			kept[p].content[c] = content;
			kept[p].state[c] = READY
		:: else		/* released meanwhile */
		fi;
		content = 0
	}
}

/* see_to() */
inline keep(p, c)
{
	if
#ifdef M_KEEP_BEFORE_SEAL
	:: off[p]
	:: atomic { !off[p] -> gate[p]++ };
#else
	:: sealed[p] && off[p]
	:: atomic { sealed[p] && !off[p] -> gate[p]++ };
#endif
		claim(p, c);
		if
		:: mine && state == NONE -> fail(p)
#ifdef M_GO_BEFORE_KEPT
		:: mine && state -> reach_device(); fill(p, c)
#else
		:: mine && state -> fill(p, c)
#endif
		:: !mine && state -> kept[p].state[c] != state || state == READY
		:: !mine && state == NONE
		fi
	fi;
	atomic { mine = 0; state = 0 }
}

/* --- tap.c, epoch.h: writes on one CPU, one after another --------------------- */

inline reach_device()
{
	d_step {
		device[c] = me * WRITES + n + 1;
		if
		:: number < cuts -> as_cut[c] = device[c]
		:: else
		fi;
		completed = (completed > number -> completed : number)
	}
}

/* cbt_epoch_enter() */
inline enter()
{
	atomic { any_chunk(c); before = completed; inside[me] = 1 };
again:	atomic { e = live_for(c); number = number_of(e) };
	count_in(me, e)
#ifndef M_NO_BARRIER_ENTER
	and_barrier(me)
#endif
	;
#ifndef M_NO_RECHECK
	if
	:: atomic { live_for(c) == e -> number = number_of(e) }
	:: atomic { live_for(c) != e ->
#ifdef M_LATE_ON_OTHER_CPU
		if
		:: count_out(me, e)
		:: count_out((me + 1) % WRITERS, e)
		fi;
#else
		count_out(me, e);
#endif
		goto again }
	fi;
#endif
	atomic { assert(number >= before); before = 0 }
}

/* cbt_preserve_must_hold() */
inline must_hold()
{
	p = preserve;
	if
	:: p == 0
	:: p ->
		atomic {
			p--;
			assert(alive[p]);
			if
			:: off[p]
			:: !off[p] && e != p ->
				hold = map[p].at[c] && !released.at[c]
			:: !off[p] && e == p ->
#ifndef M_LATE_DOES_NOT_LOOK
				if
				:: live_for(c) != e && map[1 - p].at[c] -> tear(me, p)
				:: else
				fi
#else
				skip
#endif
			fi
		}
	fi;
	inside[me] = 0
}

#ifndef writes_of
#define writes_of(me)	(me == 0 -> WRITES : 1)
#endif

proctype writer(byte me)
{
	byte n, c, number, before, p, state, content;
	bit e, hold, mine;

	do
	:: n < writes_of(me) ->
		enter();
		/* cbt_disk_mark() */
		mark(me, e, c)
#ifndef M_NO_BARRIER_MARK
		and_barrier(me)
#endif
		;
		must_hold();
		if
		:: hold -> keep(p, c)
#ifdef SHORTAGE
		:: hold -> fail(p)	/* it cannot wait */
#endif
		:: !hold
		fi;
#ifdef M_LEAVE_BEFORE_END
		count_out(me, e);
#endif
		/* What it stored is visible before the device hears of it. */
		atomic { p = 0; hold = 0 and_barrier(me) };
		reach_device();
#ifndef M_LEAVE_BEFORE_END
		/* cbt_epoch_leave(), where the write completed */
		if
		:: count_out(me, e)
		:: count_out((me + 1) % WRITERS, e)
		fi;
#endif
		atomic { n++; c = 0; e = 0; number = 0 }
	:: n == writes_of(me) -> break
	od;
	running--
}

/* --- pass.c, and what userspace does with a pass ------------------------------ */

#if WRITERS > 2
#define add_third(s)	sum = sum + inflight[s].at[2];
#define really(s)	(inflight[s].at[0] + inflight[s].at[1] + inflight[s].at[2])
#define settle(s)	inflight[s].at[0] = 0; inflight[s].at[1] = 0; inflight[s].at[2] = 0
#else
#define add_third(s)
#define really(s)	(inflight[s].at[0] + inflight[s].at[1])
#define settle(s)	inflight[s].at[0] = 0; inflight[s].at[1] = 0
#endif

/* cbt_preserve_end(), drop_preserves() */
inline end_images(p)
{
	if
	:: image ->
		d_step {
#ifndef M_NO_GATE
			gate[p] == 0 ->
#endif
			off[p] = 1;
			over[p] = 1;
			preserve = 0;
#ifndef M_END_LEAVES_PARKED
			sealed[p] = 1
#endif
		};
#ifndef M_NO_GRACE_PERIOD
		!inside[0];
		!inside[1];
#if WRITERS > 2
		!inside[2];
#endif
#endif
		d_step {
			alive[p] = 0;
#ifndef M_RELEASED_STAYS
			both(released.at[0] = 0, released.at[1] = 0)
#endif
		}
	:: !image
	fi
}

inline clear_map(s)
{
	both(map[s].at[0] = 0, map[s].at[1] = 0)
}

inline merge_back(s)
{
	both(map[1 - s].at[0] = map[1 - s].at[0] | map[s].at[0],
	     map[1 - s].at[1] = map[1 - s].at[1] | map[s].at[1]);
	clear_map(s)
}

/* No pass is under way: what the replica lacks is marked. */
#define known(c)	(replica[c] == device[c] || map[live_for(c)].at[c])
inline check_known()
{
	both(assert(known(0)), assert(known(1)))
}

/* Of a pass that says it is whole. */
inline check_whole()
{
	both(assert(replica[0] == as_cut[0]), assert(replica[1] == as_cut[1]))
}

inline fill_maps(s)
{
	if
	:: all -> both(map[s].at[0] = 1, map[s].at[1] = 1)
	:: !all
	fi
}

inline begin_images(s)
{
	if
	:: image ->
		d_step {
			alive[s] = 1; over[s] = 0; off[s] = 0; torn[s] = 0; sealed[s] = 0;
			both(kept[s].state[0] = NONE, kept[s].state[1] = NONE);
			both(kept[s].content[0] = 0, kept[s].content[1] = 0)
		};
		preserve = s + 1
	:: !image
	fi
}

/*
 * Makes states alike that nobody can tell apart any longer: what is left of the pass, and
 * on which CPUs writes that have left were counted out.
 */
inline forget(s)
{
	if
	:: !image -> over[s] = 1; off[s] = 1; sealed[s] = 1
	:: else
	fi;
	torn[s] = 0;
	both(kept[s].state[0] = NONE, kept[s].state[1] = NONE);
	both(kept[s].content[0] = 0, kept[s].content[1] = 0);
	if
	:: really(s) == 0 -> settle(s)
	:: else
	fi;
	if
	:: really(1 - s) == 0 -> settle(1 - s)
	:: else
	fi
}

inline release(s, c)
{
	released.at[c] = 1;
	d_step { kept[s].state[c] = NONE; kept[s].content[c] = 0 }
}

/* A read of the image, or of the device when there is none. */
inline read_chunk(s, c)
{
#ifdef M_RELEASE_BEFORE_READ
	if
	:: image -> release(s, c)
	:: !image
	fi;
#endif
#ifdef M_LOOK_BEFORE_READ
	if
	:: atomic { image && kept[s].state[c] == READY -> shipped[c] = kept[s].content[c] }
	:: !image || kept[s].state[c] != READY -> shipped[c] = device[c]
	fi;
#else
	shipped[c] = device[c];
	if
	:: atomic { image && kept[s].state[c] == READY -> shipped[c] = kept[s].content[c] }
	:: !image || kept[s].state[c] != READY
	fi;
#endif
	if
	:: image -> release(s, c)
	:: true
	fi
}

/*
 * cbt_epoch_drained(), looked at again until it is true. A sum that is too large leads to
 * another at any later time, which is the same as the first one at that time.
 */
inline wait_drained(s)
{
	sum = inflight[s].at[0];
	sum = sum + inflight[s].at[1];
	add_third(s)
	if
	:: sum == 0
	:: sum != 0 -> really(s) == 0
	fi;
	sum = 0
}

/* cbt_pass_count() */
inline count_overwritten(s)
{
	if
	:: image && !torn[s]
	:: !image || torn[s] ->
		both(whole = whole && !(of_pass.at[0] && map[1 - s].at[0]),
		     whole = whole && !(of_pass.at[1] && map[1 - s].at[1]))
	fi
}

inline ship(s)
{
	d_step { both(of_pass.at[0] = map[s].at[0], of_pass.at[1] = map[s].at[1]) };
	if
	:: of_pass.at[0] -> read_chunk(s, 0)
	:: !of_pass.at[0]
	fi;
#if CHUNKS > 1
	if
	:: of_pass.at[1] -> read_chunk(s, 1)
	:: !of_pass.at[1]
	fi;
#endif
	count_overwritten(s)
}

inline durable()
{
	d_step {
		both(replica[0] = (of_pass.at[0] -> shipped[0] : replica[0]),
		     replica[1] = (of_pass.at[1] -> shipped[1] : replica[1]));
		if
		:: whole -> check_whole()
		:: else
		fi
	}
}

active proctype pass()
{
	byte passes, shipped[CHUNKS];
	bit s, image, all, whole, given_up;
	short sum;
	of_chunks of_pass;

	atomic {
		/* Chunk 0 was written before all this. */
		replica[0] = UNKNOWN;
		map[0].at[0] = 1;
		run writer(0);
		run writer(1);
#if WRITERS > 2
		run writer(2)
#endif
	};
	do
	:: passes < PASSES ->
		/* cbt_pass_begin() */
		atomic {
			s = live_for(CHUNKS - 1);
			if
			:: image = 1
			:: image = 0
			fi;
			whole = 1
#ifdef FULL
			;
			if
			:: all = 1
			:: all = 0
			fi
#endif
		};
#ifndef M_FILL_AFTER_CUT
		fill_maps(s);
#endif
#ifndef M_PRESERVE_AFTER_CUT
		begin_images(s);
#endif
#ifdef M_NO_BARRIER_CUT
		cut_unseen = 1;
#else
		cut_seen();
#endif
#ifdef M_CUT_PER_DISK
		live[1] = !live[1];
#endif
#ifdef M_PRESERVE_AFTER_CUT
		begin_images(s);
#endif
#ifdef M_FILL_AFTER_CUT
		fill_maps(s);
#endif
		if
		:: given_up = 1; end_images(s)
		:: image -> fail(s)	/* the seal takes too long for held writes */
		:: skip
		fi;
#ifdef M_MERGE_BEFORE_SEAL
		if
		:: given_up
		:: !given_up -> wait_drained(s)
		fi;
#else
#ifndef M_NO_SEAL
		wait_drained(s);
#endif
#endif
#ifdef M_NO_BARRIER_CUT
		!cut_unseen;
#endif
		if
		:: given_up
		:: !given_up ->
			sealed[s] = 1;
			ship(s);
#ifdef M_CLEAR_BEFORE_DURABLE
			d_step { clear_map(s) };
#endif
			if
			:: durable();
				end_images(s);
				d_step { clear_map(s) }
			:: end_images(s);
				given_up = 1
			fi
		fi;
		d_step {
			if
			:: given_up -> merge_back(s)
			:: else
			fi;
			check_known();
			passes++;
			forget(s);
			s = 0; image = 0; all = 0; whole = 0; given_up = 0;
			both(of_pass.at[0] = 0, of_pass.at[1] = 0);
			both(shipped[0] = 0, shipped[1] = 0);
			both(as_cut[0] = 0, as_cut[1] = 0)
		}
	:: passes == PASSES -> break
	od;

	/* A last pass would bring the replica all that it lacks; nothing strays. */
	running == 0 && all_seen;
	d_step {
		check_known();
		assert(really(0) == 0 && really(1) == 0);
		assert(!map[1 - live_for(0)].at[0]);
		assert(alive[0] + alive[1] + preserve + gate[0] + gate[1] == 0)
	}
}

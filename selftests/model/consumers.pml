/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two consumers of one group and one chunk, for spin: to whom marks go, and what each one's image
 * shows. README says what stands for what and what each M_ switch breaks; tracker.pml
 * is the rest of the protocol.
 */
#ifndef PASSES
#define PASSES	1	/* of consumer 0; the other one makes one */
#endif
#ifndef WRITES
#define WRITES	1	/* of writer 0, one after another; the other one makes one */
#endif

#define UNKNOWN	255	/* what a replica holds of a chunk that was never shipped */
#define NOBODY	2
#define NONE	2	/* no slot */

/* --- the group ------------------------------------------------------------- */

bit live;
byte inflight[2];
bit marked[2];		/* in the epochs' maps */
bit busy;		/* cbt_group.lock */
bit sealing;		/* cbt_seal: */
bit seal_slot;
byte cutter = NOBODY;

/* cbt_share, by consumer. */
bit owed[2];
bit map[2];
bit is_sealed[2];	/* CBT_PASS_SEALED */

/* cbt_preserve of the pass under way, by consumer. */
bit listed[2], off[2], torn[2], may_keep[2], kept[2];
byte slot[2], content[2];
byte holders[2];	/* probes that look at it, and writes that wait for it */

/* --- the world ---------------------------------------------------------------- */

byte device;
byte replica[2];
byte as_cut[2];		/* what the chunk was at the consumer's cut */
byte cuts;		/* how many; the number of the epoch under way */
byte cut_number[2];	/* the first epoch behind the consumer's cut */
byte running = 2;

/* --- writers -------------------------------------------------------------------- */

/* cbt_preserve_must_hold() of one consumer's pass. */
inline look(c, hold)
{
	atomic {
		s = NONE;
		hold = 0;
		if
		:: listed[c] && !off[c] -> holders[c]++; s = slot[c]; looks = 1
		:: else -> looks = 0
		fi
	};
	if
	:: looks && s == e ->
		atomic {
			if
			:: live != e && marked[1 - e] -> torn[c] = 1
			:: else
			fi
		}
#ifdef M_MAP_BEFORE_EPOCH
	:: looks && s != e ->
		hold = map[c];
		hold = hold || (s != NONE && marked[s & 1])
#else
	:: looks && s != e ->
		hold = (s != NONE && marked[s & 1]);
		hold = hold || map[c]
#endif
	:: else
	fi;
	atomic {
		if
		:: looks && !hold -> holders[c]--
		:: else
		fi;
		looks = 0
	}
}

/* see_to(): waits for the seal, keeps what is wanted still. */
inline keep(c, hold)
{
	if
	:: hold ->
		atomic {
			may_keep[c] || off[c] ->
			if
			:: !off[c] && !kept[c] && (map[c] || (slot[c] != NONE && marked[slot[c] & 1])) ->
				kept[c] = 1;
				content[c] = device
			:: else
			fi;
			holders[c]--;
			hold = 0
		}
	:: !hold
	fi
}

inline reach_device()
{
	d_step {
		device++;
		if
		:: number < cut_number[0] -> as_cut[0] = device
		:: else
		fi;
		if
		:: number < cut_number[1] -> as_cut[1] = device
		:: else
		fi
	}
}

proctype writer(byte writes)
{
	byte number, s;
	bit e, first, second, looks;

	do
	:: writes ->
again:		e = live;
		inflight[e]++;
		if
		:: atomic { live == e -> number = cuts }
		:: atomic { live != e -> inflight[e]--; goto again }
		fi;
		marked[e] = 1;
		look(0, first);
#ifdef M_ONE_HOLD
		if
		:: first
		:: !first -> look(1, second)
		fi;
#else
		look(1, second);
#endif
		keep(0, first);
		keep(1, second);
		reach_device();
		atomic { inflight[e]--; writes--; e = 0; number = 0; s = 0 }
	:: !writes -> break
	od;
	running--
}

/* --- the seal: advance(), by whoever comes ----------------------------------------- */

inline give_marks(c)
{
	if
	:: cutter == c -> map[c] = map[c] | marked[seal_slot]
#ifdef M_CUTTER_ONLY
	:: cutter != c
#else
	:: cutter != c -> owed[c] = owed[c] | marked[seal_slot]
#endif
	fi
}

active proctype seal()
{
end:	do
#ifdef M_MOVE_BEFORE_SEAL
	:: atomic { !busy && sealing -> busy = 1 };
#else
	:: atomic { !busy && sealing && inflight[seal_slot] == 0 -> busy = 1 };
#endif
		if
		:: cutter != NOBODY -> may_keep[cutter] = 1
		:: cutter == NOBODY
		fi;
#ifdef M_CLEAR_BEFORE_MOVED
		if
		:: marked[seal_slot] ->
			marked[seal_slot] = 0;
			d_step { owed[0] = owed[0] | (cutter != 0); owed[1] = owed[1] | (cutter != 1) };
			if
			:: cutter != NOBODY -> map[cutter] = 1
			:: cutter == NOBODY
			fi
		:: !marked[seal_slot]
		fi;
#else
		give_marks(0);
		give_marks(1);
#endif
#ifndef M_SLOT_STAYS
		if
		:: cutter != NOBODY -> slot[cutter] = NONE
		:: cutter == NOBODY
		fi;
#endif
		marked[seal_slot] = 0;
		d_step {
			if
			:: cutter != NOBODY -> is_sealed[cutter] = 1
			:: else
			fi;
			sealing = 0;
			cutter = NOBODY;
			seal_slot = 0;
			busy = 0
		}
	od
}

/* --- a consumer ------------------------------------------------------------------------ */

/* No pass of its own is under way: what its replica lacks is owed to it. */
#define known(c)	(replica[c] == device || owed[c] || marked[0] || marked[1])

/* cbt_preserve_end(), drop_preserves() */
inline end_image(c)
{
	d_step { off[c] = 1; listed[c] = 0 }
}

inline begin(c)
{
#ifdef M_CUT_WHILE_SEALING
	atomic { !busy -> busy = 1 };
#else
	atomic { !busy && !sealing -> busy = 1 };
#endif
	d_step { map[c] = owed[c]; owed[c] = 0 };
	if
#ifdef ONE_IMAGE
	:: c == 0 -> image = 1;
#else
	:: image = 1;
#endif
		holders[c] == 0;
		d_step {
			off[c] = 0; torn[c] = 0; may_keep[c] = 0; kept[c] = 0; content[c] = 0;
			slot[c] = live;
			listed[c] = 1
		}
	:: image = 0
	fi;
	d_step {
		seal_slot = live;
		live = !live;
		cuts++;
		cut_number[c] = cuts;
		as_cut[c] = device;
		sealing = 1;
		cutter = c;
		busy = 0
	}
}

/* The lock is held. */
inline give_up(c)
{
	end_image(c);
	owed[c] = owed[c] | map[c];
	d_step {
		map[c] = 0;
		if
#ifdef M_GIVEN_UP_IS_FORGOTTEN
		:: cutter == c -> cutter = NOBODY; sealing = 0; marked[seal_slot] = 0
#else
		:: cutter == c -> cutter = NOBODY
#endif
		:: else
		fi
	}
}

inline read_chunk(c)
{
	if
	:: map[c] ->
		shipped = device;
		if
		:: atomic { image && kept[c] -> shipped = content[c] }
		:: !image || !kept[c]
		fi
	:: !map[c] -> shipped = replica[c]
	fi
}

/* cbt_pass_count(), and what the replica makes of it. */
inline durable(c)
{
	atomic { !busy -> busy = 1 };
#ifdef M_OVERWRITTEN_IN_EPOCHS_ONLY
	whole = !(map[c] && (!image || torn[c]) && (marked[0] || marked[1]));
#else
	whole = !(map[c] && (!image || torn[c]) && (marked[0] || marked[1] || owed[c]));
#endif
	replica[c] = shipped;
	assert(!whole || replica[c] == as_cut[c]);
	end_image(c);
#ifdef M_COMMIT_DROPS_OWED
	owed[c] = 0;
#endif
	map[c] = 0
}

proctype consumer(byte me; byte passes)
{
	byte shipped;
	bit image, whole;

	do
	:: passes ->
		begin(me);
		if
		:: atomic { !busy -> busy = 1 };
			give_up(me)
		:: is_sealed[me] ->
			read_chunk(me);
			if
			:: durable(me)
			:: atomic { !busy -> busy = 1 };
				give_up(me)
			fi
		fi;
		d_step {
			assert(known(me));
			is_sealed[me] = 0;
			cut_number[me] = 0;
			as_cut[me] = 0;
			passes--;
			image = 0; whole = 0; shipped = 0;
			busy = 0
		}
	:: !passes -> break
	od;
	running--
}

init
{
	atomic {
		/* The chunk was written before all this, and only one has had a pass since. */
		device = 1;
		replica[0] = 1;
		replica[1] = UNKNOWN;
		owed[1] = 1;
		running = 4;
		run writer(WRITES);
		run writer(1);
		run consumer(0, PASSES);
		run consumer(1, 1)
	};
	running == 0 && !sealing && !busy;
	assert(known(0) && known(1));
	assert(inflight[0] + inflight[1] + holders[0] + holders[1] == 0);
	assert(!marked[1 - live])
}

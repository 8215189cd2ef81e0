/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Replies of backends, which clients get from the frontend that they asked. */
#pragma once

#include "conntrack.h"
#include "rewrite.h"

enum reply_answer {
	NO_REPLY = 0,
	REPLY = 1,
};

/*
 * When this answers a flow to a service that has an entry in that direction:
 * notes it, and gives it the frontend's address as source. REPLY, NO_REPLY or a
 * drop.
 */
static __noinline int reply_from_service(struct __sk_buff *skb, struct tuple *tuple,
					 __u32 direction)
{
	struct ct_entry *entry;
	__u32 now = tuple->now_s;
	struct ct_key key;

	set_reverse_key(&key, &tuple->key, direction);
	entry = ct_find(&key, now);
	if (!entry || !entry->nat_address)
		return NO_REPLY;
	ct_note(skb, entry, tuple, true, now);
	return rewrite(skb, tuple, END_SOURCE, entry->nat_address, entry->nat_port) ?: REPLY;
}

/* What a pod gets comes from where it had sent to. REPLY, NO_REPLY or a drop. */
static __always_inline int answer_pod(struct __sk_buff *skb, struct tuple *tuple)
{
	need_tuple(skb, tuple);
	if (!is_flow(tuple) || tuple->to_service)
		return NO_REPLY;
	return reply_from_service(skb, tuple, CT_EGRESS);
}

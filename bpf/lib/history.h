/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What conntrack and translation know of a packet that leaves a program: whose
 * it was before, and where in its flow it belongs. Looked for only while
 * somebody watches, so that no packet pays for what nobody reads.
 */
#pragma once

#include "config.h"
#include "conntrack.h"
#include "nat_entry.h"

static __always_inline __u8 state_of_nat(const struct nat_entry *entry, const struct tuple *tuple)
{
	__u16 goes_on = CT_F_SEEN_REPLY;

	if (tuple->key.l4_proto == IPPROTO_TCP)
		goes_on |= CT_F_SEEN_NON_SYN;
	return entry->flags & goes_on ? CT_STATE_ESTABLISHED : CT_STATE_NEW;
}

/* By translation: who sent it, when that is not who it says. */
static __always_inline void ask_nat(struct packet_history *history, struct tuple *tuple)
{
	const struct nat_entry *entry;
	struct nat_key key;

	set_reverse_key(&key, &tuple->key, NAT_IN);
	entry = nat_find(&key, tuple->now_s);
	if (entry) {
		history->ct_state = state_of_nat(entry, tuple);
		history->original_source = entry->address;
		tuple->key.saddr = entry->address;
		tuple->key.sport = entry->port;
		return;
	}
	set_reverse_key(&key, &tuple->key, NAT_OUT);
	if (nat_find(&key, tuple->now_s)) {
		history->ct_state = CT_STATE_REPLY;
		return;
	}
	set_key(&key, &tuple->key, NAT_OUT);
	entry = nat_find(&key, tuple->now_s);
	if (entry)
		history->ct_state = state_of_nat(entry, tuple);
}

/* By conntrack, as the side sends that opened the flow. */
static __always_inline bool ask_ct(struct packet_history *history, const struct tuple *tuple,
				   enum ct_direction direction)
{
	struct ct_key key = tuple->key;
	const struct ct_entry *entry;

	key.direction = direction;
	entry = ct_find(&key, tuple->now_s);
	if (!entry)
		return false;
	history->ct_state = entry->packets > 1 ? CT_STATE_ESTABLISHED : CT_STATE_NEW;
	history->frontend = entry->nat_address;
	history->frontend_port = entry->nat_port;
	return true;
}

/* By conntrack, as the other side answers: with its own address, or with the service's already. */
static __always_inline bool ask_ct_of_reply(struct packet_history *history,
					    const struct tuple *tuple, enum ct_direction direction)
{
	const struct ct_entry *entry;
	struct ct_key key;

	set_reverse_key(&key, &tuple->key, direction);
	entry = ct_find(&key, tuple->now_s);
	if (!entry)
		return false;
	history->ct_state = CT_STATE_REPLY;
	if (direction == CT_SERVICE) {
		history->original_source = entry->nat_address;
		history->frontend = tuple->key.saddr;
		history->frontend_port = tuple->key.sport;
	}
	return true;
}

/* Not static: such a function is verified once and not at every one of its calls. */
__noinline int trace_packet(struct __sk_buff *skb, __u32 what, __u32 line_and_endpoint,
			    __u64 identities)
{
	struct packet_history history = {};
	struct tuple tuple;

	load_tuple(skb, &tuple);
	if (is_flow(&tuple)) {
		if (cfg_node_port || cfg_masquerade)
			ask_nat(&history, &tuple);
		/* The first that knows the flow tells. */
		if (!ask_ct(&history, &tuple, CT_INGRESS) && !ask_ct(&history, &tuple, CT_EGRESS) &&
		    !ask_ct_of_reply(&history, &tuple, CT_SERVICE) &&
		    !ask_ct_of_reply(&history, &tuple, CT_INGRESS))
			ask_ct_of_reply(&history, &tuple, CT_EGRESS);
		if (tuple.kind == TUPLE_ICMP_ERROR && history.ct_state)
			history.ct_state = CT_STATE_RELATED;
	}
	emit_event(skb, what, line_and_endpoint, identities, &history);
	return 0;
}

/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * An endpoint's policy. Endpoints without the flag never get here, hence not
 * inlined. Replies of flows that policy has let through need no rule, nor do
 * ICMP errors about such flows.
 */
#pragma once

#include <linux/in.h>

#include <bpf/bpf_helpers.h>

#include "conntrack.h"
#include "ipv4.h"
#include "maps.h"

/*
 * Destination port in network order; 0 where the protocol has none, and in later
 * fragments. It is the packet's or nobody's: what a sender appends to a packet
 * that ends before its port is padding, which the receiver never reads.
 */
static __always_inline int load_dport(struct __sk_buff *skb, const struct iphdr *ip, __be16 *dport)
{
	const __u32 dport_offset = 2;		    /* the same in TCP, UDP and SCTP */
	__u32 total_bytes = bpf_ntohs(ip->tot_len); /* 0 in BIG TCP: the frame's own length */

	*dport = 0;
	switch (ip->protocol) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
		if (is_later_fragment(ip))
			return 0;
		if (total_bytes && total_bytes < ip->ihl * 4 + dport_offset + sizeof(*dport))
			return DROP(SOURCE_POLICY_H, DROP_INVALID);
		if (bpf_skb_load_bytes(skb, ETH_HLEN + ip->ihl * 4 + dport_offset, dport,
				       sizeof(*dport)) < 0)
			return DROP(SOURCE_POLICY_H, DROP_INVALID);
	}
	return 0;
}

/* 0 or a drop: what the endpoint's rules say of this packet alone. */
static __noinline int judge(struct __sk_buff *skb, const struct tuple *tuple, __u32 endpoint_id,
			    __u32 peer, __u32 direction)
{
	const struct policy_entry *by_identity, *by_anybody, *entry;
	struct policy_key key = {
		.prefixlen = POLICY_PREFIX_FULL,
		.egress = direction,
		.identity = peer,
	};
	struct ipv4_packet packet;
	void *policy;
	int error;

	policy = bpf_map_lookup_elem(&cilium_policy_maps, &endpoint_id);
	if (!policy)
		return DROP(SOURCE_POLICY_H, DROP_POLICY_MAP_MISSING);
	if (tuple->has_l4) {
		key.l4_proto = tuple->key.l4_proto;
		key.dport = key.l4_proto == IPPROTO_ICMP ? 0 : tuple->key.dport;
	} else {
		if (!point_at_headers(skb, &packet))
			return DROP(SOURCE_POLICY_H, DROP_INVALID);
		key.l4_proto = packet.ip->protocol;
		error = load_dport(skb, packet.ip, &key.dport);
		if (error)
			return error;
	}

	by_identity = bpf_map_lookup_elem(policy, &key);
	key.identity = IDENTITY_UNKNOWN;
	by_anybody = bpf_map_lookup_elem(policy, &key);
	entry = by_identity ? by_identity : by_anybody;
	if (!entry)
		return DROP(SOURCE_POLICY_H, DROP_POLICY);
	if (by_identity && by_anybody && by_anybody->prefixlen > by_identity->prefixlen)
		entry = by_anybody;
	if (entry->deny)
		return DROP(SOURCE_POLICY_H, DROP_POLICY_DENY);
	return 0;
}

/* Remembers that a flow was let through, so that replies are. `entry` is its own when it has one. 0 or a drop. */
static __noinline int remember_allowed(struct __sk_buff *skb, const struct tuple *tuple,
				       struct ct_entry *entry, __u32 direction, __u32 identity)
{
	struct ct_entry fresh = { .flags = CT_F_ALLOWED, .source_identity = identity };
	struct ct_key key = tuple->key;

	if (!entry) {
		key.direction = direction;
		return ct_insert(skb, &key, &fresh, tuple, tuple->now_s);
	}
	if (!(entry->flags & CT_F_ALLOWED))
		entry->flags |= CT_F_ALLOWED;
	/* Flows to services are noted where they are translated. */
	if (!entry->nat_address)
		ct_note(skb, entry, tuple, false, tuple->now_s);
	return 0;
}

/* Whether this answers, or is an error about, a flow that policy let through in the other direction. */
static __noinline int is_allowed_reply(struct __sk_buff *skb, const struct tuple *tuple,
				       __u32 direction)
{
	struct ct_entry *entry;
	__u32 now = tuple->now_s;
	struct ct_key key;

	set_reverse_key(&key, &tuple->key, direction);
	entry = ct_find(&key, now);
	if (!entry || !(entry->flags & CT_F_ALLOWED))
		return 0;
	if (!entry->nat_address)
		ct_note(skb, entry, tuple, true, now);
	return 1;
}

/* Whoever asks has the higher port, nearly always. A guess: it decides what is looked up first, and nothing else. */
static __always_inline bool is_likely_reply(const struct tuple *tuple)
{
	return bpf_ntohs(tuple->key.sport) < bpf_ntohs(tuple->key.dport);
}

/*
 * 0 or a drop. `peer` is the source's identity for ingress, the destination's for egress; `local` the endpoint's own.
 * Replies are let through whatever the rules say, all else by the rules alone.
 */
static __noinline int enforce_policy(struct __sk_buff *skb, struct tuple *tuple,
				     __u32 endpoint_and_direction, __u32 peer, __u32 local)
{
	__u32 direction = endpoint_and_direction >> 16;
	__u32 forwards = direction == POLICY_EGRESS ? CT_EGRESS : CT_INGRESS;
	__u32 backwards = direction == POLICY_EGRESS ? CT_INGRESS : CT_EGRESS;
	struct ct_entry *entry = NULL;
	bool asked_back = true;
	struct ct_key key;
	int error;

	need_tuple(skb, tuple);
	if (is_flow(tuple)) {
		asked_back = is_likely_reply(tuple);
		if (asked_back && is_allowed_reply(skb, tuple, backwards))
			return 0;
		key = tuple->key;
		key.direction = forwards;
		entry = tuple->key.direction == forwards ? tuple->entry : NULL;
		if (!entry)
			entry = ct_find(&key, tuple->now_s);
		if (entry) {
			tuple->key.direction = forwards;
			tuple->entry = entry;
		}
		/* A flow that is known to have begun here needs no other look while the rules allow it. */
		if (!asked_back && !entry) {
			if (is_allowed_reply(skb, tuple, backwards))
				return 0;
			asked_back = true;
		}
	}
	error = judge(skb, tuple, endpoint_and_direction & 0xFFFF, peer, direction);
	if (error)
		return !asked_back && is_allowed_reply(skb, tuple, backwards) ? 0 : error;
	if (tuple->kind != TUPLE_FLOW)
		return 0;
	return remember_allowed(skb, tuple, entry, forwards,
				direction == POLICY_EGRESS ? local : peer);
}

static __always_inline int ingress_policy(struct __sk_buff *skb, struct tuple *tuple,
					  const struct endpoint_info *endpoint, __u32 source)
{
	if (likely(!(endpoint->flags & ENDPOINT_F_POLICY_INGRESS)))
		return 0;
	return enforce_policy(skb, tuple, endpoint->endpoint_id | POLICY_INGRESS << 16, source,
			      endpoint->identity);
}

static __always_inline int egress_policy(struct __sk_buff *skb, struct tuple *tuple,
					 const struct endpoint_info *endpoint, __u32 destination)
{
	if (likely(!(endpoint->flags & ENDPOINT_F_POLICY_EGRESS)))
		return 0;
	return enforce_policy(skb, tuple, endpoint->endpoint_id | POLICY_EGRESS << 16, destination,
			      endpoint->identity);
}

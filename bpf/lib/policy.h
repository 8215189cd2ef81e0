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
static __noinline int judge(struct __sk_buff *skb, __u32 endpoint_id, __u32 peer, __u32 direction)
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

	if (!point_at_headers(skb, &packet))
		return DROP(SOURCE_POLICY_H, DROP_INVALID);
	policy = bpf_map_lookup_elem(&cilium_policy_maps, &endpoint_id);
	if (!policy)
		return DROP(SOURCE_POLICY_H, DROP_POLICY_MAP_MISSING);
	key.l4_proto = packet.ip->protocol;
	error = load_dport(skb, packet.ip, &key.dport);
	if (error)
		return error;

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

/* Remembers that a flow was let through, so that replies are. 0 or a drop. */
static __noinline int remember_allowed(struct __sk_buff *skb, const struct tuple *tuple,
				       __u32 direction, __u32 identity)
{
	struct ct_entry fresh = { .flags = CT_F_ALLOWED, .source_identity = identity };
	struct ct_key key = tuple->key;
	struct ct_entry *entry;
	__u32 now = tuple->now_s;

	key.direction = direction;
	entry = ct_find(&key, now);
	if (!entry)
		return ct_insert(skb, &key, &fresh, tuple, now);
	if (!(entry->flags & CT_F_ALLOWED))
		entry->flags |= CT_F_ALLOWED;
	/* Flows to services are noted where they are translated. */
	if (!entry->nat_address)
		ct_note(skb, entry, tuple, false, now);
	return 0;
}

/* Whether this answers, or is an error about, a flow that policy let through in the other direction. */
static __noinline int is_allowed_reply(struct __sk_buff *skb, const struct tuple *tuple,
				       __u32 direction)
{
	struct ct_entry *entry;
	__u32 now = tuple->now_s;
	struct ct_key key;

	reverse_key(&key, &tuple->key, direction);
	entry = ct_find(&key, now);
	if (!entry || !(entry->flags & CT_F_ALLOWED))
		return 0;
	if (!entry->nat_address)
		ct_note(skb, entry, tuple, true, now);
	return 1;
}

/* 0 or a drop. `peer` is the source's identity for ingress, the destination's for egress; `local` the endpoint's own. */
static __noinline int enforce_policy(struct __sk_buff *skb, __u32 endpoint_id, __u32 peer,
				     __u32 local, __u32 direction)
{
	bool egress = direction == POLICY_EGRESS;
	struct tuple tuple;
	int error;

	load_tuple(skb, &tuple);
	if (is_flow(&tuple) && is_allowed_reply(skb, &tuple, egress ? CT_INGRESS : CT_EGRESS))
		return 0;
	error = judge(skb, endpoint_id, peer, direction);
	if (error || tuple.kind != TUPLE_FLOW)
		return error;
	return remember_allowed(skb, &tuple, egress ? CT_EGRESS : CT_INGRESS,
				egress ? local : peer);
}

static __always_inline int ingress_policy(struct __sk_buff *skb,
					  const struct endpoint_info *endpoint, __u32 source)
{
	if (likely(!(endpoint->flags & ENDPOINT_F_POLICY_INGRESS)))
		return 0;
	return enforce_policy(skb, endpoint->endpoint_id, source, endpoint->identity,
			      POLICY_INGRESS);
}

static __always_inline int egress_policy(struct __sk_buff *skb,
					 const struct endpoint_info *endpoint, __u32 destination)
{
	if (likely(!(endpoint->flags & ENDPOINT_F_POLICY_EGRESS)))
		return 0;
	return enforce_policy(skb, endpoint->endpoint_id, destination, endpoint->identity,
			      POLICY_EGRESS);
}
